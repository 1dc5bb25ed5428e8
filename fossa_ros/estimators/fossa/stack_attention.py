"""Stack attention: tokens at the same place in every plane of a focus stack look at each other.

This is what makes the network see defocus: which plane is sharp at a place, and at which distance that plane
was focused. Attribute names are those of the published checkpoints (arXiv 2603.26658).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fossa_ros.estimators.fossa.products import Fold, Product, joined, linear
from fossa_ros.estimators.fossa.tiles import tiled, tiles


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
    """Attention across the planes, at every position on its own, less the output projection."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(dim, dim, bias=False)
        self.to_v = nn.Linear(dim, dim, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.fd_encoder = FocusEmbedding(dim)
        self.enter, self.leave = Fold(), Fold()

    def condition(self, h: Tensor, focus: Tensor) -> tuple[Product, Tensor]:
        """Return what is the same at every position: the product of ``h`` that gives queries, keys and values, and
        the (B, N, 1, dim) embedded focus."""
        product = self.enter(h, joined, self.to_q.weight, self.to_k.weight, self.to_v.weight)
        return product, self.fd_encoder(focus)[:, :, None].to(h.dtype)

    def forward(self, h: Tensor, product: Product, embedding: Tensor) -> Tensor:
        """Return the attention-weighted values of (B, N, T, dim) tokens under a :meth:`condition`."""
        q, k, v = product(h + embedding).unflatten(3, (3, self.heads, -1)).unbind(3)  # (B, N, T, heads, dim / heads)
        if tiled(h) and h.dtype != torch.float32:
            # The planes are too few for the fused attention; in half precision these batches of products are faster.
            scores = torch.einsum("bnthd,bmthd->bthnm", q, k) * q.shape[4] ** -0.5
            return torch.einsum("bthnm,bmthd->bnthd", scores.softmax(4), v).flatten(3)
        q, k, v = (x.permute(0, 2, 3, 1, 4).flatten(0, 1) for x in (q, k, v))  # (B * T, heads, N, dim / heads)
        mixed = F.scaled_dot_product_attention(q, k, v).unflatten(0, (len(h), -1))
        return mixed.permute(0, 3, 1, 2, 4).flatten(3)

    def project(self, x: Tensor) -> Product:
        """Return the output projection, to be applied to ``x``."""
        return self.leave(x, linear, self.to_out[0].weight, self.to_out[0].bias)


class FilmAttention(PlaneAttention):
    """An ablation of the paper: the focus distance scales and shifts the tokens (FiLM) instead of being added."""

    def __init__(self, dim: int, heads: int):
        super().__init__(dim, heads)
        self.fd_encoder = FocusEmbedding(2 * dim)

    def forward(self, h: Tensor, product: Product, embedding: Tensor) -> Tensor:
        gain, shift = embedding.chunk(2, dim=-1)
        return super().forward(h * (1 + gain), product, shift)


class GatedGelu(nn.Module):
    """Linear layer whose output is gated by the GELU of its second half."""

    def __init__(self, dim: int):
        super().__init__()
        self.proj = nn.Linear(dim, 8 * dim)
        self.value, self.gate = Fold(), Fold()

    def forward(self, x: Tensor) -> Tensor:
        value, gate = zip(self.proj.weight.chunk(2), self.proj.bias.chunk(2), strict=True)
        return self.value(x, linear, *value).times(x, self.gate(x, linear, *gate).gelu(x))


class FeedForward(nn.Module):
    """GEGLU feed-forward network; ``net[1]`` is the checkpoints' dropout, which does nothing at inference."""

    def __init__(self, dim: int):
        super().__init__()
        self.net = nn.ModuleList([GatedGelu(dim), nn.Identity(), nn.Linear(4 * dim, dim)])
        self.leave = Fold()

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Return ``residual`` plus the transformed (..., dim) tokens."""
        return self.leave(x, linear, self.net[2].weight, self.net[2].bias).plus(self.net[0](x), residual)


class PlaneTransformer(nn.Module):
    """Two attentions across the planes and a feed-forward network, each on a normalised residual branch."""

    def __init__(self, dim: int, heads: int, film: bool):
        super().__init__()
        attention = FilmAttention if film else PlaneAttention
        self.attention_blocks = nn.ModuleList(attention(dim, heads) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.ff = FeedForward(dim)
        self.ff_norm = nn.LayerNorm(dim)

    def forward(self, h: Tensor, conditions: list[tuple[Product, Tensor]]) -> Tensor:
        """Transform (B, N, T, dim) tokens; each attention comes with its condition."""
        for attention, norm, condition in zip(self.attention_blocks, self.norms, conditions, strict=True):
            h = attention.project(h).plus(attention(norm(h), *condition), h)
        return self.ff(self.ff_norm(h), h)


class StackAttention(nn.Module):
    """Mix the patch tokens of a stack's planes, position by position, and add the result to them."""

    def __init__(self, dim: int, heads: int = 8, groups: int = 32, film: bool = False):
        super().__init__()
        self.norm = nn.GroupNorm(groups, dim, eps=1e-6)
        self.proj_in = nn.Linear(dim, dim)
        self.transformer_blocks = nn.ModuleList([PlaneTransformer(dim, heads, film)])
        self.proj_out = nn.Linear(dim, dim)
        self.enter, self.leave = Fold(), Fold()
        # Training starts from frames that do not disturb each other.
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, patches: Tensor, focus: Tensor) -> Tensor:
        """Transform (B, N, T, dim) tokens of planes focused at (B, N); in tiles, ``patches`` is overwritten."""
        gain, shift = self.affine_norm(patches)
        transformer = self.transformer_blocks[0]
        conditions = [attention.condition(patches, focus) for attention in transformer.attention_blocks]
        enter = self.enter(patches, linear, self.proj_in.weight, self.proj_in.bias)
        leave = self.leave(patches, linear, self.proj_out.weight, self.proj_out.bias)

        def branch(part: Tensor) -> Tensor:
            return transformer(enter(torch.addcmul(shift, part, gain)), conditions)

        if not tiled(patches):
            return leave.plus(branch(patches), patches)
        for part in tiles(patches):
            part += leave(branch(part))
        return patches

    def affine_norm(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Return the group norm of (B, N, T, dim) as the (B, N, 1, dim) gain and shift that it comes to.

        Once a frame's statistics are known the norm is an affine map per channel, so that the statistics are all
        that costs a pass over the tokens. They are pooled from the channels' own mean and variance.
        """
        mean = patches.mean(2, keepdim=True, dtype=torch.float32)
        variance = (patches - mean).square().mean(2, keepdim=True)
        mean, variance = (x.unflatten(3, (self.norm.num_groups, -1)) for x in (mean, variance))
        group_mean = mean.mean(4, keepdim=True)
        group_variance = (variance + (mean - group_mean).square()).mean(4, keepdim=True)
        gain = (group_variance + self.norm.eps).rsqrt() * self.norm.weight.view_as(mean[0, 0, 0])
        shift = self.norm.bias.view_as(mean[0, 0, 0]) - group_mean * gain
        return gain.flatten(3).to(patches.dtype), shift.flatten(3).to(patches.dtype)
