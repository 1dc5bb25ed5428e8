"""Stack attention: the tokens at one position of all planes attend to each other.

This is how the network sees defocus: which plane is sharp at a position, and at which distance that plane was focused.
Attribute names are those of the published checkpoints (arXiv 2603.26658). Tokens are (B, N, T, dim): N planes, T
positions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fossa_ros.estimators.fossa.tiles import add_residual


class FocusEmbedding(nn.Module):
    """A learned vector for a focus distance in canonical metres."""

    def __init__(self, dim: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.mlp = nn.Sequential(nn.Linear(1, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, focus: Tensor) -> Tensor:
        """Map (...) distances to (..., dim)."""
        return self.scale * self.mlp(focus[..., None].to(self.scale.dtype))


class PlaneAttention(nn.Module):
    """Multi-head attention across the planes, at every position separately."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(dim, dim, bias=False)
        self.to_v = nn.Linear(dim, dim, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.fd_encoder = FocusEmbedding(dim)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """Transform (B, N, T, dim) tokens given the (B, N, 1, dim) embedded focus distances."""
        h = h + embedding
        batch = len(h)

        def split(x: Tensor) -> Tensor:  # (B, N, T, dim) to (B * T, heads, N, dim / heads)
            return x.unflatten(3, (self.heads, -1)).permute(0, 2, 3, 1, 4).flatten(0, 1)

        mixed = F.scaled_dot_product_attention(split(self.to_q(h)), split(self.to_k(h)), split(self.to_v(h)))
        return self.to_out[0](mixed.unflatten(0, (batch, -1)).permute(0, 3, 1, 2, 4).flatten(3))


class GatedGelu(nn.Module):
    """Linear layer whose first half is gated by the GELU of its second half."""

    def __init__(self, dim: int):
        super().__init__()
        self.proj = nn.Linear(dim, 8 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to (..., 4 dim)."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """GEGLU feed-forward network; ``net[1]`` is the checkpoints' dropout, which does nothing at inference."""

    def __init__(self, dim: int):
        super().__init__()
        self.net = nn.Sequential(GatedGelu(dim), nn.Identity(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to (..., dim)."""
        return self.net(x)


class PlaneTransformer(nn.Module):
    """Two attentions across the planes and a feed-forward network, each on a normalised residual branch."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.attention_blocks = nn.ModuleList(PlaneAttention(dim, heads) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.ff = FeedForward(dim)
        self.ff_norm = nn.LayerNorm(dim)

    def forward(self, h: Tensor, embeddings: list[Tensor]) -> Tensor:
        """Transform (B, N, T, dim) tokens; each attention has its own (B, N, 1, dim) focus embedding."""
        for attention, norm, embedding in zip(self.attention_blocks, self.norms, embeddings, strict=True):
            h = h + attention(norm(h), embedding)
        return h + self.ff(self.ff_norm(h))


class StackAttention(nn.Module):
    """Mix the patch tokens of a stack's planes, position by position, and add the result to them."""

    def __init__(self, dim: int, heads: int = 8, groups: int = 32):
        super().__init__()
        self.norm = nn.GroupNorm(groups, dim, eps=1e-6)
        self.proj_in = nn.Linear(dim, dim)
        self.transformer_blocks = nn.ModuleList([PlaneTransformer(dim, heads)])
        self.proj_out = nn.Linear(dim, dim)
        # Untrained, frames do not affect each other.
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, patches: Tensor, focus: Tensor) -> Tensor:
        """Transform (B, N, T, dim) tokens of planes focused at (B, N).

        On a CPU at inference ``patches`` is overwritten.
        """
        (transformer,) = self.transformer_blocks
        # One embedding per plane, not per token.
        embeddings = [
            attention.fd_encoder(focus)[:, :, None].to(patches.dtype) for attention in transformer.attention_blocks
        ]
        gain, shift = self.affine_norm(patches)
        return add_residual(
            patches, lambda part: self.proj_out(transformer(self.proj_in(part * gain + shift), embeddings)), dim=2
        )

    def affine_norm(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Return the group norm of (B, N, T, dim) tokens as (B, N, 1, dim) gain and shift.

        With the statistics of a frame known, the norm is one affine map per channel, which can be applied tile by
        tile. The statistics of a group are pooled from the mean and the variance of its channels.
        """
        mean = patches.mean(2, keepdim=True, dtype=torch.float32)
        variance = (patches - mean).square().mean(2, keepdim=True)
        mean, variance = (x.unflatten(3, (self.norm.num_groups, -1)) for x in (mean, variance))
        group_mean = mean.mean(4, keepdim=True)
        group_variance = (variance + (mean - group_mean).square()).mean(4, keepdim=True)
        gain = (group_variance + self.norm.eps).rsqrt() * self.norm.weight.view_as(mean[0, 0, 0])
        shift = self.norm.bias.view_as(mean[0, 0, 0]) - group_mean * gain
        return gain.flatten(3).to(patches.dtype), shift.flatten(3).to(patches.dtype)
