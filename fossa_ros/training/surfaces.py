"""What the training renderer takes: a scene as seen through one pixel grid, cut into surfaces that hide each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Surfaces:
    """Surfaces from back to front, each whole, also where a nearer one hides it.

    A blurred edge shows some of what is behind it, so a renderer that has only the visible pixels must invent it.

    Attributes:
        colour: (S, 3, H, W) float32 linear radiance, 1 is white; highlights are above.
        cover: (S, H, W) float32 in 0..1; the first surface covers everything.
        power: (S, H, W) float32 dioptres at every pixel, also where the surface does not cover it.
    """

    colour: Tensor
    cover: Tensor
    power: Tensor

    def visible_power(self) -> Tensor:
        """Return (H, W) dioptres of what a pinhole sees: the nearest surface that covers half a pixel or more."""
        seen = self.power[0]
        for cover, power in zip(self.cover[1:], self.power[1:], strict=True):
            seen = torch.where(cover >= 0.5, power, seen)
        return seen

    def sharp(self) -> Tensor:
        """Return the (3, H, W) image of a pinhole."""
        image = self.colour[0]
        for cover, colour in zip(self.cover[1:], self.colour[1:], strict=True):
            image = image + cover * (colour - image)
        return image
