"""Image pyramid levels and tiles of frames of one size, and how homographies move them.

Unit: px at network resolution (short edge NETWORK_SHORT_EDGE) from the image centre, x right and y down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusStack

NETWORK_SHORT_EDGE = 518  # FOSSA resizes every plane to this short edge (arXiv 2603.26658)
SHORT_EDGE = 160  # px of the finest level, approximately
FINEST = 2  # index of the finest level
TILE = 16  # px at the finest level
ZOOM = 2  # index of the zoom among the generators
_FIRST_ORDER = 1.0  # px: up to here first order is exact to 0.005 px
_REFINEMENTS = 3  # exact to 0.001 px for motions of 20 px in every generator, as `homography` is


@dataclass(frozen=True)
class Tiling:
    """Levels, tiles and motion fields of frames of one size.

    Attributes:
        size: height and width of the frames, px.
        focal_length: px at network resolution; infinity where unknown.
        short_edge: px of the finest level, approximately.
    """

    size: tuple[int, int]
    focal_length: float = np.inf
    short_edge: int = SHORT_EDGE

    def __post_init__(self) -> None:
        if min(self.size) < TILE:
            height, width = self.size
            raise InputError(
                f"Motion cannot be measured in frames of {width}x{height} px; use frames of {TILE} px or more."
            )

    @classmethod
    def for_stack(cls, stack: FocusStack, short_edge: int = SHORT_EDGE) -> Tiling:
        """Return the tiling of the planes of a stack."""
        return cls.for_planes(stack.size, stack.K, short_edge)

    @classmethod
    def for_planes(cls, size: tuple[int, int], K: np.ndarray | None, short_edge: int = SHORT_EDGE) -> Tiling:
        """Return the tiling of planes of (height, width) with intrinsics K; the same object for the same planes."""
        focal_length = np.inf if K is None else float(K[0, 0])
        return _tiling(tuple(size), focal_length * NETWORK_SHORT_EDGE / min(size), short_edge)

    @property
    def network_scale(self) -> float:
        """Network px per px of the frame."""
        return NETWORK_SHORT_EDGE / min(self.size)

    @cached_property
    def levels(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the working levels, coarse to fine: 1/4, 1/2 and 1/1 of the finest."""
        shrink = min(1.0, self.short_edge / min(self.size))
        finest = [max(TILE, round(edge * shrink) // 4 * 4) for edge in self.size]
        return tuple((finest[0] // k, finest[1] // k) for k in (4, 2, 1))

    def pitch(self, level: int) -> float:
        """Return network px per px of a level."""
        return NETWORK_SHORT_EDGE / min(self.levels[level])

    def tile(self, level: int) -> int:
        """Return the edge of a tile, px of a level."""
        return TILE >> (FINEST - level)

    @cached_property
    def tiles(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        height, width = self.levels[0]
        return max(1, height // self.tile(0)), max(1, width // self.tile(0))

    def window(self, level: int) -> tuple[slice, slice]:
        """Return the rows and columns of a level that the tiles cover, centred."""
        return self._windows[level]

    @cached_property
    def _windows(self) -> tuple[tuple[slice, slice], ...]:
        return tuple(self._window(level) for level in range(len(self.levels)))

    def _window(self, level: int) -> tuple[slice, slice]:
        spans = [count * self.tile(level) for count in self.tiles]
        starts = [(edge - span) // 2 for edge, span in zip(self.levels[level], spans, strict=True)]
        rows, columns = (slice(start, start + span) for start, span in zip(starts, spans, strict=True))
        return rows, columns

    def cut(self, images: np.ndarray, level: int) -> np.ndarray:
        """Cut (C, h, w) images of a level into (T, C, n) tiles."""
        rows, columns = self.tiles
        tile = self.tile(level)
        split = images[:, *self.window(level)].reshape(-1, rows, tile, columns, tile)
        return split.transpose(1, 3, 0, 2, 4).reshape(rows * columns, -1, tile * tile)

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
        scaled to move the image by about one px; at the corner, where its effect varies over the view.
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

    @cached_property
    def fields_by_axis(self) -> np.ndarray:
        """(2, T, 8): the fields, those of x first."""
        return np.ascontiguousarray(self.fields.transpose(1, 0, 2))

    def homography(self, motion: np.ndarray) -> np.ndarray:
        """Return the (3, 3) homography of a motion, (8,) amounts of the generators."""
        step = (motion @ self.generators.reshape(len(motion), 9)).reshape(3, 3)
        # The exponential series: motions are a few px in hundreds, so four terms are exact to 1e-6 px.
        H = np.eye(3) + step @ (np.eye(3) + step @ (np.eye(3) / 2 + step @ (np.eye(3) / 6 + step / 24)))
        return H / H[2, 2]

    @cached_property
    def _amounts(self) -> np.ndarray:
        return np.linalg.pinv(self.fields.reshape(-1, len(self.generators)))

    def motion(self, H: np.ndarray) -> np.ndarray:
        """Return the (8,) amounts of the generators of a homography: the inverse of `homography`.

        A first-order estimate would be off by a px for a turn by 40 px. The error would stay in the estimates of the
        sweeps to come, with an uncertainty that does not know of it.
        """
        amounts = self._amounts @ self.displacement(H).ravel()
        for _ in range(_REFINEMENTS if np.abs(amounts).max() > _FIRST_ORDER else 0):
            rest = H @ np.linalg.inv(self.homography(amounts))
            amounts = amounts + self._amounts @ self.displacement(rest).ravel()
        return amounts

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
        """Resample an image of any level, or a frame, so that the point at H(p) moves to p."""
        height, width = image.shape[:2]
        mapping = in_pixels(H, (height, width))
        flags = interpolation | cv2.WARP_INVERSE_MAP
        return cv2.warpPerspective(image, mapping, (width, height), flags=flags, borderMode=border)


def in_pixels(H: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Convert a homography between network px from the centre to one between pixels (x, y)."""
    to_centre, from_centre = _centring(size)
    mapping = from_centre @ H @ to_centre
    return mapping / mapping[2, 2]


@lru_cache(maxsize=64)
def _centring(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    height, width = size
    pitch = NETWORK_SHORT_EDGE / min(size)
    to_centre = np.array([[pitch, 0, -pitch * (width - 1) / 2], [0, pitch, -pitch * (height - 1) / 2], [0, 0, 1]])
    return to_centre, np.linalg.inv(to_centre)


_tiling = lru_cache(maxsize=8)(Tiling)  # so that its tables are computed once for each kind of stack


def transform(H: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a homography to (..., 2) points."""
    moved = points @ H[:, :2].T + H[:, 2]
    return moved[..., :2] / moved[..., 2:]


def warp_planes(
    stack: FocusStack, tiling: Tiling, homographies: Sequence[np.ndarray], interpolation: int = cv2.INTER_CUBIC
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Warp each plane so that the point at H(p) moves to p.

    The default cubic kernel takes a third of the time of Lanczos and loses twice as much fine detail.

    Returns:
        The images, and (H, W) bool where every plane had pixels (None where that is everywhere).
    """
    images, valid = [], None
    full = np.full(stack.size, 255, np.uint8)
    for plane, H in zip(stack.planes, homographies, strict=True):
        if np.abs(tiling.displacement(H)).max() < 0.05:
            images.append(plane.image)
            continue
        images.append(tiling.warp(plane.image, H, interpolation))
        inside = tiling.warp(full, H, border=cv2.BORDER_CONSTANT) == 255
        valid = inside if valid is None else valid & inside
    return images, valid
