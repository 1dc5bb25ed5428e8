"""A FOSSA for small machines: convolutional stem, the same blocks and stack attention, focus-volume head.

What makes FOSSA FOSSA is kept, module for module: one encoder for every frame, attention across the planes at each
position, the embedded focus distance, fusion by averaging. Two things differ. Patches of 14 pixels are wider than
most blur, so a convolutional stem goes to 1/8 and hands on its maps at 1/2 and 1/4; and depth is read off a focus
volume: a score for every plane at every pixel, a softmax over the planes, and the mean of the planes' disparities
under it, plus a residual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fossa_ros.fossa.depth_head import resize
from fossa_ros.fossa.encoder import Block
from fossa_ros.fossa.focus_volume import FocusVolumeHead
from fossa_ros.fossa.network import Prediction
from fossa_ros.fossa.stack_attention import StackAttention

STRIDE = 16  # the fused tokens' grid
SHORT_EDGE = 480  # larger images are shrunk; smaller ones are never enlarged, it adds no blur to see


@dataclass(frozen=True)
class NanoArchitecture:
    """Sizes of the nano network.

    Attributes:
        stem: channels at 1/2 and 1/4 of the image.
        dim: channels of a frame's tokens, at 1/8; a multiple of 32, and of 8 heads in the stack attention.
        stack_blocks: blocks on every frame, each followed by a stack attention.
        window: side of the squares of tokens within which a frame's tokens see each other.
        fused_dim, fused_blocks: the same of the fused tokens, at 1/16, which all see each other.
        features: channels of the head at 1/4 and 1/2 of the image.
    """

    stem: tuple[int, int] = (24, 48)
    dim: int = 128
    stack_blocks: int = 3
    window: int = 8
    fused_dim: int = 256
    fused_blocks: int = 4
    features: tuple[int, int] = (48, 32)


class StemStage(nn.Module):
    """Halve the resolution: two 3 x 3 convolutions, each normalised and followed by a GELU."""

    def __init__(self, channels_in: int, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(8, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm1(self.conv1(x)))
        return F.gelu(self.norm2(self.conv2(x)))


class Nano(nn.Module):
    """FOSSA for small machines: ``model(stack, focus)``, with a confidence besides the depth in :meth:`decode`."""

    finite_focus = False  # the embedding takes dioptres

    def __init__(self, architecture: NanoArchitecture | None = None):
        super().__init__()
        a = architecture or NanoArchitecture()
        self.window = a.window
        self.stem = nn.ModuleList(
            [StemStage(3, a.stem[0]), StemStage(a.stem[0], a.stem[1]), StemStage(a.stem[1], a.dim)]
        )
        self.position = nn.Conv2d(a.dim, a.dim, 3, padding=1, groups=a.dim)
        self.norm = nn.LayerNorm(a.dim)
        self.blocks = nn.ModuleList(Block(a.dim, heads=a.dim // 32) for _ in range(a.stack_blocks))
        self.stack_attention = nn.ModuleList(StackAttention(a.dim) for _ in range(a.stack_blocks))
        self.fuse = nn.Conv2d(a.dim, a.fused_dim, 2, stride=2)
        self.fused_position = nn.Conv2d(a.fused_dim, a.fused_dim, 3, padding=1, groups=a.fused_dim)
        self.fused_blocks = nn.ModuleList(Block(a.fused_dim, heads=a.fused_dim // 32) for _ in range(a.fused_blocks))
        self.fused_norm = nn.LayerNorm(a.fused_dim)
        self.depth_head = FocusVolumeHead(a.stem, a.dim, a.fused_dim, a.features)

    @property
    def dtype(self) -> torch.dtype:
        """Type that the weights are computed in."""
        return self.fuse.weight.dtype

    def forward(self, stack: Tensor, focus: Tensor) -> Tensor:
        """Return (B, 1, H, W) canonical depth.

        Args:
            stack: (B, N, 3, H, W) RGB in 0..1, normalised with the ImageNet mean and standard deviation.
            focus: (B, N) focus distances in canonical metres; infinity is allowed.
        """
        features = [part.unflatten(0, stack.shape[:2]) for part in self.embed(stack.flatten(0, 1))]
        return self.decode(features, focus, stack.shape[3:]).depth

    def embed(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode normalised (F, 3, H, W) frames, each on its own: maps at 1/2 and 1/4, and tokens at 1/8.

        The tokens are (F, dim, h, w), as they leave block 0.
        """
        x = resize(frames, network_size(*frames.shape[2:])).to(self.dtype, memory_format=torch.channels_last)
        half, quarter, eighth = (x := stage(x) for stage in self.stem)
        tokens = (eighth + self.position(eighth)).permute(0, 2, 3, 1)
        return half, quarter, self.in_windows(0, self.norm(tokens)).permute(0, 3, 1, 2)

    def decode(self, features: Sequence[Tensor], focus: Tensor, size: tuple[int, int]) -> Prediction:
        """Turn what :meth:`embed` gave for the (B, N) planes of ``size`` (H, W), as (B, N, ...), into depth."""
        half, quarter, tokens = features
        disparity = 1.0 / focus
        height, width = tokens.shape[3:]
        x = tokens.permute(0, 1, 3, 4, 2).contiguous()
        for i, attention in enumerate(self.stack_attention):
            if i:
                x = self.in_windows(i, x.flatten(0, 1)).unflatten(0, focus.shape)
            x = attention(x.flatten(2, 3), disparity).unflatten(2, (height, width))
        fused = self.fuse(x.mean(1).permute(0, 3, 1, 2))
        fused = fused + self.fused_position(fused)
        y = fused.flatten(2).transpose(1, 2).contiguous()
        for block in self.fused_blocks:
            y = block(y)
        fused = self.fused_norm(y).transpose(1, 2).unflatten(2, fused.shape[2:])
        depth, confidence = self.depth_head(half, quarter, x.permute(0, 1, 4, 2, 3), fused, disparity)
        return Prediction(resize(depth, size), resize(confidence, size))

    def in_windows(self, layer: int, x: Tensor) -> Tensor:
        """Apply a block within each window of the (F, h, w, dim) tokens; the last ones are filled up with zeros."""
        frames, height, width, _dim = x.shape
        w = self.window
        x = F.pad(x, (0, 0, 0, -width % w, 0, -height % w))
        rows, columns = x.shape[1] // w, x.shape[2] // w
        x = x.unflatten(2, (columns, w)).unflatten(1, (rows, w)).transpose(2, 3).reshape(-1, w * w, x.shape[3])
        x = self.blocks[layer](x).unflatten(0, (frames, rows, columns)).unflatten(3, (w, w)).transpose(2, 3)
        return x.flatten(3, 4).flatten(1, 2)[:, :height, :width].contiguous()


def network_size(height: int, width: int) -> tuple[int, int]:
    """Return the size of an image inside the network: short edge at most 480, both multiples of 16, rounded up."""
    height, width = int(height), int(width)  # a tracer gives tensors
    short = min(height, width)
    scaled = (side * SHORT_EDGE // short if short > SHORT_EDGE else side for side in (height, width))
    return tuple(-(-side // STRIDE) * STRIDE for side in scaled)
