"""``fossa lens``: find a lens, ask it, move it; on the bench, without ROS."""

from __future__ import annotations

import math
import time
from functools import wraps

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from fossa_ros.core.errors import InputError
from fossa_ros.core.optics import dioptre_space, dioptres, metres
from fossa_ros.lens import FocusLens, LensMove, lens_backends, open_lens
from fossa_ros.lens.options import parse_options
from fossa_ros.lens.serial_port import serial_ports, usb_address
from fossa_ros.lens.v4l2_device import video_devices

HOLD_LOOK_S = 1.0  # how often a held lens is asked whether it still holds


class FocusDistance(click.ParamType):
    """A focus distance in metres from ``0.5``, ``0.5m``, ``2D`` or ``inf``."""

    name = "distance"

    def convert(self, value, param, ctx):
        if isinstance(value, float):
            return value
        text = value.strip()
        try:
            distance = float(metres(float(text[:-1]))) if text[-1:] in ("D", "d") else float(text.removesuffix("m"))
        except ValueError:
            distance = math.nan
        if not distance > 0:
            self.fail(f"{value!r} is no focus distance; write metres (0.5, inf) or dioptres (2D).", param, ctx)
        return distance


def opens_lens(function):
    """Give a command the options that say which lens, and the open lens, not calibrated, as its first argument."""

    @click.option("--backend", default="optotune_ld4", show_default=True, help="Lens driver; see 'fossa lens list'.")
    @click.option("--port", required=True, help="Serial port, usb:VID:PID[:SERIAL], video device, or camera node.")
    @click.option("--power-offset", type=float, help="Dioptres that the fixed optics add to the lens's power.")
    @click.option("--option", "pairs", multiple=True, metavar="NAME=VALUE", help="Option of the backend; repeatable.")
    @wraps(function)
    def command(backend, port, power_offset, pairs, **arguments):
        options = parse_options(pairs)
        if power_offset is not None:
            options["power_offset"] = power_offset
        with open_lens(backend, port, **options) as lens:
            function(lens, **arguments)

    return command


def opens_calibrated_lens(function):
    """As ``opens_lens``, with the option of a calibration, which makes the lens metric."""

    @click.option("--calibration", type=click.Path(), help="File of 'fossa calibrate', which tells metres.")
    @wraps(function)
    def command(lens, calibration, **arguments):
        if calibration is not None:
            from fossa_ros.calibration.calibrated_lens import CalibratedLens
            from fossa_ros.calibration.calibration_file import read_calibration

            lens = CalibratedLens(lens, read_calibration(calibration))
        function(lens, **arguments)

    return opens_lens(command)


@click.group("lens")
def command():
    """Find a focus lens, ask it how it is, and move it.

    The lens is parked at the end of every command: it rests without current, or as near to that as it can.
    """


@command.command("list")
def list_():
    """Show the lens drivers that are known, and the ports where a lens may be."""
    console = Console()
    usual = {}
    table = Table("backend", "usual USB id", "provided by", title="Lens drivers", title_justify="left")
    for name, point in sorted(lens_backends().items()):
        ids = _usb_ids(point)
        usual |= dict.fromkeys(ids, name)
        table.add_row(name, ", ".join(f"usb:{usb_id}" for usb_id in ids), point.value)
    console.print(table)
    table = Table("port", "USB address", "what", "may be", title="Serial ports", title_justify="left")
    for info in serial_ports():
        address = usb_address(info)
        what = " ".join(filter(None, (info.manufacturer, info.product)))
        table.add_row(info.device, address, what, usual.get(address[4:13], ""))
    console.print(table if table.row_count else "No serial ports found.")
    table = Table("device", "name", title="Video devices", title_justify="left")
    for path, name in video_devices().items():
        table.add_row(path, name)
    console.print(table if table.row_count else "No video devices found.")


def _usb_ids(point) -> tuple[str, ...]:
    try:
        return point.load().usb_ids
    except Exception:  # another package's module may fail in any way; opening its lens reports how
        return ()


@command.command("info")
@opens_calibrated_lens
def info(lens: FocusLens):
    """Print what the lens is, what it can do, and how it is."""
    can, state = lens.capabilities, lens.state()
    table = Table(show_header=False, title=can.identity, title_justify="left")
    table.add_row("backend", lens.backend)
    table.add_row("command", f"{can.command.quantity}, {can.command} in steps of {can.command.step:g}")
    if can.is_metric:
        near, far = float(dioptres(can.nearest)), float(dioptres(can.farthest))
        table.add_row("focus range", f"{far:.2f} to {near:.2f} D")
        table.add_row("", f"{can.nearest:.3g} to {can.farthest:.3g} m")
    else:
        table.add_row("focus range", "unknown: not calibrated ('fossa calibrate', then --calibration)")
    if can.calibration:
        table.add_row("calibration", can.calibration)
    settling = f"{can.settling.fixed * 1e3:g} ms"
    if can.settling.per_unit:
        settling += f" and {can.settling.per_unit * 1e3:g} ms per {can.command.unit}"
    table.add_row("settles in", settling)
    table.add_row("position", "measured" if can.measures_position else "set-point, not measured")
    table.add_row("temperature", "no thermometer" if state.temperature is None else f"{state.temperature:.1f} °C")
    table.add_row("status", "\n".join(state.faults) or "no complaints")
    Console().print(table)


