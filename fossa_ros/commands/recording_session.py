"""What a recording needs on the command line: a camera, a person's Enter and a folder, or bags."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from fossa_ros.commands.option_types import NOT_NEGATIVE
from fossa_ros.commands.progress import counted
from fossa_ros.core.errors import InputError

CAMERA = click.option(
    "--camera",
    default="0",
    show_default=True,
    help="Number, device, file or URL that OpenCV opens; or topic:/camera/image_raw, a ROS topic of images.",
)

_OF_TOPICS = (
    click.option("--image-topic", default="/image", show_default=True, help="Topic of sensor_msgs/Image."),
    click.option(
        "--command-topic",
        default="/lens/command",
        show_default=True,
        help="Topic of lens commands, numbers of std_msgs.",
    ),
    click.option(
        "--settling",
        default=0.1,
        show_default=True,
        type=NOT_NEGATIVE,
        help="Seconds from a command until the lens has settled.",
    ),
    click.option(
        "--exposure",
        default=0.01,
        show_default=True,
        type=NOT_NEGATIVE,
        help="Seconds of exposure and readout of a frame.",
    ),
)
_OF_BAGS = (
    *_OF_TOPICS,
    click.option("--backend", default="", help="Lens driver that the calibration is for; see 'fossa lens list'."),
    click.option("--unit", default="steps", show_default=True, help="Unit of the lens command."),
)


def takes_bags(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of ``read_bags``."""
    for option in reversed(_OF_BAGS):
        function = option(function)
    return function


def takes_topics(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of ``read_bags`` but those that say which lens it is."""
    for option in reversed(_OF_TOPICS):
        function = option(function)
    return function


def read_bags(bags: Iterable[tuple[float | None, Path]], image_topic, command_topic, settling, exposure, backend, unit):
    """Return the series of bags, each with the distance of its target (m; None if it is not needed), and the lens."""
    from fossa_ros.calibration.bag import read_bag
    from fossa_ros.calibration.lens_calibration import CalibratedDevice
    from fossa_ros.core.sample_range import SampleRange
    from fossa_ros.messages.images import rgb_from_message

    decode = partial(rgb_from_message, sample_range=SampleRange())
    topics = {"image_topic": image_topic, "command_topic": command_topic}
    bags, series = list(bags), []
    with counted("Reading the bags", len(bags)) as advance:
        for distance, path in bags:
            series.append(read_bag(path, distance, decode, **topics, settling=settling, exposure=exposure))
            advance()
    commands = [frame.command for each in series for frame in each.frames]
    return series, CalibratedDevice(backend, backend or "lens", "command", unit, min(commands), max(commands))


def open_camera(source: str):
    """Open a camera of OpenCV, or a topic of ROS."""
    if not source.startswith("topic:"):
        from fossa_ros.calibration.live import VideoCamera

        return VideoCamera(source)
    try:
        from fossa_ros.ros.topic_camera import TopicCamera
    except ImportError as error:
        raise InputError(f"Topics need ROS 2 ({error}); install the package with its ROS wheels.") from error
    return TopicCamera(source.removeprefix("topic:"))


def await_enter(prompt: str) -> None:
    """Wait for a line on standard input, which need not be a terminal."""
    click.echo(prompt, err=True)
    if not sys.stdin.readline():
        raise InputError("Standard input ended before Enter was pressed; run 'live' in a terminal.")


def refuse_repeated(paths: Sequence[Path]) -> None:
    """Raise InputError if one recording is given twice: it would count as two, and errors as smaller than they are."""
    seen = set()
    for path in paths:
        if path.resolve() in seen:
            raise InputError(f"{path} is given twice; give each recording once.")
        seen.add(path.resolve())


def new_recording(record: Path | None, out: Path) -> Path:
    """Return the folder of a recording, by default beside ``out``; it must not hold one already."""
    from fossa_ros.calibration.recording import DESCRIPTION

    folder = record or out.with_name(f"{out.stem}-recording")
    if (folder / DESCRIPTION).exists():
        raise InputError(f"{folder} already holds a recording; give another --out or --record, or remove it.")
    return folder
