"""Replay a network call as one CUDA graph: no Python and no kernel launches between its few hundred kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WARM_UP_CALLS = 3  # on the first calls cuBLAS and cuDNN allocate memory and choose algorithms, which a capture forbids


class GraphedCall:
    """A function of tensors, captured on the first call and again when the shapes of its inputs change.

    Inputs may be on the CPU (pinned memory copies fastest). Outputs are on the GPU, and the next call overwrites them.
    Only the latest graph is kept, since each holds its own memory.
    """

    def __init__(self, function: Callable[..., Sequence[Tensor | None]], device: torch.device):
        self.function = function
        self.device = device
        self.signature: list[tuple[torch.Size, torch.dtype]] | None = None

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor | None]:
        signature = [(tensor.shape, tensor.dtype) for tensor in inputs]
        if signature != self.signature:
            self.capture(inputs)
            self.signature = signature
        for static, tensor in zip(self.inputs, inputs, strict=True):
            static.copy_(tensor, non_blocking=True)
        self.graph.replay()
        return self.outputs

    def capture(self, inputs: Sequence[Tensor]) -> None:
        """Record the function for inputs of these shapes."""
        self.signature = self.graph = self.inputs = self.outputs = None  # free the old graph's memory first
        self.inputs = [tensor.to(self.device, copy=True) for tensor in inputs]
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_CALLS):
                self.function(*self.inputs)
        torch.cuda.current_stream(self.device).wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.outputs = self.function(*self.inputs)
