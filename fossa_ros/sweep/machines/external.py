"""A sweep whose lens is driven by another program."""

from __future__ import annotations

from collections import Counter

from fossa_ros.lens import LensState
from fossa_ros.sweep.frame import Drop
from fossa_ros.sweep.machines.actions import Action, Ended, Wait
from fossa_ros.sweep.machines.machine import SweepMachine
from fossa_ros.sweep.moving import MovingAssembler
from fossa_ros.sweep.outcome import TakenPlane
from fossa_ros.sweep.timing import SweepTiming


class ExternalSweep(SweepMachine):
    """Wait until a lens that another program drives has passed through every plane.

    Args:
        timing: of camera and lens.
        assembler: follows the lens; keeps the newest frame of every plane.
        refused: frames that did not pass the stamp guard.
        span_ns: longest time from the oldest frame of a stack to the newest.
        now_ns: beginning of the sweep.
    """

    _assembler: MovingAssembler

    def __init__(
        self, timing: SweepTiming, assembler: MovingAssembler, refused: Counter[Drop], span_ns: int, now_ns: int
    ):
        super().__init__(assembler, refused)
        # A lens that passes through all planes within the span returns to the plane it has just left within twice that.
        self._deadline_ns = now_ns + 2 * span_ns + timing.frame_timeout_ns
        assembler.begin()

    def next(self, now_ns: int) -> Action:
        """Return the next action: wait until every plane has a frame, or the time is up."""
        self._assembler.resolve()
        if self._assembler.complete():
            return Ended("")
        if now_ns < self._deadline_ns:
            return Wait(self._deadline_ns)
        return Ended(
            f"No certain frame for the planes at {self._assembler.missing()} m {self._unused_frames('none arrived')}; "
            "check 'lens/state' and that the lens passes through sweep.near to sweep.far within sweep.max_span."
        )

    def on_measured(self, state: LensState) -> None:
        """Assign the frames that waited for this state."""
        self._assembler.resolve()

    def planes(self) -> list[TakenPlane]:
        """Return the planes that have a frame."""
        return self._assembler.planes()
