"""Textures as lenses blur them, by transforms."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fossa_ros.estimators.classical.blur_model import disc_transfer


def blurred(texture: np.ndarray, radii: Iterable[float]) -> np.ndarray:
    """Return (N, H, W): a texture that repeats itself, blurred by soft discs of ``radii`` px."""
    frequency = np.hypot(*np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n) for n in texture.shape), indexing="ij"))
    spectrum = np.fft.fft2(texture)
    return np.stack([np.fft.ifft2(spectrum * disc_transfer(np.array(r), frequency)).real for r in radii])
