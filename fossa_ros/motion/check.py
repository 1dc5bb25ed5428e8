"""Check whether the planes of a sweep show one view, and align them after a small motion."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.motion.config import MotionConfig
from fossa_ros.motion.frame import Frame
from fossa_ros.motion.frame_pairs import details
from fossa_ros.motion.measure import measure, stamps_of
from fossa_ros.motion.measurement import Measurement
from fossa_ros.motion.plane_registrations import PlaneRegistrations
from fossa_ros.motion.tiling import Tiling
from fossa_ros.motion.verdict import MotionResult, decide

if TYPE_CHECKING:
    from fossa_ros.sweep.gyro import GyroSamples

PAST = 160  # stacks remembered: more than one pass near-far-near through the largest plan, 64 planes


class MotionCheck:
    """Check the sweeps of one camera, one after another; each is compared within itself and with the previous one.

    Planes are compared as they arrive (`add_plane`); once the sweep is complete, `finish` does what is left.

    Stacks of a rolling sweep share frames with those before them. They are compared with the newest stack that shares
    none, because a frame agrees with itself however the camera moved.

    Not thread-safe: one check belongs to one stream of sweeps.

    Args:
        config: thresholds.
    """

    def __init__(self, config: MotionConfig | None = None):
        self.config = config or MotionConfig()
        self._past: deque[Measurement] = deque(maxlen=PAST)
        self._registrations = PlaneRegistrations()
        self._newest: FocusPlane | None = None  # of the sweep that is being taken

    def reset(self) -> None:
        """Forget the previous sweeps: after a gap, or for another camera."""
        self._past.clear()
        self._newest = None

    def add_plane(self, plane: FocusPlane, K: np.ndarray | None = None) -> None:
        """Compare a plane with the one before it and with the previous sweep.

        Args:
            plane: the newest plane of the sweep that is being taken; its image must not change any more.
            K: (3, 3) intrinsic matrix of the stack to come, None where unknown.

        Raises:
            InputError: the plane is too small to measure motion in.
        """
        tiling = Tiling.for_planes(plane.image.shape[:2], K)
        frame = self._registrations.frame(plane, tiling)
        previous = self._past[-1] if self._past else None
        if previous is not None and previous.tiling.size == tiling.size and plane.stamp_ns not in previous.stamps:
            self._compare_with(previous, plane, frame)
        if self._newest is not None and self._newest.image.shape == plane.image.shape:
            near, far = sorted((self._newest, plane), key=lambda each: each.focus_distance)
            if not self.config.is_same_focus(near.focus_distance, far.focus_distance):
                pair = (self._registrations.frame(each, tiling) for each in (near, far))
                self._registrations.register(*pair, same_focus=False)
        self._newest = plane

    def finish(self, stack: FocusStack, gyro: GyroSamples | None = None) -> MotionResult:
        """Return the verdict on a complete stack, repaired where that is possible.

        Planes that were not added are compared now. A last plane at the focus of the first is a bookend: it is
        evidence, and not part of the stack in the result.

        Args:
            stack: the planes, stamped where ``gyro`` is to be used.
            gyro: rates around the time of the stack; None without a gyroscope.

        Raises:
            InputError: the planes are too small to measure motion in.
        """
        tiling = Tiling.for_stack(stack)
        self._newest = None
        if self._past and self._past[-1].tiling.size != tiling.size:
            self._past.clear()
        stamps = stamps_of(stack)
        apart = [measured for measured in self._past if not measured.stamps & stamps]
        previous = apart[-1] if apart else None
        measured = measure(stack, tiling, previous, self.config, gyro, self._registrations)
        result = decide(stack, measured, previous, self.config, self._registrations)
        if result.stack is not None and _has_bookend(result.stack, self.config):
            result = replace(result, stack=replace(result.stack, planes=result.stack.planes[:-1]))
        if previous is not None:  # stacks older than the newest without common frames are never needed again
            while self._past[0] is not previous:
                self._past.popleft()
        self._past.append(measured.remembered())
        return result

    def check(self, stack: FocusStack, gyro: GyroSamples | None = None) -> MotionResult:
        """Add all planes of a stack and finish it."""
        for plane in stack.planes:
            self.add_plane(plane, stack.K)
        return self.finish(stack, gyro)

    def _compare_with(self, previous: Measurement, plane: FocusPlane, frame: Frame) -> None:
        """Register a plane with the one of the same focus in the previous sweep, and measure the detail of both."""
        other = previous.same_focus_plane(plane.focus_distance, self.config)
        if other is not None:
            earlier = previous.frames[other]
            details(self._registrations.register(frame, earlier, same_focus=True), frame, earlier)


def _has_bookend(stack: FocusStack, config: MotionConfig) -> bool:
    """Return whether the last plane of a stack only repeats the focus of the first."""
    first, *others, last = stack.focus_distances
    return len(others) > 1 and stack.reference < len(stack) - 1 and config.is_same_focus(first, last)
