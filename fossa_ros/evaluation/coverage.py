"""AbsRel of the most confident part of the pixels, beside that of the best possible ranking.

A confidence is of use where the pixels that it drops are those with the largest errors. The best possible ranking drops
exactly these: it sorts by the true error. Coverage counts all pixels with known truth, so that a pixel without depth is
dropped by every ranking: an estimator that leaves a tenth of them unknown has no figure beyond a coverage of 90 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.results import Run
from fossa_ros.io.documents import convert

COVERAGES = tuple((np.arange(1, 21) / 20).tolist())  # of a curve
SHOWN = (1.0, 0.9, 0.7, 0.5)  # in tables
KEY = "abs_rel_at_coverage"  # in the extra of a run
POOLED = 5_000  # pixels per image, at least, that are ranked
_ROUNDING = 1e-9


class CoverageCurve(msgspec.Struct, frozen=True):
    """AbsRel against coverage, of all images together.

    Attributes:
        coverage: ascending shares of the pixels with known truth, in 0..1.
        by_confidence: mean relative error of the most confident pixels up to each share; None where fewer have a depth.
        best: likewise if the pixels were ranked by their error, from the smallest.
    """

    coverage: tuple[float, ...]
    by_confidence: tuple[float | None, ...]
    best: tuple[float | None, ...]

    def __post_init__(self) -> None:
        if not len(self.coverage) == len(self.by_confidence) == len(self.best):
            raise ValueError("coverage, by_confidence and best must have the same length")

    def at(self, share: float) -> tuple[float | None, float | None]:
        """Return the errors by confidence and of the best ranking at a coverage of the curve.

        Raises:
            ValueError: ``share`` is not one of ``coverage``.
        """
        index = self.coverage.index(share)
        return self.by_confidence[index], self.best[index]

    def as_dict(self) -> dict[str, Any]:
        """Return the curve as JSON values, the entry ``KEY`` in the extra of a run."""
        return msgspec.to_builtins(self)


def ranked_pixels(depth: np.ndarray, truth: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Return the pixels of one image that ``coverage_curve`` ranks: evenly spaced ones of those with known truth.

    Args:
        depth, truth: (H, W) metres, or disparity; unknown where not finite or not positive.
        confidence: (H, W).

    Returns:
        (2, M) relative error, NaN where depth is unknown, and confidence.
    """
    with np.errstate(invalid="ignore"):
        known = np.flatnonzero(np.isfinite(truth) & (truth > 0))
    chosen = known[:: max(1, len(known) // POOLED)]
    found, true = depth.ravel()[chosen].astype(np.float64), truth.ravel()[chosen]
    with np.errstate(invalid="ignore"):
        error = np.where(np.isfinite(found) & (found > 0), np.abs(found - true) / true, np.nan)
    return np.stack([error, confidence.ravel()[chosen]])


def coverage_curve(images: Sequence[np.ndarray]) -> CoverageCurve:
    """Return the curve of several images' ``ranked_pixels``.

    All images weigh the same, and their pixels are ranked together, as one limit of confidence would. Pixels of equal
    confidence count by their mean.
    """
    images = [pixels for pixels in images if pixels.shape[1]]
    if not images:
        return CoverageCurve(COVERAGES, (None,) * len(COVERAGES), (None,) * len(COVERAGES))
    error, confidence = np.concatenate(images, axis=1)
    weight = np.concatenate([np.full(pixels.shape[1], 1 / (len(images) * pixels.shape[1])) for pixels in images])
    known = np.isfinite(error)
    error, confidence, weight = error[known], confidence[known], weight[known]
    return CoverageCurve(COVERAGES, _errors_of(error, weight, -confidence), _errors_of(error, weight, error))


def curve_of(run: Run, source: str | Path) -> CoverageCurve:
    """Return the curve of a run; ``source`` is its file, or another name for error messages.

    Raises:
        InputError: the run does not have it, or it cannot be used.
    """
    if KEY not in run.extra:
        raise InputError(f"{source} has no error by coverage; write it anew with 'fossa evaluate --json'.")
    return convert(run.extra[KEY], CoverageCurve, source)


def _errors_of(error: np.ndarray, weight: np.ndarray, rank: np.ndarray) -> tuple[float | None, ...]:
    """Return the mean error of the pixels that rank first, at every coverage; weights are shares of all pixels."""
    _, group = np.unique(rank, return_inverse=True)
    covered = np.concatenate([[0.0], np.cumsum(np.bincount(group, weight))])
    errors = np.concatenate([[0.0], np.cumsum(np.bincount(group, weight * error))])
    mean = np.interp(COVERAGES, covered, errors) / np.array(COVERAGES)
    reached = covered[-1] + _ROUNDING > np.array(COVERAGES)
    return tuple(float(value) if there else None for value, there in zip(mean, reached, strict=True))
