"""Global registration of two frames of one camera that may differ in defocus, brightness and a few moving parts.

Both frames are low-passed and cut into tiles. A tile's displacement is found by Lucas-Kanade least squares in which
the frames may also differ by a gain, an offset and a Laplacian: the Laplacian is the first-order effect of more or
less blur, even where the gradients are odd, so defocus is absorbed instead of read as motion. A homography is then
fitted robustly to all tiles, and each tile keeps its own displacement and covariance, which shows what moved alone.

Lengths are in px at network resolution, as in `fossa_ros.motion.tiling`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import cv2
import numpy as np

from fossa_ros.motion.tiling import FINEST, Tiling, transform

_SMOOTHING = 1.0  # px at each level: sigma of the low-pass
_CORRELATED_PIXELS = 4.0 * np.pi * _SMOOTHING**2  # residuals of a low-passed frame that count as one
_DAMPING = 1e-3  # of the mean diagonal: keeps textureless tiles solvable; their covariance tells them apart
_UNMEASURED = 1e4  # px
_ROUNDING = 1.0 / 12.0  # variance of a quantised grey value
_NOISE_MARGIN = 4.0  # how far the noise seen in one frame may fall short
DISTINCT = 8.0  # contrast over noise at which a tile has texture
UNLIKE = 0.5  # mismatch of tiles that show different things; blur alone leaves up to 0.35 between neighbours
_FAINT = 1.0  # grey levels: contrast of the coarsest level that noise could make
_CHANCE = 0.3  # correlation of the coarsest levels that the best shift of two noise images can reach
_STEPS = 3  # at most, at each level
_SETTLED = {1: 0.4, 2: 0.2}  # px: a smaller step at a level is the last one
_FIT_FLOORS = (4.0, 2.0, 1.0)  # times the floor: first a vote of many tiles, then the best measure of them

# Zero-mean normal priors (px at the corner) of the eight fields of `generators`: a camera shifts, turns and zooms
# freely, but shears and tilts its image only a little, which matters where texture covers a part of the view.
_PRIOR = np.diag(np.array([1e3, 1e3, 1e3, 1e3, 0.5, 0.5, 1.0, 1.0]) ** -2.0)
_IDENTITY = np.eye(3)
_DETAIL = np.array([0, 1, 3])  # of a tile's regressors: the gradients and the grey value


class Frame:
    """One image as the registration sees it: low-passed grey levels, and what a template needs of each.

    Args:
        image: (H, W, 3) uint8 RGB or (H, W) uint8.
        of: geometry of its size.

    Attributes:
        noise: variance that noise adds to the finest level's grey values, at most.
    """

    def __init__(self, image: np.ndarray, tiling: Tiling):
        self.tiling = tiling
        grey = _shrunk(image, *tiling.levels[-1]).astype(np.float32)
        self.noise = _noise_variance(grey, tiling)
        levels = []
        for height, width in reversed(tiling.levels):
            if levels:
                grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
            levels.append(cv2.GaussianBlur(grey, (0, 0), _SMOOTHING))
        self.levels = tuple(reversed(levels))
        self._templates = {}
        self._details = {}

    def template(self, level: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the regressors (T, 4, n), the inverse of their normal matrix (T, 4, 4) and the tiles' power (T,).

        Regressors are the gradient in x and y, the Laplacian and the grey value, each less its mean over the tile;
        power is the sum of the squares of the last.
        """
        if level not in self._templates:
            regressors = self._regressors(level)
            normal = (regressors @ regressors.transpose(0, 2, 1)).astype(np.float64)
            if level == FINEST:
                self._details[0, 0] = normal[:, _DETAIL[:, None], _DETAIL]
            diagonal = np.einsum("tii->ti", normal)  # a view
            power = diagonal[:, 3].copy()
            diagonal += _DAMPING * diagonal.mean(axis=0) + 1e-6
            self._templates[level] = regressors, np.linalg.inv(normal), power
        return self._templates[level]

    @cached_property
    def even(self) -> np.ndarray:
        """The coarsest level, band-passed and its contrast evened out: each part of the view has one voice."""
        image = self.levels[0]
        band = image - cv2.GaussianBlur(image, (0, 0), 3.0)
        power = cv2.GaussianBlur(band * band, (0, 0), 6.0)
        return band / np.sqrt(power + _FAINT**2)

    def detail(self, offset: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Return what detail each tile has in each direction, at the finest level.

        Args:
            offset: columns and rows, px of that level, by which the tiles are moved.

        Returns:
            (T, 3, 3) sums over the tile of the products of the gradients in x and y and the grey value.
        """
        if offset not in self._details:
            cut = self._regressors(FINEST, offset)[:, _DETAIL]
            self._details[offset] = (cut @ cut.transpose(0, 2, 1)).astype(np.float64)
        return self._details[offset]

    def without_templates(self) -> Frame:
        """Return this frame ready to be remembered: the templates, most of its memory, are dropped."""
        self._templates.clear()
        return self

    def _regressors(self, level: int, offset: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Return (T, 4, n): gradient in x and y, Laplacian and grey value, less their means; tiles moved by offset."""
        image = self.levels[level]
        if offset != (0, 0):
            image = np.roll(image, (-offset[1], -offset[0]), (0, 1))
        channels = np.empty((4, *image.shape), np.float32)
        cv2.Sobel(image, cv2.CV_32F, 1, 0, channels[0], ksize=3, scale=0.125)
        cv2.Sobel(image, cv2.CV_32F, 0, 1, channels[1], ksize=3, scale=0.125)
        cv2.Laplacian(image, cv2.CV_32F, channels[2])
        channels[3] = image
        cut = self.tiling.cut(channels, level)
        cut -= (cut @ np.full(cut.shape[2], 1 / cut.shape[2], np.float32))[:, :, None]
        return cut


@dataclass(frozen=True, eq=False)
class Registration:
    """How a frame lies relative to a template frame.

    Attributes:
        H: (3, 3) homography: what is at p in the template is at H(p) in the frame.
        uncertainty: (8, 8) covariance of the amounts of the generators that make up H.
        displacement: (T, 2) displacement of each tile, by itself.
        covariance: (T, 2, 2) of it, from texture and residual; infinite where the tile has left the frame.
        residual: (T,) mean square grey difference left after displacement, blur, gain and offset; 0 where the
            tile has left the frame.
        contrast: (T,) the larger of the two frames' variance of grey values within the tile; likewise.
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

    ``floor`` (px) is the disagreement between tiles that is expected whatever their noise: small parallax, and
    blur that the Laplacian does not explain.
    """
    shift = _coarse_shift(template, frame)
    # What hardly moved needs the finest level only; the one before it leads there from farther away.
    found, settled = _refined(template, frame, FINEST, shift, floor, 1)
    if settled:
        return found
    middle, _ = _refined(template, frame, FINEST - 1, shift, floor, _STEPS)
    return _refined(template, frame, FINEST, middle.H, floor, _STEPS)[0]


def _refined(
    template: Frame, frame: Frame, level: int, H: np.ndarray, floor: float, steps: int
) -> tuple[Registration, bool]:
    """Improve a homography at one level, and say whether it has settled after so many steps."""
    tiling = template.tiling
    base = tiling.displacement(H)
    for _ in range(steps):
        step, covariance, *rest = _tile_steps(template, frame, level, H)
        before = base
        H, uncertainty, weight = fit_homography(tiling, before + step, covariance, floor, H)
        base = tiling.displacement(H)
        settled = np.abs(base - before).max() < _SETTLED[level]
        if settled:
            break
    return Registration(H, uncertainty, before + step, covariance, *rest, weight), settled


def fit_homography(
    tiling: Tiling,
    displacement: np.ndarray,
    covariance: np.ndarray,
    floor: float,
    start: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit a homography to tile displacements (T, 2) with covariances (T, 2, 2), heeding outliers little.

    Iteratively reweighted least squares with Cauchy weights, one Gauss-Newton step each.

    Returns:
        H (3, 3), the covariance (8, 8) of its generators' amounts and the tiles' weights (T,) in 0..1.
    """
    H = np.eye(3) if start is None else start
    xx, xy, yy = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    known = np.isfinite(xx)
    if not known.all():
        xx, yy = (np.where(known, each, _UNMEASURED**2) for each in (xx, yy))
        xy = np.where(known, xy, 0.0)
    fields = tiling.fields_by_axis
    flat = fields.reshape(-1, fields.shape[2])
    remaining = (displacement - tiling.displacement(H)).T
    left = remaining
    for factor in _FIT_FLOORS:
        floored_xx, floored_yy = xx + (factor * floor) ** 2, yy + (factor * floor) ** 2
        determinant = floored_xx * floored_yy - xy * xy
        x, y = left
        distance = (floored_yy * x * x - 2.0 * xy * x * y + floored_xx * y * y) / determinant
        weight = 1.0 / (1.0 + distance / 4.0)
        inverse = np.array([floored_yy, -xy, floored_xx]) * (weight / determinant)  # its first row, and its second
        scaled = inverse[:2, :, None] * fields[0] + inverse[1:, :, None] * fields[1]
        scaled = scaled.reshape(flat.shape)
        normal = flat.T @ scaled + _PRIOR
        motion = np.linalg.solve(normal, scaled.T @ remaining.ravel())
        left = remaining - (flat @ motion).reshape(2, -1)
    return H @ tiling.homography(motion), np.linalg.inv(normal), weight


def noise_level(frames: Sequence[Frame], found: Sequence[Registration]) -> float:
    """Return the mean square grey difference that noise makes between two of these frames.

    What is left in the best fifth of the tiles is noise, unless the frames have nothing in common; then the
    noise seen in each frame bounds it.
    """
    left = min((lower(each.residual[each.seen], 0.2) for each in found if each.seen.any()), default=0.0)
    return max(min(left, 2.0 * _NOISE_MARGIN * max(frame.noise for frame in frames)), _ROUNDING)


def lower(values: np.ndarray, share: float) -> float:
    """Return the value that a share (0..1) of values lies below; numpy's quantiles take ten times as long."""
    place = int(share * len(values))
    return float(np.partition(values, place)[place])


def agrees(found: Registration, noise: float) -> bool:
    """Say whether two frames show the same, so far as they have texture above the noise."""
    textured = found.seen & (found.contrast > DISTINCT * noise)
    alike = (found.mismatch < UNLIKE) & (found.weight > 0.1)
    return not textured.any() or float(alike[textured].mean()) > 0.4


def _shrunk(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the grey values of an image at a smaller size, uint8.

    The mean over areas that are no power of two costs OpenCV many times what halving does, so it comes last, on as
    few pixels as may be. Interpolation would cost less still, and let fine detail pass for another.
    """
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    while grey.shape[0] >= 2 * height and grey.shape[1] >= 2 * width:
        grey = cv2.resize(grey, (grey.shape[1] // 2, grey.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)


def _noise_variance(grey: np.ndarray, tiling: Tiling) -> float:
    """Estimate the noise of the flattest tenth of a frame (Immerkaer, 1996), as it is after the low-pass."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    rough = np.abs(cv2.filter2D(grey, cv2.CV_32F, kernel))
    tiles = tiling.cut(rough[None], FINEST).mean(axis=2).ravel()
    flattest = lower(tiles, 0.1)
    return float(np.pi / 2 * (flattest / 6) ** 2) / (4 * np.pi * _SMOOTHING**2)


def _coarse_shift(template: Frame, frame: Frame) -> np.ndarray:
    """Return the shift by phase correlation at the coarsest level, or none where that explains the frames better."""
    tiling = template.tiling
    window = _window(*tiling.levels[0])
    a, b = template.even, frame.even
    shift, _ = cv2.phaseCorrelate(a, b, window)
    H = np.eye(3)
    H[:2, 2] = np.array(shift) * tiling.pitch(0)
    still, shifted = _likeness(a, b, window), _likeness(a, tiling.warp(b, H), window)
    return H if shifted > max(still, _CHANCE) else np.eye(3)


@cache
def _window(height: int, width: int) -> np.ndarray:
    return cv2.createHanningWindow((width, height), cv2.CV_32F)


def _likeness(a: np.ndarray, b: np.ndarray, window: np.ndarray) -> float:
    """Return the correlation coefficient of two zero-mean images under a window."""
    power = np.vdot(a * window, a) * np.vdot(b * window, b)
    return float(np.vdot(a * window, b) / np.sqrt(max(power, 1e-12)))


def _tile_steps(template: Frame, frame: Frame, level: int, H: np.ndarray):
    """Return one Lucas-Kanade step from H for every tile: (T, 2), its (T, 2, 2) covariance, residual and contrast."""
    tiling = template.tiling
    regressors, inverse, power = template.template(level)
    # The regressors are less their mean over the tile, so that of the difference cancels in every product with them.
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
    # Noise alone has gradients too, and would vote for no step with confidence: it is known by what it leaves.
    trust = np.clip(1.0 - residual / np.maximum(contrast, 1e-6), 0.1, 1.0)
    covariance = inverse[:, :2, :2] * (noise / trust**4)[:, None, None]
    half_view = (np.array(tiling.levels[level][::-1]) - tiling.tile(level)) * pitch / 2
    left = (np.abs(transform(H, tiling.centres)) > half_view + 1.0).any(axis=1)
    covariance[left] = np.inf
    residual[left] = contrast[left] = 0.0
    # The frame equals the template where the template's gradient times the remaining displacement vanishes.
    # Linearisation holds for a tile or less.
    limit = tiling.tile(level) * pitch / 2
    step = np.clip(-amounts[:, :2] * pitch, -limit, limit)
    return step, covariance, residual, contrast
