"""The likelihood of a whole stack under hypotheses about its foci and its lens, at a grid of its textured pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fossa_ros.estimators.classical import depth_profile, focus_measure
from fossa_ros.estimators.classical.config import ClassicalConfig

WINDOW = 1.5  # px at half resolution over which texture is pooled: wider than for depth, as no edge need be kept
GRID = 4  # px at half resolution from sample to sample, so that they share little noise
LEVELS = 32  # hypothesised depths within the range of depth
BEYOND = 5  # more of them on either side, from infinity to half the distance of the nearest plane
SPECTRA = 3  # groups of pixels of like spectrum
ANY_SPECTRUM = (1.0, 2.5, 4.0, 5.5)  # steepness of textures whose finest band is lost in noise, or in blur
MODEL_ERROR, MARGIN = ClassicalConfig.model_error, ClassicalConfig.margin


@dataclass(frozen=True, eq=False)
class LensLikelihood:
    """Log-likelihoods of one lens at the textured pixels; 0 is that of no texture.

    Attributes:
        averaged: (M,) over all depths: comparable with a hypothesis that has no depth.
        best: (M,) at the best depth of each pixel: does not count against a lens that the depth must be just so, as it
            must for a wall halfway between two planes.
    """

    averaged: np.ndarray
    best: np.ndarray


@dataclass(frozen=True, eq=False)
class StackLikelihood:
    """Second moments of a stack at the textured pixels of a grid, ready to be compared with blur models.

    Attributes:
        planes: N.
        share: share of the grid's pixels that have texture, 0..1.
        position: (M, 2) row and column of each textured pixel, 0..1 of the image.
        energy: (M,) log-likelihood, relative to no texture, of a model that leaves no residual.
    """

    planes: int
    share: float
    position: np.ndarray
    energy: np.ndarray
    _moments: np.ndarray  # (B * P, M) of normalised_moments; pixels of like spectrum are beside each other
    _spectra: tuple[tuple[slice, tuple[float, ...]], ...]  # pixels and possible steepness of each group
    _softness: float

    @classmethod
    def of(cls, images: Sequence[np.ndarray]) -> StackLikelihood:
        """Measure (H, W, 3) uint8 planes."""
        gray = focus_measure.luminance(images)
        whole = focus_measure.band_statistics(gray, focus_measure.noise_sigma(gray), WINDOW)
        grid = np.s_[..., GRID // 2 :: GRID, GRID // 2 :: GRID]
        steepness = whole.steepness[grid]
        sampled = focus_measure.BandStatistics(
            whole.products[grid], whole.energy[grid], whole.noise, steepness, whole.softness
        )
        moments = depth_profile.normalised_moments(sampled, MODEL_ERROR)
        squares = _squares(len(images))
        energy = _over_bands(moments, len(images))[squares].sum(axis=0)
        textured = np.flatnonzero(energy > depth_profile.TEXTURE_PEAK)
        finest = sampled.products[0, squares].max(axis=0).ravel()[textured] > whole.noise[0]
        steepness_there = np.where(finest, steepness.ravel()[textured], np.inf)
        textured = textured[np.argsort(steepness_there, kind="stable")]
        rows, columns = steepness.shape
        return cls(
            planes=len(images),
            share=len(textured) / steepness.size if steepness.size else 0.0,
            position=np.stack(np.divmod(textured, columns), axis=1) / np.array([rows, columns]),
            energy=energy[textured],
            _moments=np.ascontiguousarray(moments[:, textured]),
            _spectra=_spectra(steepness.ravel()[textured], int(finest.sum())),
            _softness=whole.softness,
        )

    def under(self, focus: np.ndarray, gains: np.ndarray) -> LensLikelihood:
        """Return the log-likelihoods of a lens at every textured pixel, whose depth is free.

        Args:
            focus: (N,) hypothesised focus of the planes in dioptres.
            gains: (N,) hypothesised blur radius per dioptre, px / D in the images.
        """
        averaged, best = np.empty((2, len(self.energy)), np.float32)
        for pixels, scores in self._scores(focus, gains):
            best[pixels] = scores.max(axis=1)
            averaged[pixels] = np.log(np.exp(scores - best[pixels, None]).mean(axis=1))
        return LensLikelihood(averaged + best, best)

    def between(self, focus: np.ndarray, gains: np.ndarray) -> float:
        """Return the share of the textured pixels, 0..1, whose most likely depth lies between the planes."""
        levels = _all_levels(focus)
        inside = (levels > focus.min()) & (levels < focus.max())
        counts = [inside[scores.argmax(axis=1)].sum() for _, scores in self._scores(focus, gains)]
        return float(sum(counts) / len(self.energy))

    def _scores(self, focus: np.ndarray, gains: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield each group of pixels, and their (M, L) log-likelihoods with the likeliest of its spectra."""
        levels = _all_levels(focus)
        for pixels, spectra in self._spectra:
            moments = self._moments[:, pixels]
            scores = [
                depth_profile.hypothesis_scores(moments, each, levels, focus, gains, self._softness) for each in spectra
            ]
            yield pixels, max(scores, key=lambda each: float(each.max(axis=1).sum())) if len(scores) > 1 else scores[0]

    def equally_sharp(self) -> np.ndarray:
        """Return the (M,) log-likelihoods if all planes were equally sharp; relative to no texture."""
        pairs = _over_bands(self._moments, self.planes)
        squares = _squares(self.planes)
        return (2.0 * pairs.sum(axis=0) - pairs[squares].sum(axis=0)) / self.planes

    def differences(self) -> np.ndarray:
        """Return the (N - 1,) difference of each plane from the next as a share of their texture; 0 is noise alone.

        It is the median over the pixels, so that things that move do not count.
        """
        pairs = _over_bands(self._moments, self.planes)
        squares = np.flatnonzero(_squares(self.planes))
        shares = []
        for own, other in pairwise(squares):
            texture = pairs[own] + pairs[other]
            shares.append(np.median(1.0 - 2.0 * pairs[own + 1] / np.maximum(texture, 1e-6)))
        return np.array(shares)


