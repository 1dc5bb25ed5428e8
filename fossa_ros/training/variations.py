"""Variations of a rendered stack: fewer planes, a noisier sensor, and lenses that are not quite what they are said."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.evaluation.protocol import spread

FEWER = 0.6  # share of the variations with fewer planes
NOISE = (0.5, 4.0)  # grey levels at half of full scale, in half of the variations; grows as shot noise does
FOCUS_ERROR = 0.03  # largest relative error of focus distances, in half of the variations
APERTURE_ERROR = 0.04  # standard deviation of the F-number's relative error, in half of the variations
SOFT = 0.4  # share of the variations whose images are soft
SOFTNESS = (0.3, 1.2)  # px
ENLARGED = 0.4  # share of the stacks whose images were enlarged, as the estimator enlarges small ones
ENLARGEMENT = (1.2, 1.8)
FLICKER = 0.01  # standard deviation of a plane's brightness, in 30 % of the variations
JPEG = 0.2  # share of the planes that were compressed, with a quality of 75 to 95


def varied(stack: FocusStack, rng: np.random.Generator) -> FocusStack:
    """Return a variation of a stack as another sensor and another lens would have delivered it."""
    planes = _fewer(stack.planes, rng) if rng.random() < FEWER else stack.planes
    noise = rng.choice([0.0, rng.uniform(*NOISE)])
    misread = rng.choice([0.0, rng.uniform(0.0, FOCUS_ERROR)])
    softness = rng.uniform(*SOFTNESS) if rng.random() < SOFT else 0.0
    enlargement = rng.uniform(*ENLARGEMENT) if rng.random() < ENLARGED else 1.0
    gain, flicker = rng.uniform(0.6, 1.1), FLICKER * (rng.random() < 0.3)
    changed = []
    for plane in planes:
        light = plane.image * np.float32(gain * (1 + flicker * rng.standard_normal()))
        image = delivered(light, softness, enlargement, noise, rng.standard_normal)
        if rng.random() < JPEG:
            quality = int(rng.integers(75, 96))
            image = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
        changed.append(FocusPlane(image, plane.focus_distance * float(1 + misread * rng.standard_normal())))
    f_number = stack.f_number
    if f_number is not None and rng.random() < 0.5:
        f_number *= float(1 + APERTURE_ERROR * rng.standard_normal())
    return FocusStack(tuple(changed), stack.K, f_number, stack.focal_length)


def delivered(
    image: np.ndarray,
    softness: float,
    enlargement: float,
    noise: float,
    normal: Callable[[tuple[int, ...]], np.ndarray],
) -> np.ndarray:
    """Return the uint8 image of the same size that a camera delivers of float32 code values.

    Args:
        image: (H, W) or (H, W, 3).
        softness: px.
        enlargement: by which it was enlarged, from a camera with fewer pixels; 1 for none.
        noise, normal: as of ``noisy``.
    """
    size = image.shape[1::-1]
    image = softened(image, softness)
    if enlargement != 1.0:
        image = cv2.resize(image, tuple(round(side / enlargement) for side in size), interpolation=cv2.INTER_AREA)
    codes = np.clip(np.rint(noisy(image, noise, normal)), 0, 255).astype(np.uint8)
    return codes if enlargement == 1.0 else cv2.resize(codes, size, interpolation=cv2.INTER_CUBIC)


def softened(image: np.ndarray, softness: float) -> np.ndarray:
    """Blur an image by a Gaussian of ``softness`` px, as demosaicing and the lens's aberrations do; float32."""
    image = image.astype(np.float32)
    return cv2.GaussianBlur(image, (0, 0), softness) if softness else image


def noisy(image: np.ndarray, noise: float, normal: Callable[[tuple[int, ...]], np.ndarray]) -> np.ndarray:
    """Add noise to code values: ``noise`` grey levels at half of full scale, growing as shot noise does.

    ``normal`` draws standard normal numbers of a shape.
    """
    return image + normal(image.shape) * noise * np.sqrt(np.maximum(image, 8.0) / 128)


def _fewer(planes: tuple[FocusPlane, ...], rng: np.random.Generator) -> tuple[FocusPlane, ...]:
    """Return at least two planes, evenly chosen in half of the cases."""
    count = int(rng.integers(2, len(planes) + 1))
    if rng.random() < 0.5:
        chosen = spread(len(planes), count)
    else:
        chosen = sorted(rng.choice(len(planes), count, replace=False).tolist())
    return tuple(planes[i] for i in chosen)
