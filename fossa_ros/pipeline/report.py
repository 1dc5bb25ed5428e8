"""What a SweepReport says of a sweep's result."""

from __future__ import annotations

import math
from typing import Any

from fossa_ros.pipeline.result import SweepResult


def report_stamp_ns(result: SweepResult) -> int:
    """Return the stamp of a sweep's report: the depth's, or the sweep's start where there is none."""
    if result.depth is None or result.depth.stamp_ns is None:
        return result.sweep.started_ns
    return result.depth.stamp_ns


def report_fields(result: SweepResult) -> dict[str, Any]:
    """Return what became of a sweep; ``stamps`` holds nanoseconds."""
    sweep = result.sweep
    return {
        "sweep": sweep.number,
        "accepted": result.depth is not None,
        "verdict": str(result.verdict),
        "reason": result.reason,
        "motion_px": float(result.motion_px),
        "motion_uncertainty_px": float(result.motion.uncertainty_px) if result.motion else math.nan,
        "moving_share": float(result.motion.moving_share) if result.motion else math.nan,
        "focus_distances": sweep.focus_distances,
        "stamps": sweep.stamps_ns,
        "drop_reasons": list(sweep.drops),
        "drop_counts": list(sweep.drops.values()),
        "sweep_ms": sweep.duration_ns / 1e6,
        "motion_ms": float(result.motion_ms),
        "inference_ms": float(result.inference_ms),
        "age_ms": float(result.age_ms),
    }
