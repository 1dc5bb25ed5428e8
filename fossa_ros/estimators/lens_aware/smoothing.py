"""Depth smoothed where the posterior is wide, up to the edges of the image and of depth."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from fossa_ros.core import optics
from fossa_ros.core.all_in_focus import blend_planes
from fossa_ros.core.stack import FocusStack
from fossa_ros.estimators.classical import ClassicalConfig, filling

# Levels in place of dioptres. Measured on the choosing set of docs/validation.md, where half or twice costs 1 %.
COUPLING = replace(ClassicalConfig(), edge=5.0, slope=0.15, step=0.7, jump=0.001)
LEAST_VARIANCE = 0.05  # levels^2, of the most certain position


def smoothed(position: np.ndarray, variance: np.ndarray, sharp: np.ndarray) -> np.ndarray:
    """Return (h, w) float32 depth in levels, regressed along surfaces by its variance.

    The posterior of a pixel beside a depth edge, or of a bare surface, has two modes or is flat. Its neighbours of the
    same colour may know better.

    Args:
        position: (h, w) depth in levels.
        variance: (h, w) levels^2.
        sharp: (h, w, 3) uint8, all in focus.
    """
    precision = 1.0 / (variance + np.float32(LEAST_VARIANCE))
    couplings = filling.couplings(sharp, position, precision, COUPLING)
    found = filling.regress(position, precision, couplings)
    return np.asarray(found.clip(position.min(), position.max()), np.float32)


def sharp_view(stack: FocusStack, power: np.ndarray) -> np.ndarray:
    """Return the (h, w, 3) uint8 all-in-focus image of a stack at the size of (h, w) dioptres."""
    size = power.shape[::-1]
    images = [cv2.resize(plane.image, size, interpolation=cv2.INTER_AREA) for plane in stack.planes]
    return blend_planes(images, optics.dioptres(stack.focus_distances), power)
