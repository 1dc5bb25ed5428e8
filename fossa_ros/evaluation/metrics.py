"""Depth metrics of one image: the one home of their definitions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

import numpy as np

from fossa_ros.errors import InputError

DELTA_THRESHOLDS = {
    "delta_1_05": 1.05,
    "delta_1_15": 1.15,
    "delta1": 1.25,
    "delta2": 1.25**2,
    "delta3": 1.25**3,
}


@dataclass(frozen=True)
class DepthMetrics:
    """Errors of a predicted depth p against the truth t, over the pixels where both are known.

    Attributes:
        abs_rel: mean |p - t| / t.
        sq_rel: mean (p - t)^2 / t, metres.
        mse: mean (p - t)^2, square metres.
        rmse: root of ``mse``, metres.
        rmse_log: root of the mean of (ln p - ln t)^2.
        log10: mean |log10 p - log10 t|.
        silog: standard deviation of ln p - ln t, times 100 (Eigen et al. 2014; the unit of KITTI).
        delta_1_05, delta_1_15, delta1, delta2, delta3: share of pixels with max(p / t, t / p) below 1.05,
            1.15, 1.25, 1.25^2, 1.25^3.
        coverage: share of the pixels with a truth that have a depth; the others count in no other figure.
        pixels: number of pixels with a truth and a depth.
    """

    abs_rel: float
    sq_rel: float
    mse: float
    rmse: float
    rmse_log: float
    log10: float
    silog: float
    delta_1_05: float
    delta_1_15: float
    delta1: float
    delta2: float
    delta3: float
    coverage: float
    pixels: int

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name, in the order they are declared."""
        return asdict(self)


def depth_metrics(depth, truth, near: float = 0.0, far: float = np.inf) -> DepthMetrics:
    """Compare a depth map with the truth.

    Args:
        depth: (H, W) metres; what is not finite or not positive is unknown.
        truth: (H, W) metres; likewise.
        near, far: truth outside this range (m, exclusive) is left out.

    Raises:
        InputError: different shapes, no pixel with a truth, or none that has a depth too.
    """
    depth, truth = np.asarray(depth), np.asarray(truth)
    if depth.shape != truth.shape:
        raise InputError(
            f"Depth {depth.shape} and truth {truth.shape} differ in shape; resample one to the other."
        )
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(truth) & (truth > max(near, 0.0)) & (truth < far)
        known = valid & np.isfinite(depth) & (depth > 0)
    truths, pixels = np.count_nonzero(valid), np.count_nonzero(known)
    if not truths:
        raise InputError("The truth holds no valid depth; check its unit and the range that is evaluated.")
    if not pixels:
        raise InputError("No pixel with a truth has a depth; lower the confidence that a depth must have.")
    p, t = depth[known].astype(np.float64), truth[known].astype(np.float64)
    difference, log_difference = p - t, np.log(p) - np.log(t)
    squared, ratio = np.square(difference), np.exp(np.abs(log_difference))
    return DepthMetrics(
        abs_rel=float(np.mean(np.abs(difference) / t)),
        sq_rel=float(np.mean(squared / t)),
        mse=float(np.mean(squared)),
        rmse=float(np.sqrt(np.mean(squared))),
        rmse_log=float(np.sqrt(np.mean(np.square(log_difference)))),
        log10=float(np.mean(np.abs(log_difference)) / np.log(10.0)),
        silog=float(100.0 * np.std(log_difference)),
        **{name: float(np.mean(ratio < threshold)) for name, threshold in DELTA_THRESHOLDS.items()},
        coverage=pixels / truths,
        pixels=pixels,
    )


def mean_metrics(metrics: Iterable[DepthMetrics]) -> DepthMetrics:
    """Average the figures of several images, each image counting alike; ``pixels`` are added up.

    Raises:
        InputError: no image.
    """
    metrics = list(metrics)
    if not metrics:
        raise InputError("There are no images to average; evaluate at least one.")
    averages = {f.name: float(np.mean([getattr(m, f.name) for m in metrics])) for f in fields(DepthMetrics)}
    return DepthMetrics(**averages | {"pixels": sum(m.pixels for m in metrics)})
