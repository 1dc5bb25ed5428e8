"""Stack attention: tokens at the same place in every plane of a focus stack look at each other.

This is what makes the network see defocus: which plane is sharp at a place, and at which distance that plane
was focused. Attribute names are those of the published checkpoints (arXiv 2603.26658).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fossa_ros.fossa.tiles import tiled, tiles


class FocusEmbedding(nn.Module):
    """A learned vector for a focus distance in canonical metres."""

    def __init__(self, dim: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.mlp = nn.Sequential(nn.Linear(1, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, focus: Tensor) -> Tensor:
        """Map (...) distances to (..., dim); in training, NaN is a distance that is not told, and gives zeros."""
        if not self.training:
            return self.scale * self.mlp(focus[..., None].to(self.scale.dtype))
        told = focus.isfinite()[..., None]
        return told * self.scale * self.mlp(focus.nan_to_num(0.0)[..., None].to(self.scale.dtype))


class PlaneAttention(nn.Module):
    """Attention across the planes, at every position on its own."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(dim, dim, bias=False)
        self.to_v = nn.Linear(dim, dim, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.fd_encoder = FocusEmbedding(dim)

    def condition(self, focus: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is the same at every position: (3 dim, dim) weights and (B, N, 1, dim) embedded focus."""
        weight = torch.cat([self.to_q.weight, self.to_k.weight, self.to_v.weight])
        return weight, self.fd_encoder(focus)[:, :, None].to(weight.dtype)

    def forward(self, h: Tensor, weight: Tensor, embedding: Tensor) -> Tensor:
        """Transform (B, N, T, dim) tokens under a :meth:`condition`."""
        qkv = F.linear(h + embedding, weight).unflatten(3, (3, self.heads, -1))
        q, k, v = qkv.permute(3, 0, 2, 4, 1, 5).flatten(1, 2)  # (B * T, heads, N, dim / heads)
        mixed = F.scaled_dot_product_attention(q, k, v).unflatten(0, (len(h), -1))
        return self.to_out[0](mixed.permute(0, 3, 1, 2, 4).flatten(3))


class FilmAttention(PlaneAttention):
    """An ablation of the paper: the focus distance scales and shifts the tokens (FiLM) instead of being added."""

    def __init__(self, dim: int, heads: int):
        super().__init__(dim, heads)
        self.fd_encoder = FocusEmbedding(2 * dim)

    def forward(self, h: Tensor, weight: Tensor, embedding: Tensor) -> Tensor:
        gain, shift = embedding.chunk(2, dim=-1)
        return super().forward(h * (1 + gain), weight, shift)


class GatedGelu(nn.Module):
    """Linear layer whose output is gated by the GELU of its second half."""

    def __init__(self, dim: int):
        super().__init__()
        self.proj = nn.Linear(dim, 8 * dim)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """GEGLU feed-forward network; ``net[1]`` is the checkpoints' dropout, which does nothing at inference."""

    def __init__(self, dim: int):
        super().__init__()
        self.net = nn.ModuleList([GatedGelu(dim), nn.Identity(), nn.Linear(4 * dim, dim)])

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](self.net[0](x))


class PlaneTransformer(nn.Module):
    """Two attentions across the planes and a feed-forward network, each on a normalised residual branch."""

    def __init__(self, dim: int, heads: int, film: bool):
        super().__init__()
        attention = FilmAttention if film else PlaneAttention
        self.attention_blocks = nn.ModuleList(attention(dim, heads) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.ff = FeedForward(dim)
        self.ff_norm = nn.LayerNorm(dim)

    def forward(self, h: Tensor, conditions: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Transform (B, N, T, dim) tokens; each attention comes with its condition."""
        for attention, norm, condition in zip(self.attention_blocks, self.norms, conditions, strict=True):
            h = h + attention(norm(h), *condition)
        return h + self.ff(self.ff_norm(h))


class StackAttention(nn.Module):
    """Mix the patch tokens of a stack's planes, position by position, and add the result to them."""

    def __init__(self, dim: int, heads: int = 8, groups: int = 32, film: bool = False):
        super().__init__()
        self.norm = nn.GroupNorm(groups, dim, eps=1e-6)
        self.proj_in = nn.Linear(dim, dim)
        self.transformer_blocks = nn.ModuleList([PlaneTransformer(dim, heads, film)])
        self.proj_out = nn.Linear(dim, dim)
        # Training starts from frames that do not disturb each other.
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, patches: Tensor, focus: Tensor) -> Tensor:
        """Transform (B, N, T, dim) tokens of planes focused at (B, N); in tiles, ``patches`` is overwritten."""
        weight, bias = self.fold_norm(patches)
        transformer = self.transformer_blocks[0]
        conditions = [attention.condition(focus) for attention in transformer.attention_blocks]

        def branch(part: Tensor) -> Tensor:
            h = torch.baddbmm(bias, part.flatten(0, 1), weight).unflatten(0, focus.shape)
            return self.proj_out(transformer(h, conditions))

        if not tiled(patches):
            return patches + branch(patches)
        for part in tiles(patches):
            part += branch(part)
        return patches

    def fold_norm(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Return the group norm of (B, N, T, dim) and ``proj_in`` as one product: weights and bias by frame.

        Once a frame's statistics are known the norm is an affine map per channel, so that the statistics are all
        that costs a pass over the tokens. They are pooled from the channels' own mean and variance.
        """
        mean = patches.mean(2, keepdim=True, dtype=torch.float32)
        variance = (patches - mean).square().mean(2)
        mean, variance = (
            t.flatten(0, 1).unflatten(-1, (self.norm.num_groups, -1)) for t in (mean[:, :, 0], variance)
        )
        group_mean = mean.mean(-1, keepdim=True)
        group_variance = (variance + (mean - group_mean).square()).mean(-1, keepdim=True)
        gain = self.norm.weight.view_as(mean[0]) * (group_variance + self.norm.eps).rsqrt()
        shift = (self.norm.bias.view_as(mean[0]) - group_mean * gain).flatten(1)
        weight, bias = self.proj_in.weight.float(), self.proj_in.bias.float()
        weights = gain.flatten(1)[:, :, None] * weight.t()
        return weights.to(patches.dtype), F.linear(shift, weight, bias)[:, None].to(patches.dtype)
