"""From a focus stack to a depth map by network: units, number formats, warm-up and CUDA graphs."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from fossa_ros.core import optics
from fossa_ros.core.all_in_focus import compose_all_in_focus
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import DepthMap, FocusStack
from fossa_ros.estimators.estimator import Estimator
from fossa_ros.estimators.fossa.checkpoints import Weights, required
from fossa_ros.estimators.fossa.confidence import bracketing_confidence
from fossa_ros.estimators.fossa.cuda_graphs import GraphedCall
from fossa_ros.estimators.fossa.devices import PRECISIONS, describe_device, gpu_memory, resolve_device
from fossa_ros.estimators.fossa.factory import create_model
from fossa_ros.estimators.fossa.preprocessing import normalise
from fossa_ros.estimators.fossa.vit import Fossa


class Predictor(Estimator):
    """Estimate depth from focus stacks with one of the networks."""

    def __init__(self, model: Fossa, *, name: str = "fossa", compile: bool = False):
        """Wrap a network of ``create_model``.

        Args:
            model: the network, on the device it is to run on.
            name: name of the estimator in reports and depth maps.
            compile: compile the network with ``torch.compile``; on a CPU that takes a C++ compiler.

        Raises:
            InputError: ``compile`` on a CPU without a C++ compiler.
        """
        self.name = name
        self.model = model
        self.device = next(model.parameters()).device
        if compile and self.device.type == "cpu" and not any(map(shutil.which, ("g++", "clang++", "c++"))):
            raise InputError("compile on a CPU needs a C++ compiler; install g++ or set compile to false.")
        self._call: Callable[..., Tensor] = self._run
        if compile:
            self._call = torch.compile(self._call, dynamic=False)
        if self.device.type == "cuda":
            self._call = GraphedCall(self._call, self.device)
        precision = next(key for key, dtype in PRECISIONS.items() if dtype == model.dtype)
        self._description = f"{name} on {describe_device(self.device)}, {precision}{', compiled' * compile}"

    def estimate(self, stack: FocusStack) -> DepthMap:
        """Return the metric depth of an aligned stack, seen from its reference plane.

        Raises:
            InputError: a stack without intrinsics, or focused at infinity, which the network cannot take.
        """
        return self._depth_map(stack, self.depth(stack))

    def estimate_unrounded(self, stack: FocusStack, images: np.ndarray) -> DepthMap:
        """Do the same with (N, H, W, 3) float32 planes in 0..255 that were not rounded to 8 bits."""
        return self._depth_map(stack, self.depth(stack, images))

    @property
    def description(self) -> str:
        """Say what runs where and in which precision."""
        return self._description

    def gpu_memory(self) -> tuple[int, int] | None:
        """Return (used, total) bytes of the GPU, all processes; None on a CPU."""
        return gpu_memory(self.device)

    def warm_up(self, size: tuple[int, int], planes: int) -> None:
        """Run once on ``planes`` black images of ``size`` (H, W), so that compilation and CUDA graphs are done."""
        images = torch.zeros(planes, *size, 3, dtype=torch.uint8)
        with torch.inference_mode():
            self._call(self._pinned(images), torch.linspace(1.0, 2.0, planes)[None])

    def depth(self, stack: FocusStack, images: np.ndarray | None = None) -> np.ndarray:
        """Return ``estimate``'s depth alone: (H, W) float32 metres, NaN where unknown.

        ``images`` are those of ``estimate_unrounded``; by default the planes of the stack.
        """
        if stack.K is None:
            raise InputError(
                "FOSSA needs the camera's intrinsics for metric depth; give K in stack.json, --fx on the command line, "
                "or a calibrated camera_info."
            )
        if not np.isfinite(stack.focus_distances).all():
            raise InputError(
                "A plane is focused at infinity, which this network cannot take; give a finite focus distance, "
                "such as the lens's hyperfocal distance, or leave the plane out."
            )
        scale = optics.canonical_scale(stack.K, stack.size[1])
        focus = torch.from_numpy(stack.focus_distances * scale).float()[None]
        pixels = self._pinned(torch.from_numpy(np.ascontiguousarray(stack.images() if images is None else images)))
        with torch.inference_mode():
            metres = (self._call(pixels, focus)[0, 0] / scale).cpu().numpy()
        metres[~(np.isfinite(metres) & (metres > 0))] = np.nan
        return metres

    def _run(self, images: Tensor, focus: Tensor) -> Tensor:
        """Map (N, H, W, 3) pixels in 0..255 and (1, N) canonical focus distances to (1, 1, H, W) canonical depth."""
        return self.model(normalise(images)[None], focus)

    def _pinned(self, images: Tensor) -> Tensor:
        return images.pin_memory() if self.device.type == "cuda" else images

    def _depth_map(self, stack: FocusStack, metres: np.ndarray) -> DepthMap:
        return DepthMap(
            depth=metres,
            confidence=bracketing_confidence(metres, stack.focus_distances),
            sharp_image=lambda: compose_all_in_focus(stack, metres),
            K=stack.K,
            stamp_ns=stack.stamp_ns,
            estimator=self.name,
        )


def create_predictor(
    *,
    model: str = "vits",
    checkpoint: Weights | None = None,
    device: str = "auto",
    precision: str = "fp32",
    compile: bool = False,
) -> Predictor:
    """Return a predictor with trained weights: the ``fossa`` of ``create_estimator``.

    Args:
        model: ``vits``, ``vitb`` or ``vitl``.
        checkpoint: its weights: a ``.pth`` or ``.safetensors`` file, or a hub name such as ``fossa-vits``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:INDEX``.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        compile: compile the network with ``torch.compile``.

    Raises:
        InputError: no checkpoint, or anything that ``create_model`` and ``Predictor`` refuse.
    """
    where = resolve_device(device)
    network = create_model(model, device=where, precision=precision, weights=required(model, checkpoint))
    return Predictor(network, name=f"fossa-{model}", compile=compile)
