"""From band statistics to a likelihood over depth at every pixel."""

from __future__ import annotations

import numpy as np

from fossa_ros.classical.blur_model import signatures
from fossa_ros.classical.focus_measure import BandStatistics, band_transfer

BLUR_GAINS = np.geomspace(0.4, 14.0, 14)  # px of blur radius per dioptre tried where the lens is unknown


FAR = 1.5
NOISE_PEAK = 8.0


def dioptre_levels(focus, count, margin):
    """Return ``count`` hypotheses evenly spaced in dioptres over the planes, ``margin`` plane spacings beyond them."""
    near, far = float(np.max(focus)), float(np.min(focus))
    beyond = margin * (near - far) / max(len(focus) - 1, 1)
    return np.linspace(max(far - beyond, far / FAR, 0.01), near + beyond, count)


def score_weights(levels, focus, gains, slope):
    """Return (L, B * P) weights whose product with the pair moments is h(d)^T C h(d), summed over the bands."""
    h = signatures(levels, focus, gains, band_transfer(), slope)
    count = len(focus)
    i, j = np.triu_indices(count)
    weights = h[..., i] * h[..., j] * np.where(i == j, 1.0, 2.0)
    return np.ascontiguousarray(np.moveaxis(weights, 0, 1).reshape(len(levels), -1), dtype=np.float32)


SLOPE_CLASSES = np.array([1.2, 1.8, 2.4, 3.0, 3.6, 4.2])


def log_likelihood(moments, slope, levels, focus, gains):
    """Return (L, P) log-likelihoods."""
    nearest = np.searchsorted(0.5 * (SLOPE_CLASSES[1:] + SLOPE_CLASSES[:-1]), slope.ravel())
    scores = np.empty((len(levels), moments.shape[1]), np.float32)
    for index in np.unique(nearest):
        here = np.flatnonzero(nearest == index)
        scores[:, here] = score_weights(levels, focus, gains, SLOPE_CLASSES[index]) @ moments[:, here]
    return scores


def normalised_moments(statistics: BandStatistics, model_error):
    """Return (B * P, h * w) pair moments over twice the variance of what the blur model leaves unexplained.

    ``model_error`` is the share of the texture's amplitude that the model gets wrong; with it a strong edge
    does not count for more than its shape can tell.
    """
    noise = statistics.noise[:, None, None].astype(np.float32)
    planes = int(np.sqrt(2 * statistics.products.shape[1]))  # of N (N + 1) / 2 pairs
    signal = np.maximum(statistics.energy - planes * noise, 0.0)
    scale = 0.5 / (noise + model_error**2 * signal)
    moments = statistics.products * scale[:, None]
    return moments.reshape(-1, moments.shape[-2] * moments.shape[-1])


def estimate_blur_gains(moments, slope, levels, focus, samples=4000):
    """Return the blur radius per dioptre (px / D) that explains the stack best, for a lens that is not known.

    The depth of every pixel is free, so the gain is what makes the best depth of each pixel most likely.
    """
    strongest = np.argpartition(-np.abs(moments[: len(focus)]).sum(axis=0), min(samples, moments.shape[1] - 1))[
        :samples
    ]
    sample = np.ascontiguousarray(moments[:, strongest])
    totals = [
        (score_weights(levels, focus, np.full(len(focus), gain), np.median(slope)) @ sample).max(axis=0).sum()
        for gain in BLUR_GAINS
    ]
    return np.full(len(focus), BLUR_GAINS[int(np.argmax(totals))])


def peaks(scores, levels):
    """Return the most likely dioptres and its precision (1 / D^2) from (L, P) log-likelihoods.

    A parabola through the peak and its neighbours gives the place between the levels and, by its curvature,
    how well the images pin it down.
    """
    best = scores.argmax(axis=0)
    inner = np.clip(best, 1, len(levels) - 2)
    pixel = np.arange(scores.shape[1])
    below, centre, above = (scores[inner + k, pixel] for k in (-1, 0, 1))
    curvature = np.maximum(2.0 * centre - below - above, 1e-6)
    step = levels[1] - levels[0]
    shift = np.clip(0.5 * (above - below) / curvature, -1.5, 1.5)
    value = levels[inner] + step * np.clip(shift, -1.0, 1.0)
    at_end = (best == 0) | (best == len(levels) - 1)
    precision = np.where(at_end & (np.abs(shift) > 1.0), 0.1, 1.0) * curvature / step**2
    precision *= centre.clip(0) ** 2 / (centre**2 + NOISE_PEAK**2)
    return value.astype(np.float32), precision.astype(np.float32)
