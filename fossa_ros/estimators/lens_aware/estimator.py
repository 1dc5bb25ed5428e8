"""The estimator of the lens-aware network."""

from __future__ import annotations

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
from fossa_ros.estimators.lens_aware.network import EvidenceNetwork, Inputs, by_rows, sharpened
from fossa_ros.estimators.shipped import SHIPPED

WIDTH = 512  # px: wider images are processed at this width, at which blur is neither lost nor wider than the levels
ENLARGED = (1.25, 1.5)  # least and largest factor by which smaller images are enlarged too, up to WIDTH
BARE_WIDTHS = (320, 240)  # px, at which bare surfaces are judged, each after a wider one
SMALLER = 0.78  # of the width before, least reduction that is worth its time
TEXTURED = 40.0  # log-likelihood of the best level, at which two widths count the same
VICINITY = 0.00625  # of the width: standard deviation of the window over which that is averaged
DOUBT = 3  # power of the doubt, 1 - confidence, by which depth is drawn to that along surfaces
MODE_REACH = 2.0  # levels around the depth that belong to its mode, which ends one level further
SPLIT = 0.25  # levels^2: most that splitting a depth between two levels adds to the variance
MODE_DEVIATION = 0.2  # levels, least of a mode; measured on the choosing set of docs/validation.md
# Measured by benchmarks/confidence.py on the path-traced stacks of the choosing set of docs/validation.md.
CALIBRATION = CalibrationCurve(
    stated=(0.0, 0.26, 0.36, 0.455, 0.55, 0.65, 0.75, 0.85, 0.97, 1.0),
    measured=(0.0, 0.16, 0.22, 0.335, 0.455, 0.61, 0.78, 0.87, 0.98, 1.0),
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
        *finer, coarsest = self._scales(stack)
        power, confidence = self.posterior(coarsest)
        for scale in reversed(finer):
            textured = texture(scale, max(scale.gray.shape[2] / stack.size[1], 1.0))
            power, confidence = blended(self.posterior(scale), (power, confidence), textured)
        depth = 1.0 / power
        if depth.shape != stack.size:
            depth = enlarge_depth(depth, stack.size)
            confidence = cv2.resize(confidence, stack.size[::-1], interpolation=cv2.INTER_LINEAR)
        return DepthMap(
            depth, confidence, lambda: compose_all_in_focus(stack, depth), stack.K, stack.stamp_ns, self.name
        )

    def _scales(self, stack: FocusStack) -> list[Evidence]:
        """Return the evidence at all widths, the largest first."""
        evidence = stack_evidence(stack, self.network.config.levels, WIDTH)
        own = evidence.gray.shape[2]
        return [
            evidence if width == own else resampled_evidence(evidence, stack, width) for width in processed_widths(own)
        ]

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
        image = np.full((height, width, 3), 128, np.uint8)
        distances = np.geomspace(0.5, 1.0, max(planes, 2))
        same = tuple(FocusPlane(image, float(distance)) for distance in distances)
        self.estimate(FocusStack(same, np.diag([width, width, 1.0]), f_number=1.4, focal_length=0.025))

    def posterior(self, evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
        """Return (H, W) float32 dioptres and confidence at the size of the evidence's images."""
        height, width = evidence.gray.shape[1:]
        inputs = Inputs(*(part.to(self.device) for part in padded(network_inputs(evidence))))
        first, step = float(evidence.levels[0]), float(evidence.levels[1] - evidence.levels[0])
        with torch.inference_mode():
            found = power_and_confidence(self.network, inputs, first, step)
        power, confidence = (x[0, :height, :width].float().cpu().numpy() for x in found)
        confidence = CALIBRATION(confidence)
        return hedged(power, confidence, evidence.surfaces.power), confidence


def processed_widths(width: int) -> list[int]:
    """Return the widths at which images ``width`` px wide, at most ``WIDTH``, are processed, the largest first."""
    least, most = ENLARGED
    widths = [width] if least * width > WIDTH else [min(round(most * width), WIDTH), width]
    for smaller in BARE_WIDTHS:
        if smaller <= SMALLER * widths[-1]:
            widths.append(smaller)
    return widths


def texture(evidence: Evidence, enlarged: float = 1.0) -> np.ndarray:
    """Return how much the texture around each pixel tells of depth, (H, W) float32 0..1 at the size of the images.

    ``enlarged`` is the factor by which the images were; as many more pixels say the same.
    """
    peak = np.maximum(evidence.total.max(axis=0), 0.0)
    size = evidence.gray.shape[:0:-1]
    peak = cv2.resize(cv2.GaussianBlur(peak, None, VICINITY * size[0]), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(peak**2 / (peak**2 + (TEXTURED * enlarged**2) ** 2))


def blended(
    fine: tuple[np.ndarray, np.ndarray], bare: tuple[np.ndarray, np.ndarray], textured: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return power and confidence, (H, W) float32: ``fine`` where there is texture, else ``bare``, a smaller one.

    The network sees a fixed number of pixels. In wide images it does not see the edges of a bare wall, by which it
    would know how the wall lies. Texture, on the other hand, tells more of depth where it has more pixels.
    """
    small = (cv2.resize(part, textured.shape[::-1], interpolation=cv2.INTER_LINEAR) for part in bare)
    power, confidence = (textured * part + (1 - textured) * other for part, other in zip(fine, small, strict=True))
    return power, confidence


def power_and_confidence(network: EvidenceNetwork, inputs: Inputs, first: float, step: float) -> tuple[Tensor, Tensor]:
    """Return (B, H, W) dioptres and confidence before it is calibrated, on the device of network and inputs.

    ``first`` is level 0 and ``step`` that of the levels, dioptres.
    """
    outputs = network(inputs)
    (close,) = by_rows(
        lambda logits, position: [probability_of(logits, position, first, step)],
        outputs.logits,
        outputs.position[:, None],
    )
    return first + step * outputs.full, sharpened(close[:, 0], outputs.weights).clamp(0, 1)


def hedged(power: np.ndarray, confidence: np.ndarray, surfaces: np.ndarray) -> np.ndarray:
    """Return the (H, W) power drawn to the mean of itself and of that along surfaces, where it is very doubtful.

    Errors of the network are rarer than those along surfaces, and larger: in a scene unlike those of its training it
    may take a bare ceiling for a far wall. Where it doubts most, the mean of both has the least expected error.
    """
    mean = (power + cv2.resize(surfaces, power.shape[::-1])) / 2
    return np.asarray(power + (1 - confidence) ** DOUBT * (mean - power))


def probability_of(logits: Tensor, position: Tensor, first: float, step: float) -> Tensor:
    """Return the probability that depth is within ``CLOSE`` of that at ``position``; both are (B, 1, h, w).

    The mode around the position counts as normally distributed: training splits a depth between the two nearest levels,
    so that a certain one has a variance too, and for far surfaces a tenth of the depth is less than a level. The other
    levels count as bins of one step. The first and the last do not count: they hold all that is farther or nearer than
    the levels, which may be at any such depth. A mode of which they have a part is as doubtful as that part is large.
    """
    mass = logits.softmax(1)
    apart = torch.arange(logits.shape[1], device=logits.device, dtype=torch.float32).view(1, -1, 1, 1) - position
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
