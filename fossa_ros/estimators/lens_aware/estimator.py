"""The estimator of the lens-aware network."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fossa_ros.core.all_in_focus import compose_all_in_focus
from fossa_ros.core.errors import InputError
from fossa_ros.core.resampling import enlarge_depth
from fossa_ros.core.stack import DepthMap, FocusStack
from fossa_ros.estimators.calibration_curve import CLOSE
from fossa_ros.estimators.estimator import Estimator
from fossa_ros.estimators.evidence import Evidence, gray_evidence, stack_evidence
from fossa_ros.estimators.fossa.checkpoints import check_keys, read_weights
from fossa_ros.estimators.fossa.devices import describe_device, gpu_memory, resolve_device
from fossa_ros.estimators.lens_aware.inputs import network_inputs
from fossa_ros.estimators.lens_aware.network import EvidenceNetwork, Inputs, sharpened

WIDTH = 640  # px: wider images are processed at this width, at which blur is neither lost nor wider than the levels
MULTIPLE = 16  # of the sides at half resolution


class LensAwareEstimator(Estimator):
    """Estimate depth by pooling the evidence of a stack along surfaces.

    If the stack has intrinsics, focal length and f-number, the blur of every depth is known. Otherwise the blur per
    dioptre is estimated from the stack itself.
    """

    name = "lens_aware"

    def __init__(self, network: EvidenceNetwork, device: torch.device | str = "cpu"):
        self.network = network.to(device, memory_format=torch.channels_last).eval()
        self.device = torch.device(device)

    def estimate(self, stack: FocusStack) -> DepthMap:
        """Return metric depth, confidence and the all-in-focus image, seen from the reference plane.

        Planes may be in any order. The confidence is the probability that the relative error of depth is below 10 %.

        Raises:
            InputError: all planes are focused at the same distance.
        """
        evidence = stack_evidence(stack, self.network.config.levels, WIDTH)
        power, confidence = self.posterior(evidence)
        depth = 1.0 / power
        if depth.shape != stack.size:
            depth, confidence = enlarge_depth(depth, stack.size), enlarge_depth(confidence, stack.size)
        return DepthMap(
            depth, confidence, lambda: compose_all_in_focus(stack, depth), stack.K, stack.stamp_ns, self.name
        )

    @property
    def description(self) -> str:
        """Say what runs where."""
        return f"{self.name} on {describe_device(self.device)}"

    def gpu_memory(self) -> tuple[int, int] | None:
        """Return (used, total) bytes of the GPU, all processes; None on a CPU."""
        return gpu_memory(self.device)

    def warm_up(self, size: tuple[int, int], planes: int) -> None:
        """Run once on planes without texture, so that buffers and kernels are there when the first stack comes."""
        height, width = (max(side, 2) for side in size)
        scale = min(1.0, WIDTH / width)
        gray = np.full((max(planes, 2), round(scale * height), round(scale * width)), 128.0, np.float32)
        focus = np.linspace(2.0, 1.0, len(gray))
        self.posterior(gray_evidence(gray, focus, np.full(len(gray), 4.0), self.network.config.levels))

    def posterior(self, evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
        """Return (H, W) float32 dioptres and confidence at the size of the evidence's images."""
        height, width = evidence.gray.shape[1:]
        inputs = Inputs(*(part.to(self.device) for part in padded(network_inputs(evidence))))
        first, step = float(evidence.levels[0]), float(evidence.levels[1] - evidence.levels[0])
        with torch.inference_mode():
            outputs = self.network(inputs)
            power = first + step * outputs.full
            close = probability_of(outputs.logits, outputs.position, first, step)
            confidence = sharpened(close, outputs.weights).clamp(0, 1)
        return tuple(x[0, :height, :width].float().cpu().numpy() for x in (power, confidence))


def probability_of(logits: Tensor, position: Tensor, first: float, step: float) -> Tensor:
    """Return (B, h, w): the posterior mass of the levels within ``CLOSE`` of the depth at ``position``.

    Levels are bins of one step; a bin that the limits cut counts in part.
    """
    levels = torch.arange(logits.shape[1], device=logits.device, dtype=torch.float32).view(1, -1, 1, 1)
    power = (first + step * position)[:, None]
    lowest, highest = ((power / (1 + sign * CLOSE) - first) / step for sign in (1, -1))
    inside = (torch.minimum(highest, levels + 0.5) - torch.maximum(lowest, levels - 0.5)).clamp(0, 1)
    return (logits.softmax(1) * inside).sum(1)


def padded(inputs: Inputs) -> Inputs:
    """Extend the maps to multiples of ``MULTIPLE``: no evidence, and the image continued."""
    height, width = inputs.total.shape[2:]
    below, right = -height % MULTIPLE, -width % MULTIPLE
    tall = 2 * (height + below) - inputs.guides.shape[2]
    wide = 2 * (width + right) - inputs.guides.shape[3]
    zero, edge = (0, right, 0, below), (0, wide, 0, tall)
    return Inputs(
        F.pad(inputs.total, zero),
        F.pad(inputs.finest, zero),
        F.pad(inputs.guides, edge, mode="replicate"),
        F.pad(inputs.surface, zero, mode="replicate"),
        F.pad(inputs.sides, zero),
        inputs.settings,
        inputs.origin,
    )


def create_lens_aware(*, checkpoint: str | None = None, device: str = "auto") -> LensAwareEstimator:
    """Return the estimator with trained weights: the ``lens_aware`` of ``create_estimator``.

    Args:
        checkpoint: a ``.safetensors`` file that ``fossa train`` wrote for a network of the default sizes. No weights
            ship with the package yet: docs/notes/lens-aware.md says why.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:INDEX``.

    Raises:
        InputError: no checkpoint is given, the weights cannot be read or are those of another network, or the device
            does not exist.
    """
    if not checkpoint:
        raise InputError(
            "Estimator lens_aware has no weights in this package yet; give checkpoint, the weights.safetensors of a "
            "run of fossa train config/training/lens_aware.yaml, or choose estimator classical."
        )
    chosen = resolve_device(device)
    network = EvidenceNetwork()
    state, source = read_weights(checkpoint)
    check_keys(network, state, source)
    network.load_state_dict(state)
    return LensAwareEstimator(network, chosen)
