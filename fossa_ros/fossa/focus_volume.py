"""Depth read off a focus volume: which planes is a pixel sharp in, and at which distances were they focused."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fossa_ros.fossa.depth_head import resize
from fossa_ros.fossa.tiles import tiled

LEAST_DISPARITY = 0.01  # 1 / canonical metres: no depth beyond 100
SHARPNESS = 50.0  # of the bend that keeps disparity above it, per unit of disparity


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B, C, H, W) maps."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Upsampling(nn.Module):
    """Double the resolution and merge a skip."""

    def __init__(self, channels_in: int, skip: int, channels: int):
        super().__init__()
        self.reduce = nn.Conv2d(channels_in, channels, 1)
        self.skip = nn.Conv2d(skip, channels, 1)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = ChannelNorm(channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = resize(self.reduce(x), skip.shape[2:]) + self.skip(skip)
        return self.norm(x + self.conv(F.gelu(x)))


class FocusVolumeHead(nn.Module):
    """Score every plane at half resolution; depth and confidence follow from the scores."""

    def __init__(self, stem: tuple[int, int], dim: int, fused_dim: int, features: tuple[int, int]):
        super().__init__()
        self.context = nn.Conv2d(fused_dim, dim, 1)
        self.to_quarter = Upsampling(dim, stem[1], features[0])
        self.to_half = Upsampling(features[0], stem[0], features[1])
        self.logit = nn.Conv2d(features[1], 1, 1)
        self.residual = nn.Sequential(
            nn.Conv2d(features[1], features[1], 3, padding=1), nn.GELU(), nn.Conv2d(features[1], 1, 1)
        )
        nn.init.zeros_(self.residual[2].weight)
        nn.init.zeros_(self.residual[2].bias)

    def forward(
        self, half: Tensor, quarter: Tensor, tokens: Tensor, fused: Tensor, disparity: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return (B, 1, H/2, W/2) float32 depth in canonical metres, and confidence in 0..1.

        Args:
            half, quarter, tokens: (B, N, C, h, w) maps of every plane at 1/2, 1/4 and 1/8 of the image.
            fused: (B, C, h, w) map of the whole stack at 1/16.
            disparity: (B, N) planes' focus in 1 / canonical metres.
        """
        volume, features = self.scores(half, quarter, tokens, fused)
        weights = torch.softmax(volume.float(), dim=1)
        mixed = (weights.to(features.dtype) * features).sum(1)
        planes = disparity[:, :, None, None, None]
        mean = (weights * planes).sum(1)
        spacing = ((planes.amax(1) - planes.amin(1)) / max(planes.shape[1] - 1, 1)).clamp_min(1e-3)
        estimate = mean + spacing * self.residual(mixed).float()
        depth = 1.0 / (LEAST_DISPARITY + F.softplus(estimate - LEAST_DISPARITY, beta=SHARPNESS))
        return depth, concentration(weights, (planes - mean[:, None]) / spacing[:, None])

    def scores(self, half: Tensor, quarter: Tensor, tokens: Tensor, fused: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, N, 1, H/2, W/2) logits of the planes, and the (B, N, C, H/2, W/2) features behind them."""
        context = resize(self.context(fused), tokens.shape[3:])
        maps = [t.flatten(0, 1) for t in (tokens + context[:, None], quarter, half)]
        parts = zip(*(t.split(1) for t in maps), strict=True) if tiled(tokens) else [maps]
        x = torch.cat([self.to_half(self.to_quarter(deep, middle), high) for deep, middle, high in parts])
        return self.logit(x).unflatten(0, tokens.shape[:2]), x.unflatten(0, tokens.shape[:2])


def concentration(weights: Tensor, offset: Tensor) -> Tensor:
    """Return the share of the softmax that lies near its mean, in 0..1: the head's confidence.

    Planes within one spacing of the mean count in full, since depth between two planes is shared by both, and
    count for nothing from two spacings on. Both arguments are (B, N, 1, H, W), ``offset`` in plane spacings.
    """
    return (weights * (2.0 - offset.abs()).clamp(0.0, 1.0)).sum(1)
