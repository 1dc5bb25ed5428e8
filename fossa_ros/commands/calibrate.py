"""``fossa calibrate``: focus over command and breathing of a lens; from a lens, a folder or bags."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click

from fossa_ros.commands.calibrate_board import board, print_sheet
from fossa_ros.commands.calibrate_check import check
from fossa_ros.commands.lens_options import opens_lens
from fossa_ros.commands.option_types import INTRINSICS, NOT_NEGATIVE, NUMBER, PATH, REGION, BagAtDistance, FocusDistance
from fossa_ros.commands.progress import counted, progress_bar
from fossa_ros.commands.recording_session import CAMERA, await_enter, new_recording, open_camera, read_bags, takes_bags
from fossa_ros.core.errors import InputError
from fossa_ros.io.atomic import check_writable

STEPS = click.IntRange(5, 1000)


def calibrates(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every source shares; ``function`` gets ``out``, and the others as a dict ``settings``."""

    @click.option("--out", default="lens.yaml", show_default=True, type=PATH, help="Calibration file to write.")
    @click.option("--roi", type=REGION, help="Part of the image that shows the target, px.  [default: all]")
    @click.option(
        "--reference",
        type=FocusDistance(),
        help="Focus at which the intrinsics of the camera hold and to which planes are resampled, metres or dioptres"
        " (2D).  [default: the middle of the targets, in dioptres]",
    )
    @click.option("--intrinsics", type=INTRINSICS, help="Intrinsics of the camera at that focus, kept in the file.")
    @click.option("--drift", type=NUMBER, help="Known drift, dioptres per degC.  [default: measured]")
    @click.option("--breathing/--no-breathing", default=True, show_default=True, help="Measure scale and shift.")
    @wraps(function)
    def command(out, roi, reference, intrinsics, drift, breathing, **arguments):
        check_writable(out.absolute().parent)
        settings = {
            "region": roi,
            "reference_distance": reference,
            "K": None if intrinsics is None else _matrix(*intrinsics),
            "coefficient": drift,
            "breathing": breathing,
        }
        return function(out=out, settings=settings, **arguments)

    return command


@click.group("calibrate")
def command():
    """Calibrate a lens: focus over command, hysteresis, drift and breathing.

    Place a flat, finely textured target in front of the camera, facing it, at three or more known distances, about
    evenly spaced in dioptres (1 / metres). At each distance the lens is stepped through its range and back. The output
    is a calibration file for lens.calibration of fossa_node, and a plot beside it (docs/calibration.md).
    """


for each in (print_sheet, board, check):
    command.add_command(each)


@command.command("live")
@CAMERA
@click.option(
    "--distance",
    "distances",
    multiple=True,
    required=True,
    type=FocusDistance(),
    help="Distance of a target, metres or dioptres (2D); repeat for each.",
)
@click.option("--steps", default=41, show_default=True, type=STEPS, help="Positions of the lens each way.")
@click.option("--from", "least", type=NUMBER, help="Lowest command.  [default: of the lens]")
@click.option("--to", "greatest", type=NUMBER, help="Highest command.  [default: of the lens]")
@click.option(
    "--soak",
    default=0.0,
    show_default=True,
    type=NOT_NEGATIVE,
    help="Seconds to warm the lens before it sees the last target again, which measures drift.",
)
@click.option("--record", type=PATH, help="Folder of the images.  [default: OUT-recording]")
@calibrates
@opens_lens
def live(lens, camera, distances, steps, least, greatest, soak, record, out, settings):
    """Step a lens in front of a camera, target by target, and calibrate from the images."""
    from fossa_ros.calibration import live as procedure
    from fossa_ros.calibration.recording import RecordingWriter

    span = lens.capabilities.command
    least = span.check(span.least if least is None else least)
    greatest = span.check(span.greatest if greatest is None else greatest)
    commands = procedure.both_ways(least, greatest, steps)
    view = open_camera(camera)
    series = []
    try:
        recording = RecordingWriter(new_recording(record, out), procedure.device_of(lens))
        for number, distance in enumerate((*distances, *distances[-1:] * bool(soak))):
            if number < len(distances):
                await_enter(f"Put the target at {distance:g} m, facing the camera, and press Enter.")
            else:
                click.echo(f"Warming the lens for {soak:g} s; leave the target in place.", err=True)
                _soak(lens, view, soak)
            with counted(f"{distance:g} m", len(commands)) as advance:
                series.append(procedure.record_series(lens, view, commands, distance, recording, f"{number}", advance))
    finally:
        view.close()
    _calibrate(series, procedure.device_of(lens), out, settings)


