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
from fossa_ros.estimators.calibration_curve import CLOSE, CalibrationCurve
from fossa_ros.estimators.estimator import Estimator
from fossa_ros.estimators.evidence import Evidence, resampled_evidence, stack_evidence
from fossa_ros.estimators.fossa.checkpoints import load_weights
from fossa_ros.estimators.fossa.devices import describe_device, gpu_memory, resolve_device
from fossa_ros.estimators.lens_aware.inputs import network_inputs
from fossa_ros.estimators.lens_aware.network import (
    EvidenceNetwork,
    Inputs,
    by_rows,
    enlarged,
    median_position,
    sharpened,
)
from fossa_ros.estimators.shipped import SHIPPED

WIDTH = 512  # px: wider images are processed at this width, at which blur is neither lost nor wider than the levels
ENLARGED = (1.25, 1.5)  # least and largest factor by which smaller images are enlarged, up to WIDTH
BARE_WIDTH = 240  # px, at which bare surfaces are judged
SMALLER = 0.78  # of the finer width, least reduction that is worth its time
TEXTURED = 40.0  # log-likelihood of the best level, at which both widths count the same
VICINITY = 0.00625  # of the width: standard deviation of the window over which that is averaged
TOGETHER = 1.2  # times the mean of two log-posteriors, whose errors are in part independent
MODE_REACH = 2.0  # levels around the depth that belong to its mode, which ends one level further
SPLIT = 0.25  # levels^2: most that splitting a depth between two levels adds to the variance
MODE_DEVIATION = 0.2  # levels, least of a mode; measured on the choosing set of docs/validation.md
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
        power, confidence = self._depth(evidence, magnified=max(evidence[0].gray.shape[2] / stack.size[1], 1.0))
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

    def _depth(self, evidence: Sequence[Evidence], magnified: float) -> tuple[np.ndarray, np.ndarray]:
        """Return (H, W) float32 dioptres and confidence at the size of the first evidence's images."""
        fine = evidence[0]
        height, width = fine.gray.shape[1:]
        first, step = float(fine.levels[0]), float(fine.levels[1] - fine.levels[0])
        with torch.inference_mode():
            (logits, weights), *bare = (self._log_posterior(each) for each in evidence)
            if bare:
                textured = torch.from_numpy(texture(fine, magnified)).to(self.device)
                logits = together(logits, bare[0][0], textured[None, None])
            found = power_and_confidence(logits, weights, first, step)
        power, confidence = (x[0, :height, :width].float().cpu().numpy() for x in found)
        return power, CALIBRATION(confidence)

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


def together(fine: Tensor, bare: Tensor, textured: Tensor) -> Tensor:
    """Return the log-posterior of two widths, not normalised: ``fine`` where there is texture, else ``bare``.

    The network sees a fixed number of pixels. In wide images it does not see the edges of a bare wall, by which it
    would know how the wall lies. Texture, on the other hand, tells more of depth where it has more pixels. The mean is
    one of logarithms, so that a depth is likely which both widths allow; the mean of two depths may be neither.

    Args:
        fine: (B, L, h, w) log-posterior at the larger width.
        bare: likewise, at a smaller width.
        textured: (B, 1, h, w) in 0..1, as of ``texture``.
    """
    bare = enlarged(bare, fine.shape[2:])
    (both,) = by_rows(lambda *rows: [TOGETHER * torch.lerp(*rows)], bare, fine, textured.expand_as(fine))
    return both


def power_and_confidence(logits: Tensor, weights: Tensor, first: float, step: float) -> tuple[Tensor, Tensor]:
    """Return (B, H, W) dioptres and confidence before it is calibrated, from parts of the network's ``Outputs``.

    ``first`` is level 0 and ``step`` that of the levels, dioptres.
    """
    origin = torch.full((len(logits),), first / step, device=logits.device)

    def read(rows: Tensor) -> list[Tensor]:
        mass = rows.softmax(1)
        position = median_position(mass, origin)[:, None]
        return [position, probability_of(mass, position, first, step)]

    position, close = (each[:, 0] for each in by_rows(read, logits))
    return first + step * sharpened(position, weights), sharpened(close, weights).clamp(0, 1)


def probability_of(mass: Tensor, position: Tensor, first: float, step: float) -> Tensor:
    """Return the probability that depth is within ``CLOSE`` of that at ``position``; both are (B, 1, h, w).

    ``mass`` is the (B, L, h, w) posterior, ``first`` level 0 and ``step`` that of the levels, dioptres.

    The mode around the position counts as normally distributed: training splits a depth between the two nearest levels,
    so that a certain one has a variance too, and for far surfaces a tenth of the depth is less than a level. The other
    levels count as bins of one step. The first and the last do not count: they hold all that is farther or nearer than
    the levels, which may be at any such depth. A mode of which they have a part is as doubtful as that part is large.
    """
    apart = torch.arange(mass.shape[1], device=mass.device, dtype=torch.float32).view(1, -1, 1, 1) - position
    near = mass * (1 + MODE_REACH - apart.abs()).clamp(0, 1)
    whole, mean, square = (part.sum(1, keepdim=True) for part in (near, near * apart, near * apart.square()))
    mean, square = (part / whole.clamp_min(1e-6) for part in (mean, square))
    deviation = (MODE_DEVIATION**2 + (square - mean.square() - SPLIT).clamp_min(0)).sqrt()

    power = first + step * position
    lowest, highest = ((power / (1 + sign * CLOSE) - power) / step for sign in (1, -1))
    close = torch.special.ndtr(highest / deviation) - torch.special.ndtr(lowest / deviation)
    inside = (torch.minimum(highest, apart + 0.5) - torch.maximum(lowest, apart - 0.5)).clamp(0, 1)
    mode, others = (part[:, 1:-1].sum(1, keepdim=True) for part in (near, (mass - near) * inside))
    return mode * (mode / whole.clamp_min(1e-6)) * close + others


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
