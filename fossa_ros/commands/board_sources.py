"""Sweeps of a board, from a lens, folders and bags, for ``fossa calibrate board`` and ``check``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, nullcontext
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from fossa_ros.commands.option_types import NUMBER, POSITIVE
from fossa_ros.commands.progress import counted
from fossa_ros.commands.recording_session import CAMERA, await_enter, open_camera, refuse_repeated
from fossa_ros.core.errors import InputError

if TYPE_CHECKING:  # slow to import: when the command runs, not for its help
    from fossa_ros.calibration.board.board import Board
    from fossa_ros.calibration.board.session_view import SessionView
    from fossa_ros.calibration.lens_calibration import CalibratedDevice
    from fossa_ros.calibration.series import CalibrationSeries
    from fossa_ros.lens import FocusLens

PAPERS = click.Choice(["a4", "a3", "letter"])


class Printed(NamedTuple):
    """What was printed: the paper, None for what the images show, and the length of the bar, None for as designed."""

    paper: str | None
    measured: float | None

    def board(self, series: Sequence[CalibrationSeries]) -> Board:
        """Return the board that the images show, as printed; raises InputError if it is another or none."""
        from fossa_ros.calibration.board.checks import board_in

        designed = board_in(series, self.paper)
        return designed if self.measured is None else designed.as_measured(self.measured)


class LiveSweeps(NamedTuple):
    """How a lens is swept: camera, positions each way, ends (None for a default), and the live view and its port."""

    camera: str
    steps: int
    least: float | None
    greatest: float | None
    view: bool
    view_port: int


def takes_board(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what was printed; ``function`` gets them as ``printed``."""

    @click.option("--paper", type=PAPERS, help="Size of the board.  [default: what its markers say]")
    @click.option("--measured", type=POSITIVE, help="Length of the printed bar, mm.  [default: as designed]")
    @wraps(function)
    def command(paper, measured, **arguments):
        return function(printed=Printed(paper, measured), **arguments)

    return command


def takes_live_sweeps(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of ``live_series``; ``function`` gets them as ``sweeping``, and the folder as ``record``."""

    @CAMERA
    @click.option("--steps", default=25, show_default=True, type=click.IntRange(5, 1000), help="Lens positions a way.")
    @click.option("--from", "least", type=NUMBER, help="Lowest command.  [default: of the lens, or as calibrated]")
    @click.option("--to", "greatest", type=NUMBER, help="Highest command.  [default: of the lens, or as calibrated]")
    @click.option("--view/--no-view", default=True, show_default=True, help="Show the session on a page of a browser.")
    @click.option(
        "--view-port",
        default=0,
        show_default=True,
        type=click.IntRange(0, 65535),
        help="Port of that page, on 127.0.0.1 only; 0 for any.",
    )
    @wraps(function)
    def command(camera, steps, least, greatest, view, view_port, **arguments):
        sweeping = LiveSweeps(camera, steps, least, greatest, view, view_port)
        return function(sweeping=sweeping, **arguments)

    return command


def recorded_series(recordings: Sequence[Path]) -> tuple[list[CalibrationSeries], CalibratedDevice]:
    """Read folders of sweeps, all of one lens; return their series and the lens."""
    from fossa_ros.calibration.recording import read_recording

    refuse_repeated(recordings)
    read = [read_recording(each) for each in recordings]
    series = [each for recording in read for each in recording.series]
    first = read[0].device
    for path, recording in zip(recordings, read, strict=True):
        device = recording.device
        if (device.backend, device.identity, device.unit) != (first.backend, first.identity, first.unit):
            raise InputError(f"{path} is of another lens ({device.identity}); give recordings of one lens.")
    return series, first


def is_recording(path: Path) -> bool:
    """Return whether a path is a folder of sweeps with calibration.json, or that file; if not, it may be a bag."""
    from fossa_ros.calibration.recording import DESCRIPTION

    return path.name == DESCRIPTION or (path / DESCRIPTION).exists()


def live_series(
    lens: FocusLens, sweeping: LiveSweeps, folder: Path, printed: Printed, places: int, *, there_and_back: bool
) -> list[CalibrationSeries]:
    """Sweep a lens in front of the board, place by place, into a folder; say what is still missing, and park the lens.

    Args:
        lens: open.
        sweeping: how.
        folder: in which the sweeps are recorded; they are kept whatever happens.
        printed: the board.
        places: sweeps that are to show the board.
        there_and_back: whether the lens steps up and down again, or up only.

    Raises:
        FossaError: lens or camera fails, or an image cannot be written.
    """
    from fossa_ros.calibration import live as procedure
    from fossa_ros.calibration.board.guidance import still_missing
    from fossa_ros.calibration.board.observation import observe
    from fossa_ros.calibration.board.session_view import SessionView
    from fossa_ros.calibration.recording import RecordingWriter
    from fossa_ros.io.camera_source import is_file

    span = lens.capabilities.command
    least = span.check(span.least if sweeping.least is None else sweeping.least)
    greatest = span.check(span.greatest if sweeping.greatest is None else sweeping.greatest)
    commands = procedure.both_ways(least, greatest, sweeping.steps)
    if not there_and_back:
        commands = commands[: sweeping.steps]
    series: list[CalibrationSeries] = []
    seen, board = [], None
    with ExitStack() as stack:
        opened = stack.enter_context(closing(open_camera(sweeping.camera)))
        shown = SessionView(places)
        camera = procedure.ShownCamera(opened, shown.show)
        previews = sweeping.view and _opened_page(shown, sweeping.view_port, stack) and not is_file(sweeping.camera)
        recording = RecordingWriter(folder, procedure.device_of(lens))
        while len(seen) < places:
            wanted = [] if board is None else list(still_missing(seen, board))
            if wanted:
                click.echo("Still missing: " + "; ".join(wanted) + ".", err=True)
            prompt = f"Place {len(seen) + 1} of {places}: let the board stand still there, and press Enter."
            shown.ask(prompt, wanted)
            if previews:  # sharp enough to find the board nearly everywhere
                lens.move_to_command((least + greatest) / 2)
            with procedure.previewed(camera) if previews else nullcontext():
                await_enter(prompt)
            name = f"sweep {len(series) + 1}"
            shown.begin(f"Place {len(seen) + 1} of {places}: let nothing move.", len(commands))
            with counted(name, len(commands)) as advance:

                def step(advance=advance) -> None:
                    advance()
                    shown.advance()

                series.append(procedure.record_series(lens, camera, commands, None, recording, f"{len(series)}", step))
            try:
                board = board or printed.board(series)
                observed = observe(series[-1], board, name)
            except InputError as error:
                _refused(shown, str(error))
                continue
            if observed is None:
                _refused(shown, "The board was not found there; show all of it, with more light.")
                continue
            seen.append(observed)
            shown.add(observed, board)
        lens.park()  # what follows takes minutes
    return series


def _opened_page(shown: SessionView, port: int, stack: ExitStack) -> bool:
    """Open the live view for as long as the stack; say where it is, or that there is none, and return whether it is."""
    from fossa_ros.calibration.board.session_page import SessionPage

    try:
        page = stack.enter_context(closing(SessionPage(shown, port)))
    except OSError as error:
        click.echo(f"Warning: There is no live view ({(error.strerror or str(error)).lower()}).", err=True)
        return False
    click.echo(page.remark, err=True)
    return True


def _refused(shown: SessionView, words: str) -> None:
    """Say why a sweep does not count."""
    click.echo(words, err=True)
    shown.remark(words)
