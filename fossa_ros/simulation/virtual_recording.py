"""Bags of a camera and a stepped lens in virtual time: what a recorder beside ``fossa_node`` would write.

The image of every focus is given; frames differ in the noise of the sensor only. A frame exposed while the lens settles
shows the plane that the lens moves to: no sweep may use such a frame anyway.
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
from fossa_ros.messages.bag_writer import BagWriter
from fossa_ros.messages.exposure_times import KEY
from fossa_ros.messages.fields import depth_fields, header_fields, image_fields
from fossa_ros.messages.topics import CAMERA_INFO, IMAGE, LENS_STATE, LENS_TRIGGER, METADATA, TRUE_DEPTH, Topic

MS = 1_000_000
NOISES = 8  # different fields of noise
FRAMES_PER_PLANE = 2
PAUSE = 2  # periods between triggered sweeps

Entry = tuple[int, Topic, dict[str, Any]]  # when it was recorded, the topic, and the fields of the message


@dataclass(frozen=True)
class Recording:
    """What is recorded.

    Attributes:
        seconds: length of the recording.
        rate: frames a second; every plane takes FRAMES_PER_PLANE.
        exposure_ns: of a frame.
        latency_ns: from the end of an exposure to the frame's arrival.
        settling_ns: of the lens.
        knocked_at: second at which the image is shifted by ``knock`` px; None for never.
        knock: px to the right.
        noise: standard deviation of the sensor's noise, of 255.
        namespace: of the topics.
        frame_id: optical frame of the camera.
        start_ns: stamp of the first frame.
        metadata: whether the camera reports the exposure time of each frame.
        triggered: whether hardware triggers lens and camera: a frame for each plane, and PAUSE periods after each
            sweep; triggers in place of the lens's states.
        lost_frame: number of a frame that never arrives, from 0; None for none.
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
    triggered: bool = False
    lost_frame: int | None = None


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
    """Write a bag of images, their calibration, the lens's set-points and the true depth.

    Args:
        path: folder of the bag; must not exist.
        stack: a plane for every focus distance, nearest first, with K.
        truth: (H, W) float32 metres; None for none.
        recording: what is recorded.
        storage, compression: of the bag.
        progress: called with the seconds written so far.

    Returns:
        Number of frames.
    """
    topics = [IMAGE, CAMERA_INFO, LENS_TRIGGER if recording.triggered else LENS_STATE]
    topics += [TRUE_DEPTH] if truth is not None else []
    topics += [METADATA] if recording.metadata else []
    names = {topic: f"{recording.namespace}/{topic.name}" for topic in topics}
    frames = 0
    with BagWriter(path, storage=storage, compression=compression) as writer:
        for topic, name in names.items():
            writer.add_topic(name, topic.type)
        for recorded_ns, topic, fields in _Messages(stack, recording).all(truth):
            frames += topic is IMAGE
            writer.write(names[topic], recorded_ns, fields)
            progress((recorded_ns - recording.start_ns) / 1e9)
    return frames


