"""Resampling as the published networks do it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample (B, C, h, w) maps bilinearly to (B, C, *size); the corner pixels stay in the corners."""
    size = tuple(map(int, size))  # while tracing, sizes are tensors
    if tuple(x.shape[2:]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
