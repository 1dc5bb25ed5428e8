"""Convert depth maps to organised point clouds, and scale camera intrinsics.

Pixel coordinates follow OpenCV and ROS: the centre of the top left pixel is (0, 0). Images are rectified. Points are in
metres in the optical frame of REP 103: x right, y down, z forward along the optical axis.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

ROWS = 64  # of a cloud converted at once, so that intermediate arrays stay in the processor's cache
# Layout of PCL's and RViz's XYZRGB in 16 bytes: rgb is the bytes b, g, r, 0 read as a little-endian float32.
POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<f4")])
CONFIDENT_POINT = np.dtype([*((name, "<f4") for name in POINT.names or ()), ("confidence", "<f4")])


def scaled_intrinsics(K: np.ndarray, size: tuple[int, int], new_size: tuple[int, int]) -> np.ndarray:
    """Return the intrinsics ``K`` (3, 3) of images of ``size`` (height, width) after they are resized to ``new_size``.

    Resizing keeps the outer border of the image, so coordinates scale about the corner (-0.5, -0.5).
    """
    (height, width), (new_height, new_width) = size, new_size
    scale = np.array([new_width / width, new_height / height])
    scaled = np.array(K, dtype=np.float64)
    scaled[:2] *= scale[:, None]
    scaled[:2, 2] += 0.5 * scale - 0.5
    return scaled


@lru_cache(maxsize=8)
def _slopes(
    fx: float, fy: float, cx: float, cy: float, skew: float, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return x/z as (H or 1, W) and y/z as (H, 1) float32, read-only; cached for each camera."""
    y = (np.arange(height)[:, None] - cy) / fy
    x = (np.arange(width)[None, :] - cx - (skew * y if skew else 0.0)) / fx
    slopes = x.astype(np.float32), y.astype(np.float32)
    for slope in slopes:
        slope.flags.writeable = False
    return slopes


def point_cloud(depth: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Return the (H, W, 3) float32 points (m) of an (H, W) depth map; NaN where depth is not positive."""
    x_slope, y_slope = _slopes(K[0, 0], K[1, 1], K[0, 2], K[1, 2], K[0, 1], *depth.shape)
    z = _positive(depth)
    return cv2.merge([z * x_slope, z * y_slope, z])


def coloured_cloud(
    depth: np.ndarray, K: np.ndarray, colour: np.ndarray, confidence: np.ndarray | None = None
) -> np.ndarray:
    """Return an organised cloud, (H, W) of POINT, C-contiguous: the layout of the data of a PointCloud2.

    ``depth`` is (H, W) metres, ``K`` (3, 3), ``colour`` (H, W, 3) uint8 RGB. Where depth is not a positive number, x, y
    and z are NaN and the colour is kept. With ``confidence`` (H, W) float32, the points are CONFIDENT_POINT.
    """
    if colour.shape != (*depth.shape, 3) or colour.dtype != np.uint8:
        raise ValueError(f"colour {colour.shape} {colour.dtype} does not belong to depth {depth.shape}")
    cloud = np.empty(depth.shape, POINT if confidence is None else CONFIDENT_POINT)
    fields = cloud.view(np.float32).reshape(*depth.shape, -1)
    x_slope, y_slope = _slopes(K[0, 0], K[1, 1], K[0, 2], K[1, 2], K[0, 1], *depth.shape)
    x_slope = np.broadcast_to(x_slope, (len(depth), depth.shape[1]))

    for top in range(0, len(depth), ROWS):
        rows = slice(top, top + ROWS)
        z = _positive(depth[rows])
        bgr = cv2.cvtColor(colour[rows], cv2.COLOR_RGB2BGRA).view("<u4")[..., 0]
        bgr &= np.uint32(0x00FFFFFF)
        # OpenCV interleaves planes four times as fast as NumPy writes the fields one by one.
        planes = [z * x_slope[rows], z * y_slope[rows], z, bgr.view(np.float32)]
        if confidence is not None:
            planes.append(confidence[rows])
        cv2.merge(planes, dst=fields[rows])
    return cloud


def _positive(depth: np.ndarray) -> np.ndarray:
    """Return (H, W) ``depth`` as float32, NaN where it is not a positive number."""
    depth = np.asarray(depth, np.float32)
    lowest, highest = depth.min(), depth.max()
    if lowest > 0 and highest < np.inf:
        return depth
    return np.where((depth > 0) & (depth < np.inf), depth, np.float32(np.nan))
