"""Vision transformer (DINOv2) that encodes every frame of a stack alike and mixes them by stack attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fossa_ros.estimators.fossa.products import Fold, Product, linear, scaled
from fossa_ros.estimators.fossa.self_attention import attend
from fossa_ros.estimators.fossa.stack_attention import StackAttention
from fossa_ros.estimators.fossa.tiles import ROWS, tiled, tiles

PATCH = 14
GRID = 37  # side of the learned position grid: 518 / 14


class PatchEmbed(nn.Module):
    """Project 14 x 14 pixel patches to tokens."""

    def __init__(self, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, PATCH, PATCH)

    def forward(self, frames: Tensor) -> Tensor:
        """Map (F, 3, H, W) to (F, H/14 * W/14, dim)."""
        return self.proj(frames).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention over the tokens of one frame, less the output projection."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.enter = Fold()

    def forward(self, x: Tensor) -> Tensor:
        """Return the attention-weighted values of (F, T, dim); the block projects them."""
        qkv = self.enter(x, linear, self.qkv.weight, self.qkv.bias)(x).unflatten(2, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        return attend(q, k, v).transpose(1, 2).flatten(2)


class Mlp(nn.Module):
    """Linear layer and GELU, less the output projection."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)
        self.enter = Fold()

    def forward(self, x: Tensor) -> Tensor:
        """Return the hidden activations of (..., dim); the block projects them."""
        return self.enter(x, linear, self.fc1.weight, self.fc1.bias).gelu(x)


class LayerScale(nn.Module):
    """A learned gain per channel on a residual branch, made one with the branch's output projection."""

    def __init__(self, dim: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))
        self.fold = Fold()

    def after(self, projection: nn.Linear, x: Tensor) -> Product:
        """Return the projection and the gain after it as one product, to be applied to ``x``."""
        return self.fold(x, scaled, projection.weight, projection.bias, self.gamma)


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
        """Transform (F, T, dim) tokens; in tiles, ``x`` itself is overwritten."""
        x = self.attend(x)
        project = self.ls2.after(self.mlp.fc2, x)
        if not tiled(x):
            return project.plus(self.mlp(self.norm2(x)), x)
        for rows in tiles(x.flatten(0, 1)):
            rows += project(self.mlp(self.norm2(rows)))
        return x

    def fuse(self, x: Tensor, planes: int) -> Tensor:
        """Transform (F, T, dim) and average over every ``planes`` consecutive frames, to (F / planes, T, dim).

        The average is taken before the MLP's output projection, which is linear: it runs once, not once a frame.
        """
        x = self.attend(x).unflatten(0, (-1, planes))
        project = self.ls2.after(self.mlp.fc2, x)
        parts = tiles(x) if tiled(x) else [x]
        return torch.cat([project.plus(self.mlp(self.norm2(part)).mean(1), part.mean(1)) for part in parts], dim=1)

    def attend(self, x: Tensor) -> Tensor:
        """Add the attention branch to (F, T, dim); in tiles, ``x`` itself is overwritten."""
        project = self.ls1.after(self.attn.proj, x)
        if not tiled(x):
            return project.plus(self.attn(self.norm1(x)), x)
        for frames in x.split(max(1, ROWS // x.shape[1])):
            frames += project(self.attn(self.norm1(frames)))
        return x


class Encoder(nn.Module):
    """DINOv2 encoder: the first blocks run on all frames with stack attention, the others on their average.

    Attribute names are those of the published checkpoints.
    """

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

    def positions(self, ph: int, pw: int) -> Tensor:
        """Return the (ph * pw, dim) position embedding of a grid of patches."""
        grid = self.pos_embed[0, 1:]
        if (ph, pw) == (GRID, GRID):
            return grid
        grid = grid.float().unflatten(0, (GRID, GRID)).permute(2, 0, 1)[None]
        # The offset of 0.1 is DINOv2's guard against rounding; the checkpoints were trained with it.
        scale = ((ph + 0.1) / GRID, (pw + 0.1) / GRID)
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")
        return grid[0].flatten(1).t().to(self.pos_embed.dtype)

    def embed(self, frames: Tensor) -> Tensor:
        """Turn (F, 3, H, W) frames into (F, 1 + T, dim) tokens as they leave block 0.

        A frame needs no other frame up to here, so a sweep's frames can be embedded as they arrive.
        """
        ph, pw = (int(side) // PATCH for side in frames.shape[2:])  # a tracer gives tensors for sides
        patches = self.patch_embed(frames) + self.positions(ph, pw)
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(frames), -1, -1)
        return self.blocks[0](torch.cat([cls, patches], dim=1))

    def mix_planes(self, layer: int, x: Tensor, focus: Tensor) -> Tensor:
        """Apply a stack attention to the patch tokens of (B * N, 1 + T, dim); the class token passes through."""
        patches = x[:, 1:].unflatten(0, focus.shape)
        mixed = self.motion_modules[layer].temporal_transformer(patches, focus)
        return x if tiled(x) else torch.cat([x[:, :1], mixed.flatten(0, 1)], dim=1)

    def forward(self, tokens: Tensor, focus: Tensor) -> list[Tensor]:
        """Mix embedded frames across planes and return the normalised taps.

        Args:
            tokens: (B, N, 1 + T, dim) from :meth:`embed`.
            focus: (B, N) focus distances in canonical metres.

        Returns:
            One (B, T, dim) map of patch tokens for each tap.
        """
        planes = tokens.shape[1]
        x, taps = tokens.flatten(0, 1), []
        if tiled(x):
            x = x.clone()  # the blocks work in place, and the caller may use the tokens for the next stack
        for i, block in enumerate(self.blocks):
            if i == self.fuse_block:
                x = block.fuse(x, planes)
            elif i:
                x = block(x)
            if i < len(self.motion_modules):
                x = self.mix_planes(i, x, focus)
            if i in self.taps:
                tap = x.unflatten(0, (-1, planes)).mean(1) if i < self.fuse_block else x
                taps.append(self.norm(tap[:, 1:]))
        return taps


class StackAttentionModule(nn.Module):
    """The checkpoints' wrapper around a stack attention."""

    def __init__(self, dim: int):
        super().__init__()
        self.temporal_transformer = StackAttention(dim)
