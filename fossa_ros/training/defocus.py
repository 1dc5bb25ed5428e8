"""Defocus by layers: every surface is blurred as a whole and composited over those behind it.

A thin lens sees past the edge of a blurred foreground, and a blurred background does not bleed over a sharp edge in
front of it. Both follow from blurring colour and coverage of a surface alike and compositing from back to front. Within
a surface the blur radius varies from pixel to pixel; it is interpolated between the surface blurred by the steps of
:data:`RADII`, such that the variance of the point spread is right. Approximations: a point is blurred by the radius of
the pixel it lands on, not its own (no difference where depth is smooth), and two surfaces that intersect have one order
for the whole image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fossa_ros.training.psf import RADII, transfer
from fossa_ros.training.surfaces import Surfaces

MARGIN = 20  # px on each side that the blur consumes: RADII[-1], rounded up


def render_planes(
    surfaces: Surfaces,
    radius: Tensor,
    *,
    psf_power: float,
    cats_eye: float = 0.0,
    direction: float = 0.0,
) -> Tensor:
    """Return (N, C, H - 2 MARGIN, W - 2 MARGIN) linear images.

    Args:
        surfaces: the scene, with a margin of :data:`MARGIN` pixels on each side.
        radius: (S, N, C, h, w) float32 at the size of the images: radius (px) of the blur of each surface in each
            plane and colour channel, at each pixel; limited to ``RADII[-1]``.
        psf_power, cats_eye, direction: the point spread, see ``fossa_ros.training.psf.transfer``.
    """
    device = surfaces.colour.device
    height, width = surfaces.cover.shape[1:]
    inner = slice(MARGIN, height - MARGIN), slice(MARGIN, width - MARGIN)
    ladder = torch.tensor(RADII, device=device)
    squares = ladder.square()
    first, last = ladder_range(radius, squares)
    spectra = transfer(ladder[first : last + 1], psf_power, (height, width), cats_eye=cats_eye, direction=direction)

    image = None
    for colour, cover, surface_radius in zip(surfaces.colour, surfaces.cover, radius, strict=True):
        lowest, highest = ladder_range(surface_radius, squares)
        layer = torch.fft.rfft2(torch.cat([colour * cover, cover[None]]))
        needed = spectra[lowest - first : highest + 1 - first, None]
        blurred = torch.fft.irfft2(layer * needed, s=(height, width))
        blurred = blurred[..., inner[0], inner[1]]  # (steps, C + 1, h, w)
        r2 = surface_radius.square().clamp_max(squares[-1])
        step = torch.searchsorted(squares[1:-1], r2)  # index of the step at or below it
        weight = (r2 - squares[step]) / (squares[step + 1] - squares[step])
        step = step - lowest
        # Each colour channel has its own radius; coverage has that of the middle one, green.
        channels = len(colour)
        step = torch.cat([step, step[:, channels // 2, None]], 1)
        weight = torch.cat([weight, weight[:, channels // 2, None]], 1)
        below = blurred.gather(0, step)
        mixed = torch.lerp(below, blurred.gather(0, step + 1), weight)
        light, hides = mixed[:, :channels], mixed[:, channels:]
        image = light if image is None else light + (1 - hides).clamp_min(0) * image
    return image


def ladder_range(radius: Tensor, squares: Tensor) -> tuple[int, int]:
    """Return the first and the last step between which radii in this range are interpolated."""
    if radius.device.type != "cpu":
        return 0, len(squares) - 1  # the minimum would have to be copied to the host
    extremes = torch.stack([radius.min(), radius.max()]).square().clamp_max(squares[-1])
    first, last = torch.searchsorted(squares[1:-1], extremes).tolist()
    return first, last + 1
