"""What all sweeps have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter

from fossa_ros.lens import LensMove, LensState
from fossa_ros.sweep.assembler import StepAssembler
from fossa_ros.sweep.counted import CountedAssembler
from fossa_ros.sweep.frame import Drop, Frame, describe_drops
from fossa_ros.sweep.machines.actions import Action
from fossa_ros.sweep.moving import MovingAssembler
from fossa_ros.sweep.outcome import TakenPlane

CLOCK_SET_BACK = "The lens acknowledged a command before it was sent: the clock was set back."


class SweepMachine(ABC):
    """One sweep. Its driver asks ``next`` for an action, carries it out, reports the result, and asks again.

    Frames may arrive at any time. The ``on_...`` methods of this class do nothing; a sweep overrides those of the
    actions that it asks for.

    Args:
        assembler: assigns frames to planes.
        refused: frames that did not pass the stamp guard, which counts them; named in the reason of a failed sweep.
    """

    def __init__(self, assembler: StepAssembler | MovingAssembler | CountedAssembler, refused: Counter[Drop]):
        self._assembler = assembler
        self._refused = refused

    @property
    def drops(self) -> Counter[Drop]:
        """Frames of this sweep that were not used so far, by reason."""
        return self._assembler.drops

    @abstractmethod
    def next(self, now_ns: int) -> Action:
        """Return the next action."""

    @abstractmethod
    def planes(self) -> list[TakenPlane]:
        """Return the planes that have a certain frame, in the order of exposure."""

    def on_arrival(self, frame: Frame) -> None:
        """Note that a frame has just arrived, before it is known whether its stamp can be trusted."""

    def add_frame(self, frame: Frame) -> None:
        """Assign a frame that passed the stamp guard."""
        self._assembler.add_frame(frame)

    def on_commanding(self, now_ns: int) -> None:
        """Note that a command is about to be sent."""

    def on_commanded(self, move: LensMove) -> None:
        """Note that the lens acknowledged a command."""

    def on_measured(self, state: LensState) -> None:
        """Note the state that was read from the lens."""

    def on_verified(self) -> None:
        """Note that the lens still held its last command."""

    def _unused_frames(self, none: str, more: Counter[Drop] | None = None) -> str:
        """Return the frames not used, and ``more``, as a clause of a reason, with ``none`` if there are none."""
        return f"(frames not used: {describe_drops(self.drops + self._refused + (more or Counter())) or none})"
