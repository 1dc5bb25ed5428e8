"""ONNX export for TensorRT and other runtimes, checked against PyTorch before it is kept."""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

from fossa_ros.core.errors import InputError
from fossa_ros.io.atomic import replacing

OPSET = 17
TOLERANCE = 1e-3  # largest relative difference of depth between onnxruntime and PyTorch, both in float32


def export_onnx(model: torch.nn.Module, path: str | Path, planes: int, size: tuple[int, int]) -> float:
    """Write a float32 network on the CPU as ONNX, for ``planes`` images of ``size`` (H, W).

    Inputs are ``stack`` (1, N, 3, H, W), normalised as by ``fossa_ros.estimators.fossa.preprocessing``, and
    ``focus`` (1, N) in canonical metres; the output ``depth`` is (1, 1, H, W) in canonical metres. Shapes are fixed,
    which suits TensorRT. The file is kept only if onnxruntime gives the same depth as PyTorch on random input.

    Returns:
        The largest relative difference between the two.

    Raises:
        InputError: onnx or onnxruntime is missing, the network is not float32, or the two disagree.
    """
    if model.dtype != torch.float32 or next(model.parameters()).device.type != "cpu":
        raise InputError("ONNX export needs a model in fp32 on the CPU; create it so, and let the runtime convert it.")
    try:
        import_module("onnx")  # torch.onnx needs it
        import onnxruntime
    except ModuleNotFoundError as error:
        raise InputError(f"Export needs the package {error.name}; install fossa-ros[export].") from error
    generator = torch.Generator().manual_seed(0)
    stack = torch.randn(1, planes, 3, *size, generator=generator)
    focus = torch.linspace(0.5, 4.0, planes)[None]
    with replacing(path) as partial:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer warns that sizes become constants, which is intended
            expected = model(stack, focus).numpy()
            names = {"input_names": ["stack", "focus"], "output_names": ["depth"]}
            # The tracing exporter: the newer one needs another package and gives the same graph.
            torch.onnx.export(model, (stack, focus), str(partial), opset_version=OPSET, dynamo=False, **names)
        session = onnxruntime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])
        (depth,) = session.run(["depth"], {"stack": stack.numpy(), "focus": focus.numpy()})
        difference = float(np.abs(depth / expected - 1.0).max())
        if not difference <= TOLERANCE:
            raise InputError(
                f"The exported network differs from PyTorch by {difference:.1e}, so it was not kept; try another "
                "version of onnxruntime."
            )
    return difference
