"""Depth along surfaces: measured depth regressed where texture is weak, and how far it may be off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from fossa_ros.core.all_in_focus import blend_planes
from fossa_ros.estimators.classical import filling
from fossa_ros.estimators.classical.bands import gaussian
from fossa_ros.estimators.classical.config import ClassicalConfig

EDGE_RISK = 0.3  # chance that a pixel beside a depth edge lies on its other side
EDGE_REACH = 9  # px at half resolution: width of the window around such an edge
POOLED = 4.0  # px at half resolution: standard deviation of the window over which precision is averaged
# Least precision around a pixel, in units of that of "somewhere about the planes", from which blur tells depth. The
# smoothing averages over many pixels, so less than 1 is of use; images of 64x48 px with next to no blur have 0.2-0.3.
TOLD = 0.35
BARE = 0.05  # significance around a pixel, below which texture says nothing of its depth being beyond the levels
AGREEING = 4.0  # pixels with independent errors that the smoothing averages
UNTOLD = 0.25  # standard deviation of a depth that nothing tells, in units of the range of the levels


@dataclass(frozen=True, eq=False)
class Surfaces:
    """Depth along surfaces at half the resolution of the images.

    Attributes:
        power: (h, w) float32 dioptres, known everywhere.
        variance: (h, w) float32 of its error, D^2.
        support: (h, w) float32 in 0..1, how well a pixel is coupled to pixels with texture.
        within: (h, w) float32 in 0..1, the share of the texture around a pixel whose depth is among the levels, and
            not beyond their ends.
    """

    power: np.ndarray
    variance: np.ndarray
    support: np.ndarray
    within: np.ndarray


def regressed_surfaces(
    peaks: np.ndarray, images: Sequence[np.ndarray], focus: np.ndarray, levels: np.ndarray, config: ClassicalConfig
) -> Surfaces:
    """Return depth along surfaces from the most likely depth of every pixel.

    Args:
        peaks: (3, h, w) power, precision and significance, as of ``depth_profile.most_likely``.
        images: N planes, (h, w, 3) uint8, which show where surfaces end.
        focus: (N,) dioptres of the planes.
        levels: (L,) dioptres among which depth lies.
        config: settings of the classical estimator.
    """
    measured, precision, texture = peaks
    beyond = np.where(_among(measured, levels), np.float32(0.0), texture)
    within = 1.0 - gaussian(beyond, POOLED) / (gaussian(texture, POOLED) + BARE)
    texture = np.where(_tells_depth(precision, focus, levels), texture, np.float32(0.0))
    sharp = blend_planes(images, focus, measured)
    couplings = filling.couplings(sharp, measured, precision, config)
    power = np.clip(filling.regress(measured, precision, couplings), float(levels[0]), float(levels[-1]))
    support = filling.support(texture, couplings, config.reach, config.slope)
    return Surfaces(power, _variance(power, precision, levels), support, within)


def _tells_depth(precision: np.ndarray, focus: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return where the images tell depth (dioptres, with ``precision``) better than that it is about the planes.

    Elsewhere blur hardly changes from plane to plane, in pixels: images too small, a lens too short, planes too far
    away or given in a wrong unit. Any depth there would be that of the smoothing.
    """
    about = float(focus.max() - focus.min()) * (1.0 + 1.0 / (len(focus) - 1))  # and half a spacing on either side
    variance = min(about, float(levels[-1] - levels[0])) ** 2 / 12.0
    return np.asarray(gaussian(precision, POOLED) * variance > TOLD)


def _among(measured: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return where a measured power (dioptres) is among the levels; at their ends it is a bound: depth is beyond."""
    half = (levels[1] - levels[0]) / 2
    return np.asarray((measured > levels[0] + half) & (measured < levels[-1] - half))


def _variance(power: np.ndarray, precision: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the variance of the data around a pixel, at most that of any of the levels, and more near a depth edge."""
    untold = (UNTOLD * (levels[-1] - levels[0])) ** 2
    variance = 1.0 / (AGREEING * gaussian(precision, POOLED) + 1.0 / untold)
    window = np.ones((EDGE_REACH, EDGE_REACH), np.uint8)
    jump = np.maximum(cv2.dilate(power, window) - power, power - cv2.erode(power, window))
    return np.asarray(variance + EDGE_RISK * np.square(jump), np.float32)
