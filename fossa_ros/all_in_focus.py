"""The all-in-focus image of a stack: every pixel from the planes in which it is sharpest."""

from __future__ import annotations

import cv2
import numpy as np

from fossa_ros import optics
from fossa_ros.stack import FocusStack

TILE = 96, 320  # px: its planes stay in the processor's cache, and few of them matter


def compose_all_in_focus(stack: FocusStack, depth, softness=0.25) -> np.ndarray:
    """Compose the sharp image of an aligned stack from its depth.

    Every pixel is taken from the plane nearest to its depth in dioptres; within ``softness`` of half way between two
    planes the two are blended, so that no seam shows.

    Args:
        stack: aligned planes (H, W, 3) uint8 RGB, in any order.
        depth: (H, W) metres; where it is NaN the sharper of the planes decides by local contrast.
        softness: share of the gap between two planes over which they blend, 0..1.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    depth = np.asarray(depth, np.float32)
    known = np.isfinite(depth) & (depth > 0)
    power = np.float32(1.0) / np.where(known, depth, np.float32(np.inf))
    power[~known] = np.nan
    return blend_planes(
        [plane.image for plane in stack.planes], optics.dioptres(stack.focus_distances), power, softness
    )


def blend_planes(images, focus, power, softness=0.25) -> np.ndarray:
    """Compose the sharp image from uint8 ``images``, their (N,) ``focus`` and an (H, W) ``power``, all in dioptres.

    As `compose_all_in_focus`, for images that are not a stack; NaN in ``power`` is unknown.
    """
    order = np.argsort(-np.asarray(focus), kind="stable")
    images, focus = [images[i] for i in order], np.asarray(focus, np.float64)[order]
    power = np.asarray(power, np.float32)
    unknown = ~np.isfinite(power)
    if unknown.any():
        power = power.copy()
        power[unknown] = focus[_sharpest(images)[unknown]]
    result = np.empty_like(images[0])
    height, width = power.shape
    for top in range(0, height, TILE[0]):
        for left in range(0, width, TILE[1]):
            tile = np.s_[top : top + TILE[0], left : left + TILE[1]]
            result[tile] = _blend([image[tile] for image in images], focus, power[tile], max(softness, 1e-3))
    return result


def _blend(images, focus, power, softness: float) -> np.ndarray:
    """Compose one tile, its ``images`` in the order of falling ``focus``.

    From the nearest plane to the farthest, each takes its share of what lies behind the one before; a share is 0 or 1
    but where two planes blend, so that no third has a part in it, and most planes none in a tile.
    """
    farthest, nearest, _, _ = cv2.minMaxLoc(power)
    result = images[0]
    for image, nearer, farther in zip(images[1:], focus, focus[1:], strict=False):
        half = (nearer - farther) * softness / 2
        middle = (nearer + farther) / 2
        if not half > 0 or farthest >= middle + half:
            continue
        if nearest <= middle - half:
            result = image
            continue
        slope = 127.5 / half
        share = cv2.addWeighted(power, -slope, power, 0.0, middle * slope + 127.5, dtype=cv2.CV_8U)  # saturates
        share = cv2.merge([share, share, share])
        behind = cv2.multiply(image, share, scale=1 / 255)
        result = cv2.add(cv2.multiply(result, cv2.bitwise_not(share), scale=1 / 255), behind)
    return result


def _sharpest(images):
    """Return (H, W) index of the plane with the most local contrast."""
    best, position = None, None
    for index, image in enumerate(images):
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        contrast = cv2.boxFilter(np.abs(cv2.Laplacian(gray, cv2.CV_32F)), -1, (9, 9))
        if best is None:
            best, position = contrast, np.zeros(gray.shape, np.uint8)
        else:
            position[contrast > best] = index
            best = np.maximum(best, contrast)
    return position
