"""Bring depth maps of raw images to the rectified view of their camera.

Depth is estimated in the raw images: to rectify the planes first would blur them, and blur is what is measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from fossa_ros.core.camera_model import IDENTITY, Rectification
from fossa_ros.core.resampling import resample_depth
from fossa_ros.core.stack import DepthMap, FocusStack


def rectified(depth_map: DepthMap, stack: FocusStack) -> DepthMap:
    """Bring the depth map of a stack of raw images to the rectified view; one of a rectified stack is unchanged.

    Depth is not mixed across edges (``resample_depth``), confidence is that of the nearest raw pixel, and the
    all-in-focus image is interpolated. Where the view has no raw pixel, depth is unknown and the image black.
    """
    rectification, K = stack.rectification, stack.K
    if rectification is None or K is None:
        return depth_map
    maps = _maps(tuple(K.ravel().tolist()), rectification, depth_map.depth.shape)
    depth = resample_depth(depth_map.depth, maps.nearest, maps.linear)
    if maps.stretch is not None:
        depth *= maps.stretch
    confidence = np.where(np.isfinite(depth), maps.nearest(depth_map.confidence), np.float32(0))

    def sharp_image() -> np.ndarray:
        image = maps.remap(depth_map.all_in_focus, cv2.INTER_CUBIC)
        image[~maps.inside] = 0
        return image

    return replace(depth_map, depth=depth, confidence=confidence, sharp_image=sharp_image, K=rectification.P)


def blur_scale(stack: FocusStack, size: tuple[int, int]) -> np.ndarray | None:
    """Return by how much blur is larger at each place of a raw stack than K says; None for a rectified stack.

    Returns:
        (h, w) float32 of ``size``, from the distortion of the lens (``Rectification.local_scale``).
    """
    if stack.rectification is None or stack.K is None or not stack.rectification.distorts:
        return None
    return _blur_scale(tuple(stack.K.ravel().tolist()), stack.rectification, stack.size, size)


@lru_cache(maxsize=4)
def _blur_scale(
    K: tuple[float, ...], rectification: Rectification, size: tuple[int, int], wanted: tuple[int, int]
) -> np.ndarray:
    scale = rectification.local_scale(np.reshape(K, (3, 3)), size)
    scale = np.where(np.isfinite(scale), scale, np.float32(1.0))  # no light comes from there
    enlarged = cv2.resize(scale, wanted[::-1], interpolation=cv2.INTER_LINEAR)
    enlarged.flags.writeable = False
    return enlarged


@dataclass(frozen=True, eq=False)
class _Maps:
    """Where each pixel of the rectified view comes from.

    Attributes:
        x, y: (H, W) float32 raw pixel.
        index: (H, W) index of the nearest raw pixel, row by row.
        inside: (H, W) bool, where there is a raw pixel.
        stretch: (H, W) float32 depth in the rectified camera by that in the raw one; None where they are equal.
    """

    x: np.ndarray
    y: np.ndarray
    index: np.ndarray
    inside: np.ndarray
    stretch: np.ndarray | None

    def remap(self, image: np.ndarray, interpolation: int) -> np.ndarray:
        """Return ``image`` in the rectified view; the border is repeated where it has no pixel."""
        return cv2.remap(image, self.x, self.y, interpolation, borderMode=cv2.BORDER_REPLICATE)

    def linear(self, image: np.ndarray) -> np.ndarray:
        """Return (H, W) float32 ``image`` interpolated."""
        return self.remap(image, cv2.INTER_LINEAR)

    def nearest(self, image: np.ndarray) -> np.ndarray:
        """Return the nearest pixel of ``image``, (H, W); NaN, False or 0 where there is none."""
        outside = np.array(np.nan if image.dtype.kind == "f" else 0, image.dtype)
        return np.where(self.inside, image.ravel()[self.index], outside)


@lru_cache(maxsize=4)  # of different cameras or sizes in one process
def _maps(K: tuple[float, ...], rectification: Rectification, size: tuple[int, int]) -> _Maps:
    height, width = size
    raw = rectification.raw_pixel_map(np.reshape(K, (3, 3)), size)
    x, y = np.ascontiguousarray(raw[..., 0]), np.ascontiguousarray(raw[..., 1])
    inside = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)  # False for NaN
    x[~inside] = y[~inside] = 0.0
    column, row = (np.rint(axis).astype(np.intp) for axis in (x, y))
    index = row.clip(0, height - 1) * width + column.clip(0, width - 1)
    stretch = None
    if rectification.rotation != IDENTITY:
        stretch = np.where(inside, 1 / rectification.ray_depth(size), np.float32(1.0))
    return _Maps(x, y, index, inside, stretch)
