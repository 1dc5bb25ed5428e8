"""The published FOSSA networks: a focus stack in, canonical depth out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fossa_ros.estimators.fossa.depth_head import DepthHead, resize
from fossa_ros.estimators.fossa.encoder import PATCH, Encoder

SHORT_EDGE = 518


@dataclass(frozen=True)
class Architecture:
    """Sizes of a published network."""

    dim: int
    depth: int
    heads: int
    taps: tuple[int, int, int, int]
    features: int
    channels: tuple[int, int, int, int]
    stack_blocks: int = 4
    fuse_block: int = 4


ARCHITECTURES = {
    "vits": Architecture(384, 12, 6, (2, 5, 8, 11), 64, (48, 96, 192, 384)),
    "vitb": Architecture(768, 12, 12, (2, 5, 8, 11), 128, (96, 192, 384, 768)),
    "vitl": Architecture(1024, 24, 16, (4, 11, 17, 23), 256, (256, 512, 1024, 1024)),
}


class Prediction(NamedTuple):
    """What a network says of a stack.

    Attributes:
        depth: (B, 1, H, W) float32 canonical metres along the optical axis, positive.
        confidence: (B, 1, H, W) float32 in 0..1, None from a network that has no such output.
    """

    depth: Tensor
    confidence: Tensor | None


class Fossa(nn.Module):
    """FOSSA with a DINOv2 encoder: ``model(stack, focus)``.

    The two halves of the forward pass are public, since the first needs one frame at a time: :meth:`embed`
    while a sweep is being captured, :meth:`decode` when it is complete.
    """

    finite_focus = True  # the embedding takes metres: a plane focused at infinity has none

    def __init__(self, architecture: Architecture):
        super().__init__()
        a = architecture
        self.pretrained = Encoder(a.dim, a.depth, a.heads, a.taps, a.stack_blocks, a.fuse_block)
        self.depth_head = DepthHead(a.dim, a.features, a.channels)

    @property
    def dtype(self) -> torch.dtype:
        """Type that the weights are computed in."""
        return self.pretrained.cls_token.dtype

    def forward(self, stack: Tensor, focus: Tensor) -> Tensor:
        """Return (B, 1, H, W) canonical depth.

        Args:
            stack: (B, N, 3, H, W) RGB in 0..1, normalised with the ImageNet mean and standard deviation.
            focus: (B, N) focus distances in canonical metres.
        """
        features = [part.unflatten(0, stack.shape[:2]) for part in self.embed(stack.flatten(0, 1))]
        return self.decode(features, focus, stack.shape[3:]).depth

    def embed(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Encode normalised (F, 3, H, W) frames, each on its own, to one (F, 1 + T, dim) tensor of tokens."""
        frames = resize(frames, network_size(*frames.shape[2:]))
        return (self.pretrained.embed(frames.to(self.dtype)),)

    def decode(self, features: Sequence[Tensor], focus: Tensor, size: tuple[int, int]) -> Prediction:
        """Turn what :meth:`embed` gave for the (B, N) planes of ``size`` (H, W), as (B, N, ...), into depth."""
        height, width = network_size(*size)
        taps = self.pretrained(*features, focus)
        depth = self.depth_head(taps, (height // PATCH, width // PATCH), (height, width))
        return Prediction(resize(depth, size), None)


def network_size(height: int, width: int) -> tuple[int, int]:
    """Return the size of an image inside the network: short edge 518, then both rounded up to multiples of 14."""
    height, width = int(height), int(width)  # a tracer gives tensors
    short = min(height, width)
    return tuple(-(-(side * SHORT_EDGE // short) // PATCH) * PATCH for side in (height, width))