@command.command("folder")
@click.argument("recording", type=PATH)
@calibrates
def folder(recording, out, settings):
    """Calibrate from a folder of images with calibration.json, such as 'live' records.

    If it has no distances, only the plot is written.
    """
    from fossa_ros.calibration.recording import read_recording

    read = read_recording(recording)
    _calibrate(read.series, read.device, out, settings)


@command.command("bag")
@click.argument("bags", nargs=-1, required=True, type=BagAtDistance())
@takes_bags
@calibrates
def bag(bags, out, settings, **reading):
    """Calibrate from bags, one or more for each distance: METRES=BAG, for example 0.5=half_metre."""
    series, device = read_bags(bags, **reading)
    _calibrate(series, device, out, settings)


@command.command("demo")
@click.option("--steps", default=31, show_default=True, type=STEPS, help="Positions of the lens each way.")
@click.option("--record", type=PATH, help="Folder of the images.  [default: OUT-recording]")
@calibrates
def demo(steps, record, out, settings):
    """Calibrate a simulated lens, driven through a pseudo-terminal, and compare with its true properties."""
    from fossa_ros.calibration.recording import read_recording
    from fossa_ros.commands import calibrate_demo as simulation

    record = new_recording(record, out)
    with _removed_on_failure(record):
        with counted("Stepping the lens", (len(simulation.DISTANCES) + 1) * (2 * steps - 1)) as advance:
            rig, series = simulation.record_demo(record, steps=steps, progress=advance)
        config = rig.config
        settings["reference_distance"] = settings["reference_distance"] or 1 / config.reference_power
        if settings["K"] is None:
            settings["K"] = config.camera.K
        result = _calibrate(series, read_recording(record).device, out, settings)
    for temperature in (config.lens.ambient, config.lens.ambient + config.lens.heating):
        focus, scale = simulation.errors(config, result, temperature)
        click.echo(f"error at {temperature:g} degC: focus within {focus:.4f} D, scale within {scale:.4%}")


def _soak(lens, view, seconds: float) -> None:
    """Warm the lens, with a bar."""
    from fossa_ros.calibration.live import SOAK_PERIOD_S, soak

    with counted("Warming", max(round(seconds / SOAK_PERIOD_S), 1)) as advance:
        soak(lens, view, seconds, advance)


@contextmanager
def _removed_on_failure(folder: Path) -> Iterator[None]:
    """Remove a folder that the block created and did not complete, because of an error or of Ctrl-C."""
    existed = folder.exists()
    try:
        yield
    except BaseException:
        if not existed:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _matrix(fx, fy, cx, cy):
    import numpy as np

    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def _calibrate(series, device, out: Path, settings: dict[str, Any]):
    """Calibrate, write the file and the plot, and print a summary."""
    from fossa_ros.calibration.calibrate import calibrate
    from fossa_ros.calibration.calibration_file import write_calibration
    from fossa_ros.calibration.plot import plot_calibration
    from fossa_ros.commands.calibration_summary import print_summary

    plot = out.with_suffix(".png")
    if plot == out:
        raise InputError(f"--out {out} is the calibration, a YAML file; the plot is written beside it.")
    with progress_bar() as bar:
        tasks = {
            "sharpness": bar.add_task("Sharpness", total=sum(len(each.frames) for each in series)),
            "breathing": bar.add_task("Breathing", total=None, visible=settings["breathing"]),
        }
        result = calibrate(series, device, **settings, progress=lambda stage: bar.advance(tasks[stage]))
        bar.update(tasks["breathing"], total=bar.tasks[tasks["breathing"]].completed)  # known at the end only
    plot_calibration(plot, result, device)
    if result.calibration is not None:
        write_calibration(out, result.calibration, result.passes)
    print_summary(result, device)
    click.echo(f"written: {', '.join(str(path) for path in (out, plot)[result.calibration is None :])}")
    return result