class _Messages:
    def __init__(self, stack: FocusStack, recording: Recording):
        self._stack = stack
        self._recording = recording
        rng = np.random.default_rng(0)
        shape = stack.planes[0].image.shape
        self._noises = [np.rint(rng.normal(0, recording.noise, shape)).astype(np.int16) for _ in range(NOISES)]
        self._images = [plane.image.astype(np.int16) for plane in stack.planes]

    def all(self, truth: np.ndarray | None) -> Iterator[Entry]:
        """Yield all messages in the order of their arrival."""
        recording = self._recording
        period = round(1e9 / recording.rate)
        if truth is not None:
            yield recording.start_ns, TRUE_DEPTH, self._truth(truth)
        if recording.triggered:
            yield from self._triggered(period)
            return
        pending: list[Entry] = []
        before: int | None = None
        for visit, plane in enumerate(self._visits()):
            begin = recording.start_ns + FRAMES_PER_PLANE * visit * period
            pending += self._lens(begin + MS, before, plane)
            for frame in range(FRAMES_PER_PLANE * visit, FRAMES_PER_PLANE * (visit + 1)):
                pending += self._frame(frame, plane, recording.start_ns + frame * period + 5 * MS)
            before = plane
            pending.sort(key=lambda entry: entry[0])
            horizon = begin + FRAMES_PER_PLANE * period
            yield from (entry for entry in pending if entry[0] < horizon)
            pending = [entry for entry in pending if entry[0] >= horizon]
        yield from pending

    def _triggered(self, period: int) -> Iterator[Entry]:
        """Yield the messages of a rig that goes near to far and back, and says which in its triggers."""
        count, number = len(self._stack), 0
        entries: list[Entry] = []
        for sweep in range(int(self._recording.seconds * self._recording.rate / (count + PAUSE))):
            begin = self._recording.start_ns + sweep * (count + PAUSE) * period
            back = sweep % 2 == 1
            entries.append((begin + MS, LENS_TRIGGER, self._trigger(begin, "far_to_near" if back else "near_to_far")))
            for place in range(count):
                if number != self._recording.lost_frame:
                    entries += self._frame(number, count - 1 - place if back else place, begin + place * period)
                number += 1
        yield from sorted(entries, key=lambda entry: entry[0])

    def _visits(self) -> Iterator[int]:
        """Yield the planes as a stepped sweep takes them: near to far, and back from where it ended."""
        count = len(self._stack)
        for visit in range(round(self._recording.seconds * self._recording.rate / FRAMES_PER_PLANE)):
            sweep, place = divmod(visit, count)
            yield place if sweep % 2 == 0 else count - 1 - place

    def _lens(self, sent_ns: int, before: int | None, plane: int) -> list[Entry]:
        """Return the set-points before and after a command, or at the same time where there is no command."""
        if before == plane:
            return [(sent_ns + MS // 2, LENS_STATE, self._state(sent_ns, plane))]
        states = [] if before is None else [(sent_ns + MS // 2, LENS_STATE, self._state(sent_ns, before))]
        return [*states, (sent_ns + 3 * MS // 2, LENS_STATE, self._state(sent_ns + MS, plane))]

    def _frame(self, number: int, plane: int, stamp_ns: int) -> list[Entry]:
        arrived = stamp_ns + self._recording.exposure_ns + self._recording.latency_ns
        entries = [
            (arrived, CAMERA_INFO, self._info(stamp_ns)),
            (arrived + MS // 10, IMAGE, self._image(number, plane, stamp_ns)),
        ]
        if self._recording.metadata:
            entries.append((arrived + MS // 5, METADATA, self._metadata(stamp_ns)))
        return entries

    # The fields of the messages

    def _truth(self, depth: np.ndarray) -> dict[str, Any]:
        return self._header(self._recording.start_ns) | depth_fields(depth, "32FC1")

    def _image(self, frame: int, plane: int, stamp_ns: int) -> dict[str, Any]:
        recording = self._recording
        image = cv2.add(self._images[plane], self._noises[frame * 5 % NOISES])
        image = np.clip(image, 0, 255).astype(np.uint8)
        knocked = recording.knocked_at
        if knocked is not None and stamp_ns >= recording.start_ns + knocked * 1e9:
            image = np.roll(image, recording.knock, axis=1)
        return self._header(stamp_ns) | image_fields(image, "rgb8")

    def _info(self, stamp_ns: int) -> dict[str, Any]:
        height, width = self._stack.size
        K, raw = self._stack.K, self._stack.rectification
        P = K if raw is None else raw.P
        return self._header(stamp_ns) | {
            "height": height,
            "width": width,
            "distortion_model": "plumb_bob" if raw is None else raw.model,
            "d": np.zeros(5) if raw is None else np.array(raw.coefficients),
            "k": K.ravel(),
            "r": np.eye(3).ravel() if raw is None else raw.R.ravel(),
            "p": np.hstack([P, np.zeros((3, 1))]).ravel(),
            "binning_x": 0,
            "binning_y": 0,
            "roi": {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, "do_rectify": False},
        }

    def _state(self, stamp_ns: int, plane: int) -> dict[str, Any]:
        focus = float(self._stack.focus_distances[plane])
        return self._header(stamp_ns) | {
            "backend": "optotune_ld4",
            "reachable": True,
            "focus_distance": focus,
            "power": float(dioptres(focus)),
            "measured": False,
            "temperature": 25.0,
            "faults": [],
        }

    def _trigger(self, stamp_ns: int, source: str) -> dict[str, Any]:
        return self._header(stamp_ns) | {"time_ref": {"sec": 0, "nanosec": 0}, "source": source}

    def _metadata(self, stamp_ns: int) -> dict[str, Any]:
        exposure = {"key": KEY, "value": str(self._recording.exposure_ns / 1e3)}
        status = {"level": 0, "name": "camera", "message": "", "hardware_id": "", "values": [exposure]}
        return self._header(stamp_ns) | {"status": [status]}

    def _header(self, stamp_ns: int) -> dict[str, Any]:
        return {"header": header_fields(stamp_ns, self._recording.frame_id)}
