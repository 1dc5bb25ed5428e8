"""Bags of a camera and a stepped lens in virtual time: what a recorder beside ``fossa_node`` would have written.

The frames of every focus are rendered once; what differs from frame to frame is the noise of the sensor. While the lens
settles, a frame shows the plane that it goes to: no sweep may use such a frame anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from fossa_ros.core.optics import dioptres
from fossa_ros.core.stack import FocusStack
from fossa_ros.messages.bags import typestore
from fossa_ros.messages.exposure_times import KEY
from fossa_ros.messages.fields import depth_fields, image_fields, stamp_fields

MS = 1_000_000
NOISES = 8
KINDS = {
    "image": "sensor_msgs/msg/Image",
    "camera_info": "sensor_msgs/msg/CameraInfo",
    "lens/state": "fossa_ros/msg/LensState",
    "truth/depth": "sensor_msgs/msg/Image",
    "metadata": "diagnostic_msgs/msg/DiagnosticArray",
}


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
    store = typestore()
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    frames = 0
    optional = {"truth/depth": truth is not None, "metadata": recording.metadata}
    with writer:
        connections = {
            topic: writer.add_connection(f"{recording.namespace}/{topic}", kind, typestore=store)
            for topic, kind in KINDS.items()
            if optional.get(topic, True)
        }
        messages = _Messages(store, stack, recording)
        if truth is not None:
            stamp = recording.start_ns
            writer.write(connections["truth/depth"], stamp, messages.truth(truth, stamp))
        for recorded_ns, topic, message in messages.all():
            frames += topic == "image"
            writer.write(connections[topic], recorded_ns, message)
            progress((recorded_ns - recording.start_ns) / 1e9)
    return frames


class _Messages:
    def __init__(self, store, stack: FocusStack, recording: Recording):
        self._store = store
        self._stack = stack
        self._recording = recording
        rng = np.random.default_rng(0)
        shape = stack.planes[0].image.shape
        self._noises = [np.rint(rng.normal(0, recording.noise, shape)).astype(np.int16) for _ in range(NOISES)]
        self._images = [plane.image.astype(np.int16) for plane in stack.planes]

    def all(self) -> Iterator[tuple[int, str, bytes]]:
        """Yield everything but the truth in the order of its arrival."""
        recording = self._recording
        period = round(1e9 / recording.rate)
        held: list[tuple[int, int]] = []  # from when on the lens was at which plane
        pending: list[tuple[int, str, bytes]] = []
        for visit, plane in enumerate(self._visits(round(recording.seconds * recording.rate / 2))):
            sent = recording.start_ns + 2 * visit * period + MS
            if held and held[-1][1] != plane:
                pending.append((sent + MS // 2, "lens/state", self._state(sent, held[-1][1])))
            if not held or held[-1][1] != plane:
                pending.append((sent + 3 * MS // 2, "lens/state", self._state(sent + MS, plane)))
                held.append((sent, plane))
            else:
                pending.append((sent + MS // 2, "lens/state", self._state(sent, plane)))
            for frame in (2 * visit, 2 * visit + 1):
                stamp = recording.start_ns + frame * period + 5 * MS
                arrived = stamp + recording.exposure_ns + recording.latency_ns
                pending.append((arrived, "camera_info", self._info(stamp)))
                pending.append((arrived + MS // 10, "image", self._image(frame, plane, stamp)))
                if recording.metadata:
                    pending.append((arrived + MS // 5, "metadata", self._metadata(stamp)))
            pending.sort(key=lambda entry: entry[0])
            horizon = recording.start_ns + 2 * (visit + 1) * period
            yield from (entry for entry in pending if entry[0] < horizon)
            pending = [entry for entry in pending if entry[0] >= horizon]
        yield from pending

    def truth(self, depth: np.ndarray, stamp_ns: int) -> bytes:
        """Return the true depth."""
        return self._message("truth/depth", header=self._header(stamp_ns), **depth_fields(depth, "32FC1"))

    def _visits(self, count: int) -> Iterator[int]:
        """Yield the planes as a stepped sweep takes them: near to far, and back from where it stands."""
        planes = range(len(self._stack))
        for visit in range(count):
            sweep, place = divmod(visit, len(planes))
            yield planes[place] if sweep % 2 == 0 else planes[-1 - place]

    def _image(self, frame: int, plane: int, stamp_ns: int) -> bytes:
        recording = self._recording
        image = cv2.add(self._images[plane], self._noises[frame * 5 % NOISES])
        image = np.clip(image, 0, 255).astype(np.uint8)
        knocked = recording.knocked_at
        if knocked is not None and stamp_ns >= recording.start_ns + knocked * 1e9:
            image = np.roll(image, recording.knock, axis=1)
        return self._message("image", header=self._header(stamp_ns), **image_fields(image, "rgb8"))

    def _info(self, stamp_ns: int) -> bytes:
        height, width = self._stack.size
        K = self._stack.K
        region = self._store.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        return self._message(
            "camera_info",
            header=self._header(stamp_ns),
            height=height,
            width=width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=K.ravel(),
            r=np.eye(3).ravel(),
            p=np.hstack([K, np.zeros((3, 1))]).ravel(),
            binning_x=0,
            binning_y=0,
            roi=region,
        )

    def _state(self, stamp_ns: int, plane: int) -> bytes:
        focus = float(self._stack.focus_distances[plane])
        return self._message(
            "lens/state",
            header=self._header(stamp_ns),
            backend="optotune_ld4",
            reachable=True,
            focus_distance=focus,
            power=float(dioptres(focus)),
            measured=False,
            temperature=25.0,
            faults=[],
        )

    def _metadata(self, stamp_ns: int) -> bytes:
        types = self._store.types
        exposure = types["diagnostic_msgs/msg/KeyValue"](KEY, str(self._recording.exposure_ns / 1e3))
        status = types["diagnostic_msgs/msg/DiagnosticStatus"](0, "camera", "", "", [exposure])
        return self._message("metadata", header=self._header(stamp_ns), status=[status])

    def _header(self, stamp_ns: int):
        types = self._store.types
        return types["std_msgs/msg/Header"](
            types["builtin_interfaces/msg/Time"](**stamp_fields(stamp_ns)), self._recording.frame_id
        )

    def _message(self, topic: str, **fields) -> bytes:
        return bytes(self._store.serialize_cdr(self._store.types[KINDS[topic]](**fields), KINDS[topic]))
