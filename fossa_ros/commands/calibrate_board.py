"""``fossa calibrate print`` and ``board``: calibration with one printed board."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fossa_ros.commands.board_sources import (
    PAPERS,
    Printed,
    live_series,
    recorded_series,
    takes_board,
    takes_live_sweeps,
)
from fossa_ros.commands.lens_options import opens_lens
from fossa_ros.commands.option_types import FILE, PATH, POSITIVE, FocusDistance
from fossa_ros.commands.progress import progress_bar
from fossa_ros.commands.recording_session import new_recording, read_bags, refuse_repeated, takes_bags
from fossa_ros.io.atomic import check_files, write_together

if TYPE_CHECKING:  # slow to import: when the command runs, not for its help
    from fossa_ros.calibration.board.board_calibration import BoardCalibration


def calibrates(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every source shares: ``out``, ``printed`` and ``reference``, in dioptres."""

    @takes_board
    @click.option("--out", default="lens.yaml", show_default=True, type=FILE, help="Calibration file to write.")
    @click.option(
        "--reference",
        type=FocusDistance(),
        help="Focus at which the intrinsics of the camera hold and to which planes are resampled, metres or dioptres"
        " (2D).  [default: the middle of the range, in dioptres]",
    )
    @wraps(function)
    def command(out, reference, **arguments):
        check_files(_written(out))
        return function(out=out, reference=None if reference is None else 1 / reference, **arguments)

    return command


@click.group("board")
def board():
    """Calibrate camera and lens with one printed board, without a tape measure.

    Print the board of 'fossa calibrate print'. Put it at about eight places, near to far, tilted to all sides and into
    the corners of the image; at each place the lens is swept while nothing moves. The output is a calibration file for
    lens.calibration of fossa_node, a camera_info file for the camera driver, and a report (docs/calibration-board.md).
    """


@board.command("live")
@click.option("--sweeps", default=8, show_default=True, type=click.IntRange(4, 100), help="Places of the board.")
@click.option("--record", type=PATH, help="Folder of the images.  [default: OUT-recording]")
@takes_live_sweeps
@calibrates
@opens_lens
def live(lens, sweeps, record, sweeping, out, printed, reference):
    """Sweep a lens in front of the board, place by place, and say what is still missing; then calibrate.

    A page on this machine shows the newest image with the corners of the board, what boards have covered, and what is
    still missing.
    """
    from fossa_ros.calibration.live import device_of

    folder = new_recording(record, out)
    with _keeping(folder):
        series = live_series(lens, sweeping, folder, printed, sweeps, there_and_back=True)
        _calibrate(series, device_of(lens), out, printed, reference)


@board.command("folder")
@click.argument("recordings", nargs=-1, required=True, type=PATH)
@calibrates
def folder(recordings, out, printed, reference):
    """Calibrate from folders of sweeps with calibration.json, such as 'live' records."""
    series, device = recorded_series(recordings)
    _calibrate(series, device, out, printed, reference)


@board.command("bag")
@click.argument("bags", nargs=-1, required=True, type=PATH)
@takes_bags
@calibrates
def bag(bags, out, printed, reference, **reading):
    """Calibrate from bags, one for each place of the board."""
    refuse_repeated(bags)
    series, device = read_bags(((None, path) for path in bags), **reading)
    _calibrate(series, device, out, printed, reference)


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


@contextmanager
def _keeping(folder: Path) -> Iterator[None]:
    """Let an interruption say what is kept."""
    from fossa_ros.calibration.recording import DESCRIPTION

    try:
        yield
    except KeyboardInterrupt as stop:
        if not (folder / DESCRIPTION).exists():
            raise
        raise KeyboardInterrupt(
            f"the sweeps so far are kept: 'fossa calibrate board folder {folder}' calibrates from them"
        ) from stop


def _calibrate(series, device, out: Path, printed: Printed, reference: float | None) -> None:
    """Calibrate, write the files and the report, and print a summary."""
    from fossa_ros.calibration.board.calibrate_board import calibrate_board
    from fossa_ros.calibration.board.report import facts

    pattern = printed.board(series)
    with progress_bar() as bar:
        tasks = {
            "frames": bar.add_task("Looking for the board", total=sum(len(each.frames) for each in series)),
            "adjustment": bar.add_task("Adjusting", total=None),
        }
        result = calibrate_board(
            series,
            device,
            pattern,
            reference=reference,
            progress=lambda stage: bar.advance(tasks[stage]),
        )
        bar.update(tasks["adjustment"], total=bar.tasks[tasks["adjustment"]].completed)  # known at the end only
    write_results(out, result)
    for name, value in facts(result):
        click.echo(f"{name}: {value}")
    for warning in result.warnings:
        click.echo(f"Warning: {warning}", err=True)
    click.echo(result.verdict)
    click.echo(f"written: {', '.join(map(str, _written(out)))}")


def write_results(out: Path, result: BoardCalibration) -> None:
    """Write calibration, camera_info and report, or none of them; raises InputError if one cannot be written."""
    from fossa_ros.calibration.board.report import report_page
    from fossa_ros.calibration.calibration_file import calibration_text, camera_info_text

    lens, camera, report = _written(out)
    made = result.calibration
    # The calibration comes last: a node that loads it finds what it is based on beside it.
    write_together({report: report_page(result), camera: camera_info_text(made), lens: calibration_text(made)})
