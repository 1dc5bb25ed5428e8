"""Softmax attention among all tokens of a frame, by the fastest method of the device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fossa_ros.estimators.fossa.tiles import tiled

LONG = 512  # tokens from which tiling pays on a CPU
QUERIES = 256  # per tile: their scores against some 2000 keys stay in a core's cache


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return softmax(q k' / sqrt(d)) v of (F, heads, T, d) queries, keys and values."""
    if not tiled(q) or q.shape[2] < LONG:
        return F.scaled_dot_product_attention(q, k, v)
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    if q.dtype != torch.bfloat16 or has_amx():
        return F.scaled_dot_product_attention(q, k, v)
    return attend_in_tiles(q, k, v)


def attend_in_tiles(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return the same, head by head in tiles of queries.

    Without AMX, PyTorch's fused attention multiplies bfloat16 no faster than float32, while a plain product is twice as
    fast.
    """
    tokens = q.shape[2]
    q = q * q.shape[3] ** -0.5
    # A vector that all keys share shifts all scores of a query equally, which does not change the softmax; without it
    # the scores are near zero, where bfloat16 is more precise.
    k = k - k.mean(2, keepdim=True)
    out, memory = torch.empty_like(q), q.new_empty(QUERIES, tokens)
    for queries, keys, values, attended in zip(*(x.flatten(0, 1) for x in (q, k, v, out)), strict=True):
        for part, result in zip(queries.split(QUERIES), attended.split(QUERIES), strict=True):
            scores = torch.mm(part, keys.t(), out=memory[: len(part)])
            torch.mm(torch.softmax(scores, -1, out=scores), values, out=result)
    return out


def has_amx() -> bool:
    """Return whether the CPU multiplies tiles of bfloat16, which PyTorch's fused attention uses."""
    return getattr(torch.cpu, "_is_amx_tile_supported", bool)()
