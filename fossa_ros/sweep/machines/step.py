"""A sweep whose lens stands still at every plane."""

from __future__ import annotations

from collections import Counter
from enum import Enum, auto

from fossa_ros.core.optics import dioptres
from fossa_ros.lens import LensMove, LensState
from fossa_ros.sweep.assembler import StepAssembler
from fossa_ros.sweep.frame import Drop, Frame
from fossa_ros.sweep.machines.actions import Action, Ended, MoveLens, ReadLens, VerifyLens, Wait
from fossa_ros.sweep.machines.machine import CLOCK_SET_BACK, SweepMachine
from fossa_ros.sweep.outcome import TakenPlane
from fossa_ros.sweep.plan import SweepPlan
from fossa_ros.sweep.timing import SweepTiming

READ_PERIOD_NS = 2_000_000


class Phase(Enum):
    """What the present plane waits for."""

    START = auto()  # no plane is open yet
    ARRIVE = auto()  # a lens that measures its position is read until it is in the plane
    EXPOSE = auto()  # a frame
    CONFIRM = auto()  # a lens that measures its position is read once more, after the exposure
    VERIFY = auto()  # the lens is asked whether it still holds its command
    COMPLETE = auto()  # the next command
    FAILED = auto()


class StepSweep(SweepMachine):
    """Command a plane, let the lens settle, take the first certain frame, continue with the next plane.

    A lens that measures its position is read before the exposure and after it, and a frame counts only if the lens was
    in its plane both times: a lens that settles late delays the plane, one that is elsewhere ends the sweep. The next
    command proves that any lens held its plane until then; after the last plane the lens is asked. A sweep begins at
    the plane where the previous one ended, without a command that would move nothing.

    Args:
        plan: the planes.
        order: slots of the plan in the order to take them.
        timing: of camera and lens.
        refused: frames that did not pass the stamp guard.
        measures: whether the lens measures its position.
        tolerance: dioptres that a lens may be off its plane.
        verify_each: whether every plane is verified on its own, because it is used before the next command.
        holding: the command that the lens holds, None if it holds none.
    """

    _assembler: StepAssembler

    def __init__(
        self,
        plan: SweepPlan,
        order: tuple[int, ...],
        timing: SweepTiming,
        refused: Counter[Drop],
        *,
        measures: bool,
        tolerance: float,
        verify_each: bool = False,
        holding: LensMove | None = None,
    ):
        super().__init__(StepAssembler(timing, measured=measures), refused)
        self._plan = plan
        self._order = order
        self._timing = timing
        self._measures = measures
        self._tolerance = tolerance
        self._verify_each = verify_each
        self._holding = holding
        self._phase = Phase.START
        self._moves: list[LensMove] = []  # one each plane opened so far
        self._deadline_ns = 0
        self._timeout_s = 0.0
        self._read_ns = 0
        self._last_state: LensState | None = None
        self._failure = ""

    def next(self, now_ns: int) -> Action:
        """Return the next action."""
        if self._phase is Phase.START:
            first = self._plan.focus_distances[self._order[0]]
            if self._holding is None or self._off(self._holding.focus_distance, first):
                return self._move()
            self._open(self._holding, now_ns)
        if self._phase in (Phase.ARRIVE, Phase.EXPOSE) and now_ns >= self._deadline_ns:
            return Ended(self._late())
        match self._phase:
            case Phase.ARRIVE | Phase.CONFIRM:
                return ReadLens() if now_ns >= self._read_ns else Wait(self._read_ns)
            case Phase.VERIFY:
                return VerifyLens()
            case Phase.COMPLETE:
                return Ended("") if self._is_last() else self._move()
            case Phase.FAILED:
                return Ended(self._failure)
        return Wait(self._deadline_ns)

    def on_commanding(self, now_ns: int) -> None:
        """Close the present plane."""
        self._assembler.on_commanding(now_ns)

    def on_commanded(self, move: LensMove) -> None:
        """Open the next plane."""
        target = self._plan.focus_distances[self._order[len(self._moves)]]
        self._open(move, move.acknowledged_ns)
        if move.acknowledged_ns < move.sent_ns:
            self._fail(CLOCK_SET_BACK)
        elif self._off(move.focus_distance, target):
            self._fail(
                f"The lens was commanded to {target:.2f} m but went to {move.focus_distance:.2f} m; change sweep.near "
                "and sweep.far to what it reaches."
            )

    def on_measured(self, state: LensState) -> None:
        """Compare the lens with the present plane."""
        self._last_state = state
        self._read_ns = state.stamp_ns + READ_PERIOD_NS
        there = not self._off(state.focus_distance, self._moves[-1].focus_distance)
        if self._phase is Phase.ARRIVE and there:
            self._assembler.hold(state.stamp_ns)
            self._phase = Phase.EXPOSE
        elif self._phase is Phase.CONFIRM and not there:
            self._assembler.hold(None)  # which withdraws the frame
            self._phase = Phase.ARRIVE
        elif self._phase is Phase.CONFIRM:
            frame = self._assembler.frames()[-1][1]
            if state.stamp_ns >= self._timing.exposed(frame)[1]:
                self._phase = self._after_exposure()

    def on_verified(self) -> None:
        """Accept the present plane: the lens held it until now."""
        self._phase = Phase.COMPLETE

    def add_frame(self, frame: Frame) -> None:
        """Assign a frame."""
        super().add_frame(frame)
        if self._phase is Phase.EXPOSE and self._assembler.current_taken():
            self._phase = Phase.CONFIRM if self._measures else self._after_exposure()

    def planes(self) -> list[TakenPlane]:
        """Return the planes that have a frame; the present one is left out while it is yet to be confirmed."""
        # A plane is opened only after the one before has its frame, so that the n-th frame is in the n-th slot.
        taken = [
            TakenPlane(slot, move.focus_distance, 0.0, self._timing.exposed(frame)[0], frame)
            for slot, (move, frame) in zip(self._order, self._assembler.frames(), strict=False)
        ]
        unverified = self._phase in (Phase.CONFIRM, Phase.FAILED) or (self._phase is Phase.VERIFY and self._verify_each)
        if unverified and self._assembler.current_taken():
            taken.pop()
        return taken

    def _open(self, move: LensMove, now_ns: int) -> None:
        """Begin the plane that the lens goes to, or stands at, since ``move``."""
        self._moves.append(move)
        self._assembler.on_commanded(move)
        ready = self._assembler.ready_ns()
        self._deadline_ns = max(ready + self._timing.window_ns, now_ns) + self._timing.frame_timeout_ns
        self._timeout_s = (self._deadline_ns - now_ns) / 1e9
        self._read_ns = self._timing.settled_ns(move)
        self._phase = Phase.ARRIVE if self._measures else Phase.EXPOSE

    def _after_exposure(self) -> Phase:
        return Phase.VERIFY if self._verify_each or self._is_last() else Phase.COMPLETE

    def _is_last(self) -> bool:
        return len(self._moves) == len(self._order)

    def _move(self) -> MoveLens:
        return MoveLens(self._plan.focus_distances[self._order[len(self._moves)]])

    def _off(self, distance: float, target: float) -> bool:
        return not abs(float(dioptres(distance)) - float(dioptres(target))) <= self._tolerance

    def _fail(self, reason: str) -> None:
        self._failure, self._phase = reason, Phase.FAILED

    def _late(self) -> str:
        distance = self._moves[-1].focus_distance
        if self._phase is Phase.ARRIVE and self._last_state is not None:
            return (
                f"The lens did not come to {distance:.2f} m within {self._timeout_s:.2f} s: it was measured at "
                f"{self._last_state.focus_distance:.2f} m; check the lens."
            )
        return (
            f"No frame for the plane at {distance:.2f} m within {self._timeout_s:.2f} s "
            f"{self._unused_frames('none arrived')}; check the camera and sweep.frame_timeout."
        )
