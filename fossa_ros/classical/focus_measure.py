"""What the planes show: band-pass responses of a stack, their noise, and how they co-vary across the planes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.integrate import trapezoid

from fossa_ros.classical.blur_model import RADIAL_FREQUENCIES

LEVELS = 3  # octaves of the band-pass pyramid
SIGMAS = (0.8, 1.0, 1.17)  # px at each octave: standard deviations of the difference of Gaussians
SLOPES = np.linspace(0.5, 5.0, 46)  # of texture's power spectrum: granite 1, natural scenes 2.4, smooth paint 4
USUAL_SLOPE = 2.8
MIN_NOISE = 0.4  # grey levels: 8-bit quantisation of the mean of three channels, rounded up


def luminance(images) -> np.ndarray:
    """Return (N, H, W) float32 grey images with the brightness differences between the planes divided out.

    Defocus keeps the local mean, so the median ratio of strongly reduced images is the flicker and nothing else.
    """
    mean = np.full((1, 3), 1.0 / 3.0)  # equal weights have the least noise
    gray = [cv2.transform(image.astype(np.float32), mean) for image in images]
    small = np.stack([cv2.resize(g, (32, 24), interpolation=cv2.INTER_AREA) for g in gray])
    reference = np.median(small, axis=0)
    gains = np.median(reference / np.maximum(small, 1.0), axis=(1, 2))
    return np.stack([g * np.float32(np.clip(gain, 0.5, 2.0)) for g, gain in zip(gray, gains, strict=True)])


def noise_sigma(gray) -> float:
    """Estimate the noise (grey levels) of (N, H, W) images from their flattest blocks.

    Immerkaer's operator (CVIU 64(2), 1996) removes ramps; a low quantile over blocks removes what texture is left
    and lies 9 % below the mean where there is none.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6.0
    height, width = gray.shape[1:]
    size = (max(width // 16, 1), max(height // 16, 1))
    sigmas = []
    for image in gray:
        response = cv2.resize(np.abs(cv2.filter2D(image, -1, kernel)), size, interpolation=cv2.INTER_AREA)
        level = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        usable = response[(level > 4) & (level < 250)]
        if usable.size:
            sigmas.append(1.09 * np.sqrt(np.pi / 2) * np.quantile(usable, 0.1))
    return max(float(np.median(sigmas)) if sigmas else 0.0, MIN_NOISE)


@dataclass(frozen=True, eq=False)
class BandStatistics:
    """Second moments of the band responses across the planes.

    Attributes:
        products: (B, P, h, w) float32 local means of b_i b_j for the P = N (N + 1) / 2 pairs i <= j, noise removed.
        energy: (B, h, w) float32 sum over the planes of b_i^2, noise included.
        noise: (B,) variance of the noise in each band.
        slope: (h, w) float32; the power spectrum of the texture falls as frequency^-slope.
    """

    products: np.ndarray
    energy: np.ndarray
    noise: np.ndarray
    slope: np.ndarray


def gaussian(image, sigma):
    """Return ``image`` smoothed by a Gaussian of standard deviation ``sigma`` px, cut off at three of them."""
    size = 2 * int(np.ceil(3 * sigma)) + 1
    return cv2.GaussianBlur(image, (size, size), sigma)


def bandpass(image):
    """Return the second difference of Gaussians of ``image``: narrow, so that texture's spectrum matters little."""
    fine, middle, coarse = (gaussian(image, sigma) for sigma in SIGMAS)
    fine += coarse
    return cv2.scaleAdd(middle, -2.0, fine)


def band_transfer() -> np.ndarray:
    """Return (LEVELS, F) transfer functions of the bands at ``RADIAL_FREQUENCIES`` (rad/px, full resolution)."""
    w2 = RADIAL_FREQUENCIES**2
    bands, before = [], 0.0
    for level in range(LEVELS):
        a, b, c = (np.exp(-0.5 * (before + (sigma * 2**level) ** 2) * w2) for sigma in SIGMAS)
        bands.append(a - 2.0 * b + c)
        before += 4.0**level  # pyrDown's binomial kernel has unit variance at its input's resolution
    return np.array(bands)


def band_statistics(gray, noise, window) -> BandStatistics:
    """Measure how the band responses of (N, H, W) images co-vary, at half resolution.

    Args:
        gray: (N, H, W) float32.
        noise: standard deviation of white noise in ``gray``.
        window: standard deviation (px at half resolution) of the Gaussian window of the local means.
    """
    count, height, width = gray.shape
    half = ((width + 1) // 2, (height + 1) // 2)
    pairs = [(i, j) for i in range(count) for j in range(i, count)]
    products = np.empty((LEVELS, len(pairs), half[1], half[0]), np.float32)
    energy = np.zeros((LEVELS, half[1], half[0]), np.float32)
    # Parseval: white noise of one grey level through each band.
    variances = noise**2 * trapezoid(band_transfer() ** 2 * RADIAL_FREQUENCIES, RADIAL_FREQUENCIES) / (2 * np.pi)
    images = list(gray)
    for level in range(LEVELS):
        bands = [bandpass(image) for image in images]
        variance = variances[level]
        for index, (i, j) in enumerate(pairs):
            product = bands[i] * bands[j]
            if level == 0:
                product = cv2.resize(product, half, interpolation=cv2.INTER_AREA)
            product = gaussian(product, window / 2.0 ** max(level - 1, 0))
            if level > 1:
                product = cv2.resize(product, half, interpolation=cv2.INTER_LINEAR)
            if i == j:
                energy[level] += product
                product = product - variance
            products[level, index] = product
        images = [cv2.pyrDown(image) for image in images]
    return BandStatistics(products, energy, variances, spectrum_slope(products, count, variances))


def spectrum_slope(products, count, variances):
    """Return (h, w) float32 slope of the texture's power spectrum, from the finest and the coarsest band.

    The sharpest plane of each band is taken. Where there is not enough texture, the median of the image is.
    """
    i, j = np.triu_indices(count)
    signal = products[:, i == j].max(axis=1)
    finest, coarsest = gaussian(signal[0], 2.0), gaussian(signal[-1], 2.0)
    textured = finest > variances[0]
    power = band_transfer() ** 2 @ RADIAL_FREQUENCIES[:, None] ** (1.0 - SLOPES)
    observed = np.log(np.maximum(coarsest, 1e-3) / np.maximum(finest, 1e-3))
    slope = np.interp(observed, np.log(power[-1] / power[0]), SLOPES).astype(np.float32)
    slope[~textured] = np.median(slope[textured]) if np.count_nonzero(textured) > 50 else USUAL_SLOPE
    return slope
