"""Code values of images and linear light."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def srgb_encode(light: npt.ArrayLike) -> npt.NDArray[np.floating]:
    """Convert linear light in 0..1 to sRGB code values in 0..1 (IEC 61966-2-1)."""
    light = np.asarray(light)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


def srgb_decode(code: npt.ArrayLike) -> npt.NDArray[np.floating]:
    """Convert sRGB code values in 0..1 to linear light in 0..1 (IEC 61966-2-1)."""
    code = np.asarray(code)
    return np.where(code <= 0.04045, code / 12.92, ((np.maximum(code, 0.04045) + 0.055) / 1.055) ** 2.4)
