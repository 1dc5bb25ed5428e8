"""Global registration of two frames of one camera that may differ in defocus, brightness and a few moving parts.

Both frames are low-passed and cut into tiles. A tile's displacement is found by Lucas-Kanade least squares in which
the frames may also differ by a gain, an offset and a Laplacian: the Laplacian is the first-order effect of more or
less blur, even where the gradients are odd, so defocus is absorbed instead of read as motion. A homography is then
fitted robustly to all tiles, and each tile keeps its own displacement and covariance, which shows what moved alone.

Unit: px at network resolution (short edge NETWORK_SHORT_EDGE), from the image centre, x right and y down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np

from fossa_ros.errors import InputError
from fossa_ros.stack import FocusStack

NETWORK_SHORT_EDGE = 518  # FOSSA resizes every plane to this short edge (arXiv 2603.26658)

_TILE = 24  # px at the finest level
_SMOOTHING = 1.0  # px at each level: sigma of the low-pass
_CORRELATED_PIXELS = 4.0 * np.pi * _SMOOTHING**2  # residuals of a low-passed frame that count as one
_DAMPING = 1e-3  # of the mean diagonal: keeps textureless tiles solvable; their covariance tells them apart
_UNMEASURED = 1e4  # px
_ROUNDING = 1.0 / 12.0  # variance of a quantised grey value
_NOISE_MARGIN = 4.0  # how far the noise seen in one frame may fall short
DISTINCT = 8.0  # contrast over noise at which a tile has texture
UNLIKE = 0.5  # mismatch of tiles that show different things; blur alone leaves up to 0.35 between neighbours
_FAINT = 1.0  # grey levels: contrast of the coarsest level that noise could make
_STEPS = 3  # at most, at each level
_SETTLED = {1: 0.4, 2: 0.2}  # px: a smaller step at a level is the last one
_FIT_FLOORS = (4.0, 2.0, 1.0, 1.0)  # times the floor: first a vote of many tiles, then the best measure of them

# Zero-mean normal priors (px at the corner) of the eight fields of `generators`: a camera shifts, turns and zooms
# freely, but shears and tilts its image only a little, which matters where texture covers a part of the view.
_PRIOR_SIGMA = np.array([1e3, 1e3, 1e3, 1e3, 0.5, 0.5, 1.0, 1.0])
ZOOM = 2  # index of the zoom field


@dataclass(frozen=True)
class Geometry:
    """Levels, tiles and motion fields of frames of one size.

    Attributes:
        size: height and width of the frames, px.
        focal_length: px at network resolution; infinity where unknown.
        short_edge: px, about, of the finest level looked at; the default is half of a VGA frame.
    """

    size: tuple[int, int]
    focal_length: float = np.inf
    short_edge: int = 240

    def __post_init__(self):
        if min(self.size) < _TILE:
            height, width = self.size
            raise InputError(f"Motion cannot be seen in {width}x{height} px; give frames of {_TILE} px or more.")

    @classmethod
    def of(cls, stack: FocusStack, short_edge: int = 240) -> Geometry:
        """Return the geometry of the planes of a stack."""
        focal_length = np.inf if stack.K is None else float(stack.K[0, 0])
        return _geometry(stack.size, focal_length * NETWORK_SHORT_EDGE / min(stack.size), short_edge)

    @property
    def network_scale(self) -> float:
        """Network px for each px of the frame."""
        return NETWORK_SHORT_EDGE / min(self.size)

    @cached_property
    def levels(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the working levels, coarse to fine: 1/4, 1/2 and 1/1 of the finest."""
        step = max(1, round(min(self.size) / self.short_edge))
        finest = [max(_TILE, edge // step // 4 * 4) for edge in self.size]
        return tuple((finest[0] // k, finest[1] // k) for k in (4, 2, 1))

    def pitch(self, level: int) -> float:
        """Network px for each px of a level."""
        return NETWORK_SHORT_EDGE / min(self.levels[level])

    def tile(self, level: int) -> int:
        """Edge of a tile, px of a level."""
        return _TILE >> (len(self.levels) - 1 - level)

    @cached_property
    def tiles(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return tuple(max(1, edge // self.tile(0)) for edge in self.levels[0])

    def window(self, level: int) -> tuple[slice, slice]:
        """Rows and columns of a level that the tiles cover, centred."""
        spans = [count * self.tile(level) for count in self.tiles]
        starts = [(edge - span) // 2 for edge, span in zip(self.levels[level], spans, strict=True)]
        return tuple(slice(start, start + span) for start, span in zip(starts, spans, strict=True))

    @cached_property
    def centres(self) -> np.ndarray:
        """(T, 2) centres of the tiles, row by row."""
        rows, columns = self.tiles
        edge = self.tile(0) * self.pitch(0)
        x, y = np.meshgrid((np.arange(columns) - (columns - 1) / 2) * edge, (np.arange(rows) - (rows - 1) / 2) * edge)
        return np.stack([x.ravel(), y.ravel()], axis=1)

    @cached_property
    def generators(self) -> np.ndarray:
        """(8, 3, 3) generators of homographies: pan, tilt, zoom, roll, two shears, two perspectives.

        Pan and tilt are those of a turning camera of this focal length, or shifts where it is unknown. Each is
        scaled to move the image by about one px, at the corner where it differs over the view.
        """
        corner = self.network_scale * np.hypot(*self.size) / 2
        bend = self.focal_length**-2
        return np.array(
            [
                [[0, 0, 1], [0, 0, 0], [-bend, 0, 0]],
                [[0, 0, 0], [0, 0, 1], [0, -bend, 0]],
                [[1 / corner, 0, 0], [0, 1 / corner, 0], [0, 0, 0]],
                [[0, -1 / corner, 0], [1 / corner, 0, 0], [0, 0, 0]],
                [[1 / corner, 0, 0], [0, -1 / corner, 0], [0, 0, 0]],
                [[0, 1 / corner, 0], [1 / corner, 0, 0], [0, 0, 0]],
                [[0, 0, 0], [0, 0, 0], [-(corner**-2), 0, 0]],
                [[0, 0, 0], [0, 0, 0], [0, -(corner**-2), 0]],
            ]
        )

    @cached_property
    def fields(self) -> np.ndarray:
        """(T, 2, 8) displacement of each tile for a unit of each generator."""
        points = np.column_stack([self.centres, np.ones(len(self.centres))])
        moved = np.einsum("kij,tj->tik", self.generators, points)
        return moved[:, :2] - points[:, :2, None] * moved[:, 2:]

    def homography(self, motion: np.ndarray) -> np.ndarray:
        """Return the (3, 3) homography of a motion: (8,) amounts of the generators."""
        step = np.tensordot(motion, self.generators, axes=1)
        # The exponential series: its steps are a few px over hundreds, so four terms leave less than 1e-6 px.
        H = np.eye(3) + step @ (np.eye(3) + step @ (np.eye(3) / 2 + step @ (np.eye(3) / 6 + step / 24)))
        return H / H[2, 2]

    @cached_property
    def _amounts(self) -> np.ndarray:
        return np.linalg.pinv(self.fields.reshape(-1, len(self.generators)))

    def motion(self, H: np.ndarray) -> np.ndarray:
        """Return the (8,) amounts of the generators that make up a homography, to first order."""
        return self._amounts @ self.displacement(H).ravel()

    def displacement(self, H: np.ndarray) -> np.ndarray:
        """Return the (T, 2) displacement of the tile centres under a homography."""
        return transform(H, self.centres) - self.centres

    def warp(
        self,
        image: np.ndarray,
        H: np.ndarray,
        interpolation: int = cv2.INTER_LINEAR,
        border: int = cv2.BORDER_REPLICATE,
    ) -> np.ndarray:
        """Resample an image of any level, or a frame, so that what was at H(p) comes to p."""
        height, width = image.shape[:2]
        mapping = in_pixels(H, (height, width))
        flags = interpolation | cv2.WARP_INVERSE_MAP
        return cv2.warpPerspective(image, mapping, (width, height), flags=flags, borderMode=border)


def in_pixels(H: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a homography between px at network resolution, from the centre, as one between pixels (x, y)."""
    height, width = size
    pitch = NETWORK_SHORT_EDGE / min(size)
    to_centre = np.array([[pitch, 0, -pitch * (width - 1) / 2], [0, pitch, -pitch * (height - 1) / 2], [0, 0, 1]])
    mapping = np.linalg.inv(to_centre) @ H @ to_centre
    return mapping / mapping[2, 2]


_geometry = lru_cache(maxsize=8)(Geometry)  # its tables are made once for each kind of stack


class Frame:
    """One image as the registration sees it: low-passed grey levels, and what a template needs of each.

    Args:
        image: (H, W, 3) uint8 RGB or (H, W) uint8.
        of: geometry of its size.

    Attributes:
        noise: variance that noise adds to the finest level's grey values, at most.
    """

    def __init__(self, image: np.ndarray, of: Geometry):
        self.geometry = of
        height, width = of.levels[-1]
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        self.noise = _noise_variance(grey, of)
        levels = []
        for height, width in reversed(of.levels):
            grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
            levels.append(cv2.GaussianBlur(grey, (0, 0), _SMOOTHING))
        self.levels = tuple(reversed(levels))
        self._templates = {}

    def template(self, level: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the regressors (T, 4, n), the inverse of their normal matrix (T, 4, 4) and the tiles (T, n).

        Regressors are the gradient in x and y, the Laplacian and the grey value, each less its mean over the tile.
        """
        if level not in self._templates:
            image = self.levels[level]
            window = self.geometry.window(level)
            dx = cv2.Sobel(image, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
            dy = cv2.Sobel(image, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
            channels = np.stack([c[window] for c in (dx, dy, cv2.Laplacian(image, cv2.CV_32F), image)])
            regressors = self._cut(channels, level)
            normal = (regressors @ regressors.transpose(0, 2, 1)).astype(np.float64)
            diagonal = normal[:, range(4), range(4)]
            normal[:, range(4), range(4)] += _DAMPING * diagonal.mean(axis=0) + 1e-6
            self._templates[level] = regressors, np.linalg.inv(normal), regressors[:, 3]
        return self._templates[level]

    @cached_property
    def even(self) -> np.ndarray:
        """The coarsest level, band-passed and its contrast evened out: each part of the view has one voice."""
        image = self.levels[0]
        band = image - cv2.GaussianBlur(image, (0, 0), 3.0)
        power = cv2.GaussianBlur(band * band, (0, 0), 6.0)
        return band / np.sqrt(power + _FAINT**2)

    def tiles(self, image: np.ndarray, level: int) -> np.ndarray:
        """Cut an image of a level into (T, n) tiles, each less its mean."""
        return self._cut(image[self.geometry.window(level)][None], level)[:, 0]

    def _cut(self, channels: np.ndarray, level: int) -> np.ndarray:
        rows, columns = self.geometry.tiles
        tile = self.geometry.tile(level)
        split = channels.reshape(len(channels), rows, tile, columns, tile).transpose(1, 3, 0, 2, 4)
        cut = split.reshape(rows * columns, len(channels), tile * tile)
        return cut - cut.mean(axis=2, keepdims=True)


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

    @property
    def mismatch(self) -> np.ndarray:
        """(T,) part (0..1) of each tile's contrast that displacement, blur, gain and offset do not explain."""
        return self.residual / np.maximum(self.contrast, 1e-6)


def register(template: Frame, frame: Frame, floor: float = 0.2) -> Registration:
    """Find the homography and the tile displacements from ``template`` to ``frame``.

    ``floor`` (px) is the disagreement between tiles that is expected whatever their noise: small parallax, and
    blur that the Laplacian does not explain.
    """
    of = template.geometry
    H = _coarse_shift(template, frame)
    base = of.displacement(H)
    for level in (1, 2):
        for _ in range(_STEPS):
            step, covariance, *rest = _tile_steps(template, frame, level, H)
            H, uncertainty, weight = fit_homography(of, base + step, covariance, floor, H)
            before, base = base, of.displacement(H)
            if np.abs(base - before).max() < _SETTLED[level]:
                break
    return Registration(H, uncertainty, before + step, covariance, *rest, weight)


def fit_homography(
    of: Geometry,
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
    covariance = np.where(np.isfinite(covariance), covariance, _UNMEASURED**2 * np.eye(2))
    flat = of.fields.reshape(-1, len(of.generators))
    prior = np.diag(_PRIOR_SIGMA**-2)
    motion = np.zeros(len(prior))
    remaining = displacement - of.displacement(H)
    for factor in _FIT_FLOORS:
        information = _inverse(covariance + (factor * floor) ** 2 * np.eye(2))
        error = remaining - (flat @ motion).reshape(-1, 2)
        distance = (error * (information @ error[:, :, None])[:, :, 0]).sum(axis=1)
        weight = 1.0 / (1.0 + distance / 4.0)
        scaled = ((information * weight[:, None, None]) @ of.fields).reshape(flat.shape)
        uncertainty = np.linalg.inv(flat.T @ scaled + prior)
        motion = uncertainty @ (scaled.T @ remaining.ravel())
    return H @ of.homography(motion), uncertainty, weight


def noise_level(frames: Sequence[Frame], found: Sequence[Registration]) -> float:
    """Return the mean square grey difference that noise makes between two of these frames.

    What is left in the best fifth of the tiles is noise, unless the frames have nothing in common; then the
    noise seen in each frame bounds it.
    """
    left = min((float(np.percentile(each.residual[each.seen], 20)) for each in found if each.seen.any()), default=0.0)
    return max(min(left, 2.0 * _NOISE_MARGIN * max(frame.noise for frame in frames)), _ROUNDING)


def agrees(found: Registration, noise: float) -> bool:
    """Say whether two frames show the same, so far as they have texture above the noise."""
    textured = found.seen & (found.contrast > DISTINCT * noise)
    alike = (found.mismatch < UNLIKE) & (found.weight > 0.1)
    return not textured.any() or float(alike[textured].mean()) > 0.4


def warp_planes(
    stack: FocusStack, of: Geometry, homographies: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Warp each plane so that what was at H(p) comes to p.

    Returns:
        The images, and (H, W) bool where every plane had pixels (None where that is everywhere).
    """
    images, valid = [], None
    full = np.full(stack.size, 255, np.uint8)
    for plane, H in zip(stack.planes, homographies, strict=True):
        if np.abs(of.displacement(H)).max() < 0.05:
            images.append(plane.image)
            continue
        images.append(of.warp(plane.image, H, cv2.INTER_CUBIC))
        inside = of.warp(full, H, border=cv2.BORDER_CONSTANT) == 255
        valid = inside if valid is None else valid & inside
    return images, valid


def _noise_variance(grey: np.ndarray, of: Geometry) -> float:
    """Estimate the noise of the flattest tenth of a frame (Immerkaer, 1996), as it is after the low-pass."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    rough = np.abs(cv2.filter2D(grey, cv2.CV_32F, kernel))
    rows, columns = of.tiles
    flattest = np.percentile(cv2.resize(rough, (columns, rows), interpolation=cv2.INTER_AREA), 10)
    return float(np.pi / 2 * (flattest / 6) ** 2) / (4 * np.pi * _SMOOTHING**2)


def transform(H: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a homography to (..., 2) points."""
    moved = points @ H[:, :2].T + H[:, 2]
    return moved[..., :2] / moved[..., 2:]


def _inverse(covariance: np.ndarray) -> np.ndarray:
    """Invert symmetric (T, 2, 2) matrices; numpy's own takes several times as long for so small ones."""
    determinant = covariance[:, 0, 0] * covariance[:, 1, 1] - covariance[:, 0, 1] ** 2
    adjugate = -covariance
    adjugate[:, 0, 0], adjugate[:, 1, 1] = covariance[:, 1, 1], covariance[:, 0, 0]
    return adjugate / determinant[:, None, None]


def _coarse_shift(template: Frame, frame: Frame) -> np.ndarray:
    """Return the shift by phase correlation at the coarsest level, or none where that explains the frames better."""
    of = template.geometry
    height, width = of.levels[0]
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    a, b = template.even, frame.even
    shift, _ = cv2.phaseCorrelate(a, b, window)
    H = np.eye(3)
    H[:2, 2] = np.array(shift) * of.pitch(0)
    still, shifted = (float(np.vdot(a * window, of.warp(b, G))) for G in (np.eye(3), H))
    return H if shifted > still else np.eye(3)


def _tile_steps(template: Frame, frame: Frame, level: int, H: np.ndarray):
    """Return one Lucas-Kanade step from H for every tile: (T, 2), its (T, 2, 2) covariance, residual and contrast."""
    of = template.geometry
    regressors, inverse, tiles = template.template(level)
    warped = template.tiles(of.warp(frame.levels[level], H), level)
    difference = warped - tiles
    pixels = tiles.shape[1]
    right = (regressors @ difference[:, :, None])[:, :, 0].astype(np.float64)
    amounts = (inverse @ right[:, :, None])[:, :, 0]
    explained = np.einsum("tk,tk->t", amounts, right)
    residual = np.maximum(np.einsum("tn,tn->t", difference, difference) - explained, 0.0) / pixels
    contrast = np.maximum(np.einsum("tn,tn->t", tiles, tiles), np.einsum("tn,tn->t", warped, warped)) / pixels
    pitch = of.pitch(level)
    noise = np.maximum(residual, _ROUNDING) * _CORRELATED_PIXELS * pitch**2
    # Noise alone has gradients too, and would vote for no step with confidence: it is known by what it leaves.
    trust = np.clip(1.0 - residual / np.maximum(contrast, 1e-6), 0.1, 1.0)
    covariance = inverse[:, :2, :2] * (noise / trust**4)[:, None, None]
    half_view = (np.array(of.levels[level][::-1]) - of.tile(level)) * pitch / 2
    left = (np.abs(transform(H, of.centres)) > half_view + 1.0).any(axis=1)
    covariance[left] = np.inf
    residual[left] = contrast[left] = 0.0
    # The frame equals the template where the template's gradient times the remaining displacement vanishes.
    # Linearisation holds for a tile or less.
    limit = of.tile(level) * pitch / 2
    step = np.clip(-amounts[:, :2] * pitch, -limit, limit)
    return step, covariance, residual, contrast
