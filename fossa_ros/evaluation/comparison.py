"""Compare two runs over the same images, with bootstrap intervals over the images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.metrics import HIGHER_IS_BETTER
from fossa_ros.evaluation.results import Run

RESAMPLES = 10_000
LEVEL = 0.95
_AT_ONCE = 500


@dataclass(frozen=True)
class Compared:
    """One figure of two runs.

    Attributes:
        figure: its name.
        images: number of images that have it in both runs.
        a, b: means over these images.
        difference: b - a.
        low, high: bounds of the interval of the difference; NaN for a single image.
    """

    figure: str
    images: int
    a: float
    b: float
    difference: float
    low: float
    high: float

    @property
    def better(self) -> str:
        """``a`` or ``b`` if the interval excludes zero, else an empty string."""
        if not (self.low > 0 or self.high < 0):
            return ""
        return "b" if (self.low > 0) == (self.figure in HIGHER_IS_BETTER) else "a"


def compare_runs(a: Run, b: Run, resamples: int = RESAMPLES, seed: int = 0) -> list[Compared]:
    """Compare the common figures of two runs over their common images.

    The interval holds the percentiles of the difference of the means over bootstrap resamples of the images, the same
    for both runs.

    Raises:
        InputError: the runs have no image in common.
    """
    names = [name for name in a.images if name in b.images]
    if not names:
        raise InputError("The two runs have no image in common; compare runs over the same set.")
    first = a.images[names[0]]
    figures = [figure for figure in first if figure in b.images[names[0]]]
    values = np.array([[[run.images[name][figure] for figure in figures] for name in names] for run in (a, b)])
    known = np.isfinite(values).all(axis=0)  # (images, figures)
    values = np.where(known, values, 0.0)
    count = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = values.sum(axis=1) / count
    differences = resampled_means(values[1] - values[0], known, resamples, seed)
    compared = []
    for index, figure in enumerate(figures):
        low, high = interval(differences[:, index]) if count[index] > 1 else (np.nan, np.nan)
        mean_a, mean_b = means[:, index]
        compared.append(Compared(figure, int(count[index]), *map(float, (mean_a, mean_b, mean_b - mean_a, low, high))))
    return compared


def mean_interval(values: npt.ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """Return the interval of the mean of (images,) ``values``; NaN if fewer than two are finite."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if len(known) < 2:
        return float("nan"), float("nan")
    return interval(resampled_means(known[:, None], np.ones((len(known), 1), bool), resamples, seed)[:, 0])


def resampled_means(values: np.ndarray, known: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Return (resamples, figures) means of (images, figures) ``values`` where ``known``, over resampled images."""
    rng = np.random.default_rng(seed)
    images = len(values)
    means = []
    for start in range(0, resamples, _AT_ONCE):
        rows = min(_AT_ONCE, resamples - start)
        # The mean depends only on how often each image is drawn.
        places = rng.integers(0, images, (rows, images)) + images * np.arange(rows)[:, None]
        drawn = np.bincount(places.ravel(), minlength=rows * images).reshape(rows, images).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            means.append((drawn @ np.where(known, values, 0.0)) / (drawn @ known))
    return np.concatenate(means)


def interval(means: np.ndarray) -> tuple[float, float]:
    """Return the percentiles that enclose the middle ``LEVEL`` of resampled means."""
    low, high = np.nanquantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)
