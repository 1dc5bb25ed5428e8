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
    images, focus = [images[i] for i in order], np.asarray(focus)[order]
    known = np.isfinite(power)
    position = np.interp(power, focus[::-1], np.arange(len(focus))[::-1]).astype(np.float32)
    if not known.all():
        position[~known] = _sharpest(images)[~known]
    lower = np.minimum(position.astype(np.uint8), len(images) - 2)
    share = position - lower
    share = np.clip((share - 0.5) / max(softness, 1e-3) + 0.5, 0.0, 1.0)
    result = images[0].copy()
    for index in range(len(images) - 1):
        here = lower == index
        if not here.any():
            continue
        rows = np.flatnonzero(here.any(axis=1))
        band = slice(rows[0], rows[-1] + 1)
        weight = np.ascontiguousarray(share[band])
        mixed = cv2.blendLinear(
            np.ascontiguousarray(images[index][band]),
            np.ascontiguousarray(images[index + 1][band]),
            1.0 - weight,
            weight,
        )
        cv2.copyTo(mixed, here[band].astype(np.uint8), result[band])
    return result


def _sharpest(images):
    """Return (H, W) float32 index of the plane with the most local contrast."""
    best, position = None, None
    for index, image in enumerate(images):
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        contrast = cv2.boxFilter(np.abs(cv2.Laplacian(gray, cv2.CV_32F)), -1, (9, 9))
        if best is None:
            best, position = contrast, np.zeros(gray.shape, np.float32)
        else:
            position[contrast > best] = index
            best = np.maximum(best, contrast)
    return position
