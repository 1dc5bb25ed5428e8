"""Stack attention: tokens at the same place in every plane of a focus stack look at each other.

This is what makes the network see defocus: which plane is sharp at a place, and at which distance that plane was
focused. Attribute names are those of the published checkpoints (arXiv 2603.26658).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
    """Attention across the planes, at every position on its own."""

    def __init__(self, dim: int, heads: int = 8):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(dim, dim, bias=False)
        self.to_v = nn.Linear(dim, dim, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.fd_encoder = FocusEmbedding(dim)

    def mix(self, h: Tensor, focus: Tensor) -> Tensor:
        """Return the attention-weighted values of (B, N, T, dim), before the output projection.

        The focus embedding is the same at every position, so it enters as a bias of the one q-k-v product.
        """
        weight = torch.cat([self.to_q.weight, self.to_k.weight, self.to_v.weight])
        bias = F.linear(self.fd_encoder(focus).to(h.dtype), weight)
        qkv = F.linear(h, weight) + bias[:, :, None]
        q, k, v = qkv.unflatten(3, (3, self.heads, -1)).permute(3, 0, 2, 4, 1, 5).flatten(1, 3)
        weights = torch.softmax(torch.bmm(q, k.mT).float() * q.shape[-1] ** -0.5, dim=-1).to(v.dtype)
        batch, planes, positions, dim = h.shape
        mixed = torch.bmm(weights, v).reshape(batch, positions, self.heads, planes, -1)
        return mixed.permute(0, 3, 1, 2, 4).reshape(h.shape)


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

    def __init__(self, dim: int):
        super().__init__()
        self.attention_blocks = nn.ModuleList(PlaneAttention(dim) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.ff = FeedForward(dim)
        self.ff_norm = nn.LayerNorm(dim)

    def forward(self, h: Tensor, focus: Tensor) -> Tensor:
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            h = h + attention.to_out[0](attention.mix(norm(h), focus))
        return h + self.ff(self.ff_norm(h))


class StackAttention(nn.Module):
    """Mix the patch tokens of a stack's planes, position by position, and add the result to them."""

    def __init__(self, dim: int, groups: int = 32):
        super().__init__()
        self.norm = nn.GroupNorm(groups, dim, eps=1e-6)
        self.proj_in = nn.Linear(dim, dim)
        self.transformer_blocks = nn.ModuleList([PlaneTransformer(dim)])
        self.proj_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, focus: Tensor) -> Tensor:
        """Transform (B * N, 1 + T, dim) tokens, whose first is the class token and passes through.

        ``focus`` is (B, N) in canonical metres.
        """
        patches = x[:, 1:]
        h = self.project_normalised(patches).unflatten(0, focus.shape)
        h = self.transformer_blocks[0](h, focus)
        return torch.cat([x[:, :1], patches + self.proj_out(h).flatten(0, 1)], dim=1)

    def project_normalised(self, patches: Tensor) -> Tensor:
        """Apply the group norm and ``proj_in`` as one product with weights of its own for every frame.

        The norm is an affine map per channel once a frame's statistics are known, so only the statistics cost a
        pass over the tokens.
        """
        grouped = patches.float().unflatten(2, (self.norm.num_groups, -1))
        variance, mean = torch.var_mean(grouped, dim=(1, 3), correction=0)
        per_group = patches.shape[2] // self.norm.num_groups
        gain = (variance + self.norm.eps).rsqrt().repeat_interleave(per_group, dim=1) * self.norm.weight
        shift = self.norm.bias - mean.repeat_interleave(per_group, dim=1) * gain
        weight = self.proj_in.weight * gain[:, None]
        bias = F.linear(shift, self.proj_in.weight.float(), self.proj_in.bias.float())
        return torch.baddbmm(bias[:, None].to(patches.dtype), patches, weight.mT.to(patches.dtype))
