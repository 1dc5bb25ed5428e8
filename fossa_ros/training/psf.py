"""Point spread functions: the power-exponential family of the FOSSA paper, cut by a vignette off the axis.

psf(r) is proportional to exp(-2 (r / c)^p) with c the radius of the circle of confusion (arXiv 2603.26658). p = 2
is a Gaussian of deviation c / 2, p = 32 nearly a uniform disc: what a real aperture gives lies between.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Radii (px) at which blur is computed; between two of them it is mixed so that its variance is right. The steps
# are what makes the mixture's shape indistinguishable from the true one: a fifth of the radius or so.
RADII = (0.0, 0.5, 0.75, 1.0, 1.35, 1.75, 2.25, 2.9, 3.7, 4.7, 5.9, 7.4, 9.2, 11.5, 14.5, 18.0)
SUPERSAMPLING = 3


def kernels(
    radii: Tensor,
    power: float,
    size: int,
    *,
    cut: float = 0.0,
    towards: float = 0.0,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return (R, size, size) float32 kernels of sum 1 over pixel areas, centred on the middle pixel.

    Args:
        radii: (R,) radii c of the circle of confusion in pixels; 0 is a kernel of one pixel.
        power: the exponent p.
        size: side of the kernels in pixels, odd; it must hold the largest disc.
        cut: cat's-eye vignetting: the fraction of a radius by which two apertures are apart; 0 is none.
        towards: direction from one to the other in radians.
    """
    fine = size * SUPERSAMPLING
    axis = (torch.arange(fine, device=device) - (fine - 1) / 2) / SUPERSAMPLING
    y, x = axis[:, None], axis[None, :]
    # A disc narrower than a sample would fall between them, so none is.
    c = radii.to(device).clamp_min(0.5 / SUPERSAMPLING)[:, None, None]
    # Two apertures, half the shift to either side, so that what is left stays centred.
    aside = 0.5 * cut * c * math.cos(towards), 0.5 * cut * c * math.sin(towards)
    signs = (-1, 1) if cut else (0,)
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
