"""Bags of a camera and a stepped lens in virtual time: what a recorder beside ``fossa_node`` would have written.

The frames of every focus are rendered once; what differs from frame to frame is the noise of the sensor. While the lens
settles, a frame shows the plane that it goes to: no sweep may use such a frame anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from fossa_ros.core.optics import dioptres
from fossa_ros.core.stack import FocusStack
from fossa_ros.messages import topics
from fossa_ros.messages.bag_writer import BagWriter
from fossa_ros.messages.exposure_times import KEY
from fossa_ros.messages.fields import depth_fields, header_fields, image_fields
from fossa_ros.messages.topics import Topic

MS = 1_000_000
NOISES = 8


@dataclass(frozen=True)
class Recording:
    """How a recording goes.

    Attributes:
        seconds: how long it is.
        rate: frames a second; every plane takes two.
        exposure_ns: of a frame.
        latency_ns: from the end of an exposure to the frame's arrival.
        settling_ns: of the lens.
        knocked_at: second at which the camera is knocked by ``knock`` px; None for never.
        knock: px to the right.
        noise: standard deviation of the sensor's noise, of 255.
        namespace: of the topics.
        frame_id: optical frame of the camera.
        start_ns: stamp of the first frame.
        metadata: whether the camera tells the exposure time of each frame.
    """

    seconds: float = 5.0
    rate: float = 30.0
    exposure_ns: int = 8 * MS
    latency_ns: int = 12 * MS
    settling_ns: int = 18 * MS
    knocked_at: float | None = None
    knock: int = 6
    noise: float = 1.0
    namespace: str = ""
    frame_id: str = "camera_optical_frame"
    start_ns: int = 1_700_000_000_000_000_000
    metadata: bool = False


def write_recording(
    path: Path,
    stack: FocusStack,
    truth: np.ndarray | None,
    recording: Recording = Recording(),
    *,
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
    progress: Callable[[float], None] = lambda seconds: None,
) -> int:
    """Write a bag of images, their calibration, the lens's set-points and the true depth; return its frames.

    Args:
        path: of the bag's folder; must not exist.
        stack: a plane for every focus distance, nearest first, with K.
        truth: (H, W) float32 metres; None for none.
        recording: how it goes.
        storage, compression: of the bag.
        progress: called with the seconds written so far.
    """
    written = [topics.IMAGE, topics.CAMERA_INFO, topics.LENS_STATE]
    written += [topics.TRUE_DEPTH] if truth is not None else []
    written += [topics.METADATA] if recording.metadata else []
    frames = 0
    with BagWriter(path, storage=storage, compression=compression) as writer:
        for topic in written:
            writer.add_topic(f"{recording.namespace}/{topic.name}", topic.type)
        messages = _Messages(stack, recording)
        if truth is not None:
            name = f"{recording.namespace}/{topics.TRUE_DEPTH.name}"
            writer.write(name, recording.start_ns, messages.truth(truth, recording.start_ns))
        for recorded_ns, topic, fields in messages.all():
            frames += topic is topics.IMAGE
            writer.write(f"{recording.namespace}/{topic.name}", recorded_ns, fields)
            progress((recorded_ns - recording.start_ns) / 1e9)
    return frames


Fields = dict[str, Any]
Entry = tuple[int, Topic, Fields]  # when it was recorded, on which topic


class _Messages:
    def __init__(self, stack: FocusStack, recording: Recording):
        self._stack = stack
        self._recording = recording
        rng = np.random.default_rng(0)
        shape = stack.planes[0].image.shape
        self._noises = [np.rint(rng.normal(0, recording.noise, shape)).astype(np.int16) for _ in range(NOISES)]
        self._images = [plane.image.astype(np.int16) for plane in stack.planes]

    def all(self) -> Iterator[Entry]:
        """Yield everything but the truth in the order of its arrival."""
        recording = self._recording
        period = round(1e9 / recording.rate)
        held: list[tuple[int, int]] = []  # from when on the lens was at which plane
        pending: list[Entry] = []
        for visit, plane in enumerate(self._visits(round(recording.seconds * recording.rate / 2))):
            sent = recording.start_ns + 2 * visit * period + MS
            if held and held[-1][1] != plane:
                pending.append((sent + MS // 2, topics.LENS_STATE, self._state(sent, held[-1][1])))
            if not held or held[-1][1] != plane:
                pending.append((sent + 3 * MS // 2, topics.LENS_STATE, self._state(sent + MS, plane)))
                held.append((sent, plane))
            else:
                pending.append((sent + MS // 2, topics.LENS_STATE, self._state(sent, plane)))
            for frame in (2 * visit, 2 * visit + 1):
                stamp = recording.start_ns + frame * period + 5 * MS
                arrived = stamp + recording.exposure_ns + recording.latency_ns
                pending.append((arrived, topics.CAMERA_INFO, self._info(stamp)))
                pending.append((arrived + MS // 10, topics.IMAGE, self._image(frame, plane, stamp)))
                if recording.metadata:
                    pending.append((arrived + MS // 5, topics.METADATA, self._metadata(stamp)))
            pending.sort(key=lambda entry: entry[0])
            horizon = recording.start_ns + 2 * (visit + 1) * period
            yield from (entry for entry in pending if entry[0] < horizon)
            pending = [entry for entry in pending if entry[0] >= horizon]
        yield from pending

    def truth(self, depth: np.ndarray, stamp_ns: int) -> Fields:
        """Return the true depth."""
        return {"header": self._header(stamp_ns), **depth_fields(depth, "32FC1")}

    def _visits(self, count: int) -> Iterator[int]:
        """Yield the planes as a stepped sweep takes them: near to far, and back from where it stands."""
        planes = range(len(self._stack))
        for visit in range(count):
            sweep, place = divmod(visit, len(planes))
            yield planes[place] if sweep % 2 == 0 else planes[-1 - place]

    def _image(self, frame: int, plane: int, stamp_ns: int) -> Fields:
        recording = self._recording
        image = cv2.add(self._images[plane], self._noises[frame * 5 % NOISES])
        image = np.clip(image, 0, 255).astype(np.uint8)
        knocked = recording.knocked_at
        if knocked is not None and stamp_ns >= recording.start_ns + knocked * 1e9:
            image = np.roll(image, recording.knock, axis=1)
        return {"header": self._header(stamp_ns), **image_fields(image, "rgb8")}

    def _info(self, stamp_ns: int) -> Fields:
        height, width = self._stack.size
        K = self._stack.K
        return {
            "header": self._header(stamp_ns),
            "height": height,
            "width": width,
            "distortion_model": "plumb_bob",
            "d": np.zeros(5),
            "k": K.ravel(),
            "r": np.eye(3).ravel(),
            "p": np.hstack([K, np.zeros((3, 1))]).ravel(),
            "binning_x": 0,
            "binning_y": 0,
            "roi": {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, "do_rectify": False},
        }

    def _state(self, stamp_ns: int, plane: int) -> Fields:
        focus = float(self._stack.focus_distances[plane])
        return {
            "header": self._header(stamp_ns),
            "backend": "optotune_ld4",
            "reachable": True,
            "focus_distance": focus,
            "power": float(dioptres(focus)),
            "measured": False,
            "temperature": 25.0,
            "faults": [],
        }

    def _metadata(self, stamp_ns: int) -> Fields:
        exposure = {"key": KEY, "value": str(self._recording.exposure_ns / 1e3)}
        status = {"level": 0, "name": "camera", "message": "", "hardware_id": "", "values": [exposure]}
        return {"header": self._header(stamp_ns), "status": [status]}

    def _header(self, stamp_ns: int) -> Fields:
        return header_fields(stamp_ns, self._recording.frame_id)
