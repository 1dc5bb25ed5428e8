"""Align what moves independently: warp the planes, pixel by pixel, to the reference plane by optical flow.

Blur differs from plane to plane, so flow is computed between views of normalized contrast. It is trusted only where
the flow there and back cancel, where both views have texture, and where the aligned views look alike. Background that
the moving object hides in some plane has no counterpart there and fails the first test.
"""

from __future__ import annotations

import cv2
import numpy as np

from fossa_ros.core.stack import FocusStack
from fossa_ros.motion.frame import Frame
from fossa_ros.motion.moving_region import normalize_contrast, optical_flow
from fossa_ros.motion.tiling import FINEST, Tiling

_SHORT_EDGE = 320  # px at which flow is computed: twice the resolution at which the region is found
_BACK_PX = 1.5  # network px by which the flow there and back may differ
_ALIKE = 0.7  # correlation of the normalized views around a pixel
_WINDOW = 9  # px over which the correlation and the texture are measured
_TEXTURE = 4.0  # grey levels of local contrast without which flow is a guess
_RIM = 5  # px around doubtful flow in which its patches make flow doubtful, too


def warp_by_flow(stack: FocusStack, region: np.ndarray) -> tuple[FocusStack, np.ndarray]:
    """Warp the planes to the reference plane by flow, within a region.

    Args:
        stack: its planes show one view except for what moves independently.
        region: (H, W) bool, where something does.

    Returns:
        The stack, and (H, W) bool: where in the region all its planes reliably show the same.
    """
    tiling = Tiling.for_stack(stack, _SHORT_EDGE)
    frames = [Frame(plane.image, tiling) for plane in stack.planes]
    views = [normalize_contrast(frame) for frame in frames]
    reference = stack.reference
    height, width = tiling.levels[FINEST]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    trusted = _textured(frames[reference])
    flows = {}
    for plane, frame in enumerate(frames):
        if plane == reference:
            continue
        there = optical_flow(views[reference], views[plane], tiling) / np.float32(tiling.pitch(FINEST))
        back = optical_flow(views[plane], views[reference], tiling) / np.float32(tiling.pitch(FINEST))
        at = x + there[..., 0], y + there[..., 1]
        missed = np.linalg.norm(there + cv2.remap(back, *at, cv2.INTER_LINEAR), axis=2)
        trusted &= missed * tiling.pitch(FINEST) < _BACK_PX
        trusted &= _local_correlation(views[reference], cv2.remap(views[plane], *at, cv2.INTER_LINEAR)) > _ALIKE
        trusted &= cv2.remap(_textured(frame).astype(np.float32), *at, cv2.INTER_LINEAR) > 0.5
        trusted &= (at[0] >= 0) & (at[0] <= width - 1) & (at[1] >= 0) & (at[1] <= height - 1)
        flows[plane] = there
    rim = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_RIM, _RIM))
    small = cv2.erode(trusted.astype(np.uint8), rim)
    trusted = (cv2.resize(small, stack.size[::-1], interpolation=cv2.INTER_NEAREST) > 0) & region
    images = [
        plane.image if number == reference else _warp(plane.image, flows[number], trusted)
        for number, plane in enumerate(stack.planes)
    ]
    return stack.with_images(images), trusted


def _warp(image: np.ndarray, flow: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return an image in which the point at p + flow(p) has moved to p, where that is wanted."""
    height, width = where.shape
    scale = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
    flow = np.multiply(cv2.resize(flow, (width, height)), scale)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(image, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    return np.where(where[..., None], moved, image)


def _textured(frame: Frame) -> np.ndarray:
    grey = frame.levels[FINEST]
    mean = cv2.blur(grey, (_WINDOW, _WINDOW))
    return cv2.blur(grey * grey, (_WINDOW, _WINDOW)) - mean * mean > _TEXTURE**2


def _local_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the correlation coefficient of two images around each pixel."""
    a, b = a.astype(np.float32), b.astype(np.float32)

    def blur(image: np.ndarray) -> np.ndarray:
        return cv2.blur(image, (_WINDOW, _WINDOW))

    mean_a, mean_b = blur(a), blur(b)
    power = (blur(a * a) - mean_a**2) * (blur(b * b) - mean_b**2)
    return (blur(a * b) - mean_a * mean_b) / np.sqrt(np.maximum(power, 1.0))
