"""A sweep whose lens moves evenly through the planes."""

from __future__ import annotations

from enum import Enum, auto

from fossa_ros.core.optics import dioptres, metres
from fossa_ros.lens import LensMove, LensState
from fossa_ros.sweep.machines.actions import Action, Ended, MoveLens, ReadLens, VerifyLens, Wait
from fossa_ros.sweep.machines.machine import CLOCK_SET_BACK, SweepMachine
from fossa_ros.sweep.moving import MovingAssembler
from fossa_ros.sweep.outcome import TakenPlane
from fossa_ros.sweep.plan import SweepPlan
from fossa_ros.sweep.stamp_guard import StampGuard
from fossa_ros.sweep.timing import SweepTiming

LATE_PERIODS = 5  # frame periods by which a frame of a ramp may come late
AT_PLANE = 0.02  # dioptres from the first plane within which the lens need not be moved there


class Phase(Enum):
    """What a ramp does."""

    APPROACH = auto()  # command the lens to the first plane
    SCHEDULE = auto()  # wait for the frame rate, to begin when a frame will be exposed in the first plane
    MOVE = auto()  # command the lens along the ramp
    COLLECT = auto()  # the last command was sent; wait for the frames that are under way
    VERIFY = auto()  # every plane has a frame; ask whether the lens held its last command
    COMPLETE = auto()
    FAILED = auto()


