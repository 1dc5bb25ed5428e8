"""Vision transformer (DINOv2) that encodes every frame of a stack and mixes the frames by stack attention.

Attribute names are those of the published checkpoints. F is a number of frames, T of tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fossa_ros.estimators.fossa.self_attention import attend
from fossa_ros.estimators.fossa.stack_attention import StackAttention
from fossa_ros.estimators.fossa.tiles import add_residual

PATCH = 14  # px
GRID = 37  # side of the learned grid of positions: 518 / 14


class PatchEmbed(nn.Module):
    """Project 14 x 14 pixel patches to tokens."""

    def __init__(self, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, PATCH, PATCH)

    def forward(self, frames: Tensor) -> Tensor:
        """Map (F, 3, H, W) to (F, H/14 * W/14, dim)."""
        return self.proj(frames).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention over the tokens of one frame."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (F, T, dim) to (F, T, dim)."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(attend(q, k, v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to (..., dim)."""
        return self.fc2(F.gelu(self.fc1(x)))


class LayerScale(nn.Module):
    """A learned gain per channel on a residual branch."""

    def __init__(self, dim: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Scale (..., dim)."""
        return x * self.gamma


class Block(nn.Module):
    """Pre-norm transformer block with LayerScale."""

    def __init__(self, dim: int, heads: int, mlp_ratio: int = 4):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.ls1 = LayerScale(dim)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, mlp_ratio * dim)
        self.ls2 = LayerScale(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (F, T, dim) tokens; on a CPU at inference ``x`` is overwritten."""
        x = add_residual(x, lambda frames: self.ls1(self.attn(self.norm1(frames))), dim=0)
        tokens = add_residual(x.flatten(0, 1), lambda part: self.ls2(self.mlp(self.norm2(part))), dim=0)
        return tokens.unflatten(0, x.shape[:2])


class Encoder(nn.Module):
    """DINOv2 encoder: the first blocks run on every frame, with stack attention, the others on the frames' average."""

    def __init__(self, dim: int, depth: int, heads: int, taps: tuple[int, ...], stack_blocks: int, fuse_block: int):
        super().__init__()
        self.taps = taps
        self.fuse_block = fuse_block
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + GRID * GRID, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, dim))  # unused at inference; part of every checkpoint
        self.patch_embed = PatchEmbed(dim)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.motion_modules = nn.ModuleList(StackAttentionModule(dim) for _ in range(stack_blocks))

    def positions(self, rows: int, columns: int) -> Tensor:
        """Return the (rows * columns, dim) position embedding of a grid of patches."""
        grid = self.pos_embed[0, 1:]
        if (rows, columns) == (GRID, GRID):
            return grid
        grid = grid.float().unflatten(0, (GRID, GRID)).permute(2, 0, 1)[None]
        # DINOv2 adds 0.1 to guard against rounding; the checkpoints were trained with it.
        scale = ((rows + 0.1) / GRID, (columns + 0.1) / GRID)
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")
        return grid[0].flatten(1).t().to(self.pos_embed.dtype)

    def embed(self, frames: Tensor) -> Tensor:
        """Map (F, 3, H, W) frames to (F, 1 + T, dim): a class token and patch tokens with their positions."""
        rows, columns = (int(side) // PATCH for side in frames.shape[2:])  # while tracing, sizes are tensors
        patches = self.patch_embed(frames) + self.positions(rows, columns)
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(frames), -1, -1)
        return torch.cat([cls, patches], dim=1)

    def forward(self, stack: Tensor, focus: Tensor) -> list[Tensor]:
        """Encode a stack.

        Args:
            stack: (B, N, 3, H, W), H and W multiples of 14.
            focus: (B, N) focus distances in canonical metres.

        Returns:
            For each tap the (B, T, dim) normalised patch tokens, averaged over the planes.
        """
        planes = stack.shape[1]
        x, taps = self.embed(stack.flatten(0, 1)), []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i < len(self.motion_modules):
                patches = self.motion_modules[i].temporal_transformer(x[:, 1:].unflatten(0, focus.shape), focus)
                x = torch.cat([x[:, :1], patches.flatten(0, 1)], dim=1)  # the class token is not mixed
            if i == self.fuse_block:
                x = x.unflatten(0, (-1, planes)).mean(1)
            if i in self.taps:
                tap = x.unflatten(0, (-1, planes)).mean(1) if i < self.fuse_block else x
                taps.append(self.norm(tap[:, 1:]))
        return taps


class StackAttentionModule(nn.Module):
    """The checkpoints' wrapper around a stack attention."""

    def __init__(self, dim: int):
        super().__init__()
        self.temporal_transformer = StackAttention(dim)
