"""Point spread functions: the power-exponential family of the FOSSA paper, with cat's-eye vignetting off the axis.

psf(r) is proportional to exp(-2 (r / c)^p), where c is the radius of the circle of confusion (arXiv 2603.26658). p = 2
is a Gaussian with standard deviation c / 2, p = 32 nearly a uniform disc; real apertures lie between.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Radii (px) at which blur is computed; between two of them it is mixed so that its variance is right. With steps of
# about a fifth of the radius, the shape of the mixture cannot be distinguished from the true one.
RADII = (0.0, 0.5, 0.75, 1.0, 1.35, 1.75, 2.25, 2.9, 3.7, 4.7, 5.9, 7.4, 9.2, 11.5, 14.5, 18.0)
SUPERSAMPLING = 3


def kernels(
    radii: Tensor,
    power: float,
    size: int,
    *,
    cats_eye: float = 0.0,
    direction: float = 0.0,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return (R, size, size) float32 kernels with sum 1, integrated over pixel areas and centred.

    Args:
        radii: (R,) radii c of the circle of confusion (px); 0 gives a kernel of one pixel.
        power: the exponent p.
        size: side of the kernels (px), odd, large enough for the largest disc.
        cats_eye: distance of the two apertures of a cat's eye in radii; 0 for no vignetting.
        direction: direction from one aperture to the other (rad).
    """
    fine = size * SUPERSAMPLING
    axis = (torch.arange(fine, device=device) - (fine - 1) / 2) / SUPERSAMPLING
    y, x = axis[:, None], axis[None, :]
    # A disc narrower than a sample could fall between samples.
    c = radii.to(device).clamp_min(0.5 / SUPERSAMPLING)[:, None, None]
    # Two apertures, each shifted by half the distance, so that their intersection stays centred.
    aside = 0.5 * cats_eye * c * math.cos(direction), 0.5 * cats_eye * c * math.sin(direction)
    signs = (-1, 1) if cats_eye else (0,)
    distances = [((x - sign * aside[0]).square() + (y - sign * aside[1]).square()).sqrt() for sign in signs]
    exponent = sum(2 * (distance / c) ** power for distance in distances)
    psf = torch.exp(-exponent).unfold(1, SUPERSAMPLING, SUPERSAMPLING).unfold(2, SUPERSAMPLING, SUPERSAMPLING)
    psf = psf.sum((3, 4))
    psf = psf / psf.sum((1, 2), keepdim=True)
    if (radii == 0).any():
        point = torch.zeros(size, size, device=device)
        point[size // 2, size // 2] = 1
        psf[radii.to(device) == 0] = point
    return psf
