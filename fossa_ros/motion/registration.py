"""Register two frames of one camera that may differ in defocus, brightness and a few moving objects.

Both frames are low-passed and cut into tiles. The displacement of each tile is found by Lucas-Kanade least squares, in
which the frames may also differ by a gain, an offset and a Laplacian. The Laplacian is the first-order effect of a
change of blur, so defocus is absorbed instead of being read as motion. A homography is then fitted robustly to all
tiles; each tile keeps its own displacement and covariance, which show what moved independently.

Lengths are in px at network resolution, as in `fossa_ros.motion.tiling`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import cv2
import numpy as np

from fossa_ros.motion.frame import SMOOTHING, Frame, lower
from fossa_ros.motion.tiling import FINEST, Tiling, transform

_CORRELATED_PIXELS = 4.0 * np.pi * SMOOTHING**2  # residuals of a low-passed frame that count as one
_UNMEASURED = 1e4  # px
_ROUNDING = 1.0 / 12.0  # variance of a quantised grey value
_NOISE_MARGIN = 4.0  # factor by which the noise estimated from one frame may be too low
DISTINCT = 8.0  # contrast over noise at which a tile has texture
UNLIKE = 0.5  # mismatch of tiles with different content; blur alone causes up to 0.35 between neighbours
_CHANCE = 0.3  # correlation of the coarsest levels that the best shift of two noise images can reach
_MOST_EXPOSURE = 16.0  # times as bright; beyond it, frames have nothing in common
_STEPS = 3  # at most, at each level
_SETTLED = {1: 0.4, 2: 0.2}  # px: the iteration at a level ends with a smaller step
_FIT_FLOORS = (4.0, 2.0, 1.0)  # times the floor: tolerant at first so that many tiles vote, then precise

# Zero-mean normal priors (px at the corner) of the eight generators of `Tiling`: a camera shifts, turns and zooms
# freely, but shears and tilts its image only a little, which matters where texture covers a part of the view.
_PRIOR = np.diag(np.array([1e3, 1e3, 1e3, 1e3, 0.5, 0.5, 1.0, 1.0]) ** -2.0)
_IDENTITY = np.eye(3)


@dataclass(frozen=True, eq=False)
class Registration:
    """How a frame lies relative to a template frame.

    Attributes:
        H: (3, 3) homography: the point at p in the template is at H(p) in the frame.
        uncertainty: (8, 8) covariance of the amounts of the generators that make up H.
        displacement: (T, 2) displacement of each tile by itself.
        covariance: (T, 2, 2) of the displacement, from texture and residual; infinite where the tile has left the
            frame.
        residual: (T,) mean square grey difference that displacement, blur, gain and offset do not explain; 0 where
            the tile has left the frame.
        contrast: (T,) variance of grey values within the tile, the larger of the two frames'; 0 likewise.
        weight: (T,) 0..1, how well the tile's displacement agrees with H.
    """

    H: np.ndarray
    uncertainty: np.ndarray
    displacement: np.ndarray
    covariance: np.ndarray
    residual: np.ndarray
    contrast: np.ndarray
    weight: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """(T,) bool, True for tiles that lie within the frame."""
        return np.isfinite(self.covariance[:, 0, 0])

    @cached_property
    def mismatch(self) -> np.ndarray:
        """(T,) part (0..1) of each tile's contrast that displacement, blur, gain and offset do not explain."""
        return self.residual / np.maximum(self.contrast, 1e-6)


def register(template: Frame, frame: Frame, floor: float = 0.2) -> Registration:
    """Find the homography and the tile displacements from ``template`` to ``frame``.

    Args:
        template: its tables are computed on first use and kept.
        frame: of the same size.
        floor: px by which tiles disagree whatever their noise: small parallax, and blur that the Laplacian does not
            explain.
    """
    shift = _coarse_shift(template, frame)
    # Small motion is found at the finest level alone; larger motion starts one level above.
    found, settled = _refine(template, frame, FINEST, shift, floor, 1)
    if settled:
        return found
    middle, _ = _refine(template, frame, FINEST - 1, shift, floor, _STEPS)
    return _refine(template, frame, FINEST, middle.H, floor, _STEPS)[0]


def _refine(
    template: Frame, frame: Frame, level: int, H: np.ndarray, floor: float, steps: int
) -> tuple[Registration, bool]:
    """Improve a homography at one level, and report whether it has settled after that many steps."""
    tiling = template.tiling
    base = tiling.displacement(H)
    exposure = _relative_exposure(template, frame)
    for _ in range(steps):
        step, covariance, residual, contrast = _tile_steps(template, frame, level, H, exposure)
        before = base
        H, uncertainty, weight = fit_homography(tiling, before + step, covariance, floor, H)
        base = tiling.displacement(H)
        settled = bool(np.abs(base - before).max() < _SETTLED[level])
        if settled:
            break
    return Registration(H, uncertainty, before + step, covariance, residual, contrast, weight), settled


