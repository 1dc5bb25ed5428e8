"""From band statistics to the most likely depth at every pixel."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from fossa_ros.estimators.classical.blur_model import BlurModel
from fossa_ros.estimators.classical.focus_measure import SOFTNESS, BandStatistics

MAX_DISTANCE = 1.5  # in units of the farthest focus distance: beyond it defocus hardly changes
MIN_POWER = 0.01  # dioptres; keeps depth finite where a plane is focused at infinity
MIN_SHARE = 0.01  # of the power of the nearest plane; the same for planes that are all far away
BLUR_GAINS = np.geomspace(0.4, 14.0, 14)  # px of blur radius per dioptre, candidates for an unknown lens
STEEPNESS = np.arange(-2.0, 5.5, 0.75)  # of texture spectra, in the steps of the signatures
SCALE_STEP = 1.05  # ratio of the scales of blur that are told apart in images of a lens with distortion
MOST_SCALES = 48  # for which the weights are kept
NOISE_PEAK, TEXTURE_PEAK = 4.0, 12.0  # log-likelihood relative to no texture: noise stays below 3
SAMPLES = 2000  # pixels that a property of the whole stack is told from
BLOCK = 2048  # pixels per block: their scores stay in the cache
PRODUCT = 2**18  # multiplications; OpenBLAS splits larger products over threads, which wait when processors are busy


def dioptre_levels(focus: np.ndarray, count: int, margin: float, near_share: float = 0.0) -> np.ndarray:
    """Return ``count`` depth hypotheses, evenly spaced in dioptres.

    They extend ``margin`` mean plane spacings beyond the nearest and the farthest plane, but not beyond
    ``MAX_DISTANCE`` times the distance of the farthest. Where that is infinity, they end at ``MIN_POWER``, or nearer
    where the other planes are that far. On the near side they extend by at least ``near_share`` of the planes' range.
    """
    near, far = float(np.max(focus)), float(np.min(focus))
    beyond = margin * (near - far) / (len(focus) - 1)
    least = far / MAX_DISTANCE if far > 0 else min(MIN_POWER, MIN_SHARE * near)
    return np.linspace(max(far - beyond, least), near + max(beyond, near_share * (near - far)), count)


def normalised_moments(statistics: BandStatistics, model_error: float) -> np.ndarray:
    """Return (B * P, h * w) pair moments divided by twice the residual variance of the blur model.

    ``model_error`` is the error of the model as a share of the texture's amplitude; it limits the weight of strong
    edges.
    """
    noise = statistics.noise[:, None, None].astype(np.float32)
    planes = int(np.sqrt(2 * statistics.products.shape[1]))  # of N (N + 1) / 2 pairs
    signal = np.maximum(statistics.energy - planes * noise, 0.0)
    scale = 0.5 / (noise + np.float32(model_error**2) * signal)
    moments = statistics.products * scale[:, None]
    bands, pairs, height, width = moments.shape
    return moments.reshape(bands * pairs, height * width)


def lens_of_stack(
    statistics: BandStatistics, moments: np.ndarray, levels: np.ndarray, focus: np.ndarray, gains: np.ndarray | None
) -> tuple[np.ndarray, float]:
    """Return the (N,) blur gains, estimated where they are not known, and the softness of the images.

    Args:
        statistics, moments: of the stack, and ``normalised_moments``.
        levels, focus: as in ``BlurModel``.
        gains: (N,) of a known lens, or None.
    """
    if gains is None:
        gains = estimate_blur_gains(moments, statistics.steepness, levels, focus, statistics.softness)
        return gains, statistics.softness
    return gains, likely_softness(moments, statistics.steepness, levels, focus, gains, statistics.softness)


def likely_softness(
    moments: np.ndarray, steepness: np.ndarray, levels: np.ndarray, focus: np.ndarray, gains: np.ndarray, most: float
) -> float:
    """Return the softness, of those up to ``most``, that explains the stack best; the depth of every pixel is free.

    Of a wall between two planes even the sharpest image is out of focus, which its spectrum alone cannot tell from
    softness.
    """
    if most == 0.0:
        return 0.0
    strongest = _strongest(moments, len(focus))
    kind = _spectrum_kind(steepness.ravel()[strongest])
    samples = [(float(STEEPNESS[k]), np.ascontiguousarray(moments[:, strongest[kind == k]])) for k in np.unique(kind)]
    known = [softness for softness in SOFTNESS if softness <= most]
    levels = levels[::2]  # fine enough to rank the values
    likelihood = [
        sum(hypothesis_scores(each, slope, levels, focus, gains, softness).max(axis=1).sum() for slope, each in samples)
        for softness in known
    ]
    return known[int(np.argmax(likelihood))]


def _strongest(moments: np.ndarray, planes: int) -> np.ndarray:
    """Return the indices of the ``SAMPLES`` pixels with the most texture in the finest octave."""
    texture = np.abs(moments[:planes]).sum(axis=0)
    return np.argpartition(texture, -min(SAMPLES, texture.size))[-SAMPLES:]


def _spectrum_kind(steepness: np.ndarray) -> np.ndarray:
    """Return the index into ``STEEPNESS`` that is nearest to each value."""
    return np.searchsorted(0.5 * (STEEPNESS[1:] + STEEPNESS[:-1]), steepness).astype(np.uint8)


def estimate_blur_gains(
    moments: np.ndarray,
    steepness: np.ndarray,
    levels: np.ndarray,
    focus: np.ndarray,
    softness: float = 0.0,
) -> np.ndarray:
    """Return the (N,) blur radius per dioptre (px / D) of an unknown lens: the gain that explains the stack best.

    The depth of every pixel is free: the likelihood of a gain is the sum over pixels of that of their best depth.
    """
    strongest = _strongest(moments, len(focus))
    levels = levels[::2]  # fine enough to rank the gains
    sample, usual = np.ascontiguousarray(moments[:, strongest]), np.median(steepness.ravel()[strongest])
    likelihood = np.array(
        [
            _products(sample, _score_weights(BlurModel(levels, focus, np.full(len(focus), gain), softness), usual))
            .max(axis=1)
            .sum()
            for gain in BLUR_GAINS
        ],
        np.float64,
    )
    best = int(np.clip(likelihood.argmax(), 1, len(BLUR_GAINS) - 2))
    shift, _ = _parabola(*likelihood[best - 1 : best + 2])
    return np.full(len(focus), BLUR_GAINS[best] * (BLUR_GAINS[1] / BLUR_GAINS[0]) ** shift)


def most_likely(
    moments: np.ndarray,
    steepness: np.ndarray,
    levels: np.ndarray,
    focus: np.ndarray,
    gains: np.ndarray,
    scale: np.ndarray | None = None,
    softness: float = 0.0,
) -> np.ndarray:
    """Return the most likely power of every pixel, its precision and its significance.

    Args:
        moments: (B * P, h * w) of ``normalised_moments``.
        steepness: (h, w) of the texture's spectrum.
        levels, focus, gains: as in ``BlurModel``.
        scale: (h, w) by which the gains are larger at each pixel; None for 1 everywhere.
        softness: of the images, as in ``BandStatistics``.

    Returns:
        (3, h, w) float32: the power in dioptres; its precision in 1 / D^2, from the curvature of the likelihood; and
        its significance in 0..1, where 0 means that it may be noise without texture.
    """
    kind, kinds = _kinds(steepness, gains, scale, softness)
    order = np.argsort(kind, kind="stable")
    moments = np.take(moments, order, axis=1)
    planes = tuple(levels.tolist()), tuple(focus.tolist())
    ordered = np.empty((3, order.size), np.float32)
    for index, here in _blocks(kind):
        scores = _products(moments[:, here], _spectrum_weights(*planes, *kinds[index]))
        ordered[:, here] = score_peaks(scores, levels)
    results = np.empty_like(ordered)
    results[:, order] = ordered
    return results.reshape(3, *steepness.shape)


def log_likelihoods(
    moments: np.ndarray,
    steepness: np.ndarray,
    levels: np.ndarray,
    focus: np.ndarray,
    gains: np.ndarray,
    scale: np.ndarray | None = None,
    softness: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the log-likelihood of every depth level at every pixel, of all octaves and of the finest alone.

    Args:
        moments: (B * P, h * w) of ``normalised_moments``.
        steepness: (h, w) of the texture's spectrum.
        levels, focus, gains: as in ``BlurModel``.
        scale: (h, w) by which the gains are larger at each pixel; None for 1 everywhere.
        softness: of the images, as in ``BandStatistics``.

    Returns:
        Two (L, h, w) float32 arrays, where 0 is the likelihood without texture, and the peaks of the first as
        ``most_likely`` returns them.
    """
    kind, kinds = _kinds(steepness, gains, scale, softness)
    order = np.argsort(kind, kind="stable")
    moments = np.take(moments, order, axis=1)
    planes = tuple(levels.tolist()), tuple(focus.tolist())
    pairs = len(focus) * (len(focus) + 1) // 2
    ordered = np.empty((2, order.size, len(levels)), np.float32)
    peaks = np.empty((3, order.size), np.float32)
    for index, here in _blocks(kind):
        weights = _spectrum_weights(*planes, *kinds[index])
        ordered[0, here] = scores = _products(moments[:, here], weights)
        peaks[:, here] = score_peaks(scores, levels)
        ordered[1, here] = _products(moments[:pairs, here], weights[:pairs])
    back = np.empty_like(order)
    back[order] = np.arange(order.size)
    total, finest = (np.ascontiguousarray(part[back].T).reshape(-1, *steepness.shape) for part in ordered)
    return total, finest, peaks[:, back].reshape(3, *steepness.shape)


