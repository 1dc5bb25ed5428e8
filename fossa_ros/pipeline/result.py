"""The result of a sweep: its verdict, and its depth map if it has one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from fossa_ros.core.stack import DepthMap, FocusStack
from fossa_ros.motion import MotionResult
from fossa_ros.pipeline.region import Window
from fossa_ros.pipeline.stack_check import StackFindings
from fossa_ros.sweep import CapturedSweep


class Verdict(StrEnum):
    """Verdicts beyond those of the motion check."""

    INCOMPLETE = "incomplete"  # a plane is missing
    SUPERSEDED = "superseded"  # replaced by a newer sweep before it was processed
    FAILED = "failed"  # the estimator raised an error
    INCONSISTENT = "inconsistent"  # its planes do not differ as their focus distances say
    STALE = "stale"  # its depth would be older than the limit


@dataclass(frozen=True, eq=False)
class SweepResult:
    """The result of one sweep; there is exactly one for every captured sweep.

    Attributes:
        sweep: what was captured.
        verdict: the motion check's (still, repaired, masked, rejected, unknown) or one of ``Verdict``.
        reason: why there is no depth; empty otherwise.
        motion_px: largest misalignment found, px at network resolution; NaN if not measured.
        depth: the depth map of an accepted sweep, in the rectified view of the camera; else None.
        stack: the aligned stack from which depth is estimated, else None.
        valid: (H, W) bool, False where depth is unknown because a plane of that stack has no pixels or something moved;
            None if it is True everywhere.
        motion_ms: duration of the motion check; NaN if it did not run.
        inference_ms: duration of the estimate; NaN if it did not run.
        motion: what the motion check found; None if it did not run.
        findings: what the stack says about its own claim; None if it was not asked.
        window: of the view that the depth shows; None for all of it.
        age_ms: from the stamp of the depth to when it was ready to be published; NaN without a depth or a clock, and
            where the clock reads less than the stamp.
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
    findings: StackFindings | None = None
    window: Window | None = None
    age_ms: float = math.nan

    def seen(self, view: np.ndarray | None) -> np.ndarray | None:
        """Return what the depth shows of an image of the whole view; None if that has another size, or is None."""
        if self.depth is None or view is None:
            return None
        if self.window is not None:
            view = self.window.cut(view) if view.shape[:2] == self.window.whole else None
        return view if view is not None and view.shape[:2] == self.depth.depth.shape else None

    @property
    def stamp_ns(self) -> int:
        """The depth's stamp, or the start of the sweep where there is none."""
        stamp = None if self.depth is None else self.depth.stamp_ns
        return self.sweep.started_ns if stamp is None else stamp
