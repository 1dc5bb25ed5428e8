"""A sweep whose lens and camera are triggered by hardware."""

from __future__ import annotations

from collections import Counter

from fossa_ros.sweep.counted import CountedAssembler
from fossa_ros.sweep.frame import Frame
from fossa_ros.sweep.machines.actions import Action, Ended, Wait
from fossa_ros.sweep.machines.machine import SweepMachine
from fossa_ros.sweep.outcome import TakenPlane


class CountedSweep(SweepMachine):
    """Wait for a trigger and for as many frames as it stands for.

    Args:
        assembler: counts the frames of each trigger.
        patience_ns: how long to wait for a trigger.
        now_ns: beginning of the sweep.
    """

    _assembler: CountedAssembler

    def __init__(self, assembler: CountedAssembler, patience_ns: int, now_ns: int):
        super().__init__(assembler, Counter())
        self._patience_ns = patience_ns
        self._deadline_ns = now_ns + patience_ns
        self._now_ns = now_ns
        assembler.begin(now_ns)

    def next(self, now_ns: int) -> Action:
        """Return the next action: wait for the trigger and its frames, or end."""
        self._now_ns = now_ns
        count = self._assembler.count(now_ns)
        if count.due_ns is None:
            if now_ns < self._deadline_ns:
                return Wait(self._deadline_ns)
            return Ended(
                f"No trigger arrived on 'lens/trigger' within {self._patience_ns / 1e9:g} s; start the rig, remap "
                "lens/trigger, or raise sweep.max_span if it sweeps more rarely."
            )
        if count.complete:
            return Ended("")
        if not count.fault and now_ns < count.due_ns:
            return Wait(count.due_ns)
        return Ended(
            count.fault
            or f"The count does not add up: no frame came for the planes at {count.missing} m "
            f"{self._unused_frames('none')}; check the camera and its triggers."
        )

    def add_frame(self, frame: Frame) -> None:
        """Add a frame."""
        self._assembler.add_frame(frame)

    def planes(self) -> list[TakenPlane]:
        """Return the planes that have a frame; none once the count does not add up."""
        return list(self._assembler.count(self._now_ns).planes)
