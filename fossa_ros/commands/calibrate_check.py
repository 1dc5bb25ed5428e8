"""``fossa calibrate check``: how wrong a calibration is today, from a board at any place."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click

from fossa_ros.commands.board_sources import (
    LiveSweeps,
    Printed,
    is_recording,
    live_series,
    recorded_series,
    takes_board,
    takes_live_sweeps,
)
from fossa_ros.commands.lens_options import PORT, opened_lens, sets_lens
from fossa_ros.commands.option_types import FILE, PATH
from fossa_ros.commands.progress import counted
from fossa_ros.commands.recording_session import new_recording, read_bags, refuse_repeated, takes_topics
from fossa_ros.core.errors import InputError

AROUND = 0.15  # of the calibrated commands: the lens is swept as far beyond either end, to see a peak that has moved


@click.command("check")
@click.argument("recordings", metavar="[BOARD]...", nargs=-1, type=PATH)
@click.option("--calibration", required=True, type=FILE, help="Calibration file with a camera.")
@takes_board
@click.option("--port", help=f"{PORT} The lens is swept now, in place of recordings.")
@click.option("--backend", help="Lens driver; see 'fossa lens list'.  [default: that of the calibration]")
@sets_lens
@click.option("--sweeps", default=1, show_default=True, type=click.IntRange(1, 100), help="Places of the board.")
@takes_live_sweeps
@click.option("--record", type=PATH, help="Folder in which the images are kept.")
@takes_topics
def check(recordings, calibration, printed, port, backend, power_offset, pairs, sweeps, sweeping, record, **reading):
    """Say how wrong a calibration is today, from sweeps of the board at any place.

    BOARD is a folder of sweeps with calibration.json, such as 'board live' records, or a bag; one sweep, in one
    direction, is enough. With --port, the lens is swept in front of the board now, over the commands that were
    calibrated, which takes a few seconds. The exit code is 1 if the calibration does not hold.
    """
    from fossa_ros.calibration.board.calibration_check import check_calibration, verdict
    from fossa_ros.calibration.calibration_file import read_calibration

    if bool(recordings) == (port is not None):
        raise click.UsageError("give recordings of the board, or --port of the lens that is to be swept now.")
    known = read_calibration(calibration)
    if port is None:
        source = nullcontext(_recorded(recordings, known, **reading))
    else:
        lens = opened_lens(backend or known.device.backend, port, power_offset, pairs)
        source = _swept(lens, port, _around(known, sweeping), record, printed, sweeps, known)
    with source as series:
        board = printed.board(series)
        with counted("Looking for the board", sum(len(each.frames) for each in series)) as advance:
            checks = check_calibration(series, known, board, advance)
    _print(checks)
    holds, sentence = verdict(checks, known)
    click.echo(sentence)
    if not holds:
        raise SystemExit(1)


def _recorded(recordings: Sequence[Path], known, **reading) -> list:
    """Return the series of folders and bags."""
    refuse_repeated(recordings)
    for path in recordings:
        if not path.exists():
            raise InputError(f"{path} does not exist; give a folder of sweeps with calibration.json, or a bag.")
    folders = [path for path in recordings if is_recording(path)]
    bags = [path for path in recordings if not is_recording(path)]
    series = []
    if folders:
        found, device = recorded_series(folders)
        _refuse_other_lens(device, known, str(folders[0]))
        series += found
    if bags:
        device = known.device
        series += read_bags(((None, path) for path in bags), **reading, backend=device.backend, unit=device.unit)[0]
    return series


@contextmanager
def _swept(
    opening, port: str, sweeping: LiveSweeps, record: Path | None, printed: Printed, places: int, known
) -> Iterator[list]:
    """Yield the series that a lens is swept for now; without ``record`` their images are gone afterwards."""
    from fossa_ros.calibration.live import device_of

    with tempfile.TemporaryDirectory(prefix="fossa-check-") as scratch:
        folder = Path(scratch) if record is None else new_recording(record, record)
        with opening as lens:
            _refuse_other_lens(device_of(lens), known, f"The port {port}")
            span = lens.capabilities.command
            within = sweeping._replace(
                least=max(sweeping.least, span.least), greatest=min(sweeping.greatest, span.greatest)
            )
            series = live_series(lens, within, folder, printed, places, there_and_back=False)
        yield series


def _around(known, sweeping: LiveSweeps) -> LiveSweeps:
    """Return sweeps over the commands that were calibrated and a little more, where nothing else is given."""
    commands = known.rising.commands
    margin = AROUND * (commands[-1] - commands[0])
    least = commands[0] - margin if sweeping.least is None else sweeping.least
    greatest = commands[-1] + margin if sweeping.greatest is None else sweeping.greatest
    return sweeping._replace(least=float(least), greatest=float(greatest))


def _refuse_other_lens(device, known, name: str) -> None:
    """Raise InputError for a lens of another driver, or one that is commanded in another unit."""
    if known.device.backend and device.backend and known.device.backend != device.backend:
        raise InputError(
            f"{name} is of a lens of the backend {device.backend}, and the calibration of one of "
            f"{known.device.backend}; give the calibration of that lens."
        )
    if known.device.backend and device.backend and known.device.unit != device.unit:
        raise InputError(
            f"{name} is of a lens that is commanded in {device.unit}, and {known.device.identity} was calibrated in "
            f"{known.device.unit}; command the lens as it was calibrated (--option control=... for some)."
        )


def _print(checks) -> None:
    from rich.console import Console
    from rich.table import Table

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
