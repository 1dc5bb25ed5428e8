"""Input of the training renderer: a scene on one pixel grid as surfaces that occlude each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Surfaces:
    """Surfaces from back to front, each complete, also where a nearer one hides it.

    A blurred edge shows parts of the surface behind it, which visible pixels alone do not contain.

    Attributes:
        colour: (S, C, H, W) float32 linear radiance of three channels or one; 1 is white, highlights are brighter.
        cover: (S, H, W) float32 coverage in 0..1; the first surface covers everything.
        power: (S, H, W) float32 dioptres at every pixel, also where the surface does not cover the pixel.
    """

    colour: Tensor
    cover: Tensor
    power: Tensor

    def visible_power(self) -> Tensor:
        """Return (H, W) dioptres of the nearest surface that covers at least half a pixel."""
        seen = self.power[0]
        for cover, power in zip(self.cover[1:], self.power[1:], strict=True):
            seen = torch.where(cover >= 0.5, power, seen)
        return seen

    def sharp(self) -> Tensor:
        """Return the (C, H, W) image without defocus."""
        image = self.colour[0]
        for cover, colour in zip(self.cover[1:], self.colour[1:], strict=True):
            image = image + cover * (colour - image)
        return image
