"""Band-pass responses of a stack, their noise, and their covariance across the planes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import pairwise

import cv2
import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.classical.bands import (
    OCTAVES,
    RADIAL_FREQUENCIES,
    band_noise,
    band_transfer,
    bandpass,
    gaussian,
    next_octave,
)
from fossa_ros.estimators.classical.blur_model import soft_transfer

FLICKER_GRID = 32, 24  # px, columns and rows of the reduced images by which brightness is compared
MOST_FLICKER = 2.0  # ratio of brightness that is equalised; beyond it the sensor clips, or hardly sees
SOFTNESS = (0.0, 0.5, 0.65, 0.8, 0.95, 1.1, 1.25, 1.45, 1.65)  # px; few, so that weights serve many sweeps
EDGE_SLOPE = 2.0  # of the power spectrum of an edge, and of natural scenes on average
SHARPEST = 0.25  # quantile of the textures that softness is told from
CERTAIN = 10.0  # times the noise: texture in the finest octave from which softness is told
LEAST_CERTAIN = 0.005  # of the image that such texture must cover
LEAST_SIDE = 3  # px
MIN_NOISE = 0.4  # grey levels: 8-bit quantisation of the mean of three channels, rounded up


def reduced(images: list[np.ndarray], width: int) -> list[np.ndarray]:
    """Return ``images`` resampled to at most ``width`` px wide."""
    return images if width >= images[0].shape[1] else resampled(images, width)


def resampled(images: list[np.ndarray], width: int) -> list[np.ndarray]:
    """Return ``images`` resampled to ``width`` px wide."""
    scale = width / images[0].shape[1]
    how = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_CUBIC
    return [cv2.resize(image, None, fx=scale, fy=scale, interpolation=how) for image in images]


def luminance(images: Sequence[np.ndarray]) -> np.ndarray:
    """Return (N, H, W) float32 grey images of (H, W, 3) uint8 planes, with the planes' brightness equalised.

    Defocus preserves local means, so the median ratio of strongly reduced images is the flicker.
    """
    mean = np.full((1, 3), 1.0 / 3.0)  # equal weights have the least noise
    gray = np.empty((len(images), *images[0].shape[:2]), np.float32)
    for image, out in zip(images, gray, strict=True):
        cv2.transform(image.astype(np.float32), mean, dst=out)
    small = np.stack([cv2.resize(g, FLICKER_GRID, interpolation=cv2.INTER_AREA) for g in gray])
    gray *= np.clip(flicker_gains(small), 1 / MOST_FLICKER, MOST_FLICKER).astype(np.float32)[:, None, None]
    return gray


def flicker_gains(small: np.ndarray) -> np.ndarray:
    """Return the (N,) factors that equalise the brightness of (N, h, w) strongly reduced grey planes."""
    reference = np.median(small, axis=0)
    return np.asarray(np.median(reference / np.maximum(small, 1.0), axis=(1, 2)))


def noise_sigma(gray: np.ndarray) -> float:
    """Estimate the noise (grey levels) of (N, H, W) images from their flattest blocks.

    Immerkaer's operator (CVIU 64(2), 1996) removes ramps. A low quantile over blocks excludes most of the texture;
    without texture it is 9 % below the mean, which is corrected.
    """
    second = np.array([1.0, -2.0, 1.0])
    height, width = gray.shape[1:]
    size = (max(width // 16, 1), max(height // 16, 1))
    sigmas = []
    for image in gray:
        response = cv2.sepFilter2D(image, -1, second, second / 6.0)
        response = cv2.resize(np.abs(response, out=response), size, interpolation=cv2.INTER_AREA)
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
        steepness: (h, w) float32 ln(power in the coarsest band / power in the finest band), each in the plane where it
            is strongest; the median of the image where there is too little texture.
        softness: standard deviation (px) of a Gaussian blur that all planes share, one of ``SOFTNESS``: demosaicing,
            the lens's own aberrations, a sensor finer than its lens, a video codec.
    """

    products: np.ndarray
    energy: np.ndarray
    noise: np.ndarray
    steepness: np.ndarray
    softness: float


