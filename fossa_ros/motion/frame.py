"""Prepare one frame for registration: low-passed grey levels of an image pyramid, cut into tiles."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

from fossa_ros.motion.tiling import FINEST, Tiling

SMOOTHING = 1.0  # px at each level: sigma of the low-pass
_DAMPING = 1e-3  # of the mean diagonal: keeps textureless tiles solvable; their covariance marks them
_FAINT = 1.0  # grey levels: contrast of the coarsest level that noise alone can cause
_DETAIL = np.array([0, 1, 3])  # of a tile's regressors: both gradients and the grey value


class Frame:
    """The grey levels of one image, and the tables a registration template needs of them.

    Args:
        image: (H, W, 3) uint8 RGB or (H, W) uint8.
        tiling: levels and tiles of images of this size.

    Attributes:
        levels: float32 grey values of each level, coarse to fine.
        noise: upper estimate of the variance that noise adds to the grey values of the finest level.
    """

    def __init__(self, image: np.ndarray, tiling: Tiling):
        self.tiling = tiling
        grey: np.ndarray = _shrink(image, *tiling.levels[-1]).astype(np.float32)
        self.noise = _noise_variance(grey, tiling)
        levels: list[np.ndarray] = []
        for height, width in reversed(tiling.levels):
            if levels:
                grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
            levels.append(cv2.GaussianBlur(grey, (0, 0), SMOOTHING))
        self.levels = tuple(reversed(levels))
        self._templates: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._details: dict[tuple[int, int], np.ndarray] = {}

    def template(self, level: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the regressors (T, 4, n), the inverse of their normal matrix (T, 4, 4) and the tiles' power (T,).

        The regressors are the gradient in x and y, the Laplacian and the grey value, each minus its mean over the
        tile. Power is the sum of squares of the last.
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
    def normalized(self) -> np.ndarray:
        """The coarsest level, band-passed, its local contrast normalized so that all regions weigh equally."""
        image = self.levels[0]
        band = image - cv2.GaussianBlur(image, (0, 0), 3.0)
        power = cv2.GaussianBlur(band * band, (0, 0), 6.0)
        return band / np.sqrt(power + _FAINT**2)

    def detail(self, offset: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Measure the detail of each tile in each direction, at the finest level.

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
        """Drop the templates, most of the frame's memory; they are computed again when needed."""
        self._templates.clear()
        return self

    def _regressors(self, level: int, offset: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Return (T, 4, n): gradient in x and y, Laplacian and grey value minus their means; tiles moved by offset."""
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


def lower(values: np.ndarray, share: float) -> float:
    """Return the value below which a share (0..1) of the values lies; ten times as fast as numpy's quantiles."""
    place = int(share * len(values))
    return float(np.partition(values, place)[place])


def _shrink(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the grey values of an image at a smaller size, uint8.

    OpenCV averages areas that are not a power of two many times slower than it halves, so the image is halved first
    and averaged at the end, on few pixels. Interpolation would be faster still, but it aliases fine detail.
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
    return float(np.pi / 2 * (flattest / 6) ** 2) / (4 * np.pi * SMOOTHING**2)
