"""Distortion of the simulated camera: where each pixel of its raw image lies in the image of a pinhole."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.simulation.camera import SimulatedCamera

FINE = 2
"""Pixels of a pinhole image along the side of a raw pixel, where images are rendered to be distorted once."""


@lru_cache(maxsize=4)
def pinhole_pixels(camera: SimulatedCamera, fine: int = 1) -> np.ndarray | None:
    """Return where the pixels of the raw image lie in the pinhole image of the same K: x and y; None if they agree.

    Args:
        camera: with distortion or without.
        fine: samples along the side of a raw pixel.

    Returns:
        (fine H, fine W, 2) float64, read-only, in pixels of the pinhole image at the resolution of the camera.

    Raises:
        InputError: a pixel sees nothing, because the polynomial turns back within the image.
    """
    if camera.rectification is None:
        return None
    rows, columns = np.mgrid[: fine * camera.height, : fine * camera.width]
    raw = (np.column_stack([columns.ravel(), rows.ravel()]) + 0.5) / fine - 0.5
    pixels = camera.rectification.view_pixels(camera.K, raw)
    if np.isnan(pixels).any():
        raise InputError(
            f"camera.distortion {camera.distortion} leaves pixels of the image without a view; weaken the distortion."
        )
    pixels = pixels.reshape(*rows.shape, 2)
    pixels.flags.writeable = False
    return pixels


def margin_of(pixels: np.ndarray, camera: SimulatedCamera) -> int:
    """Return by how many px ``pixels`` reach beyond the pinhole image, with room for interpolation."""
    x, y = pixels[..., 0], pixels[..., 1]
    beyond = max(-x.min(), x.max() - (camera.width - 1), -y.min(), y.max() - (camera.height - 1), 0.0)
    return int(np.ceil(beyond)) + 3


def distorted(light: np.ndarray, pixels: np.ndarray, margin: int) -> np.ndarray:
    """Return the (H, W, 3) float32 light on the raw image.

    Args:
        light: (h, w, 3) float32 light on the pinhole image at FINE times the resolution, with a margin.
        pixels: of ``pinhole_pixels`` with ``fine`` FINE.
        margin: beyond each side of ``light``, px of the camera.

    A raw pixel is the mean of FINE x FINE samples, so that it is as sharp as a pixel of a camera without distortion.
    """
    x, y = (np.ascontiguousarray((pixels[..., axis] + 0.5 + margin) * FINE - 0.5, np.float32) for axis in (0, 1))
    samples = cv2.remap(light, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    size = pixels.shape[1] // FINE, pixels.shape[0] // FINE
    return np.maximum(cv2.resize(samples, size, interpolation=cv2.INTER_AREA), 0)
