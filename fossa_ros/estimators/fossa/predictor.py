"""From a focus stack to a depth map by network: units, number formats, warm-up, CUDA graphs and streaming."""

from __future__ import annotations

import shutil

import numpy as np
import torch
from torch import Tensor

from fossa_ros.core import optics
from fossa_ros.core.all_in_focus import compose_all_in_focus
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import DepthMap, FocusPlane, FocusStack, checked_intrinsics
from fossa_ros.estimators.estimator import Estimator
from fossa_ros.estimators.fossa.checkpoints import Weights, chosen_checkpoint
from fossa_ros.estimators.fossa.confidence import bracketing_confidence
from fossa_ros.estimators.fossa.cuda_graphs import GraphedCall
from fossa_ros.estimators.fossa.devices import PRECISIONS, describe_device, resolve_device
from fossa_ros.estimators.fossa.factory import create_model
from fossa_ros.estimators.fossa.preprocessing import normalise


class Predictor(Estimator):
    """Estimate depth from focus stacks with one of the networks.

    ``estimate`` takes a whole stack. ``begin``, ``add_plane`` and ``finish`` take it plane by plane, and do each
    plane's share of the work while the next one is being captured; the depth is the same.
    """

    def __init__(self, model: torch.nn.Module, *, name: str = "fossa", compile: bool = False):
        """Wrap a network of :func:`create_model`.

        Args:
            model: the network, on the device it is to run on.
            name: what the depth maps say made them.
            compile: compile the network with ``torch.compile``; on a CPU that takes a C++ compiler.

        Raises:
            InputError: ``compile`` on a CPU without a C++ compiler.
        """
        self.name = name
        self.model = model
        self.device = next(model.parameters()).device
        if compile and self.device.type == "cpu" and not any(map(shutil.which, ("g++", "clang++", "c++"))):
            raise InputError("compile on a CPU needs a C++ compiler; install g++ or set compile to false.")
        embed, decode, run = self._embed, self._decode, self._run
        if compile:
            embed, decode, run = (torch.compile(call, dynamic=False) for call in (embed, decode, run))
        if self.device.type == "cuda":
            embed, decode, run = (GraphedCall(call, self.device) for call in (embed, decode, run))
        self._calls = embed, decode, run
        self._size = None
        self._planes: list[FocusPlane] = []
        number = next(key for key, dtype in PRECISIONS.items() if dtype == model.dtype)
        self._description = f"{name} on {describe_device(self.device)}, {number}{', compiled' * compile}"

    def estimate(self, stack: FocusStack) -> DepthMap:
        """Return the metric depth of an aligned stack, seen from its reference plane.

        Raises:
            InputError: a stack without intrinsics, or focused at infinity, which the network cannot take.
        """
        return self._depth_map(stack, *self._estimate(stack))

    def estimate_unrounded(self, stack: FocusStack, images: np.ndarray) -> DepthMap:
        """Do the same with (N, H, W, 3) float32 planes in 0..255 that were not rounded to 8 bits."""
        return self._depth_map(stack, *self._estimate(stack, images))

    @property
    def description(self) -> str:
        """Say what runs where and in which precision."""
        return self._description

    def depth(self, stack: FocusStack) -> np.ndarray:
        """Return ``estimate``'s depth alone: (H, W) float32 metres, NaN where unknown."""
        return self._estimate(stack)[0]

    def _estimate(self, stack: FocusStack, unrounded: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        K = require_intrinsics(stack.K)
        focus = self._canonical_focus(stack.focus_distances, K, stack.size[1])
        images = self._upload(stack.images() if unrounded is None else unrounded)
        with torch.inference_mode():
            return self._metric(stack, *self._calls[2](images, focus))

    def gpu_memory(self) -> tuple[int, int] | None:
        """Return (used, total) bytes of the GPU, all processes; None on a CPU."""
        if self.device.type != "cuda":
            return None
        free, total = torch.cuda.mem_get_info(self.device)
        return total - free, total

    def warm_up(self, size: tuple[int, int], planes: int) -> None:
        """Run once on ``planes`` black images of ``size`` (H, W), so that compilation and CUDA graphs are done."""
        images = torch.zeros(planes, *size, 3, dtype=torch.uint8)
        with torch.inference_mode():
            self._calls[2](self._pinned(images), torch.linspace(1.0, 2.0, planes)[None])

    def begin(self, K: np.ndarray, size: tuple[int, int], reference: int | None = None) -> None:
        """Start a stack of planes of ``size`` (H, W), dropping an unfinished one.

        Raises:
            InputError: intrinsics that are absent or cannot belong to this size.
        """
        self._K, self._size, self._reference = checked_intrinsics(require_intrinsics(K), size), size, reference
        self._planes, self._features = [], []

    def add_plane(self, plane: FocusPlane) -> None:
        """Take the next plane and encode it as far as a plane can be on its own.

        Raises:
            InputError: a plane of another size than ``begin`` was told.
        """
        if self._size is None:
            raise RuntimeError("begin() comes before add_plane()")
        if plane.image.shape[:2] != tuple(self._size):
            (height, width), (h, w) = self._size, plane.image.shape[:2]
            raise InputError(f"A plane is {w}x{h} in a stack of {width}x{height}; resize it.")
        with torch.inference_mode():
            features = self._calls[0](self._upload(plane.image[None]))
            if self.device.type == "cuda":
                features = [part.clone() for part in features]  # the graph writes the next plane over them
        self._planes.append(plane)
        self._features.append(features)

    def finish(self) -> DepthMap:
        """Return the depth of the planes since ``begin``.

        Raises:
            InputError: fewer than two planes, or one focused at infinity, which the network cannot take.
        """
        return self._depth_map(*self._finish())

    def finish_depth(self) -> np.ndarray:
        """Return ``finish``'s depth alone: (H, W) float32 metres, NaN where unknown."""
        return self._finish()[1]

    def _finish(self) -> tuple[FocusStack, np.ndarray, np.ndarray | None]:
        if self._size is None:
            raise RuntimeError("begin() comes before finish()")
        stack = FocusStack(tuple(self._planes), K=self._K, reference=self._reference)
        focus = self._canonical_focus(stack.focus_distances, self._K, self._size[1])
        with torch.inference_mode():
            features = [torch.cat(parts)[None] for parts in zip(*self._features, strict=True)]
            result = self._metric(stack, *self._calls[1](focus, *features, size=tuple(self._size)))
        self._size, self._planes, self._features = None, [], []
        return stack, *result

    def _embed(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.model.embed(normalise(images))

    def _decode(self, focus: Tensor, *features: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
        return tuple(self.model.decode(features, focus, size))

    def _run(self, images: Tensor, focus: Tensor) -> tuple[Tensor, Tensor | None]:
        features = [part[None] for part in self._embed(images)]
        return tuple(self.model.decode(features, focus, tuple(images.shape[1:3])))

    def _upload(self, images: np.ndarray) -> Tensor:
        return self._pinned(torch.from_numpy(np.ascontiguousarray(images)))

    def _pinned(self, images: Tensor) -> Tensor:
        return images.pin_memory() if self.device.type == "cuda" else images

    def _canonical_focus(self, distances: np.ndarray, K: np.ndarray, width: int) -> Tensor:
        if self.model.finite_focus and not np.isfinite(distances).all():
            raise InputError(
                "A plane is focused at infinity, which this network cannot take; give a finite focus distance, "
                "such as the lens's hyperfocal distance, or leave the plane out."
            )
        return torch.from_numpy(distances * optics.canonical_scale(K, width)).float()[None]

    def _metric(
        self, stack: FocusStack, depth: Tensor, confidence: Tensor | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        scale = optics.canonical_scale(stack.K, stack.size[1])
        metres = (depth[0, 0] / scale).cpu().numpy()
        metres[~(np.isfinite(metres) & (metres > 0))] = np.nan
        return metres, None if confidence is None else confidence[0, 0].cpu().numpy()

    def _depth_map(self, stack: FocusStack, metres: np.ndarray, confidence: np.ndarray | None) -> DepthMap:
        if confidence is None:
            confidence = bracketing_confidence(metres, stack.focus_distances)
        return DepthMap(
            depth=metres,
            confidence=np.where(np.isnan(metres), np.float32(0), confidence),
            all_in_focus=lambda: compose_all_in_focus(stack, metres),
            K=stack.K,
            stamp_ns=stack.stamp_ns,
            estimator=self.name,
        )


def require_intrinsics(K: np.ndarray | None) -> np.ndarray:
    """Return K, or say where it can be given."""
    if K is None:
        raise InputError(
            "FOSSA needs the camera's intrinsics for metric depth; give K in stack.json, --fx on the command line, "
            "or a calibrated camera_info."
        )
    return K


def create_predictor(
    *,
    model: str = "nano",
    checkpoint: Weights | None = None,
    device: str = "auto",
    precision: str = "fp32",
    compile: bool = False,
) -> Predictor:
    """Return a predictor with trained weights: the ``fossa`` of ``create_estimator``.

    Args:
        model: name for :func:`create_model`.
        checkpoint: its weights: a ``.pth`` or ``.safetensors`` file, or a hub name such as ``fossa-vits``. None or
            empty is what ships with the package: ``nano``'s.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:INDEX``.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        compile: compile the network with ``torch.compile``.

    Raises:
        InputError: no checkpoint where none ships, or anything that :func:`create_model` and :class:`Predictor` refuse.
    """
    resolve_device(device)
    weights = chosen_checkpoint(model, checkpoint)
    network = create_model(model, device=device, precision=precision, weights=weights)
    return Predictor(network, name=f"fossa-{model}", compile=compile)
