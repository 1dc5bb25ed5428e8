"""Decide from a measurement whether a stack is used, repaired, masked or rejected."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from fossa_ros.core.stack import FocusStack
from fossa_ros.motion.config import MotionConfig
from fossa_ros.motion.flow_warp import warp_by_flow
from fossa_ros.motion.measure import measure
from fossa_ros.motion.measurement import Measurement
from fossa_ros.motion.moving_region import enlarge_region
from fossa_ros.motion.plane_registrations import PlaneRegistrations
from fossa_ros.motion.tiling import warp_planes


@dataclass(frozen=True, eq=False)
class MotionResult:
    """What the motion check found in one stack.

    Attributes:
        verdict: ``still``, ``repaired``, ``masked`` (also aligned where needed), ``rejected`` or ``unknown``.
        reason: one sentence: what was masked or rejected, or why motion is unknown; empty when still or repaired.
        motion_px: largest misalignment found within the stack before any repair, px at network resolution; NaN where
            nothing could be measured.
        uncertainty_px: its standard deviation; NaN likewise.
        moving_share: share of the view (0..1) that moved relative to the rest of the view.
        stack: the aligned stack (the same object when still), None when rejected.
        valid: (H, W) bool, False where depth is unknown: a repaired plane has no pixels there, or something
            moved independently; None where all planes are valid everywhere.
        moving: (H, W) bool, what moved independently of the camera; None where nothing did.
        severity: the evidence relative to the thresholds, which are at 1; infinite where motion is unknown.
        measured: the evidence.
        still_px: largest misalignment that counted as still.
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


def decide(
    stack: FocusStack,
    measured: Measurement,
    previous: Measurement | None,
    config: MotionConfig,
    registrations: PlaneRegistrations,
) -> MotionResult:
    """Return the verdict on a stack, repaired where that is possible.

    Args:
        stack: as it was taken.
        measured: its motion.
        previous: the measurement of the previous stack, against which a repaired stack is measured again.
        config: thresholds.
        registrations: of the planes of ``stack``.
    """
    textured = float(measured.textured.mean())
    if textured < config.min_texture and not measured.gyro:
        unmeasured = MotionResult("unknown", "", np.nan, np.nan, 0.0, None, measured=measured, still_px=config.still_px)
        return _unknown(unmeasured, stack, f"only {textured:.0%} of the view has texture", config)
    region = measured.moving_region()
    share = float(region.mean())
    found = MotionResult(
        verdict="rejected",
        reason="",
        motion_px=float(measured.motion_px.max()),
        uncertainty_px=measured.uncertainty_px,
        moving_share=share,
        stack=None,
        moving=enlarge_region(region, measured.tiling) if share > config.moving_share else None,
        severity=_severity(measured, share, config),
        measured=measured,
        still_px=config.still_px,
    )
    found = _reject(found, measured, config)
    if found.reason:
        return found
    if found.uncertainty_px > config.still_px:
        return _unknown(found, stack, f"its uncertainty is {found.uncertainty_px:.1f} px", config)
    if len(stack) == 2 and not measured.same_focus and not measured.gyro:
        return _unknown(found, stack, "motion of two planes looks like blur without a sweep before them", config)
    # Repair is cheap, so a stack that may be beyond the limit is repaired, too.
    margin = min(found.uncertainty_px, config.still_px / 3) if config.repair_px > config.still_px else 0.0
    if found.motion_px > config.still_px - margin:
        found = _repair(found, stack, measured, previous, config, registrations)
    else:
        found = replace(found, verdict="still", stack=stack)
    return found if found.moving is None else _mask(found, measured, config)


def _reject(found: MotionResult, measured: Measurement, config: MotionConfig) -> MotionResult:
    """Return the result with the reason for its rejection; unchanged where there is none."""
    if measured.unmatched:
        return replace(found, reason=measured.unmatched, severity=np.inf)
    if found.motion_px > max(config.still_px, config.repair_px):
        moved = _name_planes(measured.motion_px > config.still_px)
        return replace(found, reason=f"{moved} moved by {found.motion_px:.1f} px")
    if found.moving_share > max(config.moving_share, config.masked_share):
        return replace(found, reason=_name_movers(found, measured))
    if measured.blurred.any():
        reason = f"{_name_planes(measured.blurred)} blurred by motion"
        return replace(found, reason=reason, severity=max(found.severity, 2.0))
    return found


def _repair(
    found: MotionResult,
    stack: FocusStack,
    measured: Measurement,
    previous: Measurement | None,
    config: MotionConfig,
    registrations: PlaneRegistrations,
) -> MotionResult:
    """Warp the planes to the reference plane and measure again; reject a stack that is still misaligned."""
    images, valid = warp_planes(stack, measured.tiling, measured.homographies())
    aligned = stack.with_images(images)
    left = measure(aligned, measured.tiling, previous, config, None, registrations)
    residual = float(left.motion_px.max())
    if residual > config.still_px:
        rest = f"{residual:.1f} px"
    elif left.unmatched:
        rest = "planes with nothing in common"
    else:
        return replace(found, verdict="repaired", stack=aligned, valid=valid)
    moved = _name_planes(measured.motion_px > config.still_px / 2)
    return replace(found, reason=f"{moved} moved by {found.motion_px:.1f} px, and repair leaves {rest}")


def _mask(found: MotionResult, measured: Measurement, config: MotionConfig) -> MotionResult:
    """Mask what moved independently of the camera, except where optical flow aligned it."""
    if found.stack is None or found.moving is None:
        return found
    share = found.moving_share
    reason = f"{_name_movers(found, measured)} and is masked"
    masked = found.moving
    if share <= config.follow_share:
        stack, trusted = warp_by_flow(found.stack, found.moving)
        masked = found.moving & ~trusted
        part = trusted.sum() / found.moving.sum()
        reason += f", except for {part:.0%} of it, which optical flow aligned"
        found = replace(found, stack=stack)
    valid = ~masked if found.valid is None else found.valid & ~masked
    return replace(found, verdict="masked", reason=reason, valid=valid)


def _unknown(found: MotionResult, stack: FocusStack, reason: str, config: MotionConfig) -> MotionResult:
    found = replace(found, verdict="unknown", reason=f"motion is unknown: {reason}", severity=np.inf)
    if config.accept_unknown:
        return replace(found, stack=stack)
    return replace(found, reason=f"{found.reason} (set motion.accept_unknown to use such sweeps)")


def _severity(measured: Measurement, share: float, config: MotionConfig) -> float:
    """Return the largest ratio of evidence to threshold; a single tile is not a region, so it stays below 1."""
    region = share / config.moving_share if config.moving_share else np.inf * share
    tile = 0.9 * min(float(measured.suspicion.max()), 1.0)
    return max(float(measured.motion_px.max()) / config.still_px, region, tile)


def _name_movers(found: MotionResult, measured: Measurement) -> str:
    """Name the share of the view that moved independently of the camera, and the planes in which it did."""
    count = measured.moving.sum(axis=1)
    planes = _name_planes(count >= max(1, count.max() / 4))
    return f"{found.moving_share:.0%} of the view moved independently of the camera in {planes}"


def _name_planes(which: np.ndarray) -> str:
    """Name planes by an (N,) bool, counted from 1: "planes 3-5"."""
    numbers = np.flatnonzero(which) + 1
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    text = ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs if len(run))
    return f"plane {text}" if len(numbers) == 1 else f"planes {text}"
