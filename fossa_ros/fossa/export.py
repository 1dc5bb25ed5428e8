"""ONNX export for TensorRT and other runtimes, checked against PyTorch before it is kept."""

from __future__ import annotations

from pathlib import Path

import torch

OPSET = 17
TOLERANCE = 1e-3  # of the relative difference between onnxruntime and PyTorch in float32


class FixedPositions(torch.nn.Module):
    """A network whose position embedding is computed once: ONNX runtimes disagree about bicubic interpolation."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, stack, focus):
        return self.model(stack, focus)


def export_onnx(model: torch.nn.Module, path: Path, planes: int, size: tuple[int, int]) -> float:
    """Write a float32 network as ONNX for ``planes`` images of ``size`` (H, W).

    Inputs are ``stack`` (1, N, 3, H, W), normalised, and ``focus`` (1, N) in canonical metres; the output ``depth``
    is (1, 1, H, W) in canonical metres. The file is kept only if onnxruntime agrees with PyTorch.

    Returns:
        The largest relative difference between the two on random input.

    Raises:
        InputError: onnx or onnxruntime is not installed, the network is not float32, or they disagree.
    """
