"""What all FOSSA networks have in common: input, output, and how they are called."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Prediction(NamedTuple):
    """Output of a network.

    Attributes:
        depth: (B, 1, H, W) float32 canonical metres along the optical axis, positive.
        confidence: (B, 1, H, W) float32 in 0..1; None from a network without such an output.
    """

    depth: Tensor
    confidence: Tensor | None


class DepthNetwork(nn.Module):
    """A network that estimates depth from a focus stack: ``depth = model(stack, focus)``.

    Attributes:
        finite_focus: whether every plane must be focused at a finite distance.
    """

    finite_focus: bool

    @property
    def dtype(self) -> torch.dtype:
        """Type that weights and activations have."""
        return next(self.parameters()).dtype

    def predict(self, stack: Tensor, focus: Tensor) -> Prediction:
        """Estimate depth and, where the network has one, confidence.

        Args:
            stack: (B, N, 3, H, W) float32 RGB, normalised with the ImageNet mean and standard deviation.
            focus: (B, N) float32 focus distances in canonical metres: metres times width / max(fx, fy).
        """
        raise NotImplementedError

    def forward(self, stack: Tensor, focus: Tensor) -> Tensor:
        """Return (B, 1, H, W) float32 canonical depth; arguments as those of ``predict``."""
        return self.predict(stack, focus).depth


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample (B, C, h, w) maps bilinearly to (B, C, *size); the corner pixels stay in the corners."""
    size = tuple(map(int, size))  # while tracing, sizes are tensors
    if tuple(x.shape[2:]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
