"""Calibration series from ROS 2 bags: images, and beside them what the lens was told."""

from __future__ import annotations

import logging
from collections.abc import Callable

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
    path,
    distance: float | None,
    decode: Callable[[object], np.ndarray],
    *,
    image_topic: str,
    command_topic: str,
    settling: float,
    exposure: float,
) -> CalibrationSeries:
    """Read one series: of every command the first frame that was exposed wholly while it held.

    Args:
        path: folder of the bag.
        distance: of the target, metres; None where unknown.
        decode: turns an image message into (H, W, 3) uint8 RGB.
        image_topic: of ``sensor_msgs/Image``, stamped at the start of exposure.
        command_topic: of a number of ``std_msgs``, in the unit of the lens's command, recorded when it was sent.
        settling: seconds from a command until the lens stands still.
        exposure: seconds of exposure and readout.

    Raises:
        InputError: no such bag or topic, or no frame that is certain.
    """
    commands, frames = [], []
    with BagReader(path) as bag:
        bag.require(image_topic, topics.IMAGE.type)
        bag.require(command_topic, *(f"std_msgs/msg/{name}" for name in NUMBERS))
        for recorded in bag.messages((image_topic, command_topic)):
            message = bag.read(recorded)
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
            f"for {settling:g} s; let it hold each one longer, or correct --settling."
        )
    return CalibrationSeries(
        tuple(CalibrationFrame(commands[number][1], lambda image=image: image) for number, image in certain),
        distance,
        "" if distance is not None else str(path),
    )


def _is_next(commands, frames, start: int, settling: float) -> bool:
    """Say whether a frame that began at ``start`` (ns) is the first of the last command after settling."""
    if not commands or (frames and frames[-1][0] == len(commands) - 1):
        return False
    return start >= commands[-1][0] + settling * 1e9