@command.command("set")
@click.argument("distance", required=False, type=FocusDistance())
@click.option("--command", "value", type=float, help="Command in the lens's own unit instead of a distance.")
@click.option("--hold", type=click.FloatRange(min=0), help="Seconds to hold the focus; until Ctrl-C if not given.")
@opens_calibrated_lens
def set_(lens: FocusLens, distance, value, hold):
    """Focus at DISTANCE (0.5, 2D, inf) and hold it; the lens is parked afterwards."""
    if (distance is None) == (value is None):
        raise InputError("Give either a distance or --command with a value in the lens's own unit.")
    move = lens.move_to(distance) if value is None else lens.move_to_command(value)
    click.echo(_described(lens, move))
    if hold is None:
        click.echo("Holding until Ctrl-C.")
    until = time.monotonic() + (math.inf if hold is None else hold)
    try:
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, HOLD_LOOK_S))
            lens.verify()
    except KeyboardInterrupt:
        click.echo("Parked.")


@command.command("sweep")
@click.option("--near", type=FocusDistance(), help="Nearest focus distance; the lens's if not given.")
@click.option("--far", type=FocusDistance(), help="Farthest focus distance; the lens's if not given.")
@click.option("--command", "own_unit", is_flag=True, help="Go through the lens's own command range instead.")
@click.option("--planes", default=5, show_default=True, type=click.IntRange(2, 1000), help="Positions.")
@click.option("--sweeps", default=2, show_default=True, type=click.IntRange(1, 10_000), help="There, back, there ...")
@click.option("--dwell", default=0.0, type=click.FloatRange(min=0), help="Seconds to stay settled at each position.")
@opens_calibrated_lens
def sweep(lens: FocusLens, near, far, own_unit, planes, sweeps, dwell):
    """Go through the lens's range and back, and print how long it takes to acknowledge each move."""
    go, positions = _positions(lens, near, far, own_unit, planes)
    moves: list[LensMove] = []
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("Sweeping", total=sweeps * planes)
        for number in range(sweeps):
            for position in positions if number % 2 == 0 else reversed(positions):
                moves.append(go(position))
                time.sleep(moves[-1].settling_ns / 1e9 + dwell)
                lens.verify()
                bar.advance(task)
    # Not in brackets, which rich takes for styles.
    told = lens.capabilities.command
    table = Table("focus (m)", "focus (D)", f"{told.quantity} ({told.unit})")
    table.add_column("acknowledged after (ms)", justify="right")
    for move in moves:
        focus = ("", "") if math.isnan(move.focus_distance) else _focus(move.focus_distance)
        table.add_row(*focus, f"{move.command:.6g}", f"{(move.acknowledged_ns - move.sent_ns) / 1e6:.2f}")
    Console().print(table)
    took = sorted((move.acknowledged_ns - move.sent_ns) / 1e6 for move in moves)
    click.echo(
        f"{len(moves)} moves acknowledged and verified: after {took[0]:.2f} ms at best, "
        f"{took[len(took) // 2]:.2f} ms in the middle, {took[-1]:.2f} ms at worst."
    )


def _positions(lens: FocusLens, near, far, own_unit, planes):
    """Return what moves the lens and the positions to move it to."""
    if own_unit:
        if near is not None or far is not None:
            raise InputError("--near and --far are distances; leave them out with --command.")
        span = lens.capabilities.command
        step = (span.greatest - span.least) / (planes - 1)
        return lens.move_to_command, [span.least + step * index for index in range(planes)]
    lens.capabilities.require_metric()
    near, far = near or lens.capabilities.nearest, far or lens.capabilities.farthest
    if near >= far:
        raise InputError(f"--near ({near:g} m) must lie before --far ({far:g} m); swap them.")
    return lens.move_to, dioptre_space(near, far, planes).tolist()


def _focus(distance: float) -> tuple[str, str]:
    return f"{distance:.4g}", f"{float(dioptres(distance)):.3f}"


def _described(lens: FocusLens, move: LensMove) -> str:
    command = lens.capabilities.command
    where = f"{command.quantity} {move.command:.6g} {command.unit}"
    if not math.isnan(move.focus_distance):
        where = "{} m ({} D), ".format(*_focus(move.focus_distance)) + where
    return (
        f"{where}; acknowledged after {(move.acknowledged_ns - move.sent_ns) / 1e6:.2f} ms, "
        f"settles in {move.settling_ns / 1e6:g} ms."
    )
