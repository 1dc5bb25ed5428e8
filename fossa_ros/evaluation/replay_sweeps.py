"""The sweeps of a bag: as they were recorded, or taken again from its frames and what its lens said.

Both come from the code that the nodes run. What differs is the clock: it stands at the time at which each message was
recorded, so that a sweep does not depend on how fast it is replayed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from fossa_ros.calibration.configured_lens import configured_calibration
from fossa_ros.core.errors import InputError
from fossa_ros.messages.bags import BagReader, Recorded
from fossa_ros.messages.camera_frames import CameraFrames
from fossa_ros.messages.fields import (
    angular_velocity,
    captured_sweep,
    depth_from_message,
    lens_state,
    nanoseconds,
)
from fossa_ros.messages.stamp_pairs import StampPairs
from fossa_ros.parameters.capture_config import CaptureConfig
from fossa_ros.parameters.configured_decoder import configured_decoder
from fossa_ros.sweep import CapturedSweep, GyroBuffer, Sequencer, SweepMode
from fossa_ros.sweep.machines import Ended

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO, IMU = "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/Imu"
METADATA = "diagnostic_msgs/msg/DiagnosticArray"
LENS_STATE, FOCUS_STACK = "fossa_ros/msg/LensState", "fossa_ros/msg/FocusStack"
KINDS = {
    "focus_stack": (FOCUS_STACK,),
    "image": (IMAGE, COMPRESSED),
    "camera_info": (CAMERA_INFO,),
    "lens/state": (LENS_STATE,),
    "imu": (IMU,),
    "truth/depth": (IMAGE,),
}
TRUTHS = 64  # depth images kept until a sweep asks for them


@dataclass(frozen=True)
class Topics:
    """Which topics of a bag are replayed, None for those it lacks."""

    focus_stack: str | None
    image: str | None
    camera_info: str | None
    lens_state: str | None
    imu: str | None
    truth: str | None
    metadata: str | None = None

    @property
    def stacks(self) -> bool:
        """Whether recorded stacks are replayed, not frames."""
        return self.focus_stack is not None

    @property
    def names(self) -> set[str]:
        """All that are read."""
        if self.stacks:
            return {self.focus_stack} | ({self.truth} if self.truth else set())
        all_known = (self.image, self.camera_info, self.lens_state, self.imu, self.truth, self.metadata)
        return {name for name in all_known if name}

    @property
    def namespace(self) -> str:
        """Where the results belong: beside the stacks, or beside the frames."""
        return (self.focus_stack or self.image.removesuffix("/compressed")).rpartition("/")[0]


def find_topics(
    bag: BagReader, remapped: dict[str, str], frames: bool | None = None, exposure_topic: str | None = None
) -> Topics:
    """Choose the topics of a bag by the nodes' names for them, in whatever namespace.

    Args:
        bag: an open bag.
        remapped: topics by the node's name for them, where they have another.
        frames: whether frames are to be replayed even though there are stacks; None for stacks where there are any.
        exposure_topic: the parameter ``sweep.exposure_topic``; None for none.

    Raises:
        InputError: neither stacks nor frames with lens states, or several of them; no ``exposure_topic``.
    """

    def find(name: str) -> str | None:
        if name in remapped:
            bag.require(remapped[name], *KINDS[name])
            return remapped[name]
        ends = (f"/{name}", f"/{name}/compressed") if name == "image" else (f"/{name}",)
        found = [topic for topic, kind in bag.types.items() if kind in KINDS[name] and topic.endswith(ends)]
        if name == "image":  # with its calibration, and not the node's own depth; raw rather than compressed
            cameras = {topic.removesuffix("/compressed").rpartition("/")[0]: topic for topic in sorted(found)[::-1]}
            infos = remapped.get("camera_info")
            found = [
                topic
                for camera, topic in cameras.items()
                if not camera.endswith("/depth") and (infos or f"{camera}/camera_info" in bag.types)
            ]
        if name == "camera_info":
            found = [topic for topic in found if not topic.endswith("/depth/camera_info")]
        if len(found) > 1:
            raise InputError(
                f"{bag.path} has several topics for {name} ({', '.join(sorted(found))}); choose with "
                f"--remap {name}:=TOPIC."
            )
        return found[0] if found else None

    stack = None if frames else find("focus_stack")
    image, info, state = (None, None, None) if stack else (find("image"), find("camera_info"), find("lens/state"))
    if stack is None and None in (image, info, state):
        wanted = {"image": image, "camera_info": info, "lens/state": state}
        missing = [name for name, found in wanted.items() if not found]
        raise InputError(
            f"{bag.path} has neither focus_stack nor all of image, camera_info and lens/state ({', '.join(missing)} "
            f"missing; it has {', '.join(sorted(bag.types)) or 'no topics'}); name them with --remap."
        )
    metadata = None
    if exposure_topic and stack is None:  # a relative name is in the images' namespace
        namespace = image.removesuffix("/compressed").rpartition("/")[0]
        metadata = exposure_topic if exposure_topic.startswith("/") else f"{namespace}/{exposure_topic}"
        bag.require(metadata, METADATA)
    return Topics(stack, image, info, state, find("imu"), find("truth/depth"), metadata)


@dataclass(frozen=True, eq=False)
class ReplayedSweep:
    """A sweep of a bag.

    Attributes:
        sweep: as the node would have captured it.
        truth: (H, W) float32 metres, the true depth at its stamp; None where the bag does not tell.
        recorded_ns: when its last message was recorded.
    """

    sweep: CapturedSweep
    truth: np.ndarray | None
    recorded_ns: int


class Truth:
    """The true depths of a bag, each of which holds from its stamp until the next."""

    def __init__(self):
        self._known: deque[tuple[int, np.ndarray]] = deque(maxlen=TRUTHS)

    def add(self, message) -> None:
        """Keep one."""
        self._known.append((nanoseconds(message.header.stamp), depth_from_message(message)))

    def at(self, stamp_ns: int | None) -> np.ndarray | None:
        """Return what held at ``stamp_ns``; None where nothing did, or nothing was known."""
        before = [depth for stamp, depth in self._known if stamp_ns is not None and stamp <= stamp_ns]
        return before[-1] if before and np.isfinite(before[-1]).any() else None


def replayed_sweeps(bag: BagReader, topics: Topics, config: CaptureConfig) -> Iterator[ReplayedSweep]:
    """Yield the sweeps of a bag in their order, as ``fossa_node`` with these parameters would have captured them.

    Raises:
        InputError: parameters that cannot be used, or a lens whose states cannot tell the focus of frames.
    """
    truth = Truth()
    taken = None if topics.stacks else _FrameSweeps(config)
    for recorded in bag.messages(topics.names):
        try:
            message = bag.read(recorded)
        except InputError as error:
            bag.break_off(recorded, error)
            return
        if recorded.topic == topics.truth:
            truth.add(message)
            continue
        try:
            sweeps = [captured_sweep(message)] if taken is None else taken.take(recorded, message, topics)
        except AttributeError as error:
            raise InputError(
                f"{bag.path}: {recorded.topic} was recorded by another version, whose {recorded.msgtype} differs "
                f"({error}); replay it with that version."
            ) from error
        for sweep in sweeps:
            stamp = None if sweep.stack is None else sweep.stack.stamp_ns
            yield ReplayedSweep(sweep, truth.at(stamp), recorded.recorded_ns)


class _FrameSweeps:
    """Take sweeps from frames and the states of a lens that somebody drove while the bag was recorded."""

    def __init__(self, config: CaptureConfig):
        self._timing = config.sweep.timing
        external = replace(config.sweep.config, mode=SweepMode.EXTERNAL)
        self._sequencer = Sequencer(config.sweep.plan, self._timing, external)
        self._gyro = GyroBuffer(config.imu.rotation, config.imu.clock_offset_ns)
        self._decoder = configured_decoder(config, configured_calibration(config.lens), self._gyro)
        self._frames = CameraFrames(self._sequencer.add_frame, exposure_times=bool(config.sweep.exposure_topic))
        self._pairs = StampPairs(lambda image, info: self._frames.add(image, info, self._now_ns))
        self._now_ns: int | None = None
        self._wake_ns = 0
        self._number = 0

    def take(self, recorded: Recorded, message, topics: Topics) -> Iterator[CapturedSweep]:
        """Take one message; yield the sweeps that end before it and by it."""
        if self._now_ns is None:
            self._sequencer.begin(recorded.recorded_ns)
            self._wake_ns = recorded.recorded_ns
        while self._wake_ns < recorded.recorded_ns:
            yield from self._step(self._wake_ns)
        self._now_ns = recorded.recorded_ns
        if recorded.topic == topics.image:
            self._pairs.add(0, message)
        elif recorded.topic == topics.camera_info:
            self._pairs.add(1, message)
        elif recorded.topic == topics.metadata:
            self._frames.add_metadata(message)
        elif recorded.topic == topics.imu:
            rate = angular_velocity(message)
            if rate is not None:
                self._gyro.add(nanoseconds(message.header.stamp), rate)
        elif message.reachable:
            if not message.measured and not self._timing.settling_ns:
                raise InputError(
                    "The recorded lens told its set-points, not its position: set sweep.settling to the time that it "
                    "takes to settle (--set sweep.settling=SECONDS)."
                )
            self._sequencer.on_external_state(lens_state(message), bool(message.measured))
        yield from self._step(recorded.recorded_ns)

    def _step(self, now_ns: int) -> Iterator[CapturedSweep]:
        """Ask the sequencer as the capture does, at ``now_ns``."""
        while isinstance(step := self._sequencer.next(now_ns), Ended):
            yield from self._ended()
            self._sequencer.begin(now_ns)
        yield from self._ended()
        self._wake_ns = max(step.until_ns, now_ns + 1)

    def _ended(self) -> Iterator[CapturedSweep]:
        for outcome in self._sequencer.outcomes():
            yield self._decoder.decode_sweep(self._number, outcome, self._timing)
            self._number += 1
