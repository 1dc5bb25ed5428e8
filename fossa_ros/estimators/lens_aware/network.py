"""A U-Net on evidence: log-likelihoods of depth levels in, their log-posterior out.

The evidence of a surface is the sum of that of its pixels. The network gets it summed over 1, 2, 4, 8 and 16 pixels of
the half resolution, one sum at each of its scales. Each pixel mixes these sums by weights that the network predicts,
and a learned correction is added. Untrained, the network is a fixed mixture of pooled evidence. The depth about the
mode of the posterior is brought to full resolution by convex combinations of neighbours (Teed and Deng, RAFT, ECCV
2020), so that edges stay sharp.

Shapes: B stacks, L levels, (h, w) half resolution, (H, W) = (2 h, 2 w) full resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GUIDES = 4  # full-resolution images: all in focus, and the nearest, the middle and the farthest plane
SIDES = 2  # strength of the evidence, and steepness of the texture's spectrum
SETTINGS = 4  # numbers that describe the stack, beside the position of its planes among the levels
READ_REACH = 2.5  # levels about the mode over which depth is averaged
FULL_SUMS = 2  # scales up to which the sums of overlapping windows count fully


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network.

    Attributes:
        levels: depth levels.
        channels: at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image.
        blocks: residual blocks of the encoder at each scale.
        decoder_blocks: residual blocks of the decoder at 1/2, 1/4, 1/8 and 1/16.
    """

    levels: int = 32
    channels: tuple[int, ...] = (32, 48, 64, 96, 144)
    blocks: tuple[int, ...] = (1, 2, 2, 2, 2)
    decoder_blocks: tuple[int, ...] = (2, 2, 1, 1)


class Inputs(NamedTuple):
    """What the network sees of a stack.

    Attributes:
        total: (B, L, h, w) log-likelihoods of all octaves; only differences between levels count.
        finest: (B, L, h, w) of the finest octave, squashed by ``squash``.
        guides: (B, GUIDES, H, W) in 0..1.
        sides: (B, SIDES, h, w).
        settings: (B, L + SETTINGS).
    """

    total: Tensor
    finest: Tensor
    guides: Tensor
    sides: Tensor
    settings: Tensor


class Outputs(NamedTuple):
    """What the network says.

    Attributes:
        logits: (B, L, h, w) log-posterior, not normalised.
        position: (B, h, w) depth in levels, about the mode.
        full: (B, H, W) depth in levels at full resolution.
        weights: (B, 9, 4, h, w) convex weights that bring any map of half resolution to full resolution.
    """

    logits: Tensor
    position: Tensor
    full: Tensor
    weights: Tensor


def squash(evidence: Tensor) -> Tensor:
    """Compress log-likelihoods below the best level (0) to a few units."""
    return -torch.log1p(-evidence / 4) / 2


