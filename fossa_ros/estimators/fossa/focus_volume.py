"""Depth read off a focus volume: which planes is a pixel sharp in, and at which distances were they focused."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fossa_ros.estimators.fossa.depth_head import resize
from fossa_ros.estimators.fossa.sharpness import CHANNELS
from fossa_ros.estimators.fossa.tiles import tiled

LEAST_DISPARITY = 0.01  # 1 / canonical metres: no depth beyond 100
LEAST_SPACING = 1e-3  # of the planes, in the same
SHARPNESS = 50.0  # of the bend that keeps disparity above it, per unit of disparity
CONTRAST = 2.5  # exponent of the planes' weights where depth is read off
NEARER = 0.3  # exponent of disparity in them; both were chosen on training stacks kept back


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B, C, H, W) maps."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Upsampling(nn.Module):
    """Double the resolution and merge a skip, which comes with what all planes' skips have in common."""

    def __init__(self, channels_in: int, skip: int, channels: int):
        super().__init__()
        self.reduce = nn.Conv2d(channels_in, channels, 1)
        self.skip = nn.Conv2d(skip, channels, 1)
        self.common = nn.Conv2d(2 * skip, channels, 1, bias=False)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = ChannelNorm(channels)

    def compare(self, skips: Tensor) -> Tensor:
        """Return (B, 1, channels, h, w) of (B, N, C, h, w) skips: their mean and maximum over the planes.

        Sharpness only means something against the other planes, and at this resolution nothing else compares them.
        """
        return self.common(torch.cat([skips.mean(1), skips.amax(1)], 1))[:, None]

    def forward(self, x: Tensor, skip: Tensor, common: Tensor) -> Tensor:
        x = resize(self.reduce(x), skip.shape[2:]) + self.skip(skip) + common
        return self.norm(x + self.conv(F.gelu(x)))


class Refinement(nn.Module):
    """Correct the planes' mean disparity from a wide view of the mixed features: dilated residual convolutions."""

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
        """Return the (B, 1, h, w) correction, in plane spacings, from (B, channels_in, h, w)."""
        x = self.enter(features)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = x + conv(F.gelu(norm(x)))
        return self.leave(x).float()


class FocusVolume(NamedTuple):
    """What the head reads off, at half resolution.

    Attributes:
        depth: (B, 1, H/2, W/2) float32 canonical metres.
        confidence: (B, 1, H/2, W/2) float32 in 0..1.
        scores: (B, N, H/2, W/2) float32 logarithm of each plane's weight.
        disparity: (B, 1, H/2, W/2) float32 in 1 / canonical metres, before the bend that keeps depth finite.
    """

    depth: Tensor
    confidence: Tensor
    scores: Tensor
    disparity: Tensor


class FocusVolumeHead(nn.Module):
    """Score every plane at half resolution; depth and confidence follow from the scores.

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
                channels of ``half`` are :func:`fossa_ros.estimators.fossa.sharpness.log_sharpness`.
            fused: (B, C, h, w) map of the whole stack at 1/16.
            disparity: (B, N) planes' focus in 1 / canonical metres.
        """
        volume, features = self.scores(half, quarter, tokens, fused)
        scores = torch.log_softmax(volume.float(), dim=1)
        weights = scores.exp()
        planes = disparity[:, :, None, None, None]
        least, most = planes.amin(1), planes.amax(1)
        spacing = plane_spacing(disparity)[:, None, None, None]
        mean = (reading_weights(scores, planes, spacing) * planes).sum(1)
        confidence = concentration(weights, (planes - mean[:, None]) / spacing[:, None])
        place = (mean - least) / (most - least).clamp_min(1e-3)
        mixed = [mix(weights, half), resize(self.mixed_quarter(mix(shrunk(weights), features)), half.shape[3:])]
        estimate = mean + spacing * self.refine(torch.cat([*mixed, place.to(half.dtype), confidence.to(half.dtype)], 1))
        depth = 1.0 / (LEAST_DISPARITY + F.softplus(estimate - LEAST_DISPARITY, beta=SHARPNESS))
        return FocusVolume(depth, confidence, scores[:, :, 0], estimate)

    def scores(self, half: Tensor, quarter: Tensor, tokens: Tensor, fused: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, N, 1, H/2, W/2) logits of the planes, and (B, N, C, H/4, W/4) features behind them."""
        x = (tokens + resize(self.context(fused), tokens.shape[3:])[:, None]).flatten(0, 1)
        common = self.to_quarter.compare(quarter).expand(-1, tokens.shape[1], -1, -1, -1).flatten(0, 1)
        parts = x, quarter.flatten(0, 1), common
        pieces = zip(*(part.split(1) for part in parts), strict=True) if tiled(tokens) else [parts]
        x = torch.cat([self.to_quarter(*piece) for piece in pieces])
        logits = resize(self.logit(x), half.shape[3:]) + self.detail(half.flatten(0, 1))
        return logits.unflatten(0, tokens.shape[:2]), x.unflatten(0, tokens.shape[:2])


def plane_spacing(disparity: Tensor) -> Tensor:
    """Return the (B,) mean difference between neighbouring ones of (B, N) planes' disparities."""
    span = disparity.amax(1) - disparity.amin(1)
    return (span / max(disparity.shape[1] - 1, 1)).clamp_min(LEAST_SPACING)


def reading_weights(scores: Tensor, planes: Tensor, spacing: Tensor) -> Tensor:
    """Return (B, N, 1, h, w) weights for reading off depth: sharpened, and leaning a little to the nearer planes.

    Honest weights have tails over all planes. The mean under them is drawn to the middle of the stack, by a quarter
    of a spacing at its ends even where a pixel is plainly sharp, and it lies in the air between two surfaces. Where
    two surfaces remain possible, taking the near one for far is the worse error: relative to its depth it is larger.

    Args:
        scores: (B, N, 1, h, w) logarithms of the planes' weights.
        planes: (B, N, 1, 1, 1) disparities.
        spacing: (B, 1, 1, 1) mean difference between neighbouring ones.
    """
    return torch.softmax(CONTRAST * (scores + NEARER * (planes + spacing[:, None]).log()), dim=1)


def mix(weights: Tensor, features: Tensor) -> Tensor:
    """Return the (B, C, h, w) mean of (B, N, C, h, w) features under (B, N, 1, h, w) weights."""
    return torch.einsum("bnhw,bnchw->bchw", weights[:, :, 0].to(features.dtype), features)


def shrunk(weights: Tensor) -> Tensor:
    """Halve the resolution of (B, N, 1, h, w) weights."""
    return F.avg_pool2d(weights.flatten(0, 1), 2).unflatten(0, weights.shape[:2])


def concentration(weights: Tensor, offset: Tensor) -> Tensor:
    """Return the share of the softmax that lies near its mean, in 0..1: the head's confidence.

    Planes within one spacing of the mean count in full, since depth between two planes is shared by both, and
    count for nothing from two spacings on. Both arguments are (B, N, 1, H, W), ``offset`` in plane spacings.
    """
    return (weights * (2.0 - offset.abs()).clamp(0.0, 1.0)).sum(1).clamp_max(1.0)  # rounding
