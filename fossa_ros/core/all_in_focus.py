"""Compose the all-in-focus image of a stack, each pixel from the planes in which it is sharpest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import cv2
import numpy as np

from fossa_ros.core import optics
from fossa_ros.core.stack import FocusStack

Tile = tuple[slice, slice]
TILE = 96, 320  # px: its planes fit in the processor's cache, and few of them contribute
CONTRAST = 9  # px: side of the square over which local contrast is averaged
REACH = CONTRAST // 2 + 1  # px around a tile on which its local contrast depends


def compose_all_in_focus(stack: FocusStack, depth: np.ndarray, softness: float = 0.25) -> np.ndarray:
    """Compose the all-in-focus image of an aligned stack from its depth.

    Each pixel is taken from the plane nearest to its depth in dioptres. Halfway between two planes, over ``softness``
    of their distance, the two are blended, so that there are no seams.

    Args:
        stack: aligned planes (H, W, 3) uint8 RGB, in any order.
        depth: (H, W) metres; where it is NaN, the plane with the most local contrast is taken.
        softness: share of the distance between two planes over which they are blended, 0..1.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    depth = np.asarray(depth, np.float32)

    def power(tile: Tile) -> np.ndarray:
        with np.errstate(divide="ignore"):
            power = np.reciprocal(depth[tile])
        # Infinite and negative depth are unknown.
        return power if power.min() > 0 else np.where(power > 0, power, np.float32(np.nan))

    images = [plane.image for plane in stack.planes]
    return _compose(images, optics.dioptres(stack.focus_distances), power, depth.shape, softness)


def blend_planes(
    images: Sequence[np.ndarray], focus: np.ndarray, power: np.ndarray, softness: float = 0.25
) -> np.ndarray:
    """Compose the all-in-focus image of images that are not a stack, as `compose_all_in_focus` does.

    Args:
        images: N aligned (H, W, 3) uint8 images.
        focus: (N,) dioptres.
        power: (H, W) dioptres; NaN is unknown.
        softness: as for `compose_all_in_focus`.

    Returns:
        (H, W, 3) uint8.
    """
    power = np.asarray(power, np.float32)
    return _compose(images, focus, power.__getitem__, power.shape, softness)


def _compose(
    images: Sequence[np.ndarray],
    focus: np.ndarray,
    power_of: Callable[[Tile], np.ndarray],
    size: tuple[int, int],
    softness: float,
) -> np.ndarray:
    """Compose the image tile by tile; ``power_of`` returns the dioptres of a tile, not finite where unknown."""
    order = np.argsort(-np.asarray(focus), kind="stable")
    images, focus = [images[i] for i in order], np.asarray(focus, np.float64)[order]
    result = np.empty_like(images[0], order="C")

    for top, left in product(range(0, size[0], TILE[0]), range(0, size[1], TILE[1])):
        tile = slice(top, min(top + TILE[0], size[0])), slice(left, min(left + TILE[1], size[1]))
        power = power_of(tile)
        bounds = power.min(), power.max()  # NaN where any is
        if not np.isfinite(bounds).all():
            power = power.copy()
            unknown = ~np.isfinite(power)
            power[unknown] = focus[_sharpest(images, tile)[unknown]]
            bounds = power.min(), power.max()
        result[tile] = _blend([image[tile] for image in images], focus, power, bounds, max(softness, 1e-3))
    return result


def _blend(
    images: Sequence[np.ndarray], focus: np.ndarray, power: np.ndarray, bounds: tuple[float, float], softness: float
) -> np.ndarray:
    """Compose one tile, its ``images`` in the order of falling ``focus``; ``power`` is within ``bounds``.

    From the nearest plane to the farthest, each plane covers its share of the result so far. A share is 0 or 1 except
    where two planes are blended, so no pixel mixes three planes, and most planes do not contribute to a tile.
    """
    farthest, nearest = bounds
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
        result = cv2.multiply(result, cv2.bitwise_not(share, dst=share), scale=1 / 255)
        cv2.add(result, behind, dst=result)
    return result


def _sharpest(images: Sequence[np.ndarray], tile: Tile) -> np.ndarray:
    """Return the index of the plane with the most local contrast for each pixel of a tile."""
    # The surroundings of the tile, up to the border of the image, make its contrast that of the whole image.
    around = tuple(slice(max(part.start - REACH, 0), part.stop + REACH) for part in tile)
    inner = tuple(
        slice(part.start - outer.start, part.stop - outer.start) for part, outer in zip(tile, around, strict=True)
    )

    def contrast(image: np.ndarray) -> np.ndarray:
        gray = cv2.cvtColor(image[around], cv2.COLOR_RGB2GRAY)
        return cv2.boxFilter(np.abs(cv2.Laplacian(gray, cv2.CV_32F)), -1, (CONTRAST, CONTRAST))[inner]

    best = contrast(images[0])
    position = np.zeros(best.shape, np.uint8)
    for index, image in enumerate(images[1:], 1):
        found = contrast(image)
        position[found > best] = index
        best = np.maximum(best, found)
    return position
