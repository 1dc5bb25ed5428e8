"""Thin-lens optics: dioptres, blur, canonical scale and focus breathing.

Distances are in metres from the lens along the optical axis, powers in dioptres (1/m). All functions work element-wise
on numbers and arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Elementwise = Any
"""np.float64 of numbers, (…) float64 array of arrays; as NumPy types its own element-wise functions."""


def dioptres(distance: ArrayLike) -> Elementwise:
    """Convert distances in metres to dioptres; infinity becomes 0."""
    with np.errstate(divide="ignore"):
        return 1.0 / np.asarray(distance, dtype=np.float64)


def metres(power: ArrayLike) -> Elementwise:
    """Convert dioptres to distances in metres; 0 becomes infinity."""
    with np.errstate(divide="ignore"):
        return 1.0 / np.asarray(power, dtype=np.float64)


def dioptre_space(near: float, far: float, count: int) -> np.ndarray:
    """Space ``count`` focus distances (m) evenly in dioptres from ``near`` to ``far``.

    Even steps in dioptres are even steps in blur, which is what depth from defocus resolves.
    """
    return np.asarray(metres(np.linspace(dioptres(near), dioptres(far), count)))


def circle_of_confusion(
    depth: ArrayLike, focus_distance: ArrayLike, focal_length: float, f_number: float
) -> Elementwise:
    """Return the signed diameter (m, on the sensor) of the blur disc of a point at ``depth``.

    Thin lens of aperture A = f/F# focused at s: c = A f (z - s) / (z (s - f)). Positive behind the focus
    distance, negative in front of it. A focus distance of infinity gives -A f / z.
    """
    power_gap = dioptres(focus_distance) - dioptres(depth)
    return (focal_length / f_number) * focal_length * power_gap / (1.0 - focal_length * dioptres(focus_distance))


def blur_radius(
    depth: ArrayLike, focus_distance: ArrayLike, focal_length: float, f_number: float, pixel_size: float
) -> Elementwise:
    """Return the radius (px) of the blur disc; ``pixel_size`` is the pixel pitch in metres."""
    return np.abs(circle_of_confusion(depth, focus_distance, focal_length, f_number)) / (2.0 * pixel_size)


def blur_per_dioptre(focus_distance: ArrayLike, focal_length: float, f_number: float, pixel_size: float) -> Elementwise:
    """Return the growth (px) of the diameter of the blur disc per dioptre of distance from ``focus_distance``.

    It is linear in dioptres: A f / (1 - f / s) per dioptre for a lens of aperture A = f/F# focused at s.
    """
    across = (focal_length / f_number) * focal_length / (1.0 - focal_length * dioptres(focus_distance))
    return across / pixel_size


def depth_of_field(focus_distance: ArrayLike, margin: ArrayLike) -> tuple[Elementwise, Elementwise]:
    """Return the distances (m) ``margin`` dioptres nearer and farther than the focus; the second may be infinite."""
    focus = dioptres(focus_distance)
    return metres(focus + margin), metres(np.maximum(focus - margin, 0.0))


def depth_error(depth: ArrayLike, dioptre_error: ArrayLike) -> Elementwise:
    """Return half the span (m) of the distances within ``dioptre_error`` (D) of ``depth`` (m).

    It is e / (D^2 - e^2), about e z^2, so it grows with the square of the distance. Infinite where infinity is within
    the error.
    """
    power = dioptres(depth)
    with np.errstate(divide="ignore"):
        span = dioptre_error / (power**2 - np.square(dioptre_error))
    return np.where(power > dioptre_error, span, np.inf)


def pixel_size(focal_length: float, focal_length_px: float) -> float:
    """Return the pixel pitch (m) of a camera from its focal length in metres and in pixels."""
    return focal_length / focal_length_px


def magnification(focus_distance: ArrayLike, length: float) -> Elementwise:
    """Return the image scale at ``focus_distance`` relative to focus at infinity (focus breathing).

    A lens that focuses by moving keeps its focal length f, so its image distance grows to v = s f / (s - f), and the
    image grows with it: scale = s / (s - f), where ``length`` is f (m). A tunable lens in front of the entrance pupil
    of fixed optics focused at infinity scales in the same way, where ``length`` is its distance (m) from the pupil.
    """
    return 1.0 / (1.0 - length * dioptres(focus_distance))


def canonical_scale(K: np.ndarray, width: int) -> float:
    """Return the factor from metres to FOSSA's canonical metres, width / max(fx, fy).

    The focal length of the canonical camera equals its image width (arXiv 2603.26658), so canonical = metres * scale.
    ``K`` is the (3, 3) intrinsic matrix at the resolution whose width is given.
    """
    return width / float(max(K[0, 0], K[1, 1]))
