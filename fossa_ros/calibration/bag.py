"""Calibration series from ROS 2 bags that hold images and lens commands."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fossa_ros.calibration.series import CalibrationFrame, CalibrationSeries
from fossa_ros.core.errors import InputError
from fossa_ros.messages import topics
from fossa_ros.messages.bags import BagReader
from fossa_ros.messages.fields import nanoseconds

LOG = logging.getLogger(__name__)
NUMBERS = ("Float64", "Float32", "Int64", "Int32", "Int16", "UInt32", "UInt16", "UInt8")


def read_bag(
    path: str | Path,
    distance: float | None,
    decode: Callable[[Any], np.ndarray],
    *,
    image_topic: str,
    command_topic: str,
    settling: float,
    exposure: float,
) -> CalibrationSeries:
    """Read one series: for each command, the first frame whose whole exposure lies between settling and the next.

    Args:
        path: folder of the bag.
        distance: of the target, metres; None if unknown.
        decode: converts an image message to (H, W, 3) uint8 RGB.
        image_topic: of ``sensor_msgs/Image``, stamped at the start of exposure.
        command_topic: of a number message of ``std_msgs``, in the unit of the lens command, recorded when it was sent.
        settling: seconds from a command until the lens has settled.
        exposure: seconds of exposure and readout.

    Raises:
        InputError: the bag or a topic does not exist, or no frame was exposed while the lens held a command.
    """
    commands: list[tuple[int, float]] = []
    frames: list[tuple[int, int, np.ndarray]] = []
    with BagReader(path) as bag:
        bag.require(image_topic, topics.IMAGE.type)
        bag.require(command_topic, *(f"std_msgs/msg/{name}" for name in NUMBERS))
        for recorded in bag.messages((image_topic, command_topic)):
            try:
                message = bag.read(recorded)
            except InputError as error:
                bag.refuse(recorded, error)
                continue
            if recorded.topic == command_topic:
                commands.append((recorded.recorded_ns, float(message.data)))
                continue
            start = nanoseconds(message.header.stamp)
            if _is_next(commands, frames, start, settling):
                image = cv2.cvtColor(decode(message), cv2.COLOR_RGB2GRAY)
                frames.append((len(commands) - 1, start, image))
        if bag.damage:
            LOG.warning("%s is %s.", path, bag.damage)
    ends = [sent for sent, _ in commands[1:]] + [2**63]
    certain = [(number, image) for number, start, image in frames if start + exposure * 1e9 <= ends[number]]
    if not certain:
        raise InputError(
            f"{path} has no frame on {image_topic} that was exposed while the lens held a command of {command_topic} "
            f"for {settling:g} s; hold each command longer, or correct --settling."
        )
    return CalibrationSeries(
        tuple(_frame(commands[number][1], image) for number, image in certain),
        distance,
        "" if distance is not None else str(path),
    )


def _frame(command: float, image: np.ndarray) -> CalibrationFrame:
    return CalibrationFrame(command, lambda: image)


def _is_next(
    commands: Sequence[tuple[int, float]], frames: Sequence[tuple[int, int, np.ndarray]], start: int, settling: float
) -> bool:
    """Return whether an exposure that began at ``start`` (ns) is the first of the last command after settling."""
    if not commands or (frames and frames[-1][0] == len(commands) - 1):
        return False
    return start >= commands[-1][0] + settling * 1e9