class PixelNorm(nn.Module):
    """Normalise the channels of each pixel on their own, so that a part of an image gives the same result."""

    def __init__(self, channels: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to the same shape."""
        x = F.rms_norm(x.permute(0, 2, 3, 1), (x.shape[1],), self.gain.to(x.dtype), 1e-3)
        return x.permute(0, 3, 1, 2)


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside the identity; the second begins at zero."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = PixelNorm(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to the same shape."""
        return x + self.second(F.relu(self.first(F.relu(self.norm(x)))))


class EvidenceNetwork(nn.Module):
    """Log-posterior of depth levels from the evidence of a stack."""

    def __init__(self, config: NetworkConfig | None = None):
        super().__init__()
        self.config = c = config or NetworkConfig()
        ch, scales = c.channels, len(c.channels)
        guide = 4 * GUIDES
        entering = [2 * c.levels] + [c.levels + GUIDES + SIDES] * (scales - 1)
        self.enter = nn.ModuleList(nn.Conv2d(n, k, 1) for n, k in zip(entering, ch, strict=True))
        self.look = nn.Conv2d(guide + SIDES, ch[0], 3, padding=1)
        self.settings = nn.ModuleList(nn.Linear(c.levels + SETTINGS, k) for k in ch)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(ch))
        self.encode = nn.ModuleList(
            nn.Sequential(*(Residual(k) for _ in range(n))) for k, n in zip(ch, c.blocks, strict=True)
        )
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(ch))
        self.decode = nn.ModuleList(
            nn.Sequential(*(Residual(k) for _ in range(n))) for k, n in zip(ch, c.decoder_blocks, strict=False)
        )
        self.correct = nn.ModuleList(nn.Conv2d(k, c.levels, 1) for k in ch[:3])
        self.mix = nn.Conv2d(ch[0], scales, 3, padding=1)
        self.sharpen = nn.Conv2d(ch[0], 9 * 4, 3, padding=1)
        for layer in (*self.correct, self.mix, self.sharpen):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.mix.bias.copy_(torch.tensor([-1.0, 0.0, 1.0, 0.0, -1.0][:scales]))

    def forward(self, inputs: Inputs) -> Outputs:
        """Return the log-posterior and the depth in levels; h and w must be multiples of 16."""
        scales = len(self.config.channels)
        sums = evidence_sums(inputs.total.float(), scales)
        squashed = [squash(part) for part in sums]
        x, skips = self._encode(squashed, inputs), []
        skips, x = x[:-1], x[-1]
        logits = None
        for i in reversed(range(scales - 1)):
            x = skips[i] + F.interpolate(self.up[i](x), skips[i].shape[2:], mode="bilinear", align_corners=False)
            x = self.decode[i](x)
            if i < len(self.correct):
                part = self.correct[i](x)
                logits = part if logits is None else part + enlarged(logits, part.shape[2:])
        mixture = F.softplus(self.mix(x).float())
        logits = logits.float()
        for i, part in enumerate(squashed):
            logits = logits + 4 * mixture[:, i : i + 1] * enlarged(part, logits.shape[2:])
        weights = self.sharpen(x).float().unflatten(1, (9, 4)).softmax(1)
        position = read_position(logits)
        return Outputs(logits, position, sharpened(position, weights), weights)

    def _encode(self, squashed: list[Tensor], inputs: Inputs) -> list[Tensor]:
        guides = inputs.guides - inputs.guides[:, :1].mean((2, 3), keepdim=True)
        sides, features, x = inputs.sides, [], None
        for i, evidence in enumerate(squashed):
            if i == 0:
                parts = [evidence, inputs.finest]
                x = self.look(channels_last(F.pixel_unshuffle(guides, 2), sides))
                guides = F.avg_pool2d(guides, 2)
            else:
                guides, sides = F.avg_pool2d(guides, 2), F.avg_pool2d(sides, 2)
                parts = [evidence, guides, sides]
            entering = self.enter[i](channels_last(*parts)) + self.settings[i](inputs.settings)[:, :, None, None]
            x = self.encode[i]((self.down[i - 1](x) if i else x) + entering)
            features.append(x)
        return features


def channels_last(*parts: Tensor) -> Tensor:
    """Concatenate (B, C, h, w) maps; convolutions on a CPU are faster if the channels of a pixel lie together."""
    return torch.cat(parts, 1).contiguous(memory_format=torch.channels_last)


def evidence_sums(total: Tensor, scales: int) -> list[Tensor]:
    """Return the evidence summed over squares of 1, 2, 4 ... pixels, each relative to its best level."""
    sums, mean = [], total
    for i in range(scales):
        part = mean * 4.0 ** min(i, FULL_SUMS)  # beyond, neighbours' errors of the model are no longer independent
        sums.append(part - part.amax(1, keepdim=True))
        if i < scales - 1:
            mean = F.avg_pool2d(mean, 2)
    return sums


def enlarged(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate (B, C, h, w) maps to ``size``."""
    return x if x.shape[2:] == size else F.interpolate(x, size, mode="bilinear", align_corners=False)


def read_position(logits: Tensor) -> Tensor:
    """Return (B, h, w) depth in levels: the mean of the posterior within ``READ_REACH`` levels of its mode."""
    p = logits.softmax(1)
    smooth = F.avg_pool1d(p.permute(0, 2, 3, 1).flatten(0, 2), 3, 1, 1, count_include_pad=False)
    mode = smooth.argmax(1).view(p.shape[0], 1, *p.shape[2:])
    level = torch.arange(p.shape[1], device=p.device, dtype=p.dtype).view(1, -1, 1, 1)
    near = p * ((level - mode).abs() <= READ_REACH)
    return (near * level).sum(1) / near.sum(1).clamp_min(1e-9)


def sharpened(half: Tensor, weights: Tensor) -> Tensor:
    """Bring (B, h, w) maps to (B, 2 h, 2 w): each pixel a convex combination of the 3 x 3 around its parent."""
    padded = F.pad(half[:, None], (1, 1, 1, 1), mode="replicate")
    height, width = half.shape[1:]
    near = torch.stack([padded[:, 0, i : i + height, j : j + width] for i in range(3) for j in range(3)], 1)
    return F.pixel_shuffle((near[:, :, None] * weights).sum(1), 2)[:, 0]
