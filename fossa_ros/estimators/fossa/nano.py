"""A FOSSA for small machines: convolutional stem, the same blocks and stack attention, focus-volume head.

What makes FOSSA FOSSA is kept, module for module: one encoder for every frame, attention across the planes at each
position, the embedded focus distance, fusion by averaging. Two things differ. Patches of 14 pixels are wider than
most blur, so a convolutional stem goes to 1/8 and hands on its maps at 1/2 and 1/4; and depth is read off a focus
volume: a score for every plane at every pixel, a softmax over the planes, and the mean of the planes' disparities under
it, sharpened, plus a residual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.fossa.depth_head import resize
from fossa_ros.estimators.fossa.encoder import Block
from fossa_ros.estimators.fossa.focus_volume import ChannelNorm, FocusVolume, FocusVolumeHead
from fossa_ros.estimators.fossa.network import Prediction
from fossa_ros.estimators.fossa.sharpness import CHANNELS, log_sharpness
from fossa_ros.estimators.fossa.stack_attention import StackAttention

STRIDE = 16  # the fused tokens' grid
SHORT_EDGE = 480  # larger images are shrunk to it
MOST_ENLARGED = 1.5  # smaller ones are brought nearer to it: that adds no blur, but makes little of it easier to see


@dataclass(frozen=True)
class NanoArchitecture:
    """Sizes of the nano network, and what an ablation leaves out or exchanges.

    Attributes:
        stem: channels at 1/2 and 1/4 of the image.
        dim: channels of a frame's tokens, at 1/8; a multiple of 32, the width of a head of attention.
        stack_blocks: blocks on every frame, each followed by a stack attention.
        window: side of the squares of tokens within which a frame's tokens see each other.
        fused_dim, fused_blocks: the same of the fused tokens, at 1/16, which all see each other.
        features: channels of the head at 1/4 and 1/2 of the image.
        stack_attention: whether the planes' tokens see each other before they are fused.
        focus: what stack attention is told of a plane and how: its ``distance`` (in dioptres), the same by ``film``,
            its ``index`` from far to near, or ``none``.
        fusion: how the planes' tokens become one, ``mean`` or ``max``.
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

    Not over the frame: how sharp a frame is must not depend on how sharp the rest of it is.
    """

    def __init__(self, channels_in: int, channels: int, *, normalised: bool):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = ChannelNorm(channels) if normalised else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class Nano(nn.Module):
    """FOSSA for small machines: ``model(stack, focus)``, with a confidence besides the depth in :meth:`decode`."""

    finite_focus = False  # the embedding takes dioptres

    def __init__(self, architecture: NanoArchitecture | None = None):
        super().__init__()
        a = architecture or NanoArchitecture()
        if a.focus not in ("distance", "film", "index", "none") or a.fusion not in ("mean", "max"):
            raise InputError("architecture: focus is distance, film, index or none; fusion is mean or max.")
        self.window, self.focus, self.fusion = a.window, a.focus, a.fusion
        self.stem = nn.ModuleList(
            [
                StemStage(3, a.stem[0], normalised=False),  # the one that sees how much a pixel differs
                StemStage(a.stem[0] + CHANNELS, a.stem[1], normalised=True),
                StemStage(a.stem[1], a.dim, normalised=True),
            ]
        )
        self.position = nn.Conv2d(a.dim, a.dim, 3, padding=1, groups=a.dim)
        self.norm = nn.LayerNorm(a.dim)
        self.blocks = nn.ModuleList(Block(a.dim, heads=a.dim // 32) for _ in range(a.stack_blocks))
        film = a.focus == "film"
        self.stack_attention = nn.ModuleList(
            StackAttention(a.dim, heads=a.dim // 32, film=film) for _ in range(a.stack_blocks * a.stack_attention)
        )
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

        The last channels at 1/2 are :func:`log_sharpness`.

        The tokens are (F, dim, h, w), as they leave block 0.
        """
        # What a network is trained on are crops of larger images, at the scale that those would have here.
        most = 1.0 if self.training else MOST_ENLARGED
        x = resize(frames, network_size(*frames.shape[2:], most_enlarged=most)).to(
            self.dtype, memory_format=torch.channels_last
        )
        half = torch.cat([self.stem[0](x), log_sharpness(x).to(self.dtype)], 1)
        quarter = self.stem[1](half)
        eighth = self.stem[2](quarter)
        tokens = (eighth + self.position(eighth)).permute(0, 2, 3, 1)
        return half, quarter, self.in_windows(0, self.norm(tokens)).permute(0, 3, 1, 2)

    def decode(self, features: Sequence[Tensor], focus: Tensor, size: tuple[int, int]) -> Prediction:
        """Turn what :meth:`embed` gave for the (B, N) planes of ``size`` (H, W), as (B, N, ...), into depth."""
        volume = self.focus_volume(features, focus)
        return Prediction(resize(volume.depth, size), resize(volume.confidence, size))

    def focus_volume(self, features: Sequence[Tensor], focus: Tensor, untold: Tensor | None = None) -> FocusVolume:
        """Return depth as the head gives it, at half resolution, with what training needs besides.

        ``untold`` (B,) names stacks whose focus is kept from the stack attention, in training.
        """
        half, quarter, tokens = features
        disparity = 1.0 / focus
        told = self.told(disparity, untold)
        height, width = tokens.shape[3:]
        x = tokens.permute(0, 1, 3, 4, 2).contiguous()
        for i in range(len(self.blocks)):
            if i:
                x = self.in_windows(i, x.flatten(0, 1)).unflatten(0, focus.shape)
            if i < len(self.stack_attention):
                x = self.stack_attention[i](x.flatten(2, 3), told).unflatten(2, (height, width))
        fused = self.fuse((x.mean(1) if self.fusion == "mean" else x.amax(1)).permute(0, 3, 1, 2))
        fused = fused + self.fused_position(fused)
        y = fused.flatten(2).transpose(1, 2).contiguous()
        for block in self.fused_blocks:
            y = block(y)
        fused = self.fused_norm(y).transpose(1, 2).unflatten(2, fused.shape[2:])
        return self.depth_head(half, quarter, x.permute(0, 1, 4, 2, 3), fused, disparity)

    def told(self, disparity: Tensor, untold: Tensor | None) -> Tensor:
        """Return what stack attention is told of the (B, N) planes."""
        if self.focus == "none":
            return torch.zeros_like(disparity)
        if self.focus == "index":
            disparity = disparity.argsort(1).argsort(1).to(disparity.dtype) / disparity.shape[1]
        return disparity if untold is None else disparity.masked_fill(untold[:, None], torch.nan)

    def in_windows(self, layer: int, x: Tensor) -> Tensor:
        """Apply a block within each window of the (F, h, w, dim) tokens; the last ones are filled up with zeros."""
        frames, height, width, _dim = x.shape
        w = self.window
        x = F.pad(x, (0, 0, 0, -width % w, 0, -height % w))
        rows, columns = x.shape[1] // w, x.shape[2] // w
        x = x.unflatten(2, (columns, w)).unflatten(1, (rows, w)).transpose(2, 3).reshape(-1, w * w, x.shape[3])
        x = self.blocks[layer](x).unflatten(0, (frames, rows, columns)).unflatten(3, (w, w)).transpose(2, 3)
        return x.flatten(3, 4).flatten(1, 2)[:, :height, :width].contiguous()


def network_size(height: int, width: int, most_enlarged: float = MOST_ENLARGED) -> tuple[int, int]:
    """Return the size of an image inside the network: short edge at most 480, both multiples of 16, rounded up."""
    height, width = int(height), int(width)  # a tracer gives tensors
    scale = min(SHORT_EDGE / min(height, width), most_enlarged)
    return tuple(-(-int(scale * side) // STRIDE) * STRIDE for side in (height, width))
