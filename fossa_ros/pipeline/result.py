"""The end of a sweep: its verdict, and its depth where there is one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from fossa_ros.core.stack import DepthMap, FocusStack
from fossa_ros.motion import MotionResult
from fossa_ros.sweep import CapturedSweep


class Verdict(StrEnum):
    """What became of a sweep, beyond the verdicts of the motion check."""

    INCOMPLETE = "incomplete"  # a plane is missing
    SUPERSEDED = "superseded"  # a newer sweep was ready before the worker was
    FAILED = "failed"  # the estimator could not use it
    STALE = "stale"  # older than what is still of use when its depth would be published


@dataclass(frozen=True, eq=False)
class SweepResult:
    """The end of one sweep: exactly one for every sweep that was captured.

    Attributes:
        sweep: what was captured.
        verdict: the motion check's (still, repaired, masked, rejected, unknown) or one of ``Verdict``.
        reason: why there is no depth; empty otherwise.
        motion_px: largest misalignment found, px at network resolution; NaN where not measured.
        depth: the depth map of an accepted sweep, else None.
        stack: the stack the depth was estimated from (aligned), else None.
        valid: (H, W) bool, False where some plane of that stack lacks pixels, so that depth is unknown; None where
            all are there.
        motion_ms: NaN where the check was not run.
        inference_ms: NaN where the estimator was not run.
        motion: what the motion check found; None where it was not run.
        age_ms: from the stamp of the depth to when it was ready to be published; NaN without a depth or a clock.
    """

    sweep: CapturedSweep
    verdict: str
    reason: str = ""
    motion_px: float = math.nan
    depth: DepthMap | None = None
    stack: FocusStack | None = None
    valid: np.ndarray | None = None
    motion_ms: float = math.nan
    inference_ms: float = math.nan
    motion: MotionResult | None = None
    age_ms: float = math.nan
