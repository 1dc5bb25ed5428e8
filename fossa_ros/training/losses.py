"""Losses of depth from defocus, in canonical space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fossa_ros.estimators.fossa.focus_volume import FocusVolume, plane_spacing
from fossa_ros.estimators.fossa.network import resize

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
        scores: cross-entropy of the planes' weights against a hat around the true disparity; nano only.
    """

    silog: float = 0.0
    gradient: float = 0.0
    log: float = 0.0
    planes: float = 0.0
    edges: float = 0.0
    scores: float = 0.0


def total_loss(
    weights: LossWeights, depth: Tensor, truth: Tensor, focus: Tensor, volume: FocusVolume | None
) -> dict[str, Tensor]:
    """Return every loss with a weight, by name, and their weighted sum ``total``.

    Args:
        weights: weights of the losses.
        depth: (B, 1, H, W) float32 predicted depth in canonical metres.
        truth: (B, H, W) float32 true disparity in 1 / canonical metres; NaN where unknown.
        focus: (B, N) disparities the planes are focused at.
        volume: output of nano's head; None for other networks.
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
        predicted = 1 / depth if volume is None else resize(volume.disparity, depth.shape[2:])
        residual = (predicted - disparity) / spacing
        if weights.planes:
            parts["planes"] = mean_over(residual.abs().clamp_max(MAX_ERROR), known)
        if weights.edges:
            parts["edges"] = gradient_matching(residual, known)
    if weights.scores and volume is not None:
        half = tuple(-(-side // 2) for side in truth.shape[2:])
        parts["scores"] = score_entropy(resize_nearest(volume.scores, half), truth[..., ::2, ::2], focus)
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


def hat_target(truth: Tensor, focus: Tensor) -> Tensor:
    """Return (B, N, h, w) target weights: the planes on both sides of the (B, 1, h, w) true disparity, linearly.

    Beyond the outermost plane, that plane has weight 1.
    """
    order = focus.argsort(1)
    planes = focus.gather(1, order)
    inside = truth[:, 0].clamp(planes[:, :1, None], planes[:, -1:, None]).flatten(1)  # (B, h w)
    if planes.shape[1] == 1:
        return torch.ones_like(truth)
    above = torch.searchsorted(planes, inside.contiguous()).clamp(1, planes.shape[1] - 1)
    low, high = planes.gather(1, above - 1), planes.gather(1, above)
    share = (inside - low) / (high - low).clamp_min(1e-9)
    target = torch.zeros(len(focus), planes.shape[1], inside.shape[1], device=truth.device)
    target.scatter_(1, above[:, None], share[:, None])
    target.scatter_(1, above[:, None] - 1, 1 - share[:, None])
    back = order.argsort(1)[:, :, None].expand_as(target)
    return target.gather(1, back).unflatten(2, truth.shape[2:])


def score_entropy(scores: Tensor, truth: Tensor, focus: Tensor) -> Tensor:
    """Return the mean over known pixels of -sum(target * score); scores are (B, N, h, w) log weights."""
    known = truth.isfinite() & (truth > 0)
    target = hat_target(torch.where(known, truth, 1.0), focus)
    return mean_over(-(target * scores).sum(1, keepdim=True), known)


def resize_nearest(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample (B, C, h, w) maps to a size, which differs if nano padded the images to multiples of 16."""
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    return torch.nn.functional.interpolate(maps, size=size, mode="nearest")