def _blocks(kind: np.ndarray) -> Iterator[tuple[int, slice]]:
    """Yield the kind and the place of every block of pixels that are sorted by kind."""
    last = 0
    for index, count in enumerate(np.bincount(kind)):
        first, last = last, last + count
        for begin in range(first, last, BLOCK):
            yield index, slice(begin, min(begin + BLOCK, last))


def _kinds(
    steepness: np.ndarray, gains: np.ndarray, scale: np.ndarray | None, softness: float
) -> tuple[np.ndarray, list[tuple[tuple[float, ...], float, float]]]:
    """Return the kind of every pixel, (h * w,) integers, and the gains, softness and steepness of each kind.

    Pixels of one kind have one signature, so that their scores are one matrix product.
    """
    kind = _spectrum_kind(steepness.ravel())
    scales = np.ones(1)
    if scale is not None:
        steps = np.rint(np.log(scale.ravel()) / np.log(SCALE_STEP)).astype(np.int16)
        scales = SCALE_STEP ** np.arange(steps.min(), steps.max() + 1.0)
        kind = kind + np.uint16(len(STEEPNESS)) * (steps - steps.min()).astype(np.uint16)
    return kind, [(tuple((gains * each).tolist()), softness, float(slope)) for each in scales for slope in STEEPNESS]


