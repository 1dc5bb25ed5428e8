"""Spatial frequency bands: filters, their transfer functions, and their response to noise."""

from __future__ import annotations

import cv2
import numpy as np

OCTAVES = 3
SIGMAS = (0.8, 1.0, 1.17)  # px at each octave, of the second difference of Gaussians (variances evenly spaced)
WEIGHTS = (1.0, -2.0, 1.0)
REDUCTION = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0  # cv2.pyrDown's kernel, of unit variance
RADIAL_FREQUENCIES = np.linspace(0.02, np.pi, 96)  # rad / px


def gaussian(image: np.ndarray, sigma: float, out: np.ndarray | None = None) -> np.ndarray:
    """Return ``image`` smoothed by a Gaussian of standard deviation ``sigma`` px, truncated at three sigma.

    ``out``, an array of the same shape and type, receives the result if it is given.
    """
    return cv2.GaussianBlur(image, (_size(sigma), _size(sigma)), sigma, dst=out)


def bandpass(image: np.ndarray) -> np.ndarray:
    """Return the band-pass response of ``image``.

    The band is narrow, so that the result depends little on the spectrum of the texture within the band.
    """
    border = _size(SIGMAS[-1]) // 2
    image = _extrapolated(image, border)
    fine, middle, coarse = (gaussian(image, sigma) for sigma in SIGMAS)
    fine += coarse
    return cv2.scaleAdd(middle, -2.0, fine)[border:-border, border:-border]


def next_octave(image: np.ndarray) -> np.ndarray:
    """Return ``image`` at half its resolution."""
    height, width = image.shape
    return cv2.pyrDown(_extrapolated(image, 2))[1 : 1 + (height + 1) // 2, 1 : 1 + (width + 1) // 2]


def _extrapolated(image: np.ndarray, border: int) -> np.ndarray:
    """Return ``image`` with ``border`` more pixels on each side, extrapolated linearly.

    Mirroring would add a kink to any ramp, which would be sharp in every plane.
    """
    out = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REFLECT_101)
    out[:border], out[-border:] = 2.0 * out[border] - out[:border], 2.0 * out[-border - 1] - out[-border:]
    for side, edge in ((out[:, :border], out[:, border]), (out[:, -border:], out[:, -border - 1])):
        side[:] = 2.0 * edge[:, None] - side
    return out


def band_transfer() -> np.ndarray:
    """Return the (B, F) transfer function of each octave's band at ``RADIAL_FREQUENCIES``."""
    transfer, before = [], 0.0
    for octave in range(OCTAVES):
        variances = [before + (sigma * 2**octave) ** 2 for sigma in SIGMAS]
        parts = [w * np.exp(-0.5 * v * RADIAL_FREQUENCIES**2) for w, v in zip(WEIGHTS, variances, strict=True)]
        transfer.append(sum(parts))
        before += 4.0**octave
    return np.array(transfer)


def band_noise() -> np.ndarray:
    """Return the (B,) variance of each band's response to white noise of unit variance."""
    variances, reduction = [], np.ones(1)
    for octave in range(OCTAVES):
        kernels = [np.convolve(reduction, _spread(cv2.getGaussianKernel(_size(s), s)[:, 0], octave)) for s in SIGMAS]
        length = max(map(len, kernels))
        padded = np.array([np.pad(k, (length - len(k)) // 2) for k in kernels])
        variances.append(np.array(WEIGHTS) @ np.square(padded @ padded.T) @ np.array(WEIGHTS))
        reduction = np.convolve(reduction, _spread(REDUCTION, octave))
    return np.array(variances)


def _size(sigma: float) -> int:
    return 2 * int(np.ceil(3 * sigma)) + 1


def _spread(kernel: np.ndarray, octave: int) -> np.ndarray:
    """Return a kernel of ``octave`` at full resolution, with zeros between its taps."""
    spread = np.zeros((len(kernel) - 1) * 2**octave + 1)
    spread[:: 2**octave] = kernel
    return spread