class RampSweep(SweepMachine):
    """Move the lens evenly from one end of the plan to the other, one plane a frame period or slower.

    The ramp begins so that the lens passes the first plane at the mid-exposure of a frame, which the stamps of earlier
    frames predict. The focus of each frame is then taken from the track of the lens.

    Args:
        plan: the planes.
        order: slots of the plan in the order to take them.
        timing: of camera and lens.
        assembler: follows the lens.
        guard: knows the frame period.
        last_move: the command that the lens holds, None if it holds none.
        lag_ns: by which the lens follows its commands.
        plane_ns: the least time from one plane to the next.
        interval_ns: between commands.
        measures: whether the lens measures its position, which is then read after every command.
        now_ns: beginning of the sweep.
    """

    _assembler: MovingAssembler

    def __init__(
        self,
        plan: SweepPlan,
        order: tuple[int, ...],
        timing: SweepTiming,
        assembler: MovingAssembler,
        guard: StampGuard,
        last_move: LensMove | None,
        *,
        lag_ns: int,
        plane_ns: int,
        interval_ns: int,
        measures: bool,
        now_ns: int,
    ):
        super().__init__(assembler, guard.drops)
        self._powers = [float(dioptres(plan.focus_distances[slot])) for slot in order]
        self._timing = timing
        self._guard = guard
        self._last_move = last_move
        self._lag_ns = lag_ns
        self._plane_ns = plane_ns
        self._interval_ns = interval_ns
        self._measures = measures
        self._read_at_once = False
        self._read_ns = now_ns
        self._period_ns = 0
        self._start_ns = self._end_ns = 0  # of the ramp, once it is scheduled
        self._next_ns = now_ns
        self._obeyed_ns = 0  # until when the lens is known to have followed its commands
        self._failure = ""
        self._phase = Phase.SCHEDULE if self._at_first_plane() else Phase.APPROACH
        assembler.begin()

    def next(self, now_ns: int) -> Action:
        """Return the next action."""
        if self._assembler.complete() and self._phase not in (Phase.COMPLETE, Phase.FAILED):
            self._phase = Phase.VERIFY
        match self._phase:
            case Phase.FAILED:
                return Ended(self._failure)
            case Phase.COMPLETE:
                return Ended("")
            case Phase.VERIFY:
                return VerifyLens()
        if self._read_at_once or (self._measures and now_ns >= self._read_ns):
            return ReadLens()
        if self._phase is Phase.APPROACH:
            return _move_to(self._powers[0])
        if self._phase is Phase.SCHEDULE:
            if not self._schedule(now_ns):
                return self._wait_for_rate(now_ns)
            self._phase = Phase.MOVE
        return self._advance(now_ns) if self._phase is Phase.MOVE else self._collect(now_ns)

    def on_commanded(self, move: LensMove) -> None:
        """Plan the next command."""
        self._last_move = move
        self._obeyed_ns = move.sent_ns  # a lens that had let go would not have acknowledged
        self._next_ns = max(move.sent_ns + self._interval_ns, move.acknowledged_ns)
        self._read_at_once = self._measures
        self._assembler.resolve()  # frames that came while the command was under way
        if move.acknowledged_ns < move.sent_ns:
            self._failure, self._phase = CLOCK_SET_BACK, Phase.FAILED
        elif self._phase is Phase.APPROACH and self._at_first_plane():
            self._phase = Phase.SCHEDULE

    def on_measured(self, state: LensState) -> None:
        """Assign the frames that waited for this state."""
        self._read_at_once = False
        self._read_ns = state.stamp_ns + self._interval_ns
        self._assembler.resolve()

    def on_verified(self) -> None:
        """Accept the last planes: the lens followed its commands until now."""
        self._phase = Phase.COMPLETE

    def planes(self) -> list[TakenPlane]:
        """Return the planes that have a frame during which the lens is known to have followed its commands."""
        planes = self._assembler.planes()
        if self._phase is Phase.COMPLETE:
            return planes
        return [plane for plane in planes if self._timing.exposed(plane.frame)[1] <= self._obeyed_ns]

    def _at_first_plane(self) -> bool:
        if self._last_move is None:
            return False
        return abs(float(dioptres(self._last_move.focus_distance)) - self._powers[0]) < AT_PLANE

    def _schedule(self, now_ns: int) -> bool:
        """Place the ramp so that a coming frame is exposed in its first plane; False while the rate is unknown."""
        period, newest = self._guard.period_ns, self._guard.newest_ns
        if period is None or newest is None or self._last_move is None:
            return False
        start, end = self._timing.window(newest)
        middle = (start + end) // 2
        settled = self._timing.settled_ns(self._last_move) + self._timing.clock_margin_ns
        earliest = max(now_ns + self._lag_ns, settled + (end - start) // 2 + 1)
        middle += max(-(-(earliest - middle) // period), 0) * period
        self._start_ns = middle - self._lag_ns
        self._plane_ns = -(-self._plane_ns // period) * period
        self._end_ns = self._start_ns + (len(self._powers) - 1) * self._plane_ns
        self._period_ns = period
        return True

    def _wait_for_rate(self, now_ns: int) -> Action:
        assert self._last_move is not None  # APPROACH comes first
        deadline = self._timing.settled_ns(self._last_move) + self._timing.frame_timeout_ns
        if now_ns < deadline:
            return self._wait(deadline)
        return Ended(
            f"Too few frames within {self._timing.frame_timeout_ns / 1e9:.2f} s to know the camera's rate "
            f"{self._unused_frames('none arrived')}; check the camera and sweep.frame_timeout."
        )

    def _advance(self, now_ns: int) -> Action:
        """Return the next command of the ramp when its time has come."""
        due = max(self._next_ns, self._start_ns)
        if now_ns < due:
            return self._wait(due)
        power = self._power(now_ns + self._interval_ns // 2)
        if power == self._powers[-1]:
            self._phase = Phase.COLLECT
        return _move_to(power)

    def _power(self, t_ns: int) -> float:
        """Return the dioptres that the ramp has at a time."""
        if t_ns >= self._end_ns:
            return self._powers[-1]
        slot, into = divmod(max(t_ns - self._start_ns, 0), self._plane_ns)
        return self._powers[slot] + into / self._plane_ns * (self._powers[slot + 1] - self._powers[slot])

    def _collect(self, now_ns: int) -> Action:
        """Wait for the frames that are under way; a newer frame proves that no more will come."""
        last = self._end_ns + self._lag_ns
        newest = self._guard.newest_ns
        over = newest is not None and newest > last + LATE_PERIODS * self._period_ns
        deadline = last + self._timing.window_ns + self._timing.frame_timeout_ns
        if not over and now_ns < deadline:
            return self._wait(deadline)
        return Ended(
            f"The lens passed the planes at {self._assembler.missing()} m without a certain frame "
            f"{self._unused_frames('none')}; check the camera's rate, or take fewer planes."
        )

    def _wait(self, until_ns: int) -> Wait:
        return Wait(min(until_ns, self._read_ns)) if self._measures else Wait(until_ns)


def _move_to(power: float) -> MoveLens:
    return MoveLens(float(metres(power)))
