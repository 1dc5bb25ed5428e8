"""Measure how the image of a target changes scale and shifts with focus."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from fossa_ros.core.errors import InputError

_SMOOTHING = 3.0  # px: coarser detail survives the blur of both images
_ALIKE = 0.6  # lowest correlation of two images that show the same
_ITERATIONS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-5)
_WORKING_EDGE = 480  # px: short edge to which larger images are reduced
_ROBUST = 2.0  # standard deviations beyond which an observation gets less weight

Frame = tuple[float, Callable[[], np.ndarray]]
"""Position, and a function that loads the (H, W) uint8 image."""


@dataclass(frozen=True, eq=False)
class BreathingCurve:
    """Scale and shift over the position of the lens, in dioptres or commands.

    Attributes:
        positions: (N,) rising knots of a natural cubic spline.
        log_scale: (N,) at the knots, up to a constant.
        shift: (N, 2) of the image centre, right and down, px, up to a constant.
        uncertainty: standard deviation of the difference of log scale between the ends.
        residual: root mean square difference of registrations and curve, as log scale.
        registered: numbers of image pairs that were registered and that failed.
    """

    positions: np.ndarray
    log_scale: np.ndarray
    shift: np.ndarray
    uncertainty: float
    residual: float
    registered: tuple[int, int]

    def at(self, positions: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return (..., 3) log scale, shift right and shift down (px)."""
        spline = CubicSpline(self.positions, np.column_stack([self.log_scale, self.shift]), bc_type="natural")
        values: npt.NDArray[np.float64] = spline(np.asarray(positions, dtype=np.float64))
        return values


def register_scale(template: np.ndarray, image: np.ndarray, start: np.ndarray | None = None) -> np.ndarray | None:
    """Return log scale and shift of the centre (right and down, px) from one image to another.

    Enhanced correlation (Evangelidis and Psarakis, 2008) of low-pass filtered images is invariant to brightness and
    contrast, and unbiased by blur, as blur discs are symmetric. Its affine transform is reduced to scale and shift.

    Args:
        template, image: (H, W) uint8.
        start: (3,) initial estimate, as returned.

    Returns:
        (3,), or None if the images do not show the same.
    """
    height, width = template.shape
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    scale, shift = (1.0, np.zeros(2)) if start is None else (np.exp(start[0]), start[1:])
    warp = np.column_stack([scale * np.eye(2), centre * (1 - scale) + shift]).astype(np.float32)
    blurred = [cv2.GaussianBlur(each.astype(np.float32), (0, 0), _SMOOTHING) for each in (template, image)]
    try:
        likeness, found = cv2.findTransformECC(*blurred, warp, cv2.MOTION_AFFINE, _ITERATIONS, None, 1)  # type: ignore[call-overload]
    except cv2.error:  # raised if it does not converge
        return None
    if likeness < _ALIKE:
        return None
    affine = found.astype(np.float64)
    scale = float(affine[0, 0] + affine[1, 1]) / 2
    return np.array([np.log(scale), *(affine[:, :2] @ centre + affine[:, 2] - centre)]) if scale > 0 else None


def measure_breathing(
    series: Sequence[Sequence[Frame]],
    *,
    images: int = 13,
    knots: int | None = 5,
    progress: Callable[[], None] = lambda: None,
) -> BreathingCurve:
    """Fit scale and shift over lens position to registrations of many pairs of images.

    Within each series, neighbouring images are registered, and every image with the middle one. A single robust fit of
    a spline to all differences keeps the small errors of many steps from accumulating.

    Args:
        series: of each target, positions and functions that load the (H, W) uint8 images.
        images: number of images used of each series, evenly spaced over its positions.
        knots: of the spline, evenly spaced; None for one at each position.
        progress: called after each registration.

    Raises:
        InputError: too few pairs of images show the same.
    """
    pair_ends: list[tuple[float, float]] = []
    steps_found: list[np.ndarray] = []
    missed = 0
    for frames in series:
        chosen = evenly([position for position, _ in frames], images)
        pairs, failed = register_frames([frames[index][1] for index in chosen], progress)
        missed += failed
        for first, second, step in pairs:
            pair_ends.append((frames[chosen[first]][0], frames[chosen[second]][0]))
            steps_found.append(step)
    ends, found = np.array(pair_ends).reshape(-1, 2), np.array(steps_found).reshape(-1, 3)
    places = np.unique(ends) if knots is None or not len(ends) else np.linspace(ends.min(), ends.max(), knots)
    if len(found) < 2 * (knots or 4) or not _linked(places, ends):
        raise InputError(
            f"Only {len(found)} of {len(found) + missed} pairs of images could be registered, too few to measure "
            "breathing; keep the target still, with more texture and light."
        )
    values, uncertainty, residual = _fit(places, ends, found)
    return BreathingCurve(places, values[:, 0], values[:, 1:], uncertainty, residual, (len(found), missed))


