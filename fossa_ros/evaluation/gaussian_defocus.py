"""Synthetic defocus of RGB-D images as in the evaluation of FOSSA (arXiv 2603.26658), in plain PyTorch.

A blurred pixel x is the mean of the pixels x' of a 15 x 15 window, each weighted with its own point spread
g(r) = exp(-2 (r / c)^2) / c^2, where c is the radius of the circle of confusion at x'. Pixels with c <= 1 px stay sharp
and do not contribute to others. Occlusion is not modelled, so depth edges differ from those of a lens; use it only for
comparison with published figures. It blurs sRGB values, as the released evaluation does.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

HALF_WINDOW = 7  # px
SHARP = 1.0  # px; smaller radii do not blur


def gather_defocus(image: Tensor, radius: Tensor) -> Tensor:
    """Blur an image for every plane.

    Args:
        image: (C, H, W) float32 in any range.
        radius: (N, H, W) float32 radius of the circle of confusion (px).

    Returns:
        (N, C, H, W) float32.
    """
    return torch.stack([_blurred(image, plane) for plane in radius])  # one plane at a time stays in the cache of a CPU


def _blurred(image: Tensor, radius: Tensor) -> Tensor:
    blurred = radius > SHARP
    squared = radius.clamp_min(SHARP).square()
    height, width = radius.shape
    layers = F.pad(torch.cat([torch.ones_like(image[:1]), image]), (HALF_WINDOW,) * 4)
    total = torch.zeros((len(layers), height, width), device=image.device)
    for (low, high), offsets in offsets_by_distance().items():
        # Weight and weighted colour that every pixel contributes at this distance; none from outside the image.
        weight = torch.where(blurred, torch.exp(-2.0 * (low * low + high * high) / squared) / squared, 0.0)
        contribution = F.pad(weight, (HALF_WINDOW,) * 4) * layers
        for rows, columns in offsets:
            top, left = HALF_WINDOW + rows, HALF_WINDOW + columns
            total += contribution[:, top : top + height, left : left + width]
    return torch.where(blurred, total[1:] / total[:1], image)


def offsets_by_distance() -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Return the offsets of the window, grouped by (smaller, larger) absolute coordinate, that is by distance."""
    groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for rows in range(-HALF_WINDOW, HALF_WINDOW + 1):
        for columns in range(-HALF_WINDOW, HALF_WINDOW + 1):
            groups.setdefault(tuple(sorted((abs(rows), abs(columns)))), []).append((rows, columns))
    return groups
