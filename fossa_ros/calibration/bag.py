"""Calibration series from ROS 2 bags: images, and beside them what the lens was told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.typesys import Stores, get_typestore

from fossa_ros.calibration.series import CalibrationFrame, CalibrationSeries
from fossa_ros.errors import InputError

IMAGE = "sensor_msgs/msg/Image"
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
    types = {image_topic: (IMAGE,), command_topic: tuple(f"std_msgs/msg/{name}" for name in NUMBERS)}
    try:
        with AnyReader([Path(path)], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
            for topic, allowed in types.items():
                _check_topic(path, reader, topic, allowed)
            wanted = [connection for connection in reader.connections if connection.topic in types]
            for connection, recorded_ns, raw in reader.messages(wanted):
                message = reader.deserialize(raw, connection.msgtype)
                if connection.topic == command_topic:
                    commands.append((recorded_ns, float(message.data)))
                    continue
                stamp = message.header.stamp
                start = stamp.sec * 10**9 + stamp.nanosec
                if _is_next(commands, frames, start, settling):
                    image = cv2.cvtColor(decode(message), cv2.COLOR_RGB2GRAY)
                    frames.append((len(commands) - 1, start, image))
    except (AnyReaderError, OSError) as error:
        raise InputError(f"{path} cannot be read as a bag ({error}); give the folder of a ROS 2 bag.") from error
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


def _check_topic(path, reader: AnyReader, topic: str, allowed: tuple[str, ...]) -> None:
    found = reader.topics.get(topic)
    if found is None:
        raise InputError(f"{path} has no topic {topic}; it has {', '.join(sorted(reader.topics)) or 'none'}.")
    if found.msgtype not in allowed:
        raise InputError(f"{path}: {topic} is of {found.msgtype}, not of {' or '.join(allowed)}; name another topic.")


def _is_next(commands, frames, start: int, settling: float) -> bool:
    """Say whether a frame that began at ``start`` (ns) is the first of the last command after settling."""
    if not commands or (frames and frames[-1][0] == len(commands) - 1):
        return False
    return start >= commands[-1][0] + settling * 1e9
