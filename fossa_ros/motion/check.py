"""Say whether the planes of a sweep show one view, and bring them there where a small motion parted them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from fossa_ros.motion.config import MotionConfig
from fossa_ros.motion.measurement import Measurement, measure
from fossa_ros.motion.tiling import Tiling, warp_planes
from fossa_ros.stack import FocusStack

PAST = 160  # stacks remembered: more than there and back through the largest plan, 64 planes


@dataclass(frozen=True, eq=False)
class MotionResult:
    """What the motion check found in one stack.

    Attributes:
        verdict: ``still``, ``repaired`` or ``rejected``.
        reason: one sentence why it was rejected; why motion is unknown where it was accepted all the same; else empty.
        motion_px: largest misalignment found within the stack before any repair, px at network resolution; NaN where
            nothing could be measured.
        uncertainty_px: standard deviation of that; NaN likewise.
        moving_share: share of the view (0..1) that moved by itself, against the rest of the view.
        stack: the aligned stack (the very object given when still), None when rejected.
        valid: (H, W) bool, False where a repaired plane lacks pixels because they lay outside its frame; None
            where all are there.
    """

    verdict: str
    reason: str
    motion_px: float
    uncertainty_px: float
    moving_share: float
    stack: FocusStack | None
    valid: np.ndarray | None = None


class MotionCheck:
    """Judge the sweeps of one camera, one after another; each is compared within itself and with the one before.

    Stacks of a rolling sweep share frames with those before them; they are compared with the newest that shares none,
    because a frame agrees with itself however it moved.

    Not thread-safe: one check belongs to one stream of sweeps.
    """

    def __init__(self, config: MotionConfig | None = None):
        self.config = config or MotionConfig()
        self._previous: Measurement | None = None
        self._past: deque[tuple[frozenset[int | None], Measurement]] = deque(maxlen=PAST)

    def forget(self) -> None:
        """Forget the previous sweep: after a gap, or when the camera is another."""
        self._previous = None
        self._past.clear()

    def check(self, stack: FocusStack) -> MotionResult:
        """Return the verdict on a stack, repaired where that is possible.

        Raises:
            InputError: planes too small to see motion in.
        """
        tiling = Tiling.for_stack(stack)
        if self._past and self._past[-1][1].tiling.size != tiling.size:
            self.forget()
        stamps = frozenset(plane.stamp_ns for plane in stack.planes) - {None}
        apart = [measured for others, measured in self._past if not others & stamps]
        self._previous = apart[-1] if apart else None
        measured = measure(stack, tiling, self._previous, self.config)
        result = self._judge(stack, measured)
        if apart:  # what is older than the newest stack without common frames is never needed again
            while self._past[0][1] is not apart[-1]:
                self._past.popleft()
        self._past.append((stamps, measured.remembered()))
        return result

    def _judge(self, stack: FocusStack, measured: Measurement) -> MotionResult:
        config = self.config
        textured = float(measured.textured.mean())
        if textured < config.min_texture:
            unmeasured = MotionResult("", "", np.nan, np.nan, 0.0, None)
            return self._unknown(unmeasured, stack, f"only {textured:.0%} of the view has texture")
        motion = float(measured.motion_px.max())
        share = measured.moving_share
        found = MotionResult("rejected", "", motion, measured.uncertainty_px, share, None)
        if measured.unmatched:
            return replace(found, reason=measured.unmatched)
        if motion > max(config.still_px, config.repair_px):
            where = _planes(measured.motion_px > config.still_px)
            return replace(found, reason=f"{where} moved by {motion:.1f} px")
        if share > config.moving_share:
            where = _planes(measured.moving.mean(axis=1) > config.moving_share / 2)
            return replace(found, reason=f"{share:.0%} of the view moved by itself in {where}")
        if measured.blurred.any():
            return replace(found, reason=f"{_planes(measured.blurred)} blurred by motion")
        if measured.uncertainty_px > config.still_px:
            reason = f"it can be measured to {measured.uncertainty_px:.1f} px only"
            return self._unknown(found, stack, reason)
        if motion <= config.still_px:
            return replace(found, verdict="still", stack=stack)
        return self._repair(stack, measured, found)

    def _unknown(self, found: MotionResult, stack: FocusStack, reason: str) -> MotionResult:
        reason = f"motion is unknown: {reason}"
        if self.config.accept_unknown:
            return replace(found, verdict="still", reason=reason, stack=stack)
        return replace(found, verdict="rejected", reason=f"{reason} (accept_unknown takes such sweeps)")

    def _repair(self, stack: FocusStack, measured: Measurement, found: MotionResult) -> MotionResult:
        """Warp the planes to the reference plane, and measure again: what is still apart is rejected."""
        tiling, config = measured.tiling, self.config
        images, valid = warp_planes(stack, tiling, [tiling.homography(turn) for turn in measured.turns.planes[0]])
        aligned = stack.with_images(images)
        left = measure(aligned, tiling, self._previous, config)
        residual = float(left.motion_px.max())
        if residual > config.still_px:
            rest = f"{residual:.1f} px"
        elif left.moving_share > config.moving_share:
            rest = f"{left.moving_share:.0%} of the view"
        elif left.unmatched:
            rest = "not the same view"
        else:
            return replace(found, verdict="repaired", stack=aligned, valid=valid)
        where = _planes(measured.motion_px > config.still_px)
        return replace(found, reason=f"{where} moved by {found.motion_px:.1f} px, and repair leaves {rest}")


def _planes(which: np.ndarray) -> str:
    """Name the planes, counted from 1: "planes 3-5"."""
    numbers = np.flatnonzero(which) + 1
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    text = ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs if len(run))
    return f"plane {text}" if len(numbers) == 1 else f"planes {text}"
