"""A U-Net on evidence: log-likelihoods of depth levels in, their log-posterior out.

The evidence of a surface is the sum of that of its pixels. The network gets it summed over 1, 2, 4, 8 and 16 pixels of
the half resolution, one sum at each of its scales, and depth along surfaces as the classical estimator finds it. Each
pixel mixes these by weights that the network predicts, and a learned correction is added, which knows how rooms and
things look. Untrained, the network is a fixed mixture. Depth is the median of the posterior weighted by dioptres, which
has the least expected relative error.
It is brought to full resolution by convex combinations of neighbours (Teed and Deng, RAFT, ECCV 2020), so that edges
stay sharp.

Shapes: B stacks, L levels, (h, w) half resolution, (H, W) = (2 h, 2 w) full resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GUIDES = 4  # full-resolution images: all in focus, and the nearest, the middle and the farthest plane
SIDES = 4  # strength of the evidence, steepness of the spectrum, support and deviation along surfaces
SETTINGS = 4  # numbers that describe the stack, beside the position of its planes among the levels
LEAST_MASS = 0.05  # of the level in which the median lies, so that gradients stay finite
LEAST_DEVIATION, MOST_DEVIATION = 0.5, 3.0  # levels, of the depth along surfaces
MIXTURE = (-3.0, -1.5, -1.5, -3.0, -3.0, 2.0)  # biases: evidence at each scale, depth along surfaces
ROWS = 8  # at a time where every pixel is worked on alone, so that what is in between stays in the cache
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
        surface: (B, 2, h, w) depth along surfaces and its standard deviation, in levels.
        sides: (B, SIDES, h, w).
        settings: (B, L + SETTINGS).
        origin: (B,) dioptres of level 0, in steps of the levels.
    """

    total: Tensor
    finest: Tensor
    guides: Tensor
    surface: Tensor
    sides: Tensor
    settings: Tensor
    origin: Tensor


class Outputs(NamedTuple):
    """What the network says.

    Attributes:
        logits: (B, L, h, w) log-posterior, not normalised.
        position: (B, h, w) depth in levels, the median.
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
        inner = self.first(F.relu(self.norm(x), inplace=True))
        return self.second(F.relu(inner, inplace=True)).add_(x)


class EvidenceNetwork(nn.Module):
    """Log-posterior of depth levels from the evidence of a stack."""

    def __init__(self, config: NetworkConfig | None = None):
        super().__init__()
        self.config = c = config or NetworkConfig()
        ch, scales = c.channels, len(c.channels)
        guide = 4 * GUIDES
        entering = [3 * c.levels] + [2 * c.levels + GUIDES + SIDES] * (scales - 1)
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
        self.mix = nn.Conv2d(ch[0], scales + 1, 3, padding=1)
        self.sharpen = nn.Conv2d(ch[0], 9 * 4, 3, padding=1)
        for layer in (*self.correct, self.mix, self.sharpen):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.mix.bias.copy_(torch.tensor([*MIXTURE[:scales], MIXTURE[-1]]))

    def forward(self, inputs: Inputs) -> Outputs:
        """Return the log-posterior and the depth in levels; h and w must be multiples of 16."""
        logits, weights = self.log_posterior(inputs)
        (position,) = by_rows(lambda rows: [median_position(rows.softmax(1), inputs.origin)[:, None]], logits)
        position = position[:, 0]
        return Outputs(logits, position, sharpened(position, weights), weights)

    def log_posterior(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Return ``logits`` and ``weights`` of ``Outputs``; h and w must be multiples of 16."""
        scales = len(self.config.channels)
        squashed = [squash(part) for part in self.pooled(inputs)]
        found = self.along_surfaces(inputs)
        *skips, x = self._encode(squashed, found, inputs)
        logits = None
        for i in reversed(range(scales - 1)):
            x = skips[i] + F.interpolate(self.up[i](x), skips[i].shape[2:], mode="bilinear", align_corners=False)
            x = self.decode[i](x)
            if i < len(self.correct):
                part = self.correct[i](x)
                logits = part if logits is None else part + enlarged(logits, part.shape[2:])
        mixture = F.softplus(self.mix(x).float())
        evidence = [enlarged(part, logits.shape[2:]) for part in squashed]
        (logits,) = by_rows(posterior, logits.float(), mixture, found, *evidence)
        return logits, self.sharpen(x).float().unflatten(1, (9, 4)).softmax(1)

    def pooled(self, inputs: Inputs) -> list[Tensor]:
        """Return the evidence summed for each scale."""
        return evidence_sums(inputs.total.float(), len(self.config.channels))

    def along_surfaces(self, inputs: Inputs) -> Tensor:
        """Return the (B, L, h, w) log-likelihoods of depth along surfaces."""
        position, deviation = inputs.surface.float().split(1, 1)
        return position_evidence(position, deviation.clamp(LEAST_DEVIATION, MOST_DEVIATION), self.config.levels)

    def _encode(self, squashed: list[Tensor], found: Tensor, inputs: Inputs) -> list[Tensor]:
        guides = inputs.guides - inputs.guides[:, :1].mean((2, 3), keepdim=True)
        sides, features, x = inputs.sides, [], None
        for i, evidence in enumerate(squashed):
            if i == 0:
                parts = [evidence, found, inputs.finest]
                seen = torch.cat((F.pixel_unshuffle(guides, 2), sides), 1)
                x = self.look(seen.contiguous(memory_format=torch.channels_last))
                guides = F.avg_pool2d(guides, 2)
            else:
                guides, sides, found = (F.avg_pool2d(part, 2) for part in (guides, sides, found))
                parts = [evidence, found, guides, sides]
            entering = pointwise(self.enter[i], self.settings[i](inputs.settings), parts)
            x = self.encode[i](entering.add_(self.down[i - 1](x) if i else x))
            features.append(x)
        return features


