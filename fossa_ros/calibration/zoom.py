"""Scale and shift an image with a separable Lanczos kernel, which keeps fine detail.

Depth from defocus reads detail that an interpolation removes as blur. The cubic kernel of OpenCV removes enough of it
to cost a tenth of the accuracy of depth where a dioptre blurs by a pixel or two; eight Lanczos taps do not. Rows and
columns are scaled separately, so that two passes of eight taps replace a warp of sixty-four: half the time of OpenCV's
Lanczos warp, and without its rounding of positions to 1/32 px.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # slow to import: where planes are resampled, not before
    from scipy import sparse

LOBES = 4  # of the kernel on either side


def zoom(image: np.ndarray, scale: float, across: float, down: float) -> np.ndarray:
    """Return the image whose pixel (x, y) is at (scale x + across, scale y + down) of ``image``.

    Beyond the edge, the edge is repeated.

    Args:
        image: (H, W, C) uint8, or of another dtype, for which the result is float32.
        scale: near 1; pixels are not averaged for a smaller image.
        across, down: px.

    Returns:
        (H, W, C) of the same size.
    """
    height, width, channels = image.shape
    rows = _taps(height, scale, down) @ np.asarray(image, np.float32).reshape(height, width * channels)
    turned = np.ascontiguousarray(rows.reshape(height, width, channels).transpose(1, 0, 2))
    both = _taps(width, scale, across) @ turned.reshape(width, height * channels)
    if image.dtype == np.uint8:
        np.rint(both, out=both)
        np.clip(both, 0, 255, out=both)
        both = both.astype(np.uint8)
    return np.ascontiguousarray(both.reshape(width, height, channels).transpose(1, 0, 2))


@lru_cache(maxsize=256)  # the planes of a sweep come again and again
def _taps(size: int, scale: float, offset: float) -> sparse.csr_matrix:
    """Return the (size, size) matrix that samples a row of pixels at scale * x + offset."""
    from scipy import sparse

    places = scale * np.arange(size) + offset
    near = np.floor(places).astype(int)[:, None] + np.arange(1 - LOBES, LOBES + 1)
    away = places[:, None] - near
    weights = np.sinc(away) * np.sinc(away / LOBES)
    weights /= weights.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(size), 2 * LOBES)
    columns = np.clip(near, 0, size - 1).ravel()
    return sparse.csr_matrix((weights.ravel().astype(np.float32), (rows, columns)), shape=(size, size))
