"""How much detail a frame shows at each place: the measure that shape from focus has always used, as network input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BANDS = 3  # octaves of detail, from the finest
WIDTHS = (3, 3, 5)  # px of each band's low-pass, the first at full resolution
NEAR = 3  # px at half resolution over which energy is gathered, twice; a second time over some 20
CHANNELS = 2 * BANDS
FLOOR = 4e-4  # energy of noise, in units of the normalised image; keeps the logarithm of a bare wall steady


def log_sharpness(frames: Tensor) -> Tensor:
    """Return (F, CHANNELS, H/2, W/2) logarithms of the energy in octave bands of normalised (F, 3, H, W) frames.

    A stem of a few convolutions can come to such a measure, but not to its logarithm over windows wider than the
    widest blur; and differences of logarithms between planes are what does not depend on the texture.
    H and W must be multiples of 8.
    """
    grey = frames.float().mean(1, keepdim=True)
    energies = []
    for band in range(BANDS):
        # Smoothed twice, so that the low-pass has no side lobes that let a coarse grating pass for fine detail.
        low = blur(blur(grey, WIDTHS[band]), WIDTHS[band])
        energy = (grey - low).square()
        energies.append(energy if band else F.avg_pool2d(energy, 2))
        grey = low if band else F.avg_pool2d(low, 2)  # coarser bands fit half the resolution
    near = blur(blur(torch.cat(energies, 1), NEAR), NEAR)
    # The wide window moves so little from pixel to pixel that an eighth of the resolution holds it.
    wide = F.interpolate(blur(blur(F.avg_pool2d(near, 4), 3), 3), near.shape[2:], mode="bilinear")
    return (torch.cat([near, wide], 1) + FLOOR).log()


def blur(x: Tensor, window: int) -> Tensor:
    """Average over a square window; at the border over the part of it that is inside."""
    return F.avg_pool2d(x, window, stride=1, padding=window // 2, count_include_pad=False)
