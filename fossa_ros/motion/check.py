"""Say whether the planes of a sweep show one view, and bring them there where a small motion parted them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.motion.config import MotionConfig
from fossa_ros.motion.flow_warp import follow
from fossa_ros.motion.frame_memory import FrameMemory
from fossa_ros.motion.measurement import TILE_FLOOR, Measurement, is_same_focus, measure, pixel_offset
from fossa_ros.motion.moving_region import at_size
from fossa_ros.motion.registration import Frame
from fossa_ros.motion.tiling import Tiling, warp_planes

if TYPE_CHECKING:
    from fossa_ros.sweep.gyro import GyroSamples

PAST = 160  # stacks remembered: more than there and back through the largest plan, 64 planes


@dataclass(frozen=True, eq=False)
class MotionResult:
    """What the motion check found in one stack.

    Attributes:
        verdict: ``still``, ``repaired``, ``masked`` (aligned too, where that was needed), ``rejected`` or ``unknown``.
        reason: one sentence why: what was masked, rejected, or why motion is unknown; empty when still or repaired.
        motion_px: largest misalignment found within the stack before any repair, px at network resolution; NaN where
            nothing could be measured.
        uncertainty_px: standard deviation of that; NaN likewise.
        moving_share: share of the view (0..1) that moved by itself, against the rest of the view.
        stack: the aligned stack (the very object given when still), None when rejected.
        valid: (H, W) bool, False where depth is unknown: a repaired plane lacks pixels because they lay outside its
            frame, or something moved by itself; None where all are there.
        moving: (H, W) bool, what moved by itself; None where nothing did.
        severity: how near the evidence is to the thresholds, which are at 1; infinite where it says nothing.
        measured: the evidence.
        still_px: the largest misalignment that counted as still.
    """

    verdict: str
    reason: str
    motion_px: float
    uncertainty_px: float
    moving_share: float
    stack: FocusStack | None
    valid: np.ndarray | None = None
    moving: np.ndarray | None = None
    severity: float = np.inf
    measured: Measurement | None = field(default=None, repr=False)
    still_px: float = MotionConfig.still_px


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
        self._memory = FrameMemory()
        self._newest: tuple[float, Frame] | None = None  # focus distance and frame of the plane seen last

    def reset(self) -> None:
        """Forget the previous sweep: after a gap, or when the camera is another."""
        self._previous = None
        self._past.clear()
        self._memory.clear()
        self._newest = None

    def add_plane(self, plane: FocusPlane, K: np.ndarray | None = None) -> None:
        """Do what can be done before the sweep is complete: compare a plane with the one before it and the last sweep.

        Args:
            plane: the newest of the sweep in the making; its image is not changed any more.
            K: of the stack to come.

        Raises:
            InputError: a plane too small to see motion in.
        """
        tiling = Tiling.for_planes(plane.image.shape[:2], K)
        frame = self._memory.frame(plane.image, tiling)
        if self._past and self._past[-1][1].tiling is tiling:
            last = self._past[-1][1]
            other = last.same_focus_plane(plane.focus_distance, self.config)
            if other is not None:
                pair = self._memory.register(frame, last.frames[other], TILE_FLOOR[False])
                frame.detail()
                last.frames[other].detail(pixel_offset(pair, tiling))
        if self._newest is not None:
            (near, nearer), (far, farther) = sorted(
                (self._newest, (plane.focus_distance, frame)), key=lambda seen: seen[0]
            )
            if nearer.tiling is farther.tiling and not is_same_focus(near, far, self.config):
                self._memory.register(nearer, farther, TILE_FLOOR[True])
        self._newest = plane.focus_distance, frame

    def check(self, stack: FocusStack, gyro: GyroSamples | None = None) -> MotionResult:
        """Return the verdict on a stack, repaired where that is possible.

        A last plane at the focus of the first is a bookend: it is evidence, and no part of the stack in the result.

        Args:
            stack: the planes, stamped where ``gyro`` is to be of use.
            gyro: how the camera turned meanwhile; None where nothing says so.

        Raises:
            InputError: planes too small to see motion in.
        """
        tiling = Tiling.for_stack(stack)
        self._newest = None
        if self._past and self._past[-1][1].tiling.size != tiling.size:
            self.reset()
        stamps = frozenset(plane.stamp_ns for plane in stack.planes) - {None}
        apart = [measured for others, measured in self._past if not others & stamps]
        self._previous = apart[-1] if apart else None
        measured = measure(stack, tiling, self._previous, self.config, gyro, self._memory)
        result = replace(self._judge(stack, measured), measured=measured, still_px=self.config.still_px)
        if result.stack is not None and has_bookend(result.stack, self.config):
            result = replace(result, stack=replace(result.stack, planes=result.stack.planes[:-1]))
        if apart:  # what is older than the newest stack without common frames is never needed again
            while self._past[0][1] is not apart[-1]:
                self._past.popleft()
        self._past.append((stamps, measured.remembered()))
        return result

    def _judge(self, stack: FocusStack, measured: Measurement) -> MotionResult:
        config = self.config
        textured = float(measured.textured.mean())
        if textured < config.min_texture and not measured.gyro:
            unmeasured = MotionResult("", "", np.nan, np.nan, 0.0, None)
            return self._unknown(unmeasured, stack, f"only {textured:.0%} of the view has texture")
        motion, uncertainty = float(measured.motion_px.max()), measured.uncertainty_px
        region = measured.moving_region()
        share = float(region.mean())
        found = MotionResult("rejected", "", motion, uncertainty, share, None, severity=self._severity(measured, share))
        if share > config.moving_share:
            found = replace(found, moving=at_size(region, measured.tiling))
        if measured.unmatched:
            return replace(found, reason=measured.unmatched, severity=np.inf)
        if motion > max(config.still_px, config.repair_px):
            where = _planes(measured.motion_px > config.still_px)
            return replace(found, reason=f"{where} moved by {motion:.1f} px")
        if share > max(config.moving_share, config.masked_share):
            return replace(found, reason=f"{share:.0%} of the view moved by itself in {_movers(measured)}")
        if measured.blurred.any():
            reason = f"{_planes(measured.blurred)} blurred by motion"
            return replace(found, reason=reason, severity=max(found.severity, 2.0))
        if uncertainty > config.still_px:
            return self._unknown(found, stack, f"it can be measured to {uncertainty:.1f} px only")
        if len(stack) == 2 and not measured.same_focus and not measured.gyro:
            return self._unknown(found, stack, "two planes do not tell motion from blur without a sweep before them")
        # Repair costs little: what may be beyond the limit is repaired, too.
        margin = min(uncertainty, config.still_px / 3) if config.repair_px > config.still_px else 0.0
        if motion > config.still_px - margin:
            found = self._repaired(stack, measured, found)
        else:
            found = replace(found, verdict="still", stack=stack)
        if found.stack is None or found.moving is None:
            return found
        reason = f"{share:.0%} of the view moved by itself in {_movers(measured)} and is masked"
        masked = found.moving
        if share <= config.follow_share:
            followed, trusted = follow(found.stack, found.moving)
            masked = found.moving & ~trusted
            part = trusted.sum() / found.moving.sum()
            reason += f", but for {part:.0%} of that, which flow followed"
            found = replace(found, stack=followed)
        valid = ~masked if found.valid is None else found.valid & ~masked
        return replace(found, verdict="masked", reason=reason, valid=valid)

    def _severity(self, measured: Measurement, share: float) -> float:
        """Return the worst of what is held against the thresholds; a tile alone is no region, so it stays below 1."""
        config = self.config
        region = share / config.moving_share if config.moving_share else np.inf * share
        tile = 0.9 * min(float(measured.suspicion.max()), 1.0)
        return max(float(measured.motion_px.max()) / config.still_px, region, tile)

    def _unknown(self, found: MotionResult, stack: FocusStack, reason: str) -> MotionResult:
        found = replace(found, verdict="unknown", reason=f"motion is unknown: {reason}", severity=np.inf)
        if self.config.accept_unknown:
            return replace(found, stack=stack)
        return replace(found, reason=f"{found.reason} (motion.accept_unknown takes such sweeps)")

    def _repaired(self, stack: FocusStack, measured: Measurement, found: MotionResult) -> MotionResult:
        """Warp the planes to the reference plane, and measure again: what is still apart is rejected."""
        tiling, config = measured.tiling, self.config
        images, valid = warp_planes(stack, tiling, measured.homographies())
        aligned = stack.with_images(images)
        left = measure(aligned, tiling, self._previous, config)
        residual = float(left.motion_px.max())
        if residual > config.still_px:
            rest = f"{residual:.1f} px"
        elif left.unmatched:
            rest = "not the same view"
        else:
            return replace(found, verdict="repaired", stack=aligned, valid=valid)
        where = _planes(measured.motion_px > config.still_px / 2)
        return replace(found, reason=f"{where} moved by {found.motion_px:.1f} px, and repair leaves {rest}")


def has_bookend(stack: FocusStack, config: MotionConfig) -> bool:
    """Say whether the last plane of a stack only repeats the focus of the first."""
    first, *others, last = stack.focus_distances
    return len(others) > 1 and stack.reference < len(stack) - 1 and is_same_focus(first, last, config)


def _movers(measured: Measurement) -> str:
    """Name the planes in which something moved by itself."""
    count = measured.moving.sum(axis=1)
    return _planes(count >= max(1, count.max() / 4))


def _planes(which: np.ndarray) -> str:
    """Name the planes, counted from 1: "planes 3-5"."""
    numbers = np.flatnonzero(which) + 1
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    text = ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs if len(run))
    return f"plane {text}" if len(numbers) == 1 else f"planes {text}"
