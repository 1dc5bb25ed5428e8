"""Resample every plane of a stack to the image scale at one focus distance."""

from __future__ import annotations

import numpy as np

from fossa_ros.calibration.lens_calibration import Breathing
from fossa_ros.core.lanczos import scale_and_shift
from fossa_ros.core.optics import dioptres
from fossa_ros.core.stack import FocusStack

NEGLIGIBLE_SCALE = 1e-4
NEGLIGIBLE_SHIFT = 0.05  # px


def plane_scales(stack: FocusStack, breathing: Breathing) -> np.ndarray:
    """Return (N, 3) scale, shift right and shift down (px) of each plane.

    What is at pixel p of the image at the reference focus is at scale * p + shift.

    Raises:
        InputError: the aspect ratio of the images differs from that of the calibrated ones.
    """
    matrices = [breathing.matrix(float(dioptres(distance)), stack.size) for distance in stack.focus_distances]
    return np.array([(matrix[0, 0], matrix[0, 2], matrix[1, 2]) for matrix in matrices])


def resample(stack: FocusStack, scales: np.ndarray) -> tuple[FocusStack, np.ndarray | None]:
    """Resample a stack to the reference focus of the breathing, where its ``K`` holds.

    Planes within ``NEGLIGIBLE_SCALE`` and ``NEGLIGIBLE_SHIFT`` of the reference are unchanged. Pixels that a plane does
    not have repeat its edge.

    Args:
        stack: the planes as captured.
        scales: (N, 3) of ``plane_scales``.

    Returns:
        The stack, and (H, W) bool, False where some plane has no pixels; None if all planes have all pixels.
    """
    height, width = stack.size
    images = []
    left, top, right, bottom = 0.0, 0.0, width - 1.0, height - 1.0
    for plane, (scale, across, down) in zip(stack.planes, scales, strict=True):
        shift = np.hypot(across - (width - 1) / 2 * (1 - scale), down - (height - 1) / 2 * (1 - scale))
        if abs(scale - 1) < NEGLIGIBLE_SCALE and shift < NEGLIGIBLE_SHIFT:
            images.append(plane.image)
            continue
        images.append(scale_and_shift(plane.image, float(scale), float(across), float(down)))
        left, right = max(left, -across / scale), min(right, (width - 1 - across) / scale)
        top, bottom = max(top, -down / scale), min(bottom, (height - 1 - down) / scale)
    if all(image is plane.image for image, plane in zip(images, stack.planes, strict=True)):
        return stack, None
    return stack.with_images(images), _inside(stack.size, left, top, right, bottom)


def resample_to_reference(stack: FocusStack, breathing: Breathing) -> tuple[FocusStack, np.ndarray | None]:
    """Return ``resample`` with the scales of ``plane_scales``."""
    return resample(stack, plane_scales(stack, breathing))


def _inside(size: tuple[int, int], left: float, top: float, right: float, bottom: float) -> np.ndarray | None:
    height, width = size
    columns = slice(int(np.ceil(left - 1e-9)), int(np.floor(right + 1e-9)) + 1)
    rows = slice(int(np.ceil(top - 1e-9)), int(np.floor(bottom + 1e-9)) + 1)
    if columns == slice(0, width) and rows == slice(0, height):
        return None
    valid = np.zeros(size, bool)
    valid[rows, columns] = True
    return valid
