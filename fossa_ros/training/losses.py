"""Losses of depth from defocus, in canonical space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MIN_SPACING = 1e-3  # of the planes, 1 / canonical metres
MAX_ERROR = 3.0  # plane spacings at which the error is clipped, since depth far outside the sweep cannot be learnt


@dataclass(frozen=True)
class LossWeights:
    """Weight of each loss; a loss with weight 0 is not computed.

    Attributes:
        silog: scale-invariant logarithmic error, lambda 0.5 (the paper: 0.1).
        gradient: multi-scale gradient matching of canonical depth (the paper: 1.0).
        log: mean absolute difference of logarithms of depth.
        planes: mean absolute difference of disparity in plane spacings.
        edges: gradient matching of disparity in plane spacings, which far walls do not dominate.
    """

    silog: float = 0.0
    gradient: float = 0.0
    log: float = 0.0
    planes: float = 0.0
    edges: float = 0.0


def total_loss(weights: LossWeights, depth: Tensor, truth: Tensor, focus: Tensor) -> dict[str, Tensor]:
    """Return every loss with a weight, by name, and their weighted sum ``total``.

    Args:
        weights: weights of the losses.
        depth: (B, 1, H, W) float32 predicted depth in canonical metres.
        truth: (B, H, W) float32 true disparity in 1 / canonical metres; NaN where unknown.
        focus: (B, N) disparities the planes are focused at.
    """
    truth = truth[:, None]
    known = truth.isfinite() & (truth > 0)
    disparity = torch.where(known, truth, 1.0)
    spacing = plane_spacing(focus)[:, None, None, None]
    parts = {}
    if weights.silog:
        parts["silog"] = silog(depth, 1 / disparity, known)
    if weights.gradient:
        parts["gradient"] = gradient_matching(depth - 1 / disparity, known)
    if weights.log:
        parts["log"] = mean_over((depth * disparity).log().abs(), known)
    if weights.planes or weights.edges:
        residual = (1 / depth - disparity) / spacing
        if weights.planes:
            parts["planes"] = mean_over(residual.abs().clamp_max(MAX_ERROR), known)
        if weights.edges:
            parts["edges"] = gradient_matching(residual, known)
    parts["total"] = sum(getattr(weights, name) * value for name, value in parts.items())
    return parts


def mean_over(values: Tensor, known: Tensor) -> Tensor:
    """Return the mean of (B, 1, H, W) values where they are known; 0 if none is."""
    return torch.where(known, values, 0.0).sum() / known.sum().clamp_min(1)


def silog(depth: Tensor, truth: Tensor, known: Tensor, balance: float = 0.5) -> Tensor:
    """Return sqrt(mean(g^2) - balance mean(g)^2) per image, averaged; g is the difference of the logarithms."""
    g = torch.where(known, depth.log() - truth.log(), 0.0).flatten(1)
    count = known.flatten(1).sum(1).clamp_min(1)
    mean, square = g.sum(1) / count, g.square().sum(1) / count
    return (square - balance * mean.square()).clamp_min(1e-8).sqrt().mean()


def gradient_matching(residual: Tensor, known: Tensor, scales: int = 2) -> Tensor:
    """Return the mean of |dx r| + |dy r| over pairs of known pixels, summed over scales of 1, 2, ... pixels."""
    total = residual.new_zeros(())
    for scale in range(scales):
        step = 2**scale
        r, k = residual[..., ::step, ::step], known[..., ::step, ::step]
        for axis in (2, 3):
            size = r.shape[axis] - 1
            if size > 0:
                both = k.narrow(axis, 0, size) & k.narrow(axis, 1, size)
                total = total + mean_over((r.narrow(axis, 1, size) - r.narrow(axis, 0, size)).abs(), both)
    return total


def plane_spacing(disparity: Tensor) -> Tensor:
    """Return the (B,) mean difference between neighbouring planes of (B, N) disparities."""
    span = disparity.amax(1) - disparity.amin(1)
    return (span / max(disparity.shape[1] - 1, 1)).clamp_min(MIN_SPACING)
