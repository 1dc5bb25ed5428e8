"""Assign frames to the planes of a stepped sweep."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from fossa_ros.lens import LensMove
from fossa_ros.sweep.frame import Drop, Frame
from fossa_ros.sweep.timing import SweepTiming


@dataclass
class _Plane:
    move: LensMove
    closed_ns: int | None = None  # when the next command was sent, which ends this plane
    frame: Frame | None = None
    held_ns: int | None = None  # when the lens was measured to have arrived


class StepAssembler:
    """Assign frames to the planes of one stepped sweep.

    A frame belongs to a plane only if its first row's exposure began after the command was acknowledged, the lens
    had settled and the clock margin had passed, and no further command was sent before its last row's exposure ended.
    Neither the order of arrival nor the number of frames matters: frames may arrive late, twice, out of order or not
    at all. Not thread-safe: the caller serialises.

    Args:
        timing: of camera and lens.
        measured: whether the lens measures its position: a plane then takes frames only after ``hold``.
    """

    def __init__(self, timing: SweepTiming, *, measured: bool = False):
        self._timing = timing
        self._measured = measured
        self._planes: list[_Plane] = []
        self._seen: set[int] = set()
        self.drops: Counter[Drop] = Counter()

    def on_commanding(self, sent_ns: int) -> None:
        """Close the current plane: a command is about to be sent at ``sent_ns``."""
        if self._planes and self._planes[-1].closed_ns is None:
            self._planes[-1].closed_ns = sent_ns

    def on_commanded(self, move: LensMove) -> None:
        """Open the next plane: the lens has acknowledged ``move``."""
        self.on_commanding(move.sent_ns)
        self._planes.append(_Plane(move))

    def ready_ns(self) -> int:
        """Return the earliest start of exposure that the current plane can accept."""
        return self._ready_ns(self._planes[-1])

    def hold(self, since_ns: int | None) -> None:
        """Note that the lens was measured in the current plane at ``since_ns``.

        None means that it was measured elsewhere, and withdraws the plane's frame.
        """
        plane = self._planes[-1]
        plane.held_ns = since_ns
        if since_ns is None and plane.frame is not None:
            plane.frame = None
            self.drops[Drop.LENS_ELSEWHERE] += 1

    def current_taken(self) -> bool:
        """Return whether the current plane has its frame."""
        return bool(self._planes) and self._planes[-1].frame is not None

    def frames(self) -> list[tuple[LensMove, Frame]]:
        """Return the planes that have a frame, in the order they were commanded."""
        return [(plane.move, plane.frame) for plane in self._planes if plane.frame is not None]

    def add_frame(self, frame: Frame) -> Drop | None:
        """Assign ``frame`` to its plane; return None if it was taken, else the reason why not."""
        drop = self._assign(frame)
        if drop is not None:
            self.drops[drop] += 1
        return drop

    def _ready_ns(self, plane: _Plane) -> int:
        return self._timing.settled_ns(plane.move) + self._timing.clock_margin_ns

    def _assign(self, frame: Frame) -> Drop | None:
        if frame.stamp_ns in self._seen:
            return Drop.DUPLICATE
        self._seen.add(frame.stamp_ns)
        start, end = self._timing.exposed(frame)
        margin = self._timing.clock_margin_ns
        # A frame cannot arrive before it was exposed: with such a stamp, one taken while settling would be used.
        if end > frame.arrival_ns + margin:
            return Drop.FUTURE
        plane = next((p for p in reversed(self._planes) if p.move.sent_ns <= start), None)
        if plane is None:
            return Drop.BEFORE_COMMAND
        if start < self._ready_ns(plane):
            return Drop.SETTLING
        if self._measured and (plane.held_ns is None or start < plane.held_ns + margin):
            return Drop.SETTLING
        if plane.closed_ns is not None and end + margin > plane.closed_ns:
            return Drop.COMMAND_DURING
        if plane.frame is not None:
            return Drop.PLANE_TAKEN
        first = next((p.frame for p in self._planes if p.frame is not None), None)
        if first is not None and frame.format != first.format:
            return Drop.FORMAT
        if first is not None and frame.intrinsics != first.intrinsics:
            return Drop.CAMERA_INFO
        plane.frame = frame
        return None
