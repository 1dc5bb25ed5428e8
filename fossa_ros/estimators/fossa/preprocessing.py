"""From camera pixels to the input of the networks."""

from __future__ import annotations

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(images: Tensor) -> Tensor:
    """Map (F, H, W, 3) RGB in 0..255 to (F, 3, H, W) float32, normalised with ImageNet mean and deviation."""
    planar = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    # Numbers, not tensors, whose upload a CUDA graph could not record.
    for channel, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)):
        planar[:, channel].mul_(1 / (255 * std)).sub_(mean / std)
    return planar
