"""Evidence of a focus stack: how well every depth explains the blur of its planes, at every pixel.

The log-likelihoods of neighbouring pixels of one surface add up. They are therefore neither clipped nor normalised
here: what pools them decides later which depth is the most likely.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fossa_ros.core.rectified import blur_scale
from fossa_ros.core.stack import FocusStack
from fossa_ros.estimators.classical import ClassicalConfig, blur_model, depth_profile, focus_measure
from fossa_ros.estimators.classical.surfaces import Surfaces, regressed_surfaces

CONFIG = ClassicalConfig()
MARGIN = 1.0  # of the levels beyond the nearest and the farthest plane, in mean plane spacings


@dataclass(frozen=True, eq=False)
class Evidence:
    """Log-likelihoods of depth levels at half the resolution of the images.

    Attributes:
        levels: (L,) dioptres, evenly spaced, ascending.
        total: (L, h, w) float32, all octaves together; zero is the likelihood without texture.
        finest: (L, h, w) float32, the finest octave, which reaches least far across edges.
        steepness: (h, w) float32 of the texture's spectrum, as in ``BlurModel.signatures``.
        surfaces: depth along surfaces, as the classical estimator finds it among these levels.
        gray: (N, H, W) float32 luminance of the planes, near to far, their brightness equalised.
        focus: (N,) dioptres, near to far.
        gains: (N,) blur radius, px of ``gray`` per dioptre.
        noise: standard deviation of the noise, grey levels.
    """

    levels: np.ndarray
    total: np.ndarray
    finest: np.ndarray
    steepness: np.ndarray
    surfaces: Surfaces
    gray: np.ndarray
    focus: np.ndarray
    gains: np.ndarray
    noise: float


def stack_evidence(stack: FocusStack, levels: int, width: int, least: int = 0) -> Evidence:
    """Return the evidence of an aligned stack, processed at most ``width`` px wide.

    Args:
        stack: planes in any order. Without K, focal length and f-number the blur gain is estimated from the planes.
        levels: number of depth levels.
        width: px.
        least: px, to which narrower images are enlarged.

    Raises:
        InputError: all planes are focused at the same distance.
    """
    order, focus = blur_model.near_to_far(stack)
    gray = focus_measure.luminance(focus_measure.reduced([stack.planes[i].image for i in order], width))
    known = blur_model.known_blur_gains(stack, gray.shape[2])
    gains = None if known is None else known[order]
    if gray.shape[2] < least:
        if gains is None:  # estimated from the images as they are, since the spectrum of enlarged ones ends early
            gains = gray_evidence(gray, focus, None, levels, _blur_scale(stack, gray)).gains
        gray, gains = _resampled(gray, gains, least)
    return gray_evidence(gray, focus, gains, levels, _blur_scale(stack, gray))


def resampled_evidence(evidence: Evidence, stack: FocusStack, width: int) -> Evidence:
    """Return the evidence of the same planes resampled to ``width`` px, with the blur gains that are known by now.

    Windows are as many pixels, so that they reach farther over the scene where images are reduced, and less far where
    they are enlarged.

    Args:
        evidence: at another width.
        stack: of which it is.
        width: px.
    """
    gray, gains = _resampled(evidence.gray, evidence.gains, width)
    return gray_evidence(gray, evidence.focus, gains, len(evidence.levels), _blur_scale(stack, gray))


def _resampled(gray: np.ndarray, gains: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, H, W) luminance at another width, and the blur gains there."""
    resampled = np.stack(focus_measure.resampled(list(gray), width))
    return resampled, gains * np.float64(resampled.shape[2] / gray.shape[2])


def gray_evidence(
    gray: np.ndarray,
    focus: np.ndarray,
    gains: np.ndarray | None,
    levels: int,
    scale: np.ndarray | None = None,
) -> Evidence:
    """Return the evidence of (N, H, W) float32 luminance images, near to far; gains that are None are estimated.

    ``scale`` is by how much blur is larger at each place, at half the size of the images; None for 1 everywhere.
    """
    noise = focus_measure.noise_sigma(gray)
    statistics = focus_measure.band_statistics(gray, noise, CONFIG.window)
    moments = depth_profile.normalised_moments(statistics, CONFIG.model_error)
    hypotheses = depth_profile.dioptre_levels(focus, levels, MARGIN, CONFIG.near_share)
    slopes = statistics.steepness
    gains, softness = depth_profile.lens_of_stack(statistics, moments, hypotheses, focus, gains)
    total, finest, peaks = depth_profile.log_likelihoods(moments, slopes, hypotheses, focus, gains, scale, softness)
    surfaces = regressed_surfaces(peaks, small_images(gray, slopes.shape), focus, hypotheses, CONFIG)
    return Evidence(hypotheses, total, finest, slopes, surfaces, gray, focus, gains, noise)


def _blur_scale(stack: FocusStack, gray: np.ndarray) -> np.ndarray | None:
    return blur_scale(stack, ((gray.shape[1] + 1) // 2, (gray.shape[2] + 1) // 2))


def small_images(gray: np.ndarray, size: tuple[int, ...]) -> list[np.ndarray]:
    """Return (N, H, W) luminance as (h, w, 3) uint8 images of ``size``."""
    small = (cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA) for image in gray)
    return [np.repeat(np.rint(image.clip(0, 255)).astype(np.uint8)[..., None], 3, axis=2) for image in small]
