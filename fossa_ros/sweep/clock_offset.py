"""Estimate the offset between the camera's clock and the lens's from images: a lens step changes their sharpness.

When the lens moves from one plane to another, a frame exposed before shows the old sharpness, one exposed after it has
arrived the new one, and one exposed meanwhile something between. Where stamps are off, all of them shift together. The
estimate is the offset at which a model of the lens's motion fits the frames of many steps best.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np

from fossa_ros.lens import LensMove
from fossa_ros.sweep.lens_response import LensResponse

REACH_NS = 60_000_000  # largest offset that is searched, both ways
STEP_NS = 500_000
STEPS = 48  # lens steps remembered
FRAMES = 256  # remembered
LEAST_STEPS = 12  # for an estimate
CONTRAST = 0.08  # relative change of sharpness that a step must make
SUBSTEPS = 8  # of an exposure
SIZE = 160  # px, about the smaller side of the image in which sharpness is measured
RIVAL_NS = 10_000_000  # an offset farther away that fits nearly as well makes the estimate uncertain
RIVAL = 1.5  # times the least residual still fits nearly as well
MODEL_NS = 1_000_000  # standard deviation of the error of the response model


@dataclass(frozen=True)
class ClockOffset:
    """An estimate of the clock offset.

    Attributes:
        offset_ns: to add to image stamps.
        uncertainty_ns: standard deviation.
        steps: number of lens steps used.
        certain: whether no other offset fits the frames nearly as well.
    """

    offset_ns: int
    uncertainty_ns: int
    steps: int
    certain: bool

    @property
    def least_ns(self) -> int:
        """How large the offset is at least, with a confidence of 95 %; 0 where it may as well be none.

        On a busy machine the lens acknowledges commands late, and the first dozen steps tell little.
        """
        return max(abs(self.offset_ns) - 2 * self.uncertainty_ns, 0)


@dataclass(frozen=True)
class _Seen:
    start_ns: int
    end_ns: int
    sharpness: float


def sharpness(image: np.ndarray) -> float:
    """Return the mean squared gradient of an (H, W) or (H, W, 3) uint8 image, reduced in size first."""
    grey = image if image.ndim == 2 else image[:, :, 1]
    factor = max(min(grey.shape) // SIZE, 1)
    small = np.ascontiguousarray(grey[::factor, ::factor])
    across, down = cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1)
    return float(cv2.mean(across * across + down * down)[0])


class ClockOffsetEstimator:
    """Collect lens steps and the sharpness of the frames around them; estimate by how much stamps are off.

    For each step only frames between the settling of the previous step and the next command count. Not thread-safe:
    the caller serialises.

    Args:
        response: how the lens follows a command.
        settling_ns: time after which a step has ended.
    """

    def __init__(self, response: LensResponse | None = None, settling_ns: int = 18_000_000):
        self._response = response or LensResponse()
        self._settling_ns = settling_ns
        self._offsets = np.arange(-REACH_NS, REACH_NS + 1, STEP_NS)
        self._moves: deque[LensMove] = deque(maxlen=5)
        self._frames: deque[_Seen] = deque(maxlen=FRAMES)
        self._residuals: deque[np.ndarray] = deque(maxlen=STEPS)  # of each step, at each offset

    def on_commanded(self, move: LensMove) -> None:
        """Add a lens step, and evaluate an earlier one whose frames have all arrived by now."""
        self._moves.append(move)
        if len(self._moves) == self._moves.maxlen:
            residual = self._residual(*list(self._moves)[:3])
            if residual is not None:
                self._residuals.append(residual)

    def exposed(self, start_ns: int, end_ns: int, sharpness: float) -> None:
        """Add a frame: its exposure according to its stamp, and its sharpness."""
        self._frames.append(_Seen(start_ns, end_ns, sharpness))

    def reset(self) -> None:
        """Forget everything: the clock was set, or the lens lost."""
        self._moves.clear()
        self._frames.clear()
        self._residuals.clear()

    def estimate(self) -> ClockOffset | None:
        """Return the offset; None while there are too few steps."""
        offsets = self._offsets
        if len(self._residuals) < LEAST_STEPS:
            return None
        each = np.array(self._residuals)
        total = each.mean(axis=0)
        best = int(total.argmin())
        # The spread of estimates that leave out one of eight groups of steps each (jackknife).
        groups = np.array_split(np.arange(len(each)), 8)
        leave_out = [offsets[np.delete(each, group, axis=0).mean(axis=0).argmin()] for group in groups if len(group)]
        spread = math.sqrt((len(leave_out) - 1) / len(leave_out) * np.sum((leave_out - np.mean(leave_out)) ** 2))
        # The width of the minimum: these offsets cannot be distinguished.
        near = offsets[total <= total[best] * RIVAL + 1e-4]
        rival = np.abs(near - offsets[best]).max() > RIVAL_NS
        uncertainty = math.hypot(spread, (near.max() - near.min()) / 4, MODEL_NS)
        at_edge = best in (0, len(offsets) - 1)
        return ClockOffset(int(offsets[best]), round(uncertainty), len(each), not rival and not at_edge)

    def _residual(self, before: LensMove, move: LensMove, after: LensMove) -> np.ndarray | None:
        """Return how badly the model fits the frames around one step, for each offset; None without contrast."""
        offsets = self._offsets
        begin = before.acknowledged_ns + self._settling_ns
        frames = [frame for frame in self._frames if begin - REACH_NS <= frame.start_ns <= after.sent_ns + REACH_NS]
        if len(frames) < 3:
            return None
        starts = np.array([frame.start_ns for frame in frames])[:, None] + offsets
        lengths = np.array([frame.end_ns - frame.start_ns for frame in frames])[:, None]
        seen = np.array([frame.sharpness for frame in frames])[:, None]
        # Only frames between the settled previous step and the next command show this one.
        inside = (starts >= begin) & (starts + lengths <= after.sent_ns)
        effect = (move.sent_ns + move.acknowledged_ns) / 2
        share = np.zeros(starts.shape)
        for part in range(SUBSTEPS):
            since = starts + lengths * (part + 0.5) / SUBSTEPS - effect
            share += np.where(since > 0, 1 - np.exp(-np.maximum(since, 0) / self._response.time_constant_ns), 0.0)
        share /= SUBSTEPS
        weight = inside.astype(float)
        count = weight.sum(axis=0)
        # Fit a straight line from the share of the step to sharpness, for each offset.
        mean_share = (weight * share).sum(axis=0) / np.maximum(count, 1)
        mean_seen = (weight * seen).sum(axis=0) / np.maximum(count, 1)
        spread = (weight * (share - mean_share) ** 2).sum(axis=0)
        slope = (weight * (share - mean_share) * (seen - mean_seen)).sum(axis=0) / np.maximum(spread, 1e-9)
        left = (weight * (seen - mean_seen - slope * (share - mean_share)) ** 2).sum(axis=0)
        total = np.ptp(seen)
        if total <= CONTRAST * float(np.mean(seen)):
            return None
        fit = left / np.maximum(count, 1) / total**2
        return np.where((count >= 3) & (spread > 0.05), fit, 0.25)