def _all_levels(focus: np.ndarray) -> np.ndarray:
    """Return increasing depths in dioptres; a scene may lie beyond the range in which its depth is estimated."""
    levels = depth_profile.dioptre_levels(focus, LEVELS, MARGIN)
    farther = np.linspace(0.0, levels[0], BEYOND + 1)[1:-1]
    nearer = np.linspace(levels[-1], 2.0 * levels[-1], BEYOND + 1)[1:]
    return np.concatenate([farther, levels, nearer])


def _over_bands(moments: np.ndarray, planes: int) -> np.ndarray:
    """Return the (P, M) sum of (B * P, M) moments over the bands."""
    pairs = planes * (planes + 1) // 2
    return moments.reshape(len(moments) // pairs, pairs, moments.shape[1]).sum(axis=0)


def _squares(planes: int) -> np.ndarray:
    """Return (P,) bool: whether a pair i <= j is of one plane. The pair after it is the plane and the next."""
    i, j = np.triu_indices(planes)
    return np.asarray(i == j)


def _spectra(steepness: np.ndarray, count: int) -> tuple[tuple[slice, tuple[float, ...]], ...]:
    """Divide (M,) values of steepness, of which the first ``count`` are known and increase, into groups.

    Returns:
        Each group, and the values that may be its steepness.
    """
    ends = np.linspace(0, count, SPECTRA + 1).astype(int)
    known = depth_profile.STEEPNESS  # so that the weights are the same from sweep to sweep
    groups = [
        (np.s_[first:last], (float(known[np.abs(known - np.median(steepness[first:last])).argmin()]),))
        for first, last in pairwise(ends)
        if last > first
    ]
    if count < len(steepness):
        groups.append((np.s_[count : len(steepness)], ANY_SPECTRUM))
    return tuple(groups)
