"""Shrink focus stacks to a working size, and enlarge depth maps to the size of the photographs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import cv2
import numpy as np

from fossa_ros.core.geometry import scaled_intrinsics
from fossa_ros.core.stack import FocusStack

_STEP = 1.05  # ratio of neighbouring depths beyond which they belong to two surfaces


def shrink_stack(stack: FocusStack, max_size: int) -> FocusStack:
    """Return ``stack`` with its long edge at most ``max_size`` px and K to match; 0 keeps it as it is."""
    height, width = stack.size
    scale = max_size / max(height, width)
    if max_size == 0 or scale >= 1.0:
        return stack
    size = max(1, round(height * scale)), max(1, round(width * scale))
    planes = tuple(
        replace(plane, image=cv2.resize(plane.image, size[::-1], interpolation=cv2.INTER_AREA))
        for plane in stack.planes
    )
    K = None if stack.K is None else scaled_intrinsics(stack.K, stack.size, size)
    rectification = None if stack.rectification is None else stack.rectification.scaled(stack.size, size)
    return replace(stack, planes=planes, K=K, rectification=rectification)


def enlarge_depth(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample an (H, W) float32 depth map (m) to ``size`` (height, width) by ``resample_depth``."""
    if depth.shape == tuple(size):
        return depth

    def to_size(image: np.ndarray, interpolation: int) -> np.ndarray:
        return cv2.resize(image, tuple(size)[::-1], interpolation=interpolation)

    return resample_depth(
        depth, partial(to_size, interpolation=cv2.INTER_NEAREST_EXACT), partial(to_size, interpolation=cv2.INTER_LINEAR)
    )


def resample_depth(
    depth: np.ndarray, nearest: Callable[[np.ndarray], np.ndarray], linear: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Resample an (H, W) float32 depth map (m) without inventing surfaces.

    Within a surface 1 / depth is interpolated bilinearly, which is exact for a plane. At a step, where neighbours
    differ by more than 5 %, and next to unknown depth (NaN), the nearest pixel is taken: a mean of foreground and
    background would be a depth where there is no surface.

    Args:
        depth: the map; what is not positive is unknown.
        nearest: resamples an (H, W) float32 or uint8 image by the nearest pixel, NaN and 0 where there is none.
        linear: resamples an (H, W) float32 image bilinearly.

    Returns:
        (h, w) float32 as ``nearest`` and ``linear`` return it.
    """
    known = depth > 0
    power = np.where(known, np.float32(1.0) / np.where(known, depth, np.float32(1.0)), np.float32(0.0))
    largest = cv2.dilate(power, np.ones((3, 3)))
    smallest = cv2.erode(np.where(known, power, np.float32(np.inf)), np.ones((3, 3)))
    surface = (known & (largest / _STEP <= smallest)).astype(np.uint8)
    resampled = nearest(np.where(known, depth, np.float32(np.nan)))
    weight = linear(known.astype(np.float32))
    np.divide(weight, linear(power), out=resampled, where=nearest(surface).astype(bool))
    return resampled
