"""The estimator of the lens-aware network."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fossa_ros.core.all_in_focus import compose_all_in_focus
from fossa_ros.core.resampling import enlarge_depth
from fossa_ros.core.stack import DepthMap, FocusPlane, FocusStack
from fossa_ros.estimators.calibration_curve import CalibrationCurve
from fossa_ros.estimators.estimator import Estimator
from fossa_ros.estimators.evidence import Evidence, resampled_evidence, stack_evidence
from fossa_ros.estimators.fossa.checkpoints import load_weights
from fossa_ros.estimators.fossa.devices import describe_device, gpu_memory, resolve_device
from fossa_ros.estimators.lens_aware.inputs import network_inputs, surface_in_levels
from fossa_ros.estimators.lens_aware.network import EvidenceNetwork, Inputs, sharpened
from fossa_ros.estimators.lens_aware.reading import closeness, position_and_variance, together
from fossa_ros.estimators.lens_aware.smoothing import sharp_view, smoothed
from fossa_ros.estimators.shipped import SHIPPED

WIDTH = 512  # px: wider images are processed at this width, at which blur is neither lost nor wider than the levels
ENLARGED = (1.25, 1.5)  # least and largest factor by which smaller images are enlarged, up to WIDTH
BARE_WIDTH = 240  # px, at which bare surfaces are judged
SMALLER = 0.78  # of the finer width, least reduction that is worth its time
TEXTURED = 40.0  # log-likelihood of the best level, at which both widths count the same
VICINITY = 0.00625  # of the width: standard deviation of the window over which that is averaged
SUPPORTED = 0.8  # of the support of Surfaces, from which it costs no confidence
# Measured by benchmarks/confidence.py on the path-traced stacks of the choosing set of docs/validation.md.
CALIBRATION = CalibrationCurve(
    stated=(0.0, 0.26, 0.355, 0.455, 0.555, 0.655, 0.75, 0.83, 0.92, 0.98, 0.995, 1.0),
    measured=(0.0, 0.215, 0.29, 0.40, 0.47, 0.56, 0.71, 0.81, 0.885, 0.93, 0.957, 1.0),
)
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
        evidence = self._evidence(stack)
        power, confidence = self._read(stack, evidence)
        depth = 1.0 / power
        if depth.shape != stack.size:
            depth = enlarge_depth(depth, stack.size)
            confidence = cv2.resize(confidence, stack.size[::-1], interpolation=cv2.INTER_LINEAR)
        return DepthMap(
            depth, confidence, lambda: compose_all_in_focus(stack, depth), stack.K, stack.stamp_ns, self.name
        )

    def _evidence(self, stack: FocusStack) -> list[Evidence]:
        """Return the evidence at all widths, the largest first."""
        fine, *bare = processed_widths(min(stack.size[1], WIDTH))
        evidence = stack_evidence(stack, self.network.config.levels, WIDTH, least=fine)
        return [evidence, *(resampled_evidence(evidence, stack, width) for width in bare)]

    def _read(self, stack: FocusStack, evidence: Sequence[Evidence]) -> tuple[np.ndarray, np.ndarray]:
        """Return (H, W) float32 dioptres and confidence at the size of the first evidence's images."""
        fine = evidence[0]
        first, step = float(fine.levels[0]), float(fine.levels[1] - fine.levels[0])
        with torch.inference_mode():
            logits, weights = self.log_posterior(evidence, max(fine.gray.shape[2] / stack.size[1], 1.0))
            surface = torch.from_numpy(surface_in_levels(fine)).to(self.device)[None]
            position, variance = (x[0, 0].cpu().numpy() for x in position_and_variance(logits, surface, first / step))
            position = smoothed(position, variance, sharp_view(stack, first + step * position))
            at = self._map(position)
            close = closeness(logits, at, surface, first, step)
            full = (sharpened(x[:, 0], weights) for x in (first + step * at, close))
        height, width = fine.gray.shape[1:]
        power, confidence = (x[0, :height, :width].cpu().numpy() for x in full)
        return power, CALIBRATION(confidence.clip(0, 1)) * told(evidence, (height, width))

    def _map(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(array, np.float32)).to(self.device)[None, None]

    def log_posterior(self, evidence: Sequence[Evidence], magnified: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return logits and weights of the network's ``Outputs``, those of all widths joined, at the size of the first.

        Args:
            evidence: of one stack at one width or two, the largest first.
            magnified: factor by which the images of the first are enlarged.
        """
        (logits, weights), *bare = (self._log_posterior(each) for each in evidence)
        if bare:
            logits = together(logits, bare[0][0], self._map(texture(evidence[0], magnified)))
        return logits, weights

    def _log_posterior(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """Return logits and weights of the network's ``Outputs``, at the size of the evidence."""
        inputs = Inputs(*(part.to(self.device) for part in padded(network_inputs(evidence))))
        height, width = evidence.total.shape[1:]
        logits, weights = self.network.log_posterior(inputs)
        return logits[..., :height, :width], weights[..., :height, :width]

    @property
    def description(self) -> str:
        """Say what runs where."""
        return f"{self.name} on {describe_device(self.device)}"

    def gpu_memory(self) -> tuple[int, int] | None:
        """Return (used, total) bytes of the GPU, all processes; None on a CPU."""
        return gpu_memory(self.device)

    def warm_up(self, size: tuple[int, int], planes: int) -> None:
        """Run once on planes without texture, so that buffers and kernels are there when the first stack comes."""
        height, width = (max(side, 16) for side in size)
        image = np.full((height, width, 3), 128, np.uint8)
        distances = np.geomspace(0.5, 1.0, max(planes, 2))
        same = tuple(FocusPlane(image, float(distance)) for distance in distances)
        self.estimate(FocusStack(same, np.diag([width, width, 1.0]), f_number=1.4, focal_length=0.025))


def processed_widths(width: int) -> list[int]:
    """Return the widths at which images ``width`` px wide, at most ``WIDTH``, are processed, the largest first."""
    least, most = ENLARGED
    fine = width if least * width > WIDTH else min(round(most * width), WIDTH)
    bare = min(width, BARE_WIDTH)
    return [fine, bare] if bare <= SMALLER * fine else [fine]


def texture(evidence: Evidence, magnified: float = 1.0) -> np.ndarray:
    """Return how much the texture around each pixel tells of depth, (h, w) float32 0..1.

    ``magnified`` is the factor by which the images are enlarged; as many more pixels say the same.
    """
    peak = np.maximum(evidence.total.max(axis=0), 0.0)
    peak = cv2.GaussianBlur(peak, None, VICINITY * evidence.gray.shape[2])
    return np.asarray(peak**2 / (peak**2 + (TEXTURED * magnified**2) ** 2))


def told(evidence: Sequence[Evidence], size: tuple[int, int]) -> np.ndarray:
    """Return (H, W) float32 0..1: how far texture, at any distance, tells the depth of each pixel, at all widths.

    Where nothing does, as on a wall that fills the view, the network says what rooms look like, and is sure of it.
    """
    support = np.minimum.reduce([cv2.resize(each.surfaces.support, size[::-1]) for each in evidence])
    return np.asarray((support / SUPPORTED).clip(0, 1) ** 2)


def padded(inputs: Inputs, size: tuple[int, ...] | None = None) -> Inputs:
    """Extend the maps to ``size`` (h, w), or to multiples of ``MULTIPLE``: no evidence, and the image continued."""
    height, width = inputs.total.shape[2:]
    whole = size or tuple(side + -side % MULTIPLE for side in (height, width))
    below, right = whole[0] - height, whole[1] - width
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
        checkpoint: a ``.safetensors`` file that ``fossa train`` wrote for a network of the default sizes. None or
            empty selects the weights that ship with the package.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:INDEX``.

    Raises:
        InputError: the weights cannot be read or are those of another network, or the device does not exist.
    """
    chosen = resolve_device(device)
    network = EvidenceNetwork()
    load_weights(network, checkpoint or SHIPPED["lens_aware"])
    return LensAwareEstimator(network, chosen)