def register_frames(
    loads: Sequence[Callable[[], np.ndarray]], progress: Callable[[], None] = lambda: None
) -> tuple[list[tuple[int, int, np.ndarray]], int]:
    """Register neighbouring images of one target, and every image with the middle one.

    Args:
        loads: functions that load the (H, W) uint8 images, in the order of the focus.
        progress: called after each registration.

    Returns:
        Numbers of two images with (3,) log scale and shift (px) from the first to the second, of each pair that could
        be registered; and the number of pairs that could not.
    """
    middle = len(loads) // 2
    reduced = [_reduced(load()) for load in loads]
    pictures, factor = [picture for picture, _ in reduced], reduced[0][1]
    steps: dict[int, np.ndarray | None] = {}
    for first, second in pairwise(range(len(loads))):
        steps[first] = register_scale(pictures[first], pictures[second])
        progress()
    pairs = [(first, first + 1, step) for first, step in steps.items()]
    for other in range(len(loads)):
        if abs(other - middle) > 1:
            guess = _chained(steps, middle, other)
            pairs.append((middle, other, register_scale(pictures[middle], pictures[other], guess)))
            progress()
    whole = np.array([1, 1 / factor, 1 / factor])
    found = [(first, second, step * whole) for first, second, step in pairs if step is not None]
    return found, len(pairs) - len(found)


def evenly(positions: Sequence[float], count: int) -> list[int]:
    """Return the numbers of up to ``count`` of the positions, about evenly spaced, from the lowest to the highest."""
    order = np.argsort(positions, kind="stable")
    rising = np.asarray(positions)[order]
    target = np.linspace(rising[0], rising[-1], count)
    return [int(order[index]) for index in sorted({int(np.abs(rising - place).argmin()) for place in target})]


def _reduced(image: np.ndarray) -> tuple[np.ndarray, float]:
    factor = min(1.0, _WORKING_EDGE / min(image.shape))
    if factor == 1.0:
        return image, 1.0
    # The centre stays the centre, so scale is unchanged and shifts are multiplied by the factor.
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), factor


def _chained(steps: Mapping[int, np.ndarray | None], start: int, end: int) -> np.ndarray | None:
    """Return the sum of the steps between neighbours from one image to another, as an initial estimate."""
    low, high = min(start, end), max(start, end)
    parts = [part for index in range(low, high) if (part := steps[index]) is not None]
    if len(parts) < high - low:
        return None
    total: np.ndarray = np.sum(parts, axis=0)
    return total if end > start else -total


def _design(places: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the matrix from the values of a natural spline at its knots, without the first, to its differences."""
    basis = CubicSpline(places, np.eye(len(places)), bc_type="natural")
    differences: np.ndarray = basis(ends[:, 1]) - basis(ends[:, 0])
    return differences[:, 1:]


def _linked(places: np.ndarray, ends: np.ndarray) -> bool:
    """Return whether the pairs determine the value at every knot relative to the first."""
    return bool(np.linalg.matrix_rank(_design(places, ends)) == len(places) - 1)


def _fit(places: np.ndarray, ends: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Fit the values of a natural spline at its knots, 0 at the first, to differences between pairs of positions.

    Returns:
        (knots, 3) values, the standard deviation of log scale at the last knot, and the residual.
    """
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
