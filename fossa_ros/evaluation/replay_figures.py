"""Figures of every replayed sweep, as JSON for reports: small enough for thousands of sweeps."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from fossa_ros.core import optics
from fossa_ros.evaluation.metrics import depth_metrics
from fossa_ros.io.documents import null_for_nan
from fossa_ros.pipeline.result import SweepResult


@dataclass(frozen=True)
class Bins:
    """Bins of equal width, or of equal ratio.

    Attributes:
        least, greatest: the ends.
        count: number of bins.
        ratio: whether the edges are in geometric progression.
    """

    least: float
    greatest: float
    count: int
    ratio: bool = False

    @property
    def edges(self) -> np.ndarray:
        """(count + 1,) edges in increasing order."""
        return (np.geomspace if self.ratio else np.linspace)(self.least, self.greatest, self.count + 1)

    def index(self, values: np.ndarray) -> np.ndarray:
        """Return (N,) the bin of each value, ``count`` for those outside."""
        low, high = (math.log(self.least), math.log(self.greatest)) if self.ratio else (self.least, self.greatest)
        steps = ((np.log(values) if self.ratio else values) - low) * (self.count / (high - low))
        return np.where((steps >= 0) & (steps < self.count), steps, self.count).astype(np.int64)


DEPTH_BINS = Bins(0.1, 20.0, 23, ratio=True)  # m
BLUR_BINS = Bins(0.0, 12.0, 24)  # px


@dataclass
class ErrorProfile:
    """Relative error of depth in bins of another quantity; profiles can be added.

    Attributes:
        counts: pixels with depth and truth in each bin.
        sums: of |depth - truth| / truth in each bin.
    """

    counts: list[int]
    sums: list[float]

    @classmethod
    def of(cls, quantity: np.ndarray, error: np.ndarray, bins: Bins) -> ErrorProfile:
        """Sort (N,) errors into the bins of (N,) quantities; what lies outside is left out."""
        index = bins.index(quantity)
        counts = np.bincount(index, minlength=bins.count + 1)[:-1]
        sums = np.bincount(index, error, bins.count + 1)[:-1]
        return cls(counts.tolist(), [round(value, 6) for value in sums.tolist()])

    def __add__(self, other: ErrorProfile) -> ErrorProfile:
        return ErrorProfile(
            [a + b for a, b in zip(self.counts, other.counts, strict=True)],
            [a + b for a, b in zip(self.sums, other.sums, strict=True)],
        )

    def means(self) -> np.ndarray:
        """Return the mean error of every bin, NaN where it is empty."""
        counts = np.array(self.counts, float)
        return np.divide(self.sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)


@dataclass
class SweepFigures:
    """Figures of one sweep; times in ms, NaN where there are none.

    Attributes:
        sweep, verdict, reason, accepted, motion_px, sweep_ms, motion_ms, inference_ms: as in its SweepReport.
        stamp_ns: of its report.
        warning: why its lens is not as described; empty where it is, or where that cannot be told.
        metrics: of ``depth_metrics``; empty without truth.
        by_depth, by_blur: errors over true depth, and over its blur in the reference plane (diameter, px).
    """

    sweep: int
    stamp_ns: int
    verdict: str
    reason: str
    accepted: bool
    motion_px: float
    sweep_ms: float
    motion_ms: float
    inference_ms: float
    warning: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    by_depth: ErrorProfile | None = None
    by_blur: ErrorProfile | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON holds them: null for NaN."""
        return null_for_nan(asdict(self))

    @staticmethod
    def nan_for_null(content: Any) -> Any:
        """Return what ``as_json`` made with NaN for null figures; other content unchanged."""
        if not isinstance(content, dict):
            return content
        figures = ("motion_px", "sweep_ms", "motion_ms", "inference_ms")
        known = content | {name: math.nan for name in figures if content.get(name, 0.0) is None}
        if isinstance(metrics := content.get("metrics"), dict):
            known["metrics"] = {name: math.nan if value is None else value for name, value in metrics.items()}
        return known


def sweep_figures(result: SweepResult, truth: np.ndarray | None, stamp_ns: int) -> SweepFigures:
    """Return the figures of a sweep, held against the (H, W) true depth (m) where it is known."""
    sweep = result.sweep
    figures = SweepFigures(
        sweep=sweep.number,
        stamp_ns=stamp_ns,
        verdict=str(result.verdict),
        reason=result.reason,
        accepted=result.depth is not None,
        motion_px=float(result.motion_px),
        sweep_ms=sweep.duration_ns / 1e6,
        motion_ms=float(result.motion_ms),
        inference_ms=float(result.inference_ms),
        warning="" if result.findings is None else result.findings.warning,
    )
    truth = result.seen(truth)
    if result.depth is None or truth is None:
        return figures
    depth = result.depth.depth
    figures.metrics = depth_metrics(depth, truth)
    known = np.isfinite(truth) & (truth > 0) & np.isfinite(depth)
    t = truth[known]
    error = np.abs(depth[known] - t) / t
    figures.by_depth = ErrorProfile.of(t, error, DEPTH_BINS)
    stack = sweep.stack
    if stack.K is not None and stack.focal_length and stack.f_number:
        pitch = optics.pixel_size(stack.focal_length, stack.K[0, 0])
        focus = stack.focus_distances[stack.reference]
        blur = 2 * optics.blur_radius(t, focus, stack.focal_length, stack.f_number, pitch)
        figures.by_blur = ErrorProfile.of(blur, error, BLUR_BINS)
    return figures
