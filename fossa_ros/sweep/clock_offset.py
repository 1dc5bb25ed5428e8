"""How far the camera's clock is from the lens's, learned from images: the sharpness that a lens step changes.

When the lens goes from one plane to another, a frame exposed before shows the old sharpness, one exposed after it has
arrived the new one, and one exposed meanwhile something between. Where stamps are off, all of them shift together;
the offset under which the frames of many steps tell one story is the clock's.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np

from fossa_ros.lens import LensMove
from fossa_ros.sweep.track import LensResponse

REACH_NS = 60_000_000  # offsets that are looked for, both ways
STEP_NS = 500_000
STEPS = 48  # lens steps remembered
FRAMES = 256  # remembered
LEAST_STEPS = 12  # of them, for an estimate
CONTRAST = 0.08  # relative change of sharpness that a step must make
SUBSTEPS = 8  # of an exposure
SIZE = 160  # px, of the smaller side at which sharpness is measured
RIVAL_NS = 10_000_000  # an offset farther off that explains the frames nearly as well makes the estimate uncertain
RIVAL = 1.5  # nearly: of the least residual
MODEL_NS = 1_000_000  # standard deviation of what the response model gets wrong


@dataclass(frozen=True)
class ClockOffset:
    """What images say of the clocks.

    Attributes:
        offset_ns: to add to image stamps.
        uncertainty_ns: standard deviation.
        steps: lens steps that it rests upon.
        certain: whether no other offset explains the frames nearly as well.
    """

    offset_ns: int
    uncertainty_ns: int
    steps: int
    certain: bool


@dataclass(frozen=True)
class _Seen:
    start_ns: int
    end_ns: int
    sharpness: float


def sharpness(image: np.ndarray) -> float:
    """Return a measure of how sharp an (H, W) or (H, W, 3) uint8 image is: mean squared gradient, made small first."""
    grey = image if image.ndim == 2 else image[:, :, 1]
    factor = max(min(grey.shape) // SIZE, 1)
    small = np.ascontiguousarray(grey[::factor, ::factor])
    across, down = cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1)
    return float(cv2.mean(across * across + down * down)[0])


class ClockOffsetEstimator:
    """Collect lens steps and the sharpness of the frames around them; say by how much stamps are off.

    Only steps between resting lenses count: from when the one before had settled, until the next. Not thread-safe:
    the caller serialises.

    Args:
        response: how the lens follows a command.
        settling_ns: after which a step has ended.
    """

    def __init__(self, response: LensResponse | None = None, settling_ns: int = 18_000_000):
        self._response = response or LensResponse()
        self._settling_ns = settling_ns
        self._offsets = np.arange(-REACH_NS, REACH_NS + 1, STEP_NS)
        self._moves: deque[LensMove] = deque(maxlen=5)
        self._frames: deque[_Seen] = deque(maxlen=FRAMES)
        self._told: deque[np.ndarray] = deque(maxlen=STEPS)  # for each step, the deviation at each offset

    def commanded(self, move: LensMove) -> None:
        """Note a lens step, and what an earlier one told, now that the frames after it are here too."""
        self._moves.append(move)
        if len(self._moves) == self._moves.maxlen:
            told = self._step(*list(self._moves)[:3])
            if told is not None:
                self._told.append(told)

    def exposed(self, start_ns: int, end_ns: int, sharpness: float) -> None:
        """Note a frame: its exposure as its stamp tells it, and how sharp it is."""
        self._frames.append(_Seen(start_ns, end_ns, sharpness))

    def reset(self) -> None:
        """Forget everything: the clock was set, or the lens lost."""
        self._moves.clear()
        self._frames.clear()
        self._told.clear()

    def estimate(self) -> ClockOffset | None:
        """Return the offset; None while too little was seen."""
        offsets = self._offsets
        residuals = list(self._told)
        if len(residuals) < LEAST_STEPS:
            return None
        each = np.array(residuals)
        total = each.mean(axis=0)
        best = int(total.argmin())
        # Each half of the steps tells for itself: their spread is the uncertainty (jackknife over eight groups).
        groups = np.array_split(np.arange(len(each)), 8)
        leave_out = [offsets[np.delete(each, group, axis=0).mean(axis=0).argmin()] for group in groups if len(group)]
        spread = math.sqrt((len(leave_out) - 1) / len(leave_out) * np.sum((leave_out - np.mean(leave_out)) ** 2))
        # How flat the minimum is: offsets within half again of the least residual cannot be told apart.
        near = offsets[total <= total[best] * RIVAL + 1e-4]
        rival = np.abs(near - offsets[best]).max() > RIVAL_NS
        uncertainty = math.hypot(spread, (near.max() - near.min()) / 4, MODEL_NS)
        at_edge = best in (0, len(offsets) - 1)
        return ClockOffset(int(offsets[best]), round(uncertainty), len(each), not rival and not at_edge)

    def _step(self, before: LensMove, move: LensMove, after: LensMove) -> np.ndarray | None:
        """Return how far the frames about one step deviate from its story, for each offset; None without contrast."""
        offsets = self._offsets
        begin = before.acknowledged_ns + self._settling_ns
        frames = [frame for frame in self._frames if begin - REACH_NS <= frame.start_ns <= after.sent_ns + REACH_NS]
        if len(frames) < 3:
            return None
        starts = np.array([frame.start_ns for frame in frames])[:, None] + offsets
        lengths = np.array([frame.end_ns - frame.start_ns for frame in frames])[:, None]
        seen = np.array([frame.sharpness for frame in frames])[:, None]
        # Only frames that lie between the settled step before and the next one belong to the story.
        inside = (starts >= begin) & (starts + lengths <= after.sent_ns)
        taken = (move.sent_ns + move.acknowledged_ns) / 2
        share = np.zeros(starts.shape)
        for part in range(SUBSTEPS):
            since = starts + lengths * (part + 0.5) / SUBSTEPS - taken
            share += np.where(since > 0, 1 - np.exp(-np.maximum(since, 0) / self._response.time_constant_ns), 0.0)
        share /= SUBSTEPS
        weight = inside.astype(float)
        count = weight.sum(axis=0)
        # A straight line from share to sharpness, fitted for each offset; what it leaves is the deviation.
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