def fit_homography(
    tiling: Tiling, displacement: np.ndarray, covariance: np.ndarray, floor: float, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit a homography to tile displacements (T, 2) with covariances (T, 2, 2), robust to outliers.

    Iteratively reweighted least squares with Cauchy weights, one Gauss-Newton step each, from the homography ``start``.

    Returns:
        H (3, 3), the covariance (8, 8) of its generators' amounts and the tiles' weights (T,) in 0..1.
    """
    xx, xy, yy = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    known = np.isfinite(xx)
    if not known.all():
        xx, yy = (np.where(known, each, _UNMEASURED**2) for each in (xx, yy))
        xy = np.where(known, xy, 0.0)
    fields = tiling.fields_by_axis
    flat = fields.reshape(-1, fields.shape[2])
    remaining = (displacement - tiling.displacement(start)).T
    left = remaining
    for factor in _FIT_FLOORS:
        floored_xx, floored_yy = xx + (factor * floor) ** 2, yy + (factor * floor) ** 2
        determinant = floored_xx * floored_yy - xy * xy
        x, y = left
        distance = (floored_yy * x * x - 2.0 * xy * x * y + floored_xx * y * y) / determinant
        weight = 1.0 / (1.0 + distance / 4.0)
        inverse = np.array([floored_yy, -xy, floored_xx]) * (weight / determinant)  # xx, xy and yy of each tile
        scaled = inverse[:2, :, None] * fields[0] + inverse[1:, :, None] * fields[1]
        scaled = scaled.reshape(flat.shape)
        normal = flat.T @ scaled + _PRIOR
        motion = np.linalg.solve(normal, scaled.T @ remaining.ravel())
        left = remaining - (flat @ motion).reshape(2, -1)
    return start @ tiling.homography(motion), np.linalg.inv(normal), weight


def noise_level(frames: Sequence[Frame], found: Sequence[Registration]) -> float:
    """Return the mean square grey difference that noise causes between two of these frames.

    The residual of the best fifth of the tiles is noise, unless the frames have nothing in common: the noise estimated
    from each frame is the upper bound.
    """
    left = min((lower(each.residual[each.seen], 0.2) for each in found if each.seen.any()), default=0.0)
    return max(min(left, 2.0 * _NOISE_MARGIN * max(frame.noise for frame in frames)), _ROUNDING)


def agrees(found: Registration, noise: float) -> bool:
    """Return whether two frames show the same content wherever they have texture above the noise."""
    textured = found.seen & (found.contrast > DISTINCT * noise)
    alike = (found.mismatch < UNLIKE) & (found.weight > 0.1)
    return not textured.any() or float(alike[textured].mean()) > 0.4


def _coarse_shift(template: Frame, frame: Frame) -> np.ndarray:
    """Return the shift by phase correlation at the coarsest level, or none where that correlates better."""
    tiling = template.tiling
    window = _window(*tiling.levels[0])
    a, b = template.normalized, frame.normalized
    shift, _ = cv2.phaseCorrelate(a, b, window)
    H = np.eye(3)
    H[:2, 2] = np.array(shift) * tiling.pitch(0)
    still, shifted = _correlation(a, b, window), _correlation(a, tiling.warp(b, H), window)
    return H if shifted > max(still, _CHANCE) else np.eye(3)


def _relative_exposure(template: Frame, frame: Frame) -> float:
    """Return how many times as bright as the template a frame is."""
    ratio = np.median(frame.levels[0] / np.maximum(template.levels[0], 1.0))
    return float(np.clip(ratio, 1 / _MOST_EXPOSURE, _MOST_EXPOSURE))


@cache
def _window(height: int, width: int) -> np.ndarray:
    return cv2.createHanningWindow((width, height), cv2.CV_32F)


def _correlation(a: np.ndarray, b: np.ndarray, window: np.ndarray) -> float:
    """Return the correlation coefficient of two zero-mean images under a window."""
    power = np.vdot(a * window, a) * np.vdot(b * window, b)
    return float(np.vdot(a * window, b) / np.sqrt(max(power, 1e-12)))


def _tile_steps(
    template: Frame, frame: Frame, level: int, H: np.ndarray, exposure: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return one Lucas-Kanade step from H for every tile: (T, 2), its (T, 2, 2) covariance, residual and contrast.

    ``exposure`` is that of the frame relative to the template's.
    """
    tiling = template.tiling
    regressors, inverse, power = template.template(level)
    # The regressors have zero mean over the tile, so the mean of the difference cancels in every product with them.
    seen = frame.levels[level]
    if not np.array_equal(H, _IDENTITY):
        seen = tiling.warp(seen, H)
    difference = tiling.cut((seen - template.levels[level])[None], level)[:, 0]
    pixels = difference.shape[1]
    right = (regressors @ difference[:, :, None])[:, :, 0].astype(np.float64)
    amounts = (inverse @ right[:, :, None])[:, :, 0]
    mean = difference.mean(axis=1)
    square = np.einsum("tn,tn->t", difference, difference) - pixels * mean * mean
    residual = np.maximum(square - (amounts * right).sum(axis=1), 0.0) / pixels
    # The frame's own contrast follows from the template's, the difference's, and their product.
    contrast = np.maximum(power, power + 2.0 * right[:, 3] + square) / pixels
    pitch = tiling.pitch(level)
    noise = np.maximum(residual, _ROUNDING) * _CORRELATED_PIXELS * pitch**2
    # Noise alone has gradients too, and would vote confidently for no motion; its large residual gives it away.
    trust = np.clip(1.0 - residual / np.maximum(contrast, 1e-6), 0.1, 1.0)
    covariance = inverse[:, :2, :2] * (noise / trust**4)[:, None, None]
    half_view = (np.array(tiling.levels[level][::-1]) - tiling.tile(level)) * pitch / 2
    left = (np.abs(transform(H, tiling.centres)) > half_view + 1.0).any(axis=1)
    covariance[left] = np.inf
    residual[left] = contrast[left] = 0.0
    # The frame equals the template where the template's gradient times the remaining displacement vanishes. That
    # gradient is steeper in a brighter frame: without the exposure, steps would overshoot from twice the brightness on.
    # The linearisation holds within about half a tile.
    limit = tiling.tile(level) * pitch / 2
    step = np.clip(-amounts[:, :2] * (pitch / exposure), -limit, limit)
    return step, covariance / exposure**2, residual, contrast
