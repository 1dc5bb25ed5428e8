"""``fossa calibrate print``, ``board`` and ``check``: calibration with one printed board."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from fossa_ros.commands.lens_options import opens_lens
from fossa_ros.commands.option_types import FILE, NUMBER, PATH, POSITIVE, FocusDistance
from fossa_ros.commands.progress import counted, progress_bar
from fossa_ros.commands.recording_session import (
    CAMERA,
    await_enter,
    new_recording,
    open_camera,
    read_bags,
    refuse_repeated,
    takes_bags,
)
from fossa_ros.io.atomic import check_files

PAPERS = click.Choice(["a4", "a3", "letter"])


def takes_board(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what was printed."""
    function = click.option("--paper", type=PAPERS, help="Size of the board.  [default: what its markers say]")(
        function
    )
    return click.option("--measured", type=POSITIVE, help="Length of the printed bar, mm.  [default: as designed]")(
        function
    )


def calibrates(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every source shares; ``function`` gets ``out``, and the others as a dict ``settings``."""

    @takes_board
    @click.option("--out", default="lens.yaml", show_default=True, type=FILE, help="Calibration file to write.")
    @click.option(
        "--reference",
        type=FocusDistance(),
        help="Focus at which the intrinsics of the camera hold and to which planes are resampled, metres or dioptres"
        " (2D).  [default: the middle of the range, in dioptres]",
    )
    @wraps(function)
    def command(out, paper, measured, reference, **arguments):
        check_files(_written(out))
        settings = {"paper": paper, "measured": measured, "reference": None if reference is None else 1 / reference}
        return function(out=out, settings=settings, **arguments)

    return command


@click.group("board")
def board():
    """Calibrate camera and lens with one printed board, without a tape measure.

    Print the board of 'fossa calibrate print'. Put it at about eight places, near to far, tilted to all sides and into
    the corners of the image; at each place the lens is swept while nothing moves. The output is a calibration file for
    lens.calibration of fossa_node, a camera_info file for the camera driver, and a report (docs/calibration-board.md).
    """


@board.command("live")
@CAMERA
@click.option("--sweeps", default=8, show_default=True, type=click.IntRange(4, 100), help="Places of the board.")
@click.option("--steps", default=25, show_default=True, type=click.IntRange(5, 1000), help="Lens positions each way.")
@click.option("--from", "least", type=NUMBER, help="Lowest command.  [default: of the lens]")
@click.option("--to", "greatest", type=NUMBER, help="Highest command.  [default: of the lens]")
@click.option("--record", type=PATH, help="Folder of the images.  [default: OUT-recording]")
@calibrates
@opens_lens
def live(lens, camera, sweeps, steps, least, greatest, record, out, settings):
    """Sweep a lens in front of the board, place by place, and say what is still missing; then calibrate."""
    from fossa_ros.calibration import live as procedure
    from fossa_ros.calibration.board.guidance import still_missing
    from fossa_ros.calibration.board.observation import observe
    from fossa_ros.calibration.recording import RecordingWriter
    from fossa_ros.core.errors import InputError

    span = lens.capabilities.command
    least = span.check(span.least if least is None else least)
    greatest = span.check(span.greatest if greatest is None else greatest)
    commands = procedure.both_ways(least, greatest, steps)
    view = open_camera(camera)
    series, seen, pattern = [], [], None
    try:
        recording = RecordingWriter(new_recording(record, out), procedure.device_of(lens))
        while len(seen) < sweeps:
            wanted = [] if pattern is None else list(still_missing(seen, pattern))
            if wanted:
                click.echo("Still missing: " + "; ".join(wanted) + ".", err=True)
            await_enter(f"Place {len(seen) + 1} of {sweeps}: let the board stand still there, and press Enter.")
            with counted(f"sweep {len(series) + 1}", len(commands)) as advance:
                name = f"{len(series)}"
                series.append(procedure.record_series(lens, view, commands, None, recording, name, advance))
            try:
                pattern = pattern or _printed(series, settings)
                observed = observe(series[-1], pattern, f"sweep {len(series)}")
            except InputError as error:
                click.echo(str(error), err=True)
                continue
            if observed is None:
                click.echo("The board was not found there; show all of it, with more light.", err=True)
                continue
            seen.append(observed)
    finally:
        view.close()
    _calibrate(series, procedure.device_of(lens), out, settings)


@board.command("folder")
@click.argument("recordings", nargs=-1, required=True, type=PATH)
@calibrates
def folder(recordings, out, settings):
    """Calibrate from folders of sweeps with calibration.json, such as 'live' records."""
    series, device = _recorded(recordings)
    _calibrate(series, device, out, settings)


@board.command("bag")
@click.argument("bags", nargs=-1, required=True, type=PATH)
@takes_bags
@calibrates
def bag(bags, out, settings, **reading):
    """Calibrate from bags, one for each place of the board."""
    refuse_repeated(bags)
    series, device = read_bags(((None, path) for path in bags), **reading)
    _calibrate(series, device, out, settings)


@click.command("check")
@click.argument("recordings", metavar="BOARD...", nargs=-1, required=True, type=PATH)
@click.option("--calibration", required=True, type=FILE, help="Calibration file with a camera.")
@takes_board
def check(recordings, calibration, paper, measured):
    """Say how wrong a calibration is today, from sweeps of the board at any place.

    BOARD is a folder of sweeps with calibration.json, such as 'board live' records; one sweep, in one direction, is
    enough. The exit code is 1 if the calibration does not hold.
    """
    from rich.console import Console
    from rich.table import Table

    from fossa_ros.calibration.board.calibration_check import check_calibration, verdict
    from fossa_ros.calibration.calibration_file import read_calibration
    from fossa_ros.core.errors import InputError

    known = read_calibration(calibration)
    series, device = _recorded(recordings)
    if known.device.backend and device.backend and known.device.backend != device.backend:
        raise InputError(
            f"{recordings[0]} is of a lens of the backend {device.backend}, and {calibration} of one of "
            f"{known.device.backend}; give the calibration of that lens."
        )
    pattern = _printed(series, {"paper": paper, "measured": measured})
    with counted("Looking for the board", sum(len(each.frames) for each in series)) as advance:
        checks = check_calibration(series, known, pattern, advance)
    table = Table("sweep", "board", "lens says", "error", "", "peaks", "corners")
    for each in checks:
        table.add_row(
            each.name,
            f"{each.board:.3f} m",
            f"{each.focus:.3f} m",
            f"{each.error:+.3f} D",
            f"{each.relative:+.1%}",
            f"{each.peaks}",
            f"{each.reprojection:.2f} px",
        )
    Console().print(table)
    holds, sentence = verdict(checks, known)
    click.echo(sentence)
    if not holds:
        raise SystemExit(1)


@click.command("print")
@click.option("--paper", default="a4", show_default=True, type=PAPERS, help="Size of the sheet, landscape.")
@click.option("--out", type=PATH, help="PDF to write.  [default: board-PAPER.pdf]")
@click.option(
    "--measured",
    type=POSITIVE,
    help="Length of the bar that this printer printed, mm: the board is drawn larger by what was lost.",
)
def print_sheet(paper, out, measured):
    """Write a board to print: a ChArUco pattern with fine texture, a bar to measure, and its description."""
    from fossa_ros.calibration.board.board import BOARDS
    from fossa_ros.calibration.board.sheet import write_sheet

    board = BOARDS[paper]
    enlarged = 1.0 if measured is None else 1 / board.as_measured(measured).scale
    out = out or Path(f"board-{paper}.pdf")
    check_files([out])
    write_sheet(out, board, enlarged)
    click.echo(
        f"{board.described()} is written to {out}. Print it at 100 % on {paper} and glue it onto something flat; then "
        f"measure the bar, which should be {board.bar_mm:g} mm long."
    )


def _written(out: Path) -> tuple[Path, Path, Path]:
    """Return the files of a calibration: the lens's, the camera's and the report."""
    return out, out.with_name(f"{out.stem}-camera_info.yaml"), out.with_name(f"{out.stem}-report.html")


def _recorded(recordings):
    """Read folders of sweeps, all of one lens; return their series and the lens."""
    from fossa_ros.calibration.recording import read_recording
    from fossa_ros.core.errors import InputError

    refuse_repeated(recordings)
    read = [read_recording(each) for each in recordings]
    series = [each for recording in read for each in recording.series]
    first = read[0].device
    for path, recording in zip(recordings, read, strict=True):
        device = recording.device
        if (device.backend, device.identity, device.unit) != (first.backend, first.identity, first.unit):
            raise InputError(f"{path} is of another lens ({device.identity}); give recordings of one lens.")
    return series, first


def _printed(series, settings: dict[str, Any]):
    """Return the board that the images show, as printed."""
    from fossa_ros.calibration.board.checks import board_in

    designed = board_in(series, settings["paper"])
    return designed if settings["measured"] is None else designed.as_measured(settings["measured"])


def _calibrate(series, device, out: Path, settings: dict[str, Any]):
    """Calibrate, write the files and the report, and print a summary."""
    from fossa_ros.calibration.board.calibrate_board import calibrate_board
    from fossa_ros.calibration.board.report import facts, write_report
    from fossa_ros.calibration.calibration_file import write_calibration, write_camera_info

    pattern = _printed(series, settings)
    with progress_bar() as bar:
        tasks = {
            "frames": bar.add_task("Looking for the board", total=sum(len(each.frames) for each in series)),
            "adjustment": bar.add_task("Adjusting", total=None),
        }
        result = calibrate_board(
            series,
            device,
            pattern,
            reference=settings["reference"],
            progress=lambda stage: bar.advance(tasks[stage]),
        )
        bar.update(tasks["adjustment"], total=bar.tasks[tasks["adjustment"]].completed)  # known at the end only
    written = _written(out)
    write_calibration(out, result.calibration)
    write_camera_info(written[1], result.calibration)
    write_report(written[2], result)
    for name, value in facts(result):
        click.echo(f"{name}: {value}")
    for warning in result.warnings:
        click.echo(f"Warning: {warning}", err=True)
    click.echo(result.verdict)
    click.echo(f"written: {', '.join(map(str, written))}")
