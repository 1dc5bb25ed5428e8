"""Depth metrics of one image, as the depth-from-defocus benchmarks define them."""

from __future__ import annotations

import numpy as np

DELTA_THRESHOLDS = {
    "delta_1.05": 1.05,
    "delta_1.15": 1.15,
    "delta_1.25": 1.25,
    "delta_1.25^2": 1.25**2,
    "delta_1.25^3": 1.25**3,
}


def depth_metrics(depth: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Score a depth map against the truth over the pixels where both are known.

    Args:
        depth: (H, W) metres; NaN, infinite or not positive where unknown.
        truth: (H, W) metres, likewise.

    Returns:
        abs_rel, sq_rel (m), mse (m²), rmse (m), rmse_log, log10, silog (root of the variance of the log error, Eigen
        et al. 2014, x 100), delta_1.05 .. delta_1.25^3 (share of pixels whose ratio to the truth is below), and
        coverage: share of the truth's pixels that have a depth. All but coverage are NaN where no pixel has both.
    """
    if depth.shape != truth.shape:
        raise ValueError(f"depth {depth.shape} and truth {truth.shape} differ in size")
    wanted = _known(truth)
    scored = wanted & _known(depth)
    d, t = depth[scored].astype(np.float64), truth[scored].astype(np.float64)
    coverage = float(scored.sum() / wanted.sum()) if wanted.any() else float("nan")
    if not d.size:
        names = ("abs_rel", "sq_rel", "mse", "rmse", "rmse_log", "log10", "silog", *DELTA_THRESHOLDS)
        return {**dict.fromkeys(names, float("nan")), "coverage": coverage}
    error = d - t
    log_error = np.log(d) - np.log(t)
    ratio = np.maximum(d / t, t / d)
    mse = float(np.mean(error**2))
    return {
        "abs_rel": float(np.mean(np.abs(error) / t)),
        "sq_rel": float(np.mean(error**2 / t)),
        "mse": mse,
        "rmse": mse**0.5,
        "rmse_log": float(np.mean(log_error**2)) ** 0.5,
        "log10": float(np.mean(np.abs(log_error))) / np.log(10.0),
        "silog": 100.0 * float(np.std(log_error)),
        **{name: float(np.mean(ratio < threshold)) for name, threshold in DELTA_THRESHOLDS.items()},
        "coverage": coverage,
    }


def _known(depth: np.ndarray) -> np.ndarray:
    return (depth > 0) & np.isfinite(depth)
