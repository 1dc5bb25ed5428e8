"""Local sharpness of a frame, the measure of shape from focus, as network input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BANDS = 3  # octaves, from the finest
WIDTHS = (3, 3, 5)  # px of each band's low-pass filter, the first at full resolution
NEAR = 3  # px at half resolution: width of the two box filters that gather energy; a wider window has about 20
CHANNELS = 2 * BANDS
FLOOR = 4e-4  # energy of noise in the normalised image; bounds the logarithm where there is no texture


def log_sharpness(frames: Tensor) -> Tensor:
    """Return (F, CHANNELS, H/2, W/2) logarithms of the energy in octave bands of normalised (F, 3, H, W) frames.

    A few convolutions can learn such energies, but not their logarithm over windows wider than the widest blur, and
    only differences of logarithms between planes are independent of the texture. H and W must be multiples of 8.
    """
    grey = frames.float().mean(1, keepdim=True)
    energies = []
    for band in range(BANDS):
        # Filtered twice, so that the low-pass has no side lobes that would show a coarse grating as fine detail.
        low = blur(blur(grey, WIDTHS[band]), WIDTHS[band])
        energy = (grey - low).square()
        energies.append(energy if band else F.avg_pool2d(energy, 2))
        grey = low if band else F.avg_pool2d(low, 2)  # coarser bands fit half the resolution
    near = blur(blur(torch.cat(energies, 1), NEAR), NEAR)
    # The wide window changes little from pixel to pixel, so an eighth of the resolution suffices.
    wide = F.interpolate(blur(blur(F.avg_pool2d(near, 4), 3), 3), near.shape[2:], mode="bilinear")
    return (torch.cat([near, wide], 1) + FLOOR).log()


def blur(x: Tensor, window: int) -> Tensor:
    """Average (F, C, h, w) over a square window, at the border over the part of it inside the image."""
    return F.avg_pool2d(x, window, stride=1, padding=window // 2, count_include_pad=False)
