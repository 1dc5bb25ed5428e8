"""Follow what moves by itself: planes warped pixel by pixel, by flow, to where it is in the reference plane.

Blur differs from plane to plane, so flow is computed between views of even contrast, and trusted only where it leads
back to where it came from, where both views have texture, and where what it brings together looks alike. Background
that the mover hides in some plane has no counterpart there and fails the first of these.
"""

from __future__ import annotations

import cv2
import numpy as np

from fossa_ros.core.stack import FocusStack
from fossa_ros.motion.moving_region import even, flow
from fossa_ros.motion.registration import Frame
from fossa_ros.motion.tiling import FINEST, Tiling

_SHORT_EDGE = 320  # px at which flow is computed: twice as fine as what finds the region
_BACK_PX = 1.5  # network px by which the way there and back may miss
_ALIKE = 0.7  # correlation of the evened views around a pixel
_AROUND = 9  # px at which both are looked at
_TEXTURE = 4.0  # grey levels of local contrast without which flow is a guess
_RIM = 5  # px: patches of flow near what is doubtful are doubtful


def follow(stack: FocusStack, region: np.ndarray) -> tuple[FocusStack, np.ndarray]:
    """Warp the planes to the reference plane by flow, within a region.

    Args:
        stack: its planes show one view but for what moves by itself.
        region: (H, W) bool, where something does.

    Returns:
        The stack, and (H, W) bool: where in the region all its planes can be trusted to show the same.
    """
    tiling = Tiling.for_stack(stack, _SHORT_EDGE)
    frames = [Frame(plane.image, tiling) for plane in stack.planes]
    views = [even(frame) for frame in frames]
    here = stack.reference
    height, width = tiling.levels[FINEST]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    trusted = _textured(frames[here])
    ways = {}
    for plane, frame in enumerate(frames):
        if plane == here:
            continue
        there = flow(views[here], views[plane], tiling) / np.float32(tiling.pitch(FINEST))
        back = flow(views[plane], views[here], tiling) / np.float32(tiling.pitch(FINEST))
        at = x + there[..., 0], y + there[..., 1]
        missed = np.linalg.norm(there + cv2.remap(back, *at, cv2.INTER_LINEAR), axis=2)
        trusted &= missed * tiling.pitch(FINEST) < _BACK_PX
        trusted &= _likeness(views[here], cv2.remap(views[plane], *at, cv2.INTER_LINEAR)) > _ALIKE
        trusted &= cv2.remap(_textured(frame).astype(np.float32), *at, cv2.INTER_LINEAR) > 0.5
        trusted &= (at[0] >= 0) & (at[0] <= width - 1) & (at[1] >= 0) & (at[1] <= height - 1)
        ways[plane] = there
    trusted = cv2.erode(trusted.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_RIM, _RIM)))
    size = stack.size[::-1]
    trusted = (cv2.resize(trusted, size, interpolation=cv2.INTER_NEAREST) > 0) & region
    images = [
        plane.image if number == here else _brought(plane.image, ways[number], trusted)
        for number, plane in enumerate(stack.planes)
    ]
    return stack.with_images(images), trusted


def _brought(image: np.ndarray, way: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return an image with what is at p + way(p) brought to p, where that is wanted."""
    height, width = where.shape
    way = cv2.resize(way, (width, height)) * np.float32([width / way.shape[1], height / way.shape[0]])
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(image, x + way[..., 0], y + way[..., 1], cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    return np.where(where[..., None], moved, image)


def _textured(frame: Frame) -> np.ndarray:
    grey = frame.levels[FINEST]
    mean = cv2.blur(grey, (_AROUND, _AROUND))
    return cv2.blur(grey * grey, (_AROUND, _AROUND)) - mean * mean > _TEXTURE**2


def _likeness(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the correlation coefficient of two images around each pixel."""
    a, b = a.astype(np.float32), b.astype(np.float32)

    def around(image):
        return cv2.blur(image, (_AROUND, _AROUND))

    mean_a, mean_b = around(a), around(b)
    power = (around(a * a) - mean_a**2) * (around(b * b) - mean_b**2)
    return (around(a * b) - mean_a * mean_b) / np.sqrt(np.maximum(power, 1.0))
