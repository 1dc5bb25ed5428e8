"""``fossa lens``: list, inspect and move focus lenses, without ROS."""

from __future__ import annotations

import math
import time

import click
from rich.console import Console
from rich.table import Table

from fossa_ros.commands.lens_options import opens_calibrated_lens
from fossa_ros.commands.option_types import NOT_NEGATIVE, NUMBER, FocusDistance
from fossa_ros.commands.progress import counted
from fossa_ros.core.errors import InputError
from fossa_ros.core.optics import dioptre_space, dioptres
from fossa_ros.lens import FocusLens, LensMove

VERIFY_PERIOD_S = 1.0


@click.group("lens")
def command():
    """List, inspect and move focus lenses.

    Every command parks the lens at its end: without current, or with as little as the lens allows.
    """


@command.command("list")
def list_():
    """List the lens drivers, and the ports where a lens may be connected."""
    from fossa_ros.lens import lens_backends
    from fossa_ros.lens.serial_port import serial_ports, usb_address
    from fossa_ros.lens.v4l2_device import video_devices

    console = Console()
    usual: dict[str, str] = {}
    table = Table("backend", "usual USB id", "provided by", title="Lens drivers", title_justify="left")
    for name, point in sorted(lens_backends().items()):
        ids = _usb_ids(point)
        usual |= dict.fromkeys(ids, name)
        table.add_row(name, ", ".join(f"usb:{usb_id}" for usb_id in ids), point.value)
    console.print(table)
    table = Table("port", "USB address", "description", "possible backend", title="Serial ports", title_justify="left")
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
    except Exception:  # the module of another package may raise anything; opening the lens reports it
        return ()


@command.command("info")
@opens_calibrated_lens
def info(lens: FocusLens):
    """Print identity, range, timing and status of the lens."""
    can, state = lens.capabilities, lens.state()
    table = Table(show_header=False, title=can.identity, title_justify="left")
    table.add_row("backend", lens.backend)
    table.add_row("command", f"{can.command.quantity}, {can.command} in steps of {can.command.step:g}")
    if can.is_metric:
        near, far = float(dioptres(can.nearest)), float(dioptres(can.farthest))
        table.add_row("focus range", f"{far:.2f} to {near:.2f} D")
        table.add_row("", f"{can.nearest:.3g} to {can.farthest:.3g} m")
    else:
        table.add_row("focus range", "unknown: not calibrated (run 'fossa calibrate', then give --calibration)")
    if can.calibration:
        table.add_row("calibration", can.calibration)
    settling = f"{can.settling.fixed * 1e3:g} ms"
    if can.settling.per_unit:
        settling += f" and {can.settling.per_unit * 1e3:g} ms per {can.command.unit}"
    table.add_row("settles in", settling)
    table.add_row("position", "measured" if can.measures_position else "set-point, not measured")
    table.add_row("temperature", "no thermometer" if state.temperature is None else f"{state.temperature:.1f} °C")
    table.add_row("status", "\n".join(state.faults) or "no faults")
    Console().print(table)


@command.command("set")
@click.argument("distance", required=False, type=FocusDistance())
@click.option("--command", "value", type=NUMBER, help="Command in the unit of the lens, instead of a distance.")
@click.option("--hold", type=NOT_NEGATIVE, help="Seconds to hold the focus.  [default: until Ctrl-C]")
@opens_calibrated_lens
def set_(lens: FocusLens, distance, value, hold):
    """Focus at DISTANCE (0.5, 2D, inf), hold it, and park the lens."""
    if (distance is None) == (value is None):
        raise InputError("Give either a distance or --command with a value in the unit of the lens.")
    move = lens.move_to(distance) if value is None else lens.move_to_command(value)
    click.echo(_described(lens, move))
    if hold is None:
        click.echo("Holding until Ctrl-C.")
    until = time.monotonic() + (math.inf if hold is None else hold)
    try:
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, VERIFY_PERIOD_S))
            lens.verify()
    except KeyboardInterrupt:
        click.echo("Parked.")


@command.command("sweep")
@click.option("--near", type=FocusDistance(), help="Nearest focus distance.  [default: of the lens]")
@click.option("--far", type=FocusDistance(), help="Farthest focus distance.  [default: of the lens]")
@click.option("--command", "own_unit", is_flag=True, help="Sweep the command range of the lens instead.")
@click.option("--planes", default=5, show_default=True, type=click.IntRange(2, 1000), help="Positions of a sweep.")
@click.option(
    "--sweeps", default=2, show_default=True, type=click.IntRange(1, 10_000), help="Sweeps, alternately there and back."
)
@click.option(
    "--dwell",
    default=0.0,
    show_default=True,
    type=NOT_NEGATIVE,
    help="Seconds to stay at each position once settled.",
)
@opens_calibrated_lens
def sweep(lens: FocusLens, near, far, own_unit, planes, sweeps, dwell):
    """Sweep the lens through its range and back, and print how long it takes to acknowledge each move."""
    move, positions = _positions(lens, near, far, own_unit, planes)
    moves: list[LensMove] = []
    with counted("Sweeping", sweeps * planes) as advance:
        for number in range(sweeps):
            for position in positions if number % 2 == 0 else reversed(positions):
                moves.append(move(position))
                time.sleep(moves[-1].settling_ns / 1e9 + dwell)
                lens.verify()
                advance()
    unit = lens.capabilities.command
    table = Table("focus (m)", "focus (D)", f"{unit.quantity} ({unit.unit})")  # rich reads square brackets as styles
    table.add_column("acknowledged after (ms)", justify="right")
    for each in moves:
        focus = ("", "") if math.isnan(each.focus_distance) else _focus(each.focus_distance)
        table.add_row(*focus, f"{each.command:.6g}", f"{_acknowledged_ms(each):.2f}")
    Console().print(table)
    times = sorted(map(_acknowledged_ms, moves))
    click.echo(
        f"{len(moves)} moves acknowledged and verified, after {times[0]:.2f} ms at least, "
        f"{times[len(times) // 2]:.2f} ms in the median, {times[-1]:.2f} ms at most."
    )


def _positions(lens: FocusLens, near: float | None, far: float | None, own_unit: bool, planes: int):
    """Return the method that moves the lens, and the positions it is called with."""
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


def _acknowledged_ms(move: LensMove) -> float:
    return (move.acknowledged_ns - move.sent_ns) / 1e6


def _focus(distance: float) -> tuple[str, str]:
    return f"{distance:.4g}", f"{float(dioptres(distance)):.3f}"


def _described(lens: FocusLens, move: LensMove) -> str:
    command = lens.capabilities.command
    where = f"{command.quantity} {move.command:.6g} {command.unit}"
    if not math.isnan(move.focus_distance):
        where = "{} m ({} D), ".format(*_focus(move.focus_distance)) + where
    return f"{where}; acknowledged after {_acknowledged_ms(move):.2f} ms, settles in {move.settling_ns / 1e6:g} ms."
