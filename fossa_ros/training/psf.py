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
SAMPLES = 97  # across the point spread; enough for 18 px of radius at the highest frequency of an image
LEAST = 7e-4  # of the maximum, at the border of the samples


def transfer(
    radii: Tensor,
    power: float,
    size: tuple[int, int],
    *,
    cats_eye: float = 0.0,
    direction: float = 0.0,
) -> Tensor:
    """Return (R, H, W // 2 + 1) float32: by how much blur reduces each frequency of ``torch.fft.rfft2``.

    The pixels of a sharp image have integrated over their areas already, so that this is the transform of the point
    spread itself. That of its mean over each pixel, a kernel, would blur by 1/12 px^2 more: half of a radius of 0.5 px.

    Args:
        radii: (R,) radii c of the circle of confusion (px); 0 leaves an image as it is.
        power: the exponent p.
        size: H, W of the image.
        cats_eye: distance of the two apertures of a cat's eye in radii; 0 for no vignetting.
        direction: direction from one aperture to the other (rad).
    """
    # In units of c the point spread is the same for all radii, and symmetric, so that its transform is real.
    reach = (-math.log(LEAST) / 2) ** (1 / power)
    axis = torch.linspace(-reach, reach, SAMPLES, device=radii.device)
    y, x = axis[:, None], axis[None, :]
    # Two apertures, each shifted by half the distance, so that their intersection stays centred.
    aside = 0.5 * cats_eye * math.cos(direction), 0.5 * cats_eye * math.sin(direction)
    signs = (-1, 1) if cats_eye else (0,)
    distances = [((x - sign * aside[0]).square() + (y - sign * aside[1]).square()).sqrt() for sign in signs]
    psf = torch.exp(-sum(2 * distance**power for distance in distances))
    psf = (psf / psf.sum()).to(torch.complex64)
    rows, columns = (
        torch.polar(torch.ones(()), -2 * math.pi * radii[:, None, None] * frequency[:, None] * axis)
        for frequency in (
            torch.fft.fftfreq(size[0], device=radii.device),
            torch.fft.rfftfreq(size[1], device=radii.device),
        )
    )
    return (rows @ psf @ columns.mT).real


def deviation(power: float) -> float:
    """Return the standard deviation along an axis, in radii c: 0.5 of a Gaussian and of a disc, 0.45 between them.

    The second moment of exp(-2 r^p) in the plane, by the integral of the gamma function.
    """
    return math.sqrt(math.gamma(4 / power) / math.gamma(2 / power) / 2 ** (2 / power) / 2)
