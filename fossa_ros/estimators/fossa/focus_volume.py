"""Depth from a focus volume: in which planes is a pixel sharp, and at which distances were they focused.

Shapes: B stacks, N planes, C channels, (h, w) pixels of the level at hand.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fossa_ros.estimators.fossa.network import resize
from fossa_ros.estimators.fossa.sharpness import CHANNELS
from fossa_ros.estimators.fossa.tiles import tiled

MIN_DISPARITY = 0.01  # 1 / canonical metres: no depth beyond 100
MIN_SPACING = 1e-3  # of the planes, in the same unit
SOFTPLUS_BETA = 50.0  # of the softplus that keeps disparity above its minimum
SHARPENING = 2.5  # exponent of the planes' weights where depth is read off
NEAR_BIAS = 0.3  # exponent of disparity in those weights; both were chosen on held-out training stacks


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B, C, h, w) maps."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every pixel of (B, C, h, w)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Upsampling(nn.Module):
    """Double the resolution and merge a skip connection and a summary of all planes' skip connections."""

    def __init__(self, channels_in: int, skip: int, channels: int):
        super().__init__()
        self.reduce = nn.Conv2d(channels_in, channels, 1)
        self.skip = nn.Conv2d(skip, channels, 1)
        self.common = nn.Conv2d(2 * skip, channels, 1, bias=False)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = ChannelNorm(channels)

    def summarise(self, skips: Tensor) -> Tensor:
        """Return (B, 1, channels, h, w) from the mean and the maximum over the planes of (B, N, C, h, w) skips.

        Sharpness only means something relative to the other planes, and nothing else compares planes at this level.
        """
        return self.common(torch.cat([skips.mean(1), skips.amax(1)], 1))[:, None]

    def forward(self, x: Tensor, skip: Tensor, summary: Tensor) -> Tensor:
        """Map (F, channels_in, h, w), with skip and summary at twice the size, to (F, channels, 2h, 2w)."""
        x = resize(self.reduce(x), skip.shape[2:]) + self.skip(skip) + summary
        return self.norm(x + self.conv(F.gelu(x)))


