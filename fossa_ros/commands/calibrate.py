"""``fossa calibrate``: which command focuses where, and how the image breathes; from a lens, a folder or bags."""

from __future__ import annotations

import sys
from functools import wraps
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from fossa_ros.commands.lens import FocusDistance, opens_lens
from fossa_ros.core.errors import InputError
from fossa_ros.io.atomic import check_writable

STEPS = click.IntRange(5, 1000)


class RegionOption(click.ParamType):
    """A part of the image from ``left,top,width,height``."""

    name = "left,top,width,height"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        try:
            region = tuple(int(part) for part in value.split(","))
        except ValueError:
            region = ()
        if len(region) != 4:
            self.fail(f"{value!r} is no region; write left,top,width,height in pixels.", param, ctx)
        return region


class IntrinsicsOption(click.ParamType):
    """Intrinsics from ``fx,fy,cx,cy``."""

    name = "fx,fy,cx,cy"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        try:
            fx, fy, cx, cy = (float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} are no intrinsics; write fx,fy,cx,cy in pixels.", param, ctx)
        return fx, fy, cx, cy


class BagOption(click.ParamType):
    """A recording and the distance of its target, from ``METRES=BAG``."""

    name = "metres=bag"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        distance, equals, bag = value.partition("=")
        if not (equals and bag):
            self.fail(f"{value!r} is no distance and bag; write for example 0.5=recordings/half_metre.", param, ctx)
        return FocusDistance().convert(distance, param, ctx), Path(bag)


def calibrates(function):
    """Give a command the options that every source shares; ``function`` receives them as one dict, ``settings``."""

    @click.option("--out", default="lens.yaml", show_default=True, type=click.Path(path_type=Path), help="Calibration.")
    @click.option("--roi", type=RegionOption(), help="Part of the image that shows the target.  [default: all]")
    @click.option(
        "--reference",
        type=FocusDistance(),
        help="Focus at which the camera's intrinsics hold and to which planes are resampled, metres or dioptres (2D)."
        "  [default: the middle of the targets, in dioptres]",
    )
    @click.option("--intrinsics", type=IntrinsicsOption(), help="Of the camera at that focus, to be kept in the file.")
    @click.option("--drift", type=float, help="Dioptres a degC, where known already.")
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
    """Calibrate a lens: from commands to dioptres, and how the image breathes.

    Put a flat, finely textured target before the camera, facing it, at three or more known distances, about evenly
    spaced in dioptres (1 / metres); the lens is stepped through its range and back before each. Written are the
    calibration, which lens.calibration of fossa_node takes, and a plot beside it (docs/calibration.md).
    """


@command.command("live")
@click.option(
    "--camera",
    default="0",
    show_default=True,
    help="Number, device, file or URL that OpenCV opens; or topic:/camera/image_raw, images of ROS.",
)
@click.option("--distance", "distances", multiple=True, required=True, type=FocusDistance(), help="Repeat for each.")
@click.option("--steps", default=41, show_default=True, type=STEPS, help="Positions of the lens each way.")
@click.option("--from", "least", type=float, help="Least command.  [default: of the lens]")
@click.option("--to", "greatest", type=float, help="Greatest command.  [default: of the lens]")
@click.option("--soak", default=0.0, show_default=True, help="Seconds to warm the lens before a last visit, for drift.")
@click.option("--record", type=click.Path(path_type=Path), help="Folder of the images.  [default: OUT-recording]")
@calibrates
@opens_lens
def live(lens, camera, distances, steps, least, greatest, soak, record, out, settings):
    """Step a lens before a camera, target by target, and calibrate from what it sees."""
    from fossa_ros.calibration import live as procedure
    from fossa_ros.calibration.recording import RecordingWriter

    span = lens.capabilities.command
    least = span.check(span.least if least is None else least)
    greatest = span.check(span.greatest if greatest is None else greatest)
    commands = procedure.both_ways(least, greatest, steps)
    view = _camera(camera)
    series = []
    try:
        recording = RecordingWriter(record or out.with_name(f"{out.stem}-recording"), procedure.device_of(lens))
        for number, distance in enumerate((*distances, *distances[-1:] * bool(soak))):
            if number < len(distances):
                _await_enter(f"Put the target at {distance:g} m, facing the camera, and press Enter.")
            else:
                click.echo(f"Warming the lens for {soak:g} s; leave the target where it is.")
                procedure.soak(lens, view, soak)
            with Progress(console=Console(stderr=True)) as bar:
                task = bar.add_task(f"{distance:g} m", total=len(commands))
                advance = lambda bar=bar, task=task: bar.advance(task)  # noqa: E731
                series.append(procedure.record_series(lens, view, commands, distance, recording, f"{number}", advance))
    finally:
        view.close()
    _calibrate(series, procedure.device_of(lens), out, settings)


def _camera(source: str):
    """Open what OpenCV or ROS can see."""
    if not source.startswith("topic:"):
        from fossa_ros.calibration.live import VideoCamera

        return VideoCamera(source)
    try:
        from fossa_ros.ros.topic_camera import TopicCamera
    except ImportError as error:
        raise InputError(f"Topics need ROS 2 ({error}); install the package with its ROS wheels.") from error
    return TopicCamera(source.removeprefix("topic:"))


def _await_enter(prompt: str) -> None:
    """Wait for a line on standard input, which need not be a terminal."""
    click.echo(prompt, err=True)
    if not sys.stdin.readline():
        raise InputError("Standard input ended while the target was awaited; run 'live' where you can press Enter.")


