"""Measure how the image of a target grows and shifts with focus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from scipy.interpolate import CubicSpline

from fossa_ros.core.errors import InputError

_SMOOTHING = 3.0  # px: what blur leaves of both images is alike below this
_LIKE = 0.6  # correlation below which two images do not show the same
_ITERATIONS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-5)
_WORKING_EDGE = 480  # px: short edge at which larger images are registered
_ROBUST = 2.0  # standard deviations beyond which an observation counts less


@dataclass(frozen=True, eq=False)
class BreathingCurve:
    """Scale and shift over the position of the lens, whatever that is measured in.

    Attributes:
        positions: (N,) rising knots of a natural cubic spline.
        log_scale: (N,) at them; only differences matter.
        shift: (N, 2) px right and down of the image's centre; likewise.
        uncertainty: standard deviation of the log scale between the ends.
        residual: root mean square of what the registrations of two images disagree with the curve, as scale.
        registered: pairs of images that were registered, and how many were given up.
    """

    positions: np.ndarray
    log_scale: np.ndarray
    shift: np.ndarray
    uncertainty: float
    residual: float
    registered: tuple[int, int]

    def at(self, positions) -> np.ndarray:
        """Return log scale and shift, (..., 3)."""
        return CubicSpline(self.positions, np.column_stack([self.log_scale, self.shift]), bc_type="natural")(positions)


def register_scale(template: np.ndarray, image: np.ndarray, start: np.ndarray | None = None) -> np.ndarray | None:
    """Return log scale and shift (px right and down, of the centre) from one image to another.

    Enhanced correlation (Evangelidis and Psarakis, 2008) on low-passed images, which brightness and contrast do not
    change, nor blur by discs, which are symmetric. Its affinity is reduced to the scale and shift of a lens.

    Args:
        template, image: (H, W) uint8.
        start: a first guess, as returned.

    Returns:
        (3,), or None where the images do not show the same.
    """
    height, width = template.shape
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    scale, shift = (1.0, np.zeros(2)) if start is None else (np.exp(start[0]), start[1:])
    warp = np.column_stack([scale * np.eye(2), centre * (1 - scale) + shift]).astype(np.float32)
    blurred = [cv2.GaussianBlur(each.astype(np.float32), (0, 0), _SMOOTHING) for each in (template, image)]
    try:
        likeness, warp = cv2.findTransformECC(*blurred, warp, cv2.MOTION_AFFINE, _ITERATIONS, None, 1)
    except cv2.error:  # it says so where it does not converge
        return None
    if likeness < _LIKE:
        return None
    warp = warp.astype(np.float64)
    scale = (warp[0, 0] + warp[1, 1]) / 2
    return np.array([np.log(scale), *(warp[:, :2] @ centre + warp[:, 2] - centre)]) if scale > 0 else None


def measure_breathing(
    series: Sequence[Sequence[tuple[float, Callable[[], np.ndarray]]]],
    *,
    images: int = 13,
    knots: int | None = 5,
    progress: Callable[[], None] = lambda: None,
) -> BreathingCurve:
    """Fit scale and shift over lens position to registrations of many pairs of images.

    Within each series neighbours are registered, and every image with the one in the middle; one spline is fitted to
    all the differences at once, robustly, so that the small errors of many steps do not add up to one large one.

    Args:
        series: of each target, (position, what loads its (H, W) uint8 image).
        images: of each series that are used, evenly over its positions.
        knots: of the spline, evenly spaced; None for one at each position, where it may bend anywhere.
        progress: called after each registration.

    Raises:
        InputError: too few images that show the same.
    """
    pair_ends, steps_found = [], []
    missed, factor = 0, 1.0
    for frames in series:
        frames = _evenly(frames, images)
        middle = len(frames) // 2
        pictures, factor = zip(*(_reduced(load()) for _, load in frames), strict=True)
        factor = factor[0]
        steps = {}
        for first, second in pairwise(range(len(frames))):
            steps[first] = register_scale(pictures[first], pictures[second])
            progress()
        pairs = [(first, first + 1, step) for first, step in steps.items()]
        for other in range(len(frames)):
            if abs(other - middle) > 1:
                guess = _chained(steps, middle, other)
                pairs.append((middle, other, register_scale(pictures[middle], pictures[other], guess)))
                progress()
        missed += sum(step is None for *_, step in pairs)
        for first, second, step in pairs:
            if step is not None:
                pair_ends.append((frames[first][0], frames[second][0]))
                steps_found.append(step * [1, 1 / factor, 1 / factor])
    ends, found = np.array(pair_ends).reshape(-1, 2), np.array(steps_found).reshape(-1, 3)
    places = np.unique(ends) if knots is None or not len(ends) else np.linspace(ends.min(), ends.max(), knots)
    if len(found) < 2 * (knots or 4) or not _linked(places, ends):
        raise InputError(
            f"Only {len(found)} of {len(found) + missed} pairs of images show the same thing, too few to measure "
            "breathing; keep the target still and give it more texture and light."
        )
    values, uncertainty, residual = _fit(places, ends, found)
    return BreathingCurve(places, values[:, 0], values[:, 1:], uncertainty, residual, (len(found), missed))


def _evenly(frames, count: int):
    """Return ``count`` of the frames, or all, about evenly spaced in position."""
    frames = sorted(frames, key=lambda frame: frame[0])
    positions = np.array([position for position, _ in frames])
    wanted = np.linspace(positions[0], positions[-1], count)
    return [frames[index] for index in sorted({int(np.abs(positions - place).argmin()) for place in wanted})]


def _reduced(image: np.ndarray) -> tuple[np.ndarray, float]:
    factor = min(1.0, _WORKING_EDGE / min(image.shape))
    if factor == 1.0:
        return image, 1.0
    # The centre stays the centre, so scale is unchanged and shifts are multiplied by the factor.
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), factor


def _chained(steps, start: int, end: int) -> np.ndarray | None:
    """Add up the steps between neighbours from one image to another: a first guess for the whole way."""
    low, high = min(start, end), max(start, end)
    parts = [steps[index] for index in range(low, high)]
    if any(part is None for part in parts):
        return None
    return (1 if end > start else -1) * np.sum(parts, axis=0)


def _design(places, ends) -> np.ndarray:
    """Return what takes the values of a natural spline at its knots, all but the first, to differences of two ends."""
    basis = CubicSpline(places, np.eye(len(places)), bc_type="natural")
    return (basis(ends[:, 1]) - basis(ends[:, 0]))[:, 1:]


def _linked(places, ends) -> bool:
    """Say whether every knot is tied to the first by some chain of pairs."""
    return np.linalg.matrix_rank(_design(places, ends)) == len(places) - 1


def _fit(places, ends, found) -> tuple[np.ndarray, float, float]:
    """Fit the values of a natural spline at its knots, the first being 0, to differences between two positions."""
    design = _design(places, ends)
    weight = np.ones(len(found))
    for _ in range(5):
        root = np.sqrt(weight)[:, None]
        values, *_ = np.linalg.lstsq(design * root, found * root, rcond=None)
        left = found - design @ values
        spread = 1.4826 * np.median(np.abs(left), axis=0) + 1e-9
        weight = 1 / np.maximum(1, (np.abs(left) / spread).max(axis=1) / _ROBUST) ** 2
    residual = float(np.sqrt(np.average(left[:, 0] ** 2, weights=weight)))
    covariance = np.linalg.pinv((design * weight[:, None]).T @ design) * residual**2
    return np.vstack([np.zeros(3), values]), float(np.sqrt(covariance[-1, -1])), residual
