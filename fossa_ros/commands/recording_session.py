"""What a recording with a lens and a camera needs on the command line: the camera, a person's Enter, and a folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from fossa_ros.core.errors import InputError

CAMERA = click.option(
    "--camera",
    default="0",
    show_default=True,
    help="Number, device, file or URL that OpenCV opens; or topic:/camera/image_raw, a ROS topic of images.",
)


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