@command.command("folder")
@click.argument("recording", type=click.Path(path_type=Path))
@calibrates
def folder(recording, out, settings):
    """Calibrate from a folder of images with calibration.json, as 'live' records them.

    Without distances in it there is a plot to look at, but no calibration.
    """
    from fossa_ros.calibration.recording import read_recording

    read = read_recording(recording)
    _calibrate(read.series, read.device, out, settings)


@command.command("bag")
@click.argument("bags", nargs=-1, required=True, type=BagOption())
@click.option("--image-topic", default="/image", show_default=True, help="Of sensor_msgs/Image.")
@click.option("--command-topic", default="/lens/command", show_default=True, help="Of a number of std_msgs.")
@click.option("--settling", default=0.1, show_default=True, help="Seconds from a command until the lens stands still.")
@click.option("--exposure", default=0.01, show_default=True, help="Seconds of exposure and readout.")
@click.option("--backend", default="", help="Lens driver that the calibration is for.")
@click.option("--unit", default="steps", show_default=True, help="Unit of the lens's command.")
@calibrates
def bag(bags, image_topic, command_topic, settling, exposure, backend, unit, out, settings):
    """Calibrate from bags, one or more for each distance: METRES=BAG, for example 0.5=half_metre."""
    from fossa_ros.calibration.bag import read_bag
    from fossa_ros.calibration.lens_calibration import CalibratedDevice
    from fossa_ros.messages.images import rgb_from_message

    topics = {"image_topic": image_topic, "command_topic": command_topic}
    timing = {"settling": settling, "exposure": exposure}
    with Console(stderr=True).status("Reading the bags"):
        series = [read_bag(path, distance, rgb_from_message, **topics, **timing) for distance, path in bags]
    commands = [frame.command for each in series for frame in each.frames]
    device = CalibratedDevice(backend, backend or "lens", "command", unit, min(commands), max(commands))
    _calibrate(series, device, out, settings)


@command.command("demo")
@click.option("--steps", default=31, show_default=True, type=STEPS, help="Positions of the lens each way.")
@click.option("--record", type=click.Path(path_type=Path), help="Folder of the images.  [default: OUT-recording]")
@calibrates
def demo(steps, record, out, settings):
    """Calibrate a simulated lens over a real pseudo-terminal, and compare with its hidden truth."""
    from fossa_ros.calibration.recording import read_recording
    from fossa_ros.commands import calibrate_demo as simulation

    record = record or out.with_name(f"{out.stem}-recording")
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("Stepping the lens", total=(len(simulation.DISTANCES) + 1) * (2 * steps - 1))
        rig, series = simulation.record_demo(record, steps=steps, progress=lambda: bar.advance(task))
    config = rig.config
    settings["reference_distance"] = settings["reference_distance"] or 1 / config.reference_power
    if settings["K"] is None:
        settings["K"] = config.camera.K
    result = _calibrate(series, read_recording(record).device, out, settings)
    for temperature in (config.lens.ambient, config.lens.ambient + config.lens.heating):
        focus, scale = simulation.errors(config, result, temperature)
        click.echo(f"against the truth at {temperature:g} degC: focus within {focus:.4f} D, scale within {scale:.4%}")


def _matrix(fx, fy, cx, cy):
    import numpy as np

    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def _calibrate(series, device, out: Path, settings: dict):
    """Calibrate, write the file and the plot, and tell what was found."""
    from fossa_ros.calibration.calibrate import calibrate
    from fossa_ros.calibration.calibration_file import write_calibration
    from fossa_ros.calibration.plot import plot_calibration

    with Progress(console=Console(stderr=True)) as bar:
        tasks = {
            "sharpness": bar.add_task("Sharpness", total=sum(len(each.frames) for each in series)),
            "breathing": bar.add_task("Breathing", total=None, visible=settings["breathing"]),
        }
        result = calibrate(series, device, **settings, progress=lambda stage: bar.advance(tasks[stage]))
        bar.update(tasks["breathing"], total=bar.tasks[tasks["breathing"]].completed)  # how many was not known before
    plot = out.with_suffix(".png")
    if plot == out:
        raise InputError(f"--out {out} is the calibration, a YAML file; the plot is written beside it.")
    plot_calibration(plot, result, device)
    if result.calibration is not None:
        write_calibration(out, result.calibration, result.passes)
    _tell(result, device, out, plot)
    return result


def _tell(result, device, out: Path, plot: Path) -> None:
    table = Table("target", "direction", f"sharpest at [{device.unit}]", "+-", "degC")
    for each in result.passes:
        table.add_row(
            "?" if each.distance is None else f"{each.distance:g} m ({each.dioptres:.2f} D)",
            str(each.direction),
            f"{each.peak.command:.5g}",
            f"{each.peak.uncertainty:.2g}",
            "" if each.temperature is None else f"{each.temperature:.1f}",
        )
    Console().print(table)
    calibration = result.calibration
    if calibration is not None:
        click.echo(
            f"focus {calibration.range[0]:.2f} to {calibration.range[1]:.2f} D "
            f"+- {calibration.uncertainty:.3f} D, hysteresis {calibration.hysteresis:.3f} D"
        )
        temperature = calibration.temperature
        if temperature is not None and temperature.coefficient is not None:
            click.echo(f"drift {temperature.coefficient:+.4f} D/degC from {temperature.reference:.1f} degC")
        if calibration.breathing is not None:
            scale = calibration.breathing.scale
            click.echo(f"breathing {scale.max() / scale.min() - 1:.2%} over the range")
    for warning in result.warnings:
        click.echo(f"Warning: {warning}", err=True)
    click.echo(f"written: {', '.join(str(path) for path in (out, plot)[result.calibration is None :])}")
