"""Spatial frequency bands: the filters, what they pass, and what they make of noise."""

from __future__ import annotations

import cv2
import numpy as np

OCTAVES = 3
SIGMAS = (0.8, 1.0, 1.17)  # px at each octave, of the second difference of Gaussians (variances evenly spaced)
WEIGHTS = (1.0, -2.0, 1.0)
REDUCTION = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0  # cv2.pyrDown's kernel, of unit variance
RADIAL_FREQUENCIES = np.linspace(0.02, np.pi, 96)  # rad / px


def gaussian(image, sigma, out=None):
    """Return ``image`` smoothed by a Gaussian of standard deviation ``sigma`` px, cut off at three of them.

    ``out``, an array of the same kind, is filled instead of a new one.
    """
    return cv2.GaussianBlur(image, (_size(sigma), _size(sigma)), sigma, dst=out)


def bandpass(image):
    """Return the band of ``image``: narrow, so that little depends on the spectrum of the texture within it."""
    border = _size(SIGMAS[-1]) // 2
    image = _continued(image, border)
    fine, middle, coarse = (gaussian(image, sigma) for sigma in SIGMAS)
    fine += coarse
    return cv2.scaleAdd(middle, -2.0, fine)[border:-border, border:-border]


def next_octave(image):
    """Return ``image`` at half its resolution."""
    height, width = image.shape
    return cv2.pyrDown(_continued(image, 2))[1 : 1 + (height + 1) // 2, 1 : 1 + (width + 1) // 2]


def _continued(image, border):
    """Return ``image`` with ``border`` more pixels on each side, which continue its slope.

    A mirrored border would give any ramp a kink, in focus in every plane.
    """
    out = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REFLECT_101)
    out[:border], out[-border:] = 2.0 * out[border] - out[:border], 2.0 * out[-border - 1] - out[-border:]
    for side, edge in ((out[:, :border], out[:, border]), (out[:, -border:], out[:, -border - 1])):
        side[:] = 2.0 * edge[:, None] - side
    return out


def band_transfer() -> np.ndarray:
    """Return (B, F) what the band of each octave passes at ``RADIAL_FREQUENCIES``."""
    transfer, before = [], 0.0
    for octave in range(OCTAVES):
        variances = [before + (sigma * 2**octave) ** 2 for sigma in SIGMAS]
        parts = [w * np.exp(-0.5 * v * RADIAL_FREQUENCIES**2) for w, v in zip(WEIGHTS, variances, strict=True)]
        transfer.append(sum(parts))
        before += 4.0**octave
    return np.array(transfer)


def band_noise() -> np.ndarray:
    """Return (B,) variance of the response of each band to white noise of unit variance: that of its kernel."""
    variances, reduction = [], np.ones(1)
    for octave in range(OCTAVES):
        kernels = [np.convolve(reduction, _spread(cv2.getGaussianKernel(_size(s), s)[:, 0], octave)) for s in SIGMAS]
        length = max(map(len, kernels))
        padded = np.array([np.pad(k, (length - len(k)) // 2) for k in kernels])
        variances.append(np.array(WEIGHTS) @ np.square(padded @ padded.T) @ np.array(WEIGHTS))
        reduction = np.convolve(reduction, _spread(REDUCTION, octave))
    return np.array(variances)


def _size(sigma) -> int:
    return 2 * int(np.ceil(3 * sigma)) + 1


def _spread(kernel, octave):
    """Return a kernel of octave ``octave`` at full resolution: zeros between its taps."""
    spread = np.zeros((len(kernel) - 1) * 2**octave + 1)
    spread[:: 2**octave] = kernel
    return spread
