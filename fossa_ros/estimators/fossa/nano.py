"""A FOSSA for small machines: convolutional stem, the same blocks and stack attention, focus-volume head.

What makes FOSSA is kept module for module: one encoder for every frame, attention across the planes at each position,
the embedded focus distance, fusion by averaging. Two things differ. A patch of 14 pixels is wider than most blur, so a
convolutional stem goes to 1/8 and passes its maps at 1/2 and 1/4 on to the head. And depth is read from a focus volume:
a score for every plane at every pixel, a softmax over the planes, the mean of the planes' disparities under the
sharpened softmax, and a learned correction.

Shapes: B stacks, N planes, F = B N frames, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.fossa.encoder import Block
from fossa_ros.estimators.fossa.focus_volume import ChannelNorm, FocusVolume, FocusVolumeHead
from fossa_ros.estimators.fossa.network import DepthNetwork, Prediction, resize
from fossa_ros.estimators.fossa.sharpness import CHANNELS, log_sharpness
from fossa_ros.estimators.fossa.stack_attention import StackAttention

STRIDE = 16  # px per fused token
SHORT_EDGE = 480  # px; larger images are reduced to it
MAX_ENLARGEMENT = 1.5  # of smaller ones: enlarging adds no blur, but makes little blur easier to see
HEAD_DIM = 32  # channels of an attention head


@dataclass(frozen=True)
class NanoConfig:
    """Sizes of the nano network, and what an ablation leaves out or exchanges.

    Attributes:
        stem: channels at 1/2 and 1/4 of the image.
        dim: channels of a frame's tokens, at 1/8; a multiple of 32, the width of an attention head.
        stack_blocks: blocks on every frame, each followed by a stack attention.
        window: side of the squares of tokens within which a frame's tokens attend to each other.
        fused_dim, fused_blocks: the same for the fused tokens, at 1/16, which all attend to each other.
        features: channels of the head at 1/4 and 1/2 of the image.
        stack_attention: whether the planes' tokens attend to each other before they are fused.
        focus: how stack attention is conditioned on a plane's focus: ``distance`` (its disparity, added), ``film`` (its
            disparity, as scale and shift), ``index`` (its rank from far to near), or ``none``.
        fusion: how the planes' tokens are fused, ``mean`` or ``max``.
    """

    stem: tuple[int, int] = (16, 32)
    dim: int = 64
    stack_blocks: int = 2
    window: int = 10
    fused_dim: int = 160
    fused_blocks: int = 4
    features: tuple[int, int] = (40, 24)
    stack_attention: bool = True
    focus: str = "distance"
    fusion: str = "mean"


class StemStage(nn.Module):
    """Halve the resolution: two 3 x 3 convolutions with a GELU, normalised over the channels of each pixel.

    The norm is not taken over the frame, since a pixel's sharpness must not depend on that of the rest of the frame.
    """

    def __init__(self, channels_in: int, channels: int, *, normalised: bool):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = ChannelNorm(channels) if normalised else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (F, channels_in, h, w) to (F, channels, h/2, w/2)."""
        return self.norm(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class Nano(DepthNetwork):
    """FOSSA for small machines, with a confidence in addition to the depth."""

    finite_focus = False  # the focus embedding takes disparity

    def __init__(self, config: NanoConfig | None = None):
        super().__init__()
        c = config or NanoConfig()
        if c.focus not in ("distance", "film", "index", "none") or c.fusion not in ("mean", "max"):
            raise InputError("architecture: focus is distance, film, index or none; fusion is mean or max.")
        self.window, self.focus, self.fusion = c.window, c.focus, c.fusion
        heads, fused_heads = c.dim // HEAD_DIM, c.fused_dim // HEAD_DIM
        self.stem = nn.ModuleList(
            [
                StemStage(3, c.stem[0], normalised=False),  # a norm would hide how much a pixel differs from others
                StemStage(c.stem[0] + CHANNELS, c.stem[1], normalised=True),
                StemStage(c.stem[1], c.dim, normalised=True),
            ]
        )
        self.position = nn.Conv2d(c.dim, c.dim, 3, padding=1, groups=c.dim)
        self.norm = nn.LayerNorm(c.dim)
        self.blocks = nn.ModuleList(Block(c.dim, heads) for _ in range(c.stack_blocks))
        self.stack_attention = nn.ModuleList(
            StackAttention(c.dim, heads, film=c.focus == "film") for _ in range(c.stack_blocks * c.stack_attention)
        )
        self.fuse = nn.Conv2d(c.dim, c.fused_dim, 2, stride=2)
        self.fused_position = nn.Conv2d(c.fused_dim, c.fused_dim, 3, padding=1, groups=c.fused_dim)
        self.fused_blocks = nn.ModuleList(Block(c.fused_dim, fused_heads) for _ in range(c.fused_blocks))
        self.fused_norm = nn.LayerNorm(c.fused_dim)
        self.depth_head = FocusVolumeHead(c.stem, c.dim, c.fused_dim, c.features)

    def predict(self, stack: Tensor, focus: Tensor) -> Prediction:
        """Estimate (B, 1, H, W) canonical depth and confidence of a (B, N, 3, H, W) stack.

        ``focus`` is (B, N) canonical metres; infinity is allowed.
        """
        volume = self.focus_volume(stack, focus)
        size = stack.shape[3:]
        return Prediction(resize(volume.depth, size), resize(volume.confidence, size))

    def focus_volume(self, stack: Tensor, focus: Tensor, hidden: Tensor | None = None) -> FocusVolume:
        """Return the output of the head, at half the network's resolution, with what the losses need.

        Args:
            stack, focus: as those of ``predict``.
            hidden: (B,) bool, in training: stacks whose focus distances stack attention does not get.
        """
        features = [part.unflatten(0, focus.shape) for part in self.embed(stack.flatten(0, 1))]
        return self.decode(features, focus, hidden)

    def embed(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode normalised (F, 3, H, W) frames, each on its own.

        Returns:
            (F, C, h, w) maps at 1/2, whose last channels are ``log_sharpness``, and at 1/4 of the network's
            resolution, and the (F, dim, h, w) tokens at 1/8 after block 0.
        """
        # Training crops have the scale that the images they are cut from would have here.
        enlargement = 1.0 if self.training else MAX_ENLARGEMENT
        size = network_size(*frames.shape[2:], max_enlargement=enlargement)
        x = resize(frames, size).to(self.dtype, memory_format=torch.channels_last)
        half = torch.cat([self.stem[0](x), log_sharpness(x).to(self.dtype)], 1)
        quarter = self.stem[1](half)
        eighth = self.stem[2](quarter)
        tokens = (eighth + self.position(eighth)).permute(0, 2, 3, 1)
        return half, quarter, self.attend_in_windows(0, self.norm(tokens)).permute(0, 3, 1, 2)

    def decode(self, features: Sequence[Tensor], focus: Tensor, hidden: Tensor | None = None) -> FocusVolume:
        """Turn the (B, N, ...) features of ``embed`` into a focus volume; on a CPU they may be overwritten."""
        half, quarter, tokens = features
        disparity = 1.0 / focus
        condition = self.focus_condition(disparity, hidden)
        height, width = tokens.shape[3:]
        x = tokens.permute(0, 1, 3, 4, 2).contiguous()
        for i in range(len(self.blocks)):
            if i:
                x = self.attend_in_windows(i, x.flatten(0, 1)).unflatten(0, focus.shape)
            if i < len(self.stack_attention):
                x = self.stack_attention[i](x.flatten(2, 3), condition).unflatten(2, (height, width))
        fused = self.fuse((x.mean(1) if self.fusion == "mean" else x.amax(1)).permute(0, 3, 1, 2))
        fused = fused + self.fused_position(fused)
        y = fused.flatten(2).transpose(1, 2).contiguous()
        for block in self.fused_blocks:
            y = block(y)
        fused = self.fused_norm(y).transpose(1, 2).unflatten(2, fused.shape[2:])
        return self.depth_head(half, quarter, x.permute(0, 1, 4, 2, 3), fused, disparity)

    def focus_condition(self, disparity: Tensor, hidden: Tensor | None) -> Tensor:
        """Return the (B, N) numbers that stack attention embeds, NaN for hidden ones."""
        if self.focus == "none":
            return torch.zeros_like(disparity)
        if self.focus == "index":
            disparity = disparity.argsort(1).argsort(1).to(disparity.dtype) / disparity.shape[1]
        return disparity if hidden is None else disparity.masked_fill(hidden[:, None], torch.nan)

    def attend_in_windows(self, layer: int, x: Tensor) -> Tensor:
        """Apply a block within each window of the (F, h, w, dim) tokens, padded with zeros to whole windows."""
        frames, height, width, _dim = x.shape
        w = self.window
        x = F.pad(x, (0, 0, 0, -width % w, 0, -height % w))
        rows, columns = x.shape[1] // w, x.shape[2] // w
        x = x.unflatten(2, (columns, w)).unflatten(1, (rows, w)).transpose(2, 3).reshape(-1, w * w, x.shape[3])
        x = self.blocks[layer](x).unflatten(0, (frames, rows, columns)).unflatten(3, (w, w)).transpose(2, 3)
        return x.flatten(3, 4).flatten(1, 2)[:, :height, :width].contiguous()


def network_size(height: int, width: int, max_enlargement: float = MAX_ENLARGEMENT) -> tuple[int, int]:
    """Return the size of an image inside the network: short edge at most 480, both multiples of 16, rounded up."""
    height, width = int(height), int(width)  # while tracing, sizes are tensors
    scale = min(SHORT_EDGE / min(height, width), max_enlargement)
    return tuple(-(-int(scale * side) // STRIDE) * STRIDE for side in (height, width))
