"""The published FOSSA networks (arXiv 2603.26658): DINOv2 encoder, stack attention, DPT head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fossa_ros.estimators.fossa.depth_head import DepthHead
from fossa_ros.estimators.fossa.encoder import PATCH, Encoder
from fossa_ros.estimators.fossa.resampling import resize

SHORT_EDGE = 518  # px


@dataclass(frozen=True)
class ViTConfig:
    """Sizes of a published network.

    Attributes:
        dim, depth, heads: channels, blocks and attention heads of the encoder.
        taps: blocks whose tokens the depth head reads.
        features: channels of the depth head.
        channels: channels of the four taps inside the depth head.
        stack_blocks: how many of the first blocks are followed by stack attention.
        fuse_block: block after which the planes' tokens are averaged.
    """

    dim: int
    depth: int
    heads: int
    taps: tuple[int, int, int, int]
    features: int
    channels: tuple[int, int, int, int]
    stack_blocks: int = 4
    fuse_block: int = 4


VITS = ViTConfig(384, 12, 6, (2, 5, 8, 11), 64, (48, 96, 192, 384))
VITB = ViTConfig(768, 12, 12, (2, 5, 8, 11), 128, (96, 192, 384, 768))
VITL = ViTConfig(1024, 24, 16, (4, 11, 17, 23), 256, (256, 512, 1024, 1024))


class Fossa(nn.Module):
    """FOSSA with a DINOv2 encoder: ``depth = model(stack, focus)``.

    Attribute names are those of the published checkpoints.
    """

    def __init__(self, config: ViTConfig):
        super().__init__()
        c = config
        self.pretrained = Encoder(c.dim, c.depth, c.heads, c.taps, c.stack_blocks, c.fuse_block)
        self.depth_head = DepthHead(c.dim, c.features, c.channels)

    @property
    def dtype(self) -> torch.dtype:
        """Type that weights and activations have."""
        return next(self.parameters()).dtype

    def forward(self, stack: Tensor, focus: Tensor) -> Tensor:
        """Return (B, 1, H, W) float32 depth along the optical axis in canonical metres, positive.

        Args:
            stack: (B, N, 3, H, W) float32 RGB, normalised with the ImageNet mean and standard deviation.
            focus: (B, N) float32 focus distances in canonical metres: metres times width / max(fx, fy), all finite.
        """
        size = stack.shape[3:]
        height, width = network_size(*size)
        frames = resize(stack.flatten(0, 1), (height, width)).to(self.dtype)
        taps = self.pretrained(frames.unflatten(0, stack.shape[:2]), focus)
        depth = self.depth_head(taps, (height // PATCH, width // PATCH), (height, width))
        return resize(depth, size)


def network_size(height: int, width: int) -> tuple[int, int]:
    """Return the size of an image inside the network: short edge 518, then both rounded up to multiples of 14."""
    height, width = int(height), int(width)  # while tracing, sizes are tensors
    short = min(height, width)
    return tuple(-(-(side * SHORT_EDGE // short) // PATCH) * PATCH for side in (height, width))