def band_statistics(gray: np.ndarray, noise: float, window: float) -> BandStatistics:
    """Return second moments of the band responses of (N, H, W) images, at half resolution.

    Args:
        gray: (N, H, W) float32.
        noise: standard deviation of white noise in ``gray``.
        window: standard deviation (px at half resolution) of the Gaussian window of the local means.

    Raises:
        InputError: the images are too small to have neighbours at half resolution.
    """
    count, height, width = gray.shape
    if min(height, width) < LEAST_SIDE:
        raise InputError(
            f"Images of {width}x{height} px, at the size at which they are processed, are too small for depth; give "
            "larger ones, or less narrow ones."
        )
    half = ((width + 1) // 2, (height + 1) // 2)
    pairs = [(i, j) for i in range(count) for j in range(i, count)]
    products = np.empty((OCTAVES, len(pairs), half[1], half[0]), np.float32)
    energy = np.zeros((OCTAVES, half[1], half[0]), np.float32)
    variances = noise**2 * band_noise()
    images = list(gray)
    for octave in range(OCTAVES):
        bands = [bandpass(image) for image in images]
        for index, (i, j) in enumerate(pairs):
            product, out = cv2.multiply(bands[i], bands[j]), products[octave, index]
            if octave == 0:
                product = cv2.resize(product, half, interpolation=cv2.INTER_AREA)
            if octave < 2:
                gaussian(product, window, out)
            else:
                product = gaussian(product, window / 2.0 ** (octave - 1))
                cv2.resize(product, half, dst=out, interpolation=cv2.INTER_LINEAR)
            if i == j:
                energy[octave] += out
                out -= variances[octave]
        images = [next_octave(image) for image in images]
    i, j = np.triu_indices(count)
    squares = np.flatnonzero(i == j)
    strongest = [gaussian(reduce(cv2.max, (octave[k] for k in squares)), 2.0) for octave in products]
    softness = _softness(np.stack([octave[::2, ::2] for octave in strongest]), variances)  # neighbours are alike
    return BandStatistics(products, energy, variances, _steepness(strongest[0], strongest[-1], variances), softness)


def _softness(strongest: np.ndarray, variances: np.ndarray) -> float:
    """Return the softness of images from the (B, h, w) power of each texture in the plane where it is strongest.

    Softness makes the spectrum of the sharpest things steeper than that of edges, and it bends the spectrum of all:
    from octave to octave the power falls faster. A texture may do either by itself; the softness is what both allow.
    """
    certain = strongest[0] > CERTAIN * variances[0]
    if np.count_nonzero(certain) < LEAST_CERTAIN * certain.size:
        return SOFTNESS[0]
    finest, middle, coarse = np.log(np.maximum(strongest[:, certain], variances[:, None]))
    slope = np.quantile(middle - finest, SHARPEST)
    bend = np.quantile(2 * middle - finest - coarse, SHARPEST)
    slopes, bends = _soft_edges()
    return SOFTNESS[int(min(np.searchsorted(slopes, slope), np.searchsorted(bends, bend)))]


@lru_cache(maxsize=1)
def _soft_edges() -> tuple[np.ndarray, np.ndarray]:
    """Return slope and bend of the spectrum of edges at the variances halfway between those of ``SOFTNESS``."""
    middles = [math.sqrt((below**2 + above**2) / 2) for below, above in pairwise(SOFTNESS)]
    bands = band_transfer() ** 2 * RADIAL_FREQUENCIES ** (1.0 - EDGE_SLOPE)
    soft = np.stack([soft_transfer(softness) for softness in middles], axis=1)
    finest, middle, coarse = np.log(bands @ soft**2)
    return middle - finest, 2 * middle - finest - coarse


def _steepness(finest: np.ndarray, coarsest: np.ndarray, variances: np.ndarray) -> np.ndarray:
    steepness = np.log(np.maximum(coarsest, variances[-1]) / np.maximum(finest, variances[0]))
    textured = finest > variances[0]
    steepness[~textured] = np.median(steepness[textured]) if textured.any() else 0.0
    return steepness.astype(np.float32)