def pointwise(layer: nn.Conv2d, shift: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """Return the 1 x 1 convolution of (B, ..., h, w) maps as if they were concatenated, with (B, C) ``shift`` added.

    To concatenate the maps and to change their layout would take longer than the convolution.
    """
    result = (layer.bias + shift)[:, :, None]
    weights = layer.weight.flatten(1).split([part.shape[1] for part in parts], 1)
    for weight, part in zip(weights, parts, strict=True):
        result = torch.baddbmm(result, weight.expand(len(part), -1, -1), part.flatten(2))
    # Convolutions on a CPU are faster if the channels of a pixel lie together.
    return result.unflatten(2, parts[0].shape[2:]).contiguous(memory_format=torch.channels_last)


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


def by_rows(function: Callable[..., Sequence[Tensor]], *maps: Tensor) -> list[Tensor]:
    """Return what ``function`` makes of (B, ..., h, w) maps, on a CPU ``ROWS`` rows at a time: maps likewise."""
    if maps[0].device.type != "cpu":  # many small kernels would take a GPU longer
        return list(function(*maps))
    parts = [function(*rows) for rows in zip(*(each.split(ROWS, 2) for each in maps), strict=True)]
    return [torch.cat(rows, 2) for rows in zip(*parts, strict=True)]


def posterior(correction: Tensor, mixture: Tensor, found: Tensor, *evidence: Tensor) -> list[Tensor]:
    """Return the (B, L, h, w) log-posterior, not normalised.

    ``mixture`` has the weights of the evidence of each scale, and last of depth along surfaces, (B, scales + 1, h, w).
    """
    logits = torch.addcmul(correction, mixture[:, -1:], found)
    for i, part in enumerate(evidence):
        logits = torch.addcmul(logits, mixture[:, i : i + 1], part, value=4)
    return [logits]


def position_evidence(position: Tensor, deviation: Tensor | float, levels: int) -> Tensor:
    """Return (B, levels, h, w) log-likelihoods of a (B, 1, h, w) position and its standard deviation, in levels.

    They fall like those of a Gaussian near the position and linearly far from it, as the error has long tails.
    """
    level = torch.arange(levels, device=position.device, dtype=position.dtype).view(1, -1, 1, 1)
    return 1 - (1 + ((level - position) / deviation).square()).sqrt()


def median_position(mass: Tensor, origin: Tensor) -> Tensor:
    """Return (B, h, w) depth in levels: the median of the (B, L, h, w) posterior weighted by dioptres.

    Of all depths d it minimises the expected |d / true - 1|: the sum of p |d power - 1| over the powers of the levels.
    Levels are bins of one step; ``origin`` is that of `Inputs`.
    """
    count = mass.shape[1]
    level = torch.arange(count, device=mass.device, dtype=mass.dtype)
    weight = mass * (origin[:, None] + level)[:, :, None, None]
    up_to = weight.cumsum(1)
    whole = up_to[:, -1:]
    index = (up_to < whole / 2).sum(1, keepdim=True).clamp_max(count - 1)
    there = weight.gather(1, index)
    share = (whole / 2 - (up_to.gather(1, index) - there)) / torch.maximum(there, LEAST_MASS * whole)
    return (index + share.clamp(0, 1) - 0.5).clamp(0, count - 1)[:, 0]


def sharpened(half: Tensor, weights: Tensor) -> Tensor:
    """Bring (B, h, w) maps to (B, 2 h, 2 w): each pixel a convex combination of the 3 x 3 around its parent."""
    padded = F.pad(half[:, None], (1, 1, 1, 1), mode="replicate")
    height, width = half.shape[1:]
    near = torch.stack([padded[:, 0, i : i + height, j : j + width] for i in range(3) for j in range(3)], 1)
    return F.pixel_shuffle((near[:, :, None] * weights).sum(1), 2)[:, 0]
