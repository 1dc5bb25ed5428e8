"""From band statistics to the most likely depth at every pixel."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fossa_ros.estimators.classical.blur_model import BlurModel
from fossa_ros.estimators.classical.focus_measure import BandStatistics

FARTHEST = 1.5  # times the distance of the farthest plane: beyond it defocus says next to nothing
LEAST_POWER = 0.01  # dioptres; keeps depth finite where a plane is focused at infinity
BLUR_GAINS = np.geomspace(0.4, 14.0, 14)  # px of blur radius per dioptre tried where the lens is unknown
STEEPNESS = np.arange(-2.0, 5.5, 0.75)  # of textures that have signatures of their own
NOISE_PEAK, TEXTURE_PEAK = 4.0, 12.0  # log-likelihood over that of no texture: noise alone stays below 3
BLOCK = 2048  # pixels whose scores stay in the processor's cache
PRODUCT = 2**18  # multiplications; OpenBLAS shares larger products out to threads, which wait for busy processors


def dioptre_levels(focus, count, margin):
    """Return ``count`` depth hypotheses, evenly spaced in dioptres, over the planes and a little beyond.

    They reach ``margin`` mean plane spacings beyond the nearest and the farthest plane, but no farther than
    ``FARTHEST`` times the distance of the latter.
    """
    near, far = float(np.max(focus)), float(np.min(focus))
    beyond = margin * (near - far) / (len(focus) - 1)
    return np.linspace(max(far - beyond, far / FARTHEST, LEAST_POWER), near + beyond, count)


def normalised_moments(statistics: BandStatistics, model_error):
    """Return (B * P, h * w) pair moments over twice the variance of what the blur model leaves unexplained.

    ``model_error`` is the share of the texture's amplitude that the model gets wrong; with it a strong edge
    does not count for more than its shape can tell.
    """
    noise = statistics.noise[:, None, None].astype(np.float32)
    planes = int(np.sqrt(2 * statistics.products.shape[1]))  # of N (N + 1) / 2 pairs
    signal = np.maximum(statistics.energy - planes * noise, 0.0)
    scale = 0.5 / (noise + np.float32(model_error**2) * signal)
    moments = statistics.products * scale[:, None]
    return moments.reshape(-1, moments.shape[-2] * moments.shape[-1])


def estimate_blur_gains(moments, steepness, levels, focus, samples=2000):
    """Return (N,) blur radius per dioptre (px / D) that explain the stack best, for a lens that is not known.

    The depth of every pixel is free, so the gain is what makes the best depth of each pixel most likely.
    """
    texture = np.abs(moments[: len(focus)]).sum(axis=0)
    strongest = np.argpartition(texture, -min(samples, texture.size))[-samples:]
    levels = levels[::2]  # fine enough to rank the gains by
    sample, usual = np.ascontiguousarray(moments[:, strongest]), np.median(steepness.ravel()[strongest])
    likelihood = np.array(
        [
            _products(sample, _score_weights(BlurModel(levels, focus, np.full(len(focus), gain)), usual))
            .max(axis=1)
            .sum()
            for gain in BLUR_GAINS
        ],
        np.float64,
    )
    best = int(np.clip(likelihood.argmax(), 1, len(BLUR_GAINS) - 2))
    shift, _ = _parabola(*likelihood[best - 1 : best + 2])
    return np.full(len(focus), BLUR_GAINS[best] * (BLUR_GAINS[1] / BLUR_GAINS[0]) ** shift)


def most_likely(moments, steepness, levels, focus, gains):
    """Return the most likely dioptres of every pixel, how precise and how significant they are.

    Args:
        moments: (B * P, h * w) of ``normalised_moments``.
        steepness: (h, w) of the texture's spectrum.
        levels, focus, gains: as in ``BlurModel``.

    Returns:
        Three (h, w) float32: the power in dioptres; its precision in 1 / D^2, from the curvature of the likelihood;
        and 0..1, whether there is texture at all (0: it may be noise).
    """
    # Pixels with one spectrum stand together, so that each spectrum is a matrix product.
    nearest = np.searchsorted(0.5 * (STEEPNESS[1:] + STEEPNESS[:-1]), steepness.ravel()).astype(np.uint8)
    order = np.argsort(nearest, kind="stable")
    moments = np.take(moments, order, axis=1)
    lens = tuple(levels.tolist()), tuple(focus.tolist()), tuple(gains.tolist())
    ordered = np.empty((3, order.size), np.float32)
    last = 0
    for index, count in enumerate(np.bincount(nearest, minlength=len(STEEPNESS))):
        first, last = last, last + count
        for begin in range(first, last, BLOCK):
            here = slice(begin, min(begin + BLOCK, last))
            scores = _products(moments[:, here], _spectrum_weights(*lens, float(STEEPNESS[index])))
            ordered[:, here] = _peaks(scores, levels)
    results = np.empty_like(ordered)
    results[:, order] = ordered
    return results.reshape(3, *steepness.shape)


@lru_cache(maxsize=4 * len(STEEPNESS))
def _spectrum_weights(levels, focus, gains, steepness):
    """Return `_score_weights` of a lens, read-only; one sweep has those of the next."""
    weights = _score_weights(_blur_model(levels, focus, gains), steepness)
    weights.flags.writeable = False
    return weights


@lru_cache(maxsize=4)
def _blur_model(levels, focus, gains):
    return BlurModel(levels, focus, gains)


def _score_weights(model, steepness):
    """Return (B * P, L) weights whose product with the pair moments is h(d)^T C h(d), summed over the bands."""
    h = model.signatures(steepness)
    i, j = np.triu_indices(h.shape[-1])
    weights = h[..., i] * h[..., j] * np.where(i == j, 1.0, 2.0)
    return np.ascontiguousarray(np.moveaxis(weights, 1, -1).reshape(-1, h.shape[1]), dtype=np.float32)


def _products(moments, weights):
    """Return (P, L) products of (M, P) ``moments`` with (M, L) ``weights``."""
    terms, pixels = moments.shape
    columns = max(PRODUCT // weights.size, 1)
    whole = pixels - pixels % columns
    scores = np.empty((pixels, weights.shape[1]), np.float32)
    parts = moments[:, :whole].reshape(terms, -1, columns).transpose(1, 2, 0)
    np.matmul(parts, weights, out=scores[:whole].reshape(*parts.shape[:2], weights.shape[1]))
    np.matmul(moments[:, whole:].T, weights, out=scores[whole:])
    return scores


def _peaks(scores, levels):
    """Return (3, P): place, precision and significance of the peak of (P, L) log-likelihoods."""
    best = scores.argmax(axis=1)
    inner = np.clip(best, 1, scores.shape[1] - 2)
    pixel = np.arange(0, scores.size, scores.shape[1])
    flat = scores.ravel()
    shift, curvature = _parabola(*(flat[pixel + inner + k] for k in (-1, 0, 1)))
    step = levels[1] - levels[0]
    significance = np.clip((flat[pixel + best] - NOISE_PEAK) / (TEXTURE_PEAK - NOISE_PEAK), 0.0, 1.0)
    # A peak at the end of the range is a bound rather than a measurement.
    certainty = np.where((best != inner) & (np.abs(shift) == 1.0), 0.1, 1.0)
    return levels[inner] + step * shift, curvature / step**2 * certainty * significance, significance


def _parabola(below, centre, above):
    """Return where between -1 and 1 the parabola through three values at -1, 0, 1 peaks, and how sharply."""
    curvature = np.maximum(2.0 * centre - below - above, 1e-6)
    return np.clip(0.5 * (above - below) / curvature, -1.0, 1.0), curvature