class Refinement(nn.Module):
    """Correct the mean disparity from a wide view of the mixed features: dilated residual convolutions."""

    DILATIONS = (1, 2, 4, 8, 1)

    def __init__(self, channels_in: int, channels: int):
        super().__init__()
        self.enter = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.norms = nn.ModuleList(ChannelNorm(channels) for _ in self.DILATIONS)
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=d, dilation=d) for d in self.DILATIONS)
        self.leave = nn.Conv2d(channels, 1, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return the (B, 1, h, w) float32 correction, in plane spacings, from (B, channels_in, h, w)."""
        x = self.enter(features)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = x + conv(F.gelu(norm(x)))
        return self.leave(x).float()


class FocusVolume(NamedTuple):
    """Output of the head, at half resolution.

    Attributes:
        depth: (B, 1, h, w) float32 canonical metres.
        confidence: (B, 1, h, w) float32 in 0..1.
        scores: (B, N, h, w) float32 logarithm of each plane's weight.
        disparity: (B, 1, h, w) float32 in 1 / canonical metres, before the softplus that keeps depth finite.
    """

    depth: Tensor
    confidence: Tensor
    scores: Tensor
    disparity: Tensor


class FocusVolumeHead(nn.Module):
    """Score every plane at half resolution, and derive depth and confidence from the scores.

    Untrained it is shape from focus: the scores are the logarithms of the planes' sharpness.
    """

    def __init__(self, stem: tuple[int, int], dim: int, fused_dim: int, features: tuple[int, int]):
        super().__init__()
        fine = stem[0] + CHANNELS
        self.context = nn.Conv2d(fused_dim, dim, 1)
        self.to_quarter = Upsampling(dim, stem[1], features[0])
        self.logit = nn.Conv2d(features[0], 1, 1)
        self.detail = nn.Conv2d(fine, 1, 3, padding=1)
        self.mixed_quarter = nn.Conv2d(features[0], features[1], 1)
        self.refine = Refinement(fine + features[1] + 2, features[1])
        nn.init.zeros_(self.logit.weight)
        nn.init.zeros_(self.logit.bias)
        nn.init.zeros_(self.detail.weight)
        nn.init.zeros_(self.detail.bias)
        with torch.no_grad():
            self.detail.weight[:, -CHANNELS:, 1, 1] = 2.0 / CHANNELS

    def forward(self, half: Tensor, quarter: Tensor, tokens: Tensor, fused: Tensor, disparity: Tensor) -> FocusVolume:
        """Return depth, confidence and scores at half resolution.

        Args:
            half, quarter, tokens: (B, N, C, h, w) maps of every plane at 1/2, 1/4 and 1/8 of the image; the last
                channels of ``half`` are ``fossa_ros.estimators.fossa.sharpness.log_sharpness``.
            fused: (B, C, h, w) map of the whole stack at 1/16.
            disparity: (B, N) disparities the planes are focused at, 1 / canonical metres.
        """
        logits, features = self.scores(half, quarter, tokens, fused)
        scores = torch.log_softmax(logits.float(), dim=1)
        weights = scores.exp()
        planes = disparity[:, :, None, None, None]
        farthest, nearest = planes.amin(1), planes.amax(1)
        spacing = plane_spacing(disparity)[:, None, None, None]
        mean = (reading_weights(scores, planes, spacing) * planes).sum(1)
        confidence = concentration(weights, (planes - mean[:, None]) / spacing[:, None])
        position = (mean - farthest) / (nearest - farthest).clamp_min(1e-3)  # in the sweep, 0 to 1
        mixed_half = weighted_mean(weights, half)
        mixed_quarter = self.mixed_quarter(weighted_mean(halved(weights), features))
        refinement = self.refine(
            torch.cat(
                [
                    mixed_half,
                    resize(mixed_quarter, half.shape[3:]),
                    position.to(half.dtype),
                    confidence.to(half.dtype),
                ],
                1,
            )
        )
        estimate = mean + spacing * refinement
        depth = 1.0 / (MIN_DISPARITY + F.softplus(estimate - MIN_DISPARITY, beta=SOFTPLUS_BETA))
        return FocusVolume(depth, confidence, scores[:, :, 0], estimate)

    def scores(self, half: Tensor, quarter: Tensor, tokens: Tensor, fused: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, N, 1, H/2, W/2) logits of the planes, and the (B, N, C, H/4, W/4) features behind them."""
        x = (tokens + resize(self.context(fused), tokens.shape[3:])[:, None]).flatten(0, 1)
        summary = self.to_quarter.summarise(quarter).expand(-1, tokens.shape[1], -1, -1, -1).flatten(0, 1)
        parts = x, quarter.flatten(0, 1), summary
        # On a CPU frame by frame: one frame's maps stay in the cache.
        pieces = zip(*(part.split(1) for part in parts), strict=True) if tiled(tokens) else [parts]
        x = torch.cat([self.to_quarter(*piece) for piece in pieces])
        logits = resize(self.logit(x), half.shape[3:]) + self.detail(half.flatten(0, 1))
        return logits.unflatten(0, tokens.shape[:2]), x.unflatten(0, tokens.shape[:2])


def plane_spacing(disparity: Tensor) -> Tensor:
    """Return the (B,) mean difference between neighbouring planes of (B, N) disparities."""
    span = disparity.amax(1) - disparity.amin(1)
    return (span / max(disparity.shape[1] - 1, 1)).clamp_min(MIN_SPACING)


def reading_weights(scores: Tensor, planes: Tensor, spacing: Tensor) -> Tensor:
    """Return (B, N, 1, h, w) weights for reading off depth: sharpened, with a slight preference for nearer planes.

    The weights of a well-calibrated softmax have tails over all planes. The mean under them is biased to the middle of
    the stack, by a quarter of a spacing at its ends even where a pixel is clearly sharp, and between two surfaces it
    lies on neither. Where two surfaces remain possible, taking the near one for the far one is the larger relative
    error.

    Args:
        scores: (B, N, 1, h, w) logarithms of the planes' weights.
        planes: (B, N, 1, 1, 1) disparities.
        spacing: (B, 1, 1, 1) mean difference between neighbouring planes.
    """
    return torch.softmax(SHARPENING * (scores + NEAR_BIAS * (planes + spacing[:, None]).log()), dim=1)


def weighted_mean(weights: Tensor, features: Tensor) -> Tensor:
    """Return the (B, C, h, w) mean of (B, N, C, h, w) features under (B, N, 1, h, w) weights."""
    return torch.einsum("bnhw,bnchw->bchw", weights[:, :, 0].to(features.dtype), features)


def halved(weights: Tensor) -> Tensor:
    """Halve the resolution of (B, N, 1, h, w) weights."""
    return F.avg_pool2d(weights.flatten(0, 1), 2).unflatten(0, weights.shape[:2])


def concentration(weights: Tensor, offset: Tensor) -> Tensor:
    """Return the share of the softmax that lies near its mean, in 0..1: the head's confidence.

    Planes within one spacing of the mean count in full, since depth between two planes is shared by both; from there
    the share falls linearly to zero at two spacings. Both arguments are (B, N, 1, h, w), ``offset`` in plane spacings.
    """
    return (weights * (2.0 - offset.abs()).clamp(0.0, 1.0)).sum(1).clamp_max(1.0)  # above 1 only by rounding
