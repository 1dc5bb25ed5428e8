"""Dense prediction head (DPT): taps of the encoder become a depth map.

Attribute names are those of the published checkpoints.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from fossa_ros.estimators.fossa.resampling import resize


class ResidualConvUnit(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, features: int):
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, features, h, w) to the same."""
        return x + self.conv2(F.relu(self.conv1(F.relu(x)), inplace=True))


class Fusion(nn.Module):
    """Merge a deeper map with a skip and bring it to the next size."""

    def __init__(self, features: int):
        super().__init__()
        self.out_conv = nn.Conv2d(features, features, 1)
        self.resConfUnit1 = ResidualConvUnit(features)
        self.resConfUnit2 = ResidualConvUnit(features)

    def forward(self, x: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        """Map (B, features, h, w) and a skip of the same shape to (B, features, *size)."""
        if skip is not None:
            x = x + self.resConfUnit1(skip)
        # A 1 x 1 convolution and an interpolation commute; in this order the convolution has a quarter of the pixels.
        return resize(self.out_conv(self.resConfUnit2(x)), size)


class DepthHead(nn.Module):
    """Turn four taps at 1/14 of the image into positive depth at full size."""

    def __init__(self, dim: int, features: int, channels: tuple[int, int, int, int]):
        super().__init__()
        self.projects = nn.ModuleList(nn.Conv2d(dim, c, 1) for c in channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(channels[0], channels[0], 4, 4),
                nn.ConvTranspose2d(channels[1], channels[1], 2, 2),
                nn.Identity(),
                nn.Conv2d(channels[3], channels[3], 3, 2, 1),
            ]
        )
        self.scratch = nn.Module()
        for level, c in enumerate(channels, start=1):
            setattr(self.scratch, f"layer{level}_rn", nn.Conv2d(c, features, 3, padding=1, bias=False))
            setattr(self.scratch, f"refinenet{level}", Fusion(features))
        self.scratch.output_conv1 = nn.Conv2d(features, features // 2, 3, padding=1)
        self.scratch.output_conv2 = nn.Sequential(
            nn.Conv2d(features // 2, 32, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(32, 1, 1)
        )

    def forward(self, taps: list[Tensor], grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Map (B, T, dim) taps on a ``grid`` of patches to (B, 1, *size) depth."""
        skips = []
        for level, tap in enumerate(taps):
            # Tokens already are channels-last maps, the fastest layout for convolutions.
            x = tap.unflatten(1, grid).permute(0, 3, 1, 2)
            x = self.resize_layers[level](self.projects[level](x))
            skips.append(getattr(self.scratch, f"layer{level + 1}_rn")(x))
        x = None
        for level in (3, 2, 1, 0):
            fusion = getattr(self.scratch, f"refinenet{level + 1}")
            if x is None:
                x = fusion(skips[level], None, skips[level - 1].shape[2:])
            else:
                height, width = skips[level].shape[2:]
                x = fusion(x, skips[level], skips[level - 1].shape[2:] if level else (2 * height, 2 * width))
        x = resize(self.scratch.output_conv1(x), size)
        return F.softplus(self.scratch.output_conv2(x).float())
