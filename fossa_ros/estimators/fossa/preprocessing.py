"""From camera pixels to what the networks take."""

from __future__ import annotations

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(images: Tensor) -> Tensor:
    """Turn (F, H, W, 3) uint8 RGB into (F, 3, H, W) float32 with the ImageNet mean and standard deviation."""
    planar = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    # Numbers, not tensors: a CUDA graph could not record their upload.
    for channel, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)):
        planar[:, channel].mul_(1 / (255 * std)).sub_(mean / std)
    return planar
