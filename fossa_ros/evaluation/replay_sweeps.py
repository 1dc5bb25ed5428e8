"""The sweeps of a bag: recorded stacks, or sweeps assembled from its frames and the states of its lens.

The code is that of the nodes, except for the clock, which shows the time at which each message was recorded: sweeps do
not depend on the speed of the replay.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fossa_ros.calibration.configured_lens import configured_calibration
from fossa_ros.core.errors import InputError
from fossa_ros.core.sample_range import LOG, Log, SampleRange
from fossa_ros.evaluation.replay_topics import ReplayTopics
from fossa_ros.messages.bags import BagReader
from fossa_ros.messages.camera_frames import CameraFrames
from fossa_ros.messages.camera_info import takes_rectified
from fossa_ros.messages.camera_pairs import CameraPairs
from fossa_ros.messages.fields import (
    angular_velocity,
    captured_sweep,
    depth_from_message,
    lens_state,
    nanoseconds,
)
from fossa_ros.messages.recorded import RecordedMessage
from fossa_ros.parameters.capture_config import CameraConfig, CaptureConfig
from fossa_ros.parameters.configured_decoder import configured_decoder
from fossa_ros.sweep import CapturedSweep, GyroBuffer, Sequencer, SweepMode
from fossa_ros.sweep.machines import Ended

TRUTHS = 64  # depth images kept


@dataclass(frozen=True, eq=False)
class ReplayedSweep:
    """A sweep of a bag.

    Attributes:
        sweep: as the node would have captured it.
        truth: (H, W) float32 metres, the true depth at its stamp; None where the bag has none.
        recorded_ns: when its last message was recorded.
    """

    sweep: CapturedSweep
    truth: np.ndarray | None
    recorded_ns: int


class Truth:
    """The true depths of a bag; each is valid from its stamp until the next."""

    def __init__(self) -> None:
        self._known: deque[tuple[int, np.ndarray]] = deque(maxlen=TRUTHS)

    def add(self, message: Any) -> None:
        """Add a depth image."""
        self._known.append((nanoseconds(message.header.stamp), depth_from_message(message)))

    def at(self, stamp_ns: int | None) -> np.ndarray | None:
        """Return the truth at ``stamp_ns``; None where there is none, or where all of it is unknown."""
        before = [depth for stamp, depth in self._known if stamp_ns is not None and stamp <= stamp_ns]
        return before[-1] if before and np.isfinite(before[-1]).any() else None


def replayed_sweeps(
    bag: BagReader,
    topics: ReplayTopics,
    config: CaptureConfig,
    on_fault: Callable[[str], None] = lambda fault: None,
    log: Log = LOG,
) -> Iterator[ReplayedSweep]:
    """Yield the sweeps of a bag in their order, as ``fossa_node`` with these parameters would have captured them.

    Where a bag ends before its first sweep does, that sweep is yielded with the reason that it would have had.

    Args:
        bag: an open bag.
        topics: of the bag.
        config: parameters of the node.
        on_fault: receives, at the end, why no frame or no stack of the bag could be used.
        log: receives what is found out and assumed of the images.

    Raises:
        InputError: parameters that cannot be used, or lens states from which the focus of frames cannot be known.
    """
    truth = Truth()
    sample_range = SampleRange(config.camera.bits, log=log)
    # The camera_info of a recorded stack is one of raw images, unless the user says otherwise.
    rectified = config.camera.image == "rectified"
    assembler = None if topics.stacks else _FrameSweeps(config, topics, log)
    for recorded in bag.messages(topics.names):
        try:
            message = bag.read(recorded)
        except InputError as error:
            bag.refuse(recorded, error)
            continue
        if recorded.topic == topics.truth:
            truth.add(message)
            continue
        try:
            sweeps = (
                [with_optics(captured_sweep(message, rectified, sample_range), config.camera)]
                if assembler is None
                else assembler.add(recorded, message)
            )
        except AttributeError as error:
            raise InputError(
                f"{bag.path}: {recorded.topic} was recorded by another version of fossa_ros, which defines "
                f"{recorded.msgtype} otherwise ({error}); replay it with that version."
            ) from error
        for sweep in sweeps:
            stamp = None if sweep.stack is None else sweep.stack.stamp_ns
            yield ReplayedSweep(sweep, truth.at(stamp), recorded.recorded_ns)
    if assembler is not None:
        for sweep in assembler.end():
            yield ReplayedSweep(sweep, None, bag.end_ns)
        if fault := assembler.fault():
            on_fault(fault)
    elif topics.focus_stack is not None and not bag.counts[topics.focus_stack]:
        on_fault(f"nothing arrives on {topics.focus_stack}; replay the frames with --frames, or record it again")


def with_optics(sweep: CapturedSweep, camera: CameraConfig) -> CapturedSweep:
    """Return a recorded sweep with the optics that the parameters give; where they give none, the recorded count."""
    if sweep.stack is None or not (camera.focal_length or camera.f_number):
        return sweep
    stack = replace(
        sweep.stack,
        focal_length=camera.focal_length or sweep.stack.focal_length,
        f_number=camera.f_number or sweep.stack.f_number,
    )
    return replace(sweep, stack=stack)


class _FrameSweeps:
    """Assemble sweeps from recorded frames and lens states or triggers, in the mode ``external`` or ``counted``."""

    def __init__(self, config: CaptureConfig, topics: ReplayTopics, log: Log):
        self._topics = topics
        self._timing = config.sweep.timing
        how = config.sweep.config
        if how.mode is not SweepMode.COUNTED:
            how = replace(how, mode=SweepMode.EXTERNAL)
        self._sequencer = Sequencer(config.sweep.plan, self._timing, how)
        self._gyro = GyroBuffer(config.imu.rotation, config.imu.clock_offset_ns)
        self._decoder = configured_decoder(config, configured_calibration(config.lens), self._gyro, log)
        rectified, _ = takes_rectified(config.camera.image, topics.image or "")
        self._frames = CameraFrames(
            self._sequencer.add_frame,
            exposure_times=bool(config.sweep.exposure_topic),
            counter_key=config.sweep.counter_key,
            rectified=rectified,
            frame_id=config.camera.frame_id,
        )
        self._pairs = CameraPairs(
            lambda image, info: self._frames.add(image, info, self._now_ns), topics.image, topics.camera_info
        )
        self._now_ns: int | None = None
        self._wake_ns = 0
        self._number = 0

    def add(self, recorded: RecordedMessage, message: Any) -> Iterator[CapturedSweep]:
        """Add one message; yield the sweeps that end before it and with it."""
        topics = self._topics
        if self._now_ns is None:
            self._sequencer.begin(recorded.recorded_ns)
            self._wake_ns = recorded.recorded_ns
        while self._wake_ns < recorded.recorded_ns:
            yield from self._step(self._wake_ns)
        self._now_ns = recorded.recorded_ns
        if recorded.topic == topics.image:
            self._pairs.add_image(message)
        elif recorded.topic == topics.camera_info:
            self._pairs.add_info(message)
        elif recorded.topic == topics.metadata:
            self._frames.add_metadata(message)
        elif recorded.topic == topics.imu:
            rate = angular_velocity(message)
            if rate is not None:
                self._gyro.add(nanoseconds(message.header.stamp), rate)
        elif recorded.topic == topics.lens_trigger:
            self._sequencer.on_trigger(nanoseconds(message.header.stamp), recorded.recorded_ns, message.source)
        elif message.reachable:
            if not message.measured and not self._timing.settling_ns:
                raise InputError(
                    "The recorded lens reports its set-points, not its position; set sweep.settling to its "
                    "settling time (--set sweep.settling=SECONDS)."
                )
            self._sequencer.on_external_state(lens_state(message), bool(message.measured))
        yield from self._step(recorded.recorded_ns)

    def end(self) -> Iterator[CapturedSweep]:
        """Yield the sweep under way at the end of the bag, with its reason, if there was none before."""
        if self._number == 0 and self._now_ns is not None:
            yield from self._step(self._wake_ns)

    def fault(self) -> str:
        """Return why no frame of the bag could be used; empty where some could."""
        return self._pairs.fault(few=0)

    def _step(self, now_ns: int) -> Iterator[CapturedSweep]:
        """Advance the sequencer to ``now_ns``, as the capture does."""
        while isinstance(step := self._sequencer.next(now_ns), Ended):
            yield from self._ended()
            self._sequencer.begin(now_ns)
        yield from self._ended()
        self._wake_ns = max(step.until_ns, now_ns + 1)

    def _ended(self) -> Iterator[CapturedSweep]:
        for outcome in self._sequencer.outcomes():
            yield self._decoder.decode_sweep(self._number, outcome, self._timing)
            self._number += 1