@lru_cache(maxsize=MOST_SCALES * len(STEEPNESS))
def _spectrum_weights(
    levels: tuple[float, ...],
    focus: tuple[float, ...],
    gains: tuple[float, ...],
    softness: float,
    steepness: float,
) -> np.ndarray:
    """Return `_score_weights` of a lens, read-only; they are the same for every sweep."""
    weights = _score_weights(_blur_model(levels, focus, gains, softness), steepness)
    weights.flags.writeable = False
    return weights


@lru_cache(maxsize=MOST_SCALES)
def _blur_model(
    levels: tuple[float, ...], focus: tuple[float, ...], gains: tuple[float, ...], softness: float
) -> BlurModel:
    return BlurModel(levels, focus, gains, softness)


def _score_weights(model: BlurModel, steepness: float) -> np.ndarray:
    """Return (B * P, L) weights whose product with the pair moments is h(d)^T C h(d), summed over the bands."""
    h = model.signatures(steepness)
    i, j = np.triu_indices(h.shape[-1])
    weights = h[..., i] * h[..., j] * np.where(i == j, 1.0, 2.0)
    return np.ascontiguousarray(np.moveaxis(weights, 1, -1).reshape(-1, h.shape[1]), dtype=np.float32)


def hypothesis_scores(
    moments: np.ndarray,
    steepness: float,
    levels: np.ndarray,
    focus: np.ndarray,
    gains: np.ndarray,
    softness: float = 0.0,
) -> np.ndarray:
    """Return the (M, L) log-likelihoods of every level for (B * P, M) moments of one spectrum, relative to no texture.

    The weights are kept apart from those of depth, which a stack's many hypotheses would push out.
    """
    lens = tuple(levels.tolist()), tuple(focus.tolist()), tuple(gains.tolist())
    return _products(moments, _hypothesis_weights(*lens, softness, steepness))


@lru_cache(maxsize=512)
def _hypothesis_weights(
    levels: tuple[float, ...],
    focus: tuple[float, ...],
    gains: tuple[float, ...],
    softness: float,
    steepness: float,
) -> np.ndarray:
    weights = _score_weights(_blur_model(levels, focus, gains, softness), steepness)
    weights.flags.writeable = False
    return weights


def _products(moments: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return (P, L) products of (M, P) ``moments`` with (M, L) ``weights``."""
    terms, pixels = moments.shape
    columns = max(PRODUCT // weights.size, 1)
    whole = pixels - pixels % columns
    scores = np.empty((pixels, weights.shape[1]), np.float32)
    parts = moments[:, :whole].reshape(terms, -1, columns).transpose(1, 2, 0)
    np.matmul(parts, weights, out=scores[:whole].reshape(*parts.shape[:2], weights.shape[1]))
    np.matmul(moments[:, whole:].T, weights, out=scores[whole:])
    return scores


def score_peaks(scores: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (P,) power, precision and significance of the peak of (P, L) log-likelihoods."""
    best = scores.argmax(axis=1)
    inner = np.clip(best, 1, scores.shape[1] - 2)
    pixel = np.arange(0, scores.size, scores.shape[1])
    flat = scores.ravel()
    shift, curvature = _parabola(*(flat[pixel + inner + k] for k in (-1, 0, 1)))
    step = levels[1] - levels[0]
    significance = np.clip((flat[pixel + best] - NOISE_PEAK) / (TEXTURE_PEAK - NOISE_PEAK), 0.0, 1.0)
    # A peak at the end of the range is a bound, not a measurement.
    certainty = np.where((best != inner) & (np.abs(shift) == 1.0), 0.1, 1.0)
    return levels[inner] + step * shift, curvature / step**2 * certainty * significance, significance


def _parabola(below: np.ndarray, centre: np.ndarray, above: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the peak, limited to -1..1, and the curvature of the parabola through three values at -1, 0 and 1."""
    curvature = np.maximum(2.0 * centre - below - above, 1e-6)
    return np.clip(0.5 * (above - below) / curvature, -1.0, 1.0), curvature
