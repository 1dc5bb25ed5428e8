"""Assign frames to planes while the lens moves."""

from __future__ import annotations

from collections import Counter

import numpy as np

from fossa_ros.core.optics import dioptres, metres
from fossa_ros.sweep.frame import Drop, Frame
from fossa_ros.sweep.outcome import TakenPlane
from fossa_ros.sweep.plan import SweepPlan
from fossa_ros.sweep.timing import SweepTiming
from fossa_ros.sweep.track import LensTrack

PENDING = 256  # frames that may wait until the position of the lens is known


class MovingAssembler:
    """Give each frame the focus that the lens had at mid-exposure, and the plane of the plan that is nearest.

    A frame is used only if the track knows that focus within the tolerance. Not thread-safe: the caller
    serialises.

    Args:
        plan: the planes; a frame belongs to one if it lies nearer to it than to any other, and not farther outside
            the outermost than half the spacing.
        timing: when a frame was exposed.
        track: the positions of the lens.
        tolerance: dioptres of uncertainty that a frame may have.
        renewing: whether a newer frame replaces an older one of the same plane. A sweep then ends with the frame that
            completes it; later frames wait for the next sweep.
        span_ns: longest time from the oldest frame to the newest, if they are renewed; None for no bound.
    """

    def __init__(
        self,
        plan: SweepPlan,
        timing: SweepTiming,
        track: LensTrack,
        tolerance: float,
        *,
        renewing: bool = False,
        span_ns: int | None = None,
    ):
        self._powers = dioptres(plan.focus_distances)  # falling
        self._highest = self._powers[0] + (self._powers[0] - self._powers[1]) / 2
        self._lowest = self._powers[-1] - (self._powers[-2] - self._powers[-1]) / 2
        self._timing = timing
        self._track = track
        self._tolerance = tolerance
        self._renewing = renewing
        self._span_ns = span_ns
        self._pending: list[Frame] = []
        self.begin()

    def begin(self) -> None:
        """Begin a sweep: its planes are empty; waiting frames are kept."""
        self._slots: dict[int, TakenPlane] = {}
        self.drops: Counter[Drop] = Counter()

    def complete(self) -> bool:
        """Return whether every plane has a frame."""
        return len(self._slots) == len(self._powers)

    def missing(self) -> str:
        """Return the focus distances (m) of the planes without a frame, as text."""
        distances = (float(metres(power)) for slot, power in enumerate(self._powers) if slot not in self._slots)
        return ", ".join(f"{distance:.2f}" for distance in distances)

    def planes(self) -> list[TakenPlane]:
        """Return the planes that have a frame, in the order of exposure."""
        return sorted(self._slots.values(), key=lambda plane: plane.start_ns)

    @property
    def waiting(self) -> int:
        """Number of frames whose focus is not known yet."""
        return len(self._pending)

    def wait(self, frame: Frame) -> None:
        """Keep a frame for the next sweep."""
        self._pending.append(frame)
        if len(self._pending) > PENDING:
            self._pending.pop(0)
            self.drops[Drop.NO_LENS_STATE] += 1

    def add_frame(self, frame: Frame) -> None:
        """Add a frame; it is assigned once the position of the lens is known."""
        self.wait(frame)
        self.resolve()

    def resolve(self) -> None:
        """Assign the frames whose focus has become known."""
        waiting: list[Frame] = []
        for index, frame in enumerate(self._pending):
            if self._renewing and self.complete():
                waiting += self._pending[index:]
                break
            start, end = self._timing.exposed(frame)
            if not self._track.covers(end, self._timing.clock_margin_ns):
                waiting.append(frame)
                continue
            drop = self._assign(frame, start, end)
            if drop is not None:
                self.drops[drop] += 1
            elif self._span_ns is not None:
                self._expire(start - self._span_ns)
        self._pending = waiting

    def _expire(self, before_ns: int) -> None:
        """Empty the planes whose frame was exposed before ``before_ns``."""
        for slot in [slot for slot, plane in self._slots.items() if plane.start_ns < before_ns]:
            del self._slots[slot]

    def _assign(self, frame: Frame, start: int, end: int) -> Drop | None:
        focus = self._track.during(start, end, self._timing.clock_margin_ns)
        if focus is None:
            return Drop.NO_LENS_STATE
        if focus.uncertainty > self._tolerance:
            return Drop.UNCERTAIN
        if not self._lowest <= focus.power <= self._highest:
            return Drop.OUTSIDE_PLAN
        slot = int(np.argmin(np.abs(self._powers - focus.power)))
        taken = self._slots.get(slot)
        if taken is not None and not (self._renewing and taken.start_ns < start):
            return Drop.PLANE_TAKEN
        first = next(iter(self._slots.values()), None)
        if first is not None and frame.format != first.frame.format:
            return Drop.FORMAT
        if first is not None and frame.intrinsics != first.frame.intrinsics:
            return Drop.CAMERA_INFO
        if self._slots.pop(slot, None) is not None:
            self.drops[Drop.PLANE_TAKEN] += 1
        self._slots[slot] = TakenPlane(slot, float(metres(max(focus.power, 0.0))), focus.uncertainty, start, frame)
        return None
