"""The all-in-focus image of a stack: every pixel from the planes in which it is sharpest."""

from __future__ import annotations

import cv2
import numpy as np

from fossa_ros import optics
from fossa_ros.stack import FocusStack


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
    result = images[0].copy()
    # From the nearest plane to the farthest, each takes its share of what lies behind the one before; a share is 0 or 1
    # but where two planes blend, so that the planes before and after have no part in it.
    for index in range(len(images) - 1):
        gap = focus[index] - focus[index + 1]
        if not gap > 0:
            continue
        slope = 255 / (gap * max(softness, 1e-3))
        middle = (focus[index] + focus[index + 1]) / 2
        share = cv2.addWeighted(power, -slope, power, 0.0, middle * slope + 127.5, dtype=cv2.CV_8U)  # saturates
        _, most, _, _ = cv2.minMaxLoc(share)
        if most == 0:
            continue
        share = cv2.merge([share, share, share])
        behind = cv2.multiply(images[index + 1], share, scale=1 / 255)
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
