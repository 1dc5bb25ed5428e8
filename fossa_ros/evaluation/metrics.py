"""Depth metrics of one image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from fossa_ros.core.errors import InputError

DELTA_THRESHOLDS = {
    "delta_1.05": 1.05,
    "delta_1.15": 1.15,
    "delta_1.25": 1.25,
    "delta_1.25^2": 1.25**2,
    "delta_1.25^3": 1.25**3,
}
BOUNDARY_THRESHOLDS = np.linspace(1.05, 1.25, 10)
HIGHER_IS_BETTER = (*DELTA_THRESHOLDS, "boundary_f1", "coverage")


def depth_metrics(
    depth: npt.ArrayLike, truth: npt.ArrayLike, near: float = 0.0, far: float = np.inf
) -> dict[str, float]:
    """Compare a depth map p with the truth t over the pixels where both are known.

    Args:
        depth: (H, W) metres, unknown where not finite or not positive.
        truth: (H, W) metres, likewise.
        near, far: pixels whose truth is outside this range (m, exclusive) are ignored.

    Returns:
        Figures by name, in this order; NaN if there is no pixel to compare:

        - ``abs_rel``: mean |p - t| / t; ``sq_rel``: mean (p - t)^2 / t (m); ``mse``: mean (p - t)^2 (m^2);
          ``rmse``: its root (m).
        - ``rmse_log``: root of the mean of (ln p - ln t)^2; ``log10``: mean |log10 p - log10 t|; ``silog``: standard
          deviation of ln p - ln t, times 100 (Eigen et al. 2014; the unit of KITTI); ``silog_0.5``: the root of the
          mean square less half of the squared mean, not times 100 (FOSSA, arXiv 2603.26658).
        - ``delta_1.05``, ``delta_1.15``, ``delta_1.25``, ``delta_1.25^2``, ``delta_1.25^3``: share of pixels with
          max(p / t, t / p) below the threshold.
        - ``boundary_f1``: ``boundary_f1`` over the pixels where both are known.
        - ``coverage``: share of the pixels with known truth that have a depth; the others count in no other figure.

    Raises:
        InputError: the shapes differ.
    """
    depth, truth = np.asarray(depth), np.asarray(truth)
    if depth.shape != truth.shape:
        raise InputError(f"Depth {depth.shape} and truth {truth.shape} differ in shape; resample one of them.")
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(truth) & (truth > max(near, 0.0)) & (truth < far)
        known = valid & np.isfinite(depth) & (depth > 0)
    p, t = depth[known].astype(np.float64), truth[known].astype(np.float64)
    difference, log_ratio = p - t, np.log(p / t)
    mse, sq_rel = _mean(np.square(difference)), _mean(np.square(difference) / t)
    log_mean, log_square = _mean(log_ratio), _mean(np.square(log_ratio))
    log_size = np.abs(log_ratio)
    figures = {
        "abs_rel": _mean(np.abs(difference) / t),
        "sq_rel": sq_rel,
        "mse": mse,
        "rmse": np.sqrt(mse),
        "rmse_log": np.sqrt(log_square),
        "log10": _mean(log_size) / np.log(10.0),
        "silog": 100.0 * np.sqrt(_mean(np.square(log_ratio - log_mean))),
        "silog_0.5": np.sqrt(log_square - 0.5 * log_mean**2),
        **{name: _mean(log_size < np.log(threshold)) for name, threshold in DELTA_THRESHOLDS.items()},
        "boundary_f1": boundary_f1(depth, truth, known),
        "coverage": _mean(known[valid]),
    }
    return {name: float(figure) for name, figure in figures.items()}


def boundary_f1(depth: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> float:
    """Return the scale-invariant boundary F1 of Depth Pro (Bochkovskii et al. 2024, section 3.2): 1 is best.

    A boundary lies between two neighbours whose depths differ by more than a factor t, and has a direction: left,
    right, up or down to the nearer one. Precision and recall are averaged over the four directions, and F1 over ten
    thresholds t from 1.05 to 1.25, weighted by t. A direction without boundaries counts as 0, so that two maps without
    boundaries have an F1 of 0.

    Args:
        depth, truth: (H, W) depth or disparity, with equal results.
        valid: (H, W) bool; pairs count if both pixels are valid, as in the evaluation of FOSSA.

    Returns:
        0..1; NaN if there are no such pairs.
    """
    first, second = np.s_[:, :-1], np.s_[:, 1:]
    pairs, counts = 0, []  # counts of each direction: boundaries of depth, of truth, and of both, at every threshold
    for p, t, v in ((depth, truth, valid), (depth.T, truth.T, valid.T)):
        both = v[first] & v[second]
        pairs += np.count_nonzero(both)
        ratios = [m[second][both].astype(np.float64) / m[first][both] for m in (p, t)]
        for found, true in (ratios, [1.0 / ratio for ratio in ratios]):
            steep = np.maximum(found, true) > BOUNDARY_THRESHOLDS[0]  # few pixels, which saves time below
            found, true = found[steep], true[steep]
            levels = [(found > threshold, true > threshold) for threshold in BOUNDARY_THRESHOLDS]
            counts.append([[np.count_nonzero(a), np.count_nonzero(b), np.count_nonzero(a & b)] for a, b in levels])
    if not pairs:
        return float("nan")
    found, true, common = np.moveaxis(np.array(counts, dtype=np.float64), 2, 0)  # (4, thresholds) each
    recall = (common / np.maximum(true, 1)).mean(axis=0)
    precision = (common / np.maximum(found, 1)).mean(axis=0)
    f1 = 2 * recall * precision / np.where(recall + precision > 0, recall + precision, 1)
    return float(np.sum(f1 * BOUNDARY_THRESHOLDS) / BOUNDARY_THRESHOLDS.sum())


def mean_metrics(images: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Average the figures of several images with equal weights.

    An image without pixels to compare counts in ``coverage`` only.

    Raises:
        InputError: there is no image.
    """
    rows = list(images)
    if not rows:
        raise InputError("There are no images to average; evaluate at least one.")
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {name: float(_mean(values[np.isfinite(values)])) for name, values in columns.items()}


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if values.size else float("nan")
