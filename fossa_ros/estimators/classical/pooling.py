"""Sums of log-likelihoods along surfaces: where the image shows no edge, neighbours have one depth.

The filter is the recursive domain transform (Gastal and Oliveira, SIGGRAPH 2011): distance along a row or a column
grows with the contrast it crosses, and weights decay exponentially with it.
"""

from __future__ import annotations

import numpy as np

PASSES = 3  # over rows and columns, each with half the reach of the one before; fewer leave stripes


def pool(likelihood: np.ndarray, guide: np.ndarray, reach: float, contrast: float) -> np.ndarray:
    """Return the weighted mean of log-likelihoods about each pixel.

    Args:
        likelihood: (L, h, w) float32, neither clipped nor normalised.
        guide: (h, w) float32 sharp image, grey levels.
        reach: standard deviation of the weights on a surface without contrast (px).
        contrast: grey levels of contrast that count as much as ``reach`` px of distance.

    Returns:
        (L, h, w) float32, a view of an array whose last axis is L.
    """
    values = np.ascontiguousarray(likelihood.transpose(1, 2, 0))
    steps = [1 + reach / contrast * np.abs(np.diff(guide, axis=axis)) for axis in (1, 0)]
    for number in range(PASSES):
        share = reach * np.sqrt(3) * 2.0 ** (PASSES - number - 1) / np.sqrt(4.0**PASSES - 1)
        across, down = (np.exp(-np.sqrt(2) / share * step).astype(np.float32) for step in steps)
        smooth(values.transpose(1, 0, 2), across.T)
        smooth(values, down)
    return values.transpose(2, 0, 1)


def smooth(lines: np.ndarray, weights: np.ndarray) -> None:
    """Smooth (n, m, L) ``lines`` along the first axis, in place, forth and back; (n - 1, m) ``weights`` couple them."""
    weights = np.ascontiguousarray(weights)[..., None]
    change = np.empty(lines.shape[1:], np.float32)
    for order in (range(1, len(lines)), range(len(lines) - 2, -1, -1)):
        forth = order.step > 0
        for k in order:
            before, weight = (lines[k - 1], weights[k - 1]) if forth else (lines[k + 1], weights[k])
            np.subtract(before, lines[k], out=change)
            np.multiply(change, weight, out=change)
            np.add(lines[k], change, out=lines[k])
