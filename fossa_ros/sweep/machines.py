"""One sweep as a state machine without clock, thread or lens: what to do next, given what happened so far."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from fossa_ros.core.optics import dioptres, metres
from fossa_ros.lens import LensMove, LensState
from fossa_ros.sweep.assembler import StepAssembler
from fossa_ros.sweep.frame import Drop, Frame
from fossa_ros.sweep.moving import MovingAssembler, TakenPlane
from fossa_ros.sweep.plan import SweepPlan
from fossa_ros.sweep.stamps import StampGuard
from fossa_ros.sweep.timing import SweepTiming

READ_PERIOD_NS = 2_000_000
LATE_PERIODS = 5  # frame periods by which a frame of a ramp may come late


@dataclass(frozen=True)
class MoveLens:
    """Command the lens to ``focus_distance`` (m), then tell ``commanded``."""

    focus_distance: float


@dataclass(frozen=True)
class ReadLens:
    """Ask the lens for its state, then tell ``measured``."""


@dataclass(frozen=True)
class VerifyLens:
    """Make sure that the lens still holds its last command, then tell ``verified``."""


@dataclass(frozen=True)
class Wait:
    """Nothing to do until something arrives, or until ``until_ns``."""

    until_ns: int


@dataclass(frozen=True)
class Ended:
    """The sweep has ended; ``reason`` says why it is incomplete, empty where it is complete."""

    reason: str


Step = MoveLens | ReadLens | VerifyLens | Wait | Ended


class Sweep(Protocol):
    """One sweep. The driver asks ``next`` for a step, takes it, tells how it went, and asks again."""

    drops: Counter[Drop]

    def next(self, now_ns: int) -> Step:
        """Return what to do."""

    def commanding(self, now_ns: int) -> None:
        """Note that a command is about to leave."""

    def commanded(self, move: LensMove) -> None:
        """Note that the lens acknowledged a command."""

    def measured(self, state: LensState) -> None:
        """Note what the lens said."""

    def verified(self) -> None:
        """Note that the lens still held its last command."""

    def add_frame(self, frame: Frame) -> None:
        """Take a frame that passed the guard."""

    def planes(self) -> list[TakenPlane]:
        """Return the planes that have a certain frame, in the order of exposure."""


class StepSweep:
    """Command a plane, let the lens settle, take the first frame that is certain, go on.

    A lens that measures its position is asked before the exposure and after it, and a frame counts only if it was
    in its plane both times: one that settles late delays the plane, one that is elsewhere ends the sweep. Whether any
    lens held its plane until the frame was exposed is proved by the next command, after the last by asking it. Where
    the last sweep ended this one begins, without a command that would move nothing and settle all the same.

    Args:
        plan: the planes.
        order: slots of the plan in the order to take them.
        timing: of camera and lens.
        measures: whether the lens measures its position.
        tolerance: dioptres that a lens may be off its plane.
        prove_each: whether every plane is to be proved by itself, because it is used before the next command.
        holding: the command that the lens holds, None where it holds none.
        refused: frames that did not pass the guard, counted by it, for saying why a plane has none.
    """

    def __init__(
        self,
        plan: SweepPlan,
        order: tuple[int, ...],
        timing: SweepTiming,
        *,
        measures: bool,
        tolerance: float,
        prove_each: bool = False,
        holding: LensMove | None = None,
        refused: Counter[Drop] | None = None,
    ):
        self._plan = plan
        self._order = order
        self._timing = timing
        self._measures = measures
        self._tolerance = tolerance
        self._prove_each = prove_each
        self._holding = holding
        self._refused = Counter() if refused is None else refused
        self._assembler = StepAssembler(timing, measured=measures)
        self._moves: list[LensMove] = []
        self._deadline_ns = 0
        self._timeout_s = 0.0
        self._read_ns = 0
        self._held = self._confirmed = self._proved = False
        self._last_state: LensState | None = None
        self._failure = ""

    @property
    def drops(self) -> Counter[Drop]:
        """Frames not used so far."""
        return self._assembler.drops

    def next(self, now_ns: int) -> Step:
        """Return what to do."""
        if self._failure:
            return Ended(self._failure)
        if not self._moves:
            first = self._plan.focus_distances[self._order[0]]
            if self._holding is None or self._off(self._holding.focus_distance, first):
                return self._move()
            self._open(self._holding, now_ns)
        if self._assembler.current_taken():
            if self._measures and not self._confirmed:
                return ReadLens() if now_ns >= self._read_ns else Wait(self._read_ns)
            last = len(self._moves) == len(self._order)
            if (last or self._prove_each) and not self._proved:
                return VerifyLens()
            return Ended("") if last else self._move()
        if now_ns >= self._deadline_ns:
            return Ended(self._late())
        if self._measures and not self._held:
            return ReadLens() if now_ns >= self._read_ns else Wait(self._read_ns)
        return Wait(self._deadline_ns)

    def commanding(self, now_ns: int) -> None:
        """Close the present plane."""
        self._assembler.commanding(now_ns)

    def commanded(self, move: LensMove) -> None:
        """Open the next plane."""
        wanted = self._plan.focus_distances[self._order[len(self._moves)]]
        self._open(move, move.acknowledged_ns)
        if move.acknowledged_ns < move.sent_ns:
            self._failure = "The lens acknowledged a command before it was sent: the clock was set back."
        elif self._off(move.focus_distance, wanted):
            self._failure = (
                f"The lens was told {wanted:.2f} m but went to {move.focus_distance:.2f} m; change sweep.near and "
                "sweep.far to what it reaches."
            )

    def measured(self, state: LensState) -> None:
        """Compare the lens with the present plane."""
        self._last_state = state
        self._read_ns = state.stamp_ns + READ_PERIOD_NS
        there = not self._off(state.focus_distance, self._moves[-1].focus_distance)
        if self._assembler.current_taken():
            taken = self._assembler.frames()[-1][1]
            if not there:
                self._held = False
                self._assembler.hold(None)
            elif state.stamp_ns >= self._timing.exposed(taken)[1]:
                self._confirmed = True
        elif there and not self._held:
            self._held = True
            self._assembler.hold(state.stamp_ns)

    def verified(self) -> None:
        """The present plane was held until now."""
        self._proved = True

    def add_frame(self, frame: Frame) -> None:
        """Assign a frame."""
        self._assembler.add_frame(frame)

    def planes(self) -> list[TakenPlane]:
        """Return the planes that have a frame; where each is to be proved, the present one only once it is."""
        slots = dict(zip(map(id, self._moves), self._order, strict=False))
        taken = [
            TakenPlane(slots[id(move)], move.focus_distance, 0.0, self._timing.exposed(frame)[0], frame)
            for move, frame in self._assembler.frames()
        ]
        confirmed = (self._confirmed or not self._measures) and (self._proved or not self._prove_each)
        if self._assembler.current_taken() and not confirmed:
            taken.pop()
        return taken

    def _open(self, move: LensMove, now_ns: int) -> None:
        """Begin the plane that the lens goes to, or stands at, since ``move``."""
        self._moves.append(move)
        self._assembler.commanded(move)
        ready = self._assembler.ready_ns()
        self._deadline_ns = max(ready + self._timing.window_ns, now_ns) + self._timing.frame_timeout_ns
        self._timeout_s = (self._deadline_ns - now_ns) / 1e9
        self._read_ns = self._timing.settled_ns(move)
        self._held = self._confirmed = self._proved = False

    def _move(self) -> MoveLens:
        return MoveLens(self._plan.focus_distances[self._order[len(self._moves)]])

    def _off(self, distance: float, wanted: float) -> bool:
        return not abs(float(dioptres(distance)) - float(dioptres(wanted))) <= self._tolerance

    def _late(self) -> str:
        distance = self._moves[-1].focus_distance
        if self._measures and not self._held and self._last_state is not None:
            return (
                f"The lens did not come to {distance:.2f} m within {self._timeout_s:.2f} s: it was measured at "
                f"{self._last_state.focus_distance:.2f} m; check the lens."
            )
        return (
            f"No frame for the plane at {distance:.2f} m within {self._timeout_s:.2f} s "
            f"(frames not used: {describe_drops(self.drops + self._refused) or 'none arrived'}); check the camera and "
            "sweep.frame_timeout."
        )


class RampSweep:
    """Move the lens evenly from one end of the plan to the other, one plane a frame period or slower.

    The ramp begins so that the first frame's mid-exposure finds the lens in the first plane, as far as the camera's
    past tells when that will be; what focus each frame really has is taken from the lens's track afterwards.

    Args:
        plan: the planes.
        order: slots of the plan in the order to take them.
        timing: of camera and lens.
        assembler: knows the track of the lens.
        guard: knows the frame period.
        last_move: the command that the lens holds, None where it holds none.
        lag_ns: by which the lens follows its commands.
        plane_ns: the least time from one plane to the next.
        interval_ns: between commands.
        measures: whether the lens measures its position, which is then asked after every command.
        now_ns: beginning of the sweep.
    """

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
        powers = [float(dioptres(plan.focus_distances[slot])) for slot in order]
        self._powers = powers
        self._timing = timing
        self._assembler = assembler
        self._guard = guard
        self._last_move = last_move
        self._lag_ns = lag_ns
        self._plane_ns = plane_ns
        self._interval_ns = interval_ns
        self._measures = measures
        self._read_due = False
        self._read_ns = now_ns
        self._start_ns: int | None = None  # of the ramp
        self._end_ns = 0
        self._next_ns = now_ns
        self._arrived = False  # the last command has left
        self._proved = False
        self._proved_ns = 0  # until when the lens is known to have obeyed
        self._failure = ""
        assembler.begin()

    @property
    def drops(self) -> Counter[Drop]:
        """Frames not used so far."""
        return self._assembler.drops

    def next(self, now_ns: int) -> Step:
        """Return what to do."""
        if self._failure:
            return Ended(self._failure)
        if self._assembler.complete():
            return Ended("") if self._proved else VerifyLens()
        if self._read_due or (self._measures and now_ns >= self._read_ns):
            return ReadLens()
        if not self._at(self._powers[0]) and self._start_ns is None:
            return self._to(self._powers[0])
        if self._start_ns is None and not self._schedule(now_ns):
            deadline = self._timing.settled_ns(self._last_move) + self._timing.frame_timeout_ns
            return Ended(self._no_frames()) if now_ns >= deadline else self._wait(deadline)
        if not self._arrived:
            due = max(self._next_ns, self._start_ns)
            if now_ns < due:
                return self._wait(due)
            power = self._power(now_ns + self._interval_ns // 2)
            self._arrived = power == self._powers[-1]
            return self._to(power)
        return self._rest(now_ns)

    def commanding(self, now_ns: int) -> None:
        """Nothing closes while the lens moves."""

    def commanded(self, move: LensMove) -> None:
        """Plan the next command."""
        if move.acknowledged_ns < move.sent_ns:
            self._failure = "The lens acknowledged a command before it was sent: the clock was set back."
        self._last_move = move
        self._proved_ns = move.sent_ns  # a lens that had let go would not have acknowledged
        self._next_ns = max(move.sent_ns + self._interval_ns, move.acknowledged_ns)
        self._read_due = self._measures
        self._assembler.resolve()  # frames that came while the command was under way

    def measured(self, state: LensState) -> None:
        """The lens's track knows more now."""
        self._read_due = False
        self._read_ns = state.stamp_ns + self._interval_ns
        self._assembler.resolve()

    def add_frame(self, frame: Frame) -> None:
        """Assign a frame."""
        self._assembler.add_frame(frame)

    def verified(self) -> None:
        """The lens has obeyed until now."""
        self._proved = True

    def planes(self) -> list[TakenPlane]:
        """Return the planes that have a frame, and of which it is proved that the lens obeyed meanwhile."""
        planes = self._assembler.planes()
        return [plane for plane in planes if self._proved or self._timing.exposed(plane.frame)[1] <= self._proved_ns]

    def _schedule(self, now_ns: int) -> bool:
        """Fix the ramp, so that a frame to come is exposed in its first plane; False while that is not known."""
        period, newest = self._guard.period_ns, self._guard.newest_ns
        if period is None or newest is None or self._last_move is None:
            return False
        start, end = self._timing.exposed(Frame(newest, 0, None, None, None))
        middle = (start + end) // 2
        settled = self._timing.settled_ns(self._last_move) + self._timing.clock_margin_ns
        earliest = max(now_ns + self._lag_ns, settled + (end - start) // 2 + 1)
        middle += max(-(-(earliest - middle) // period), 0) * period
        self._start_ns = middle - self._lag_ns
        self._plane_ns = -(-self._plane_ns // period) * period
        self._end_ns = self._start_ns + (len(self._powers) - 1) * self._plane_ns
        self._period_ns = period
        return True

    def _power(self, t_ns: int) -> float:
        if t_ns >= self._end_ns:
            return self._powers[-1]
        slot, into = divmod(max(t_ns - self._start_ns, 0), self._plane_ns)
        return self._powers[slot] + into / self._plane_ns * (self._powers[slot + 1] - self._powers[slot])

    def _at(self, power: float) -> bool:
        return self._last_move is not None and abs(float(dioptres(self._last_move.focus_distance)) - power) < 0.02

    def _to(self, power: float) -> MoveLens:
        return MoveLens(float(metres(power)))

    def _wait(self, until_ns: int) -> Wait:
        return Wait(min(until_ns, self._read_ns)) if self._measures else Wait(until_ns)

    def _rest(self, now_ns: int) -> Step:
        """The ramp is over: wait for the frames that are under way."""
        last = self._end_ns + self._lag_ns
        newest = self._guard.newest_ns
        over = newest is not None and newest > last + LATE_PERIODS * self._period_ns
        deadline = last + self._timing.window_ns + self._timing.frame_timeout_ns
        if not over and now_ns < deadline:
            return self._wait(deadline)
        planes = ", ".join(f"{distance:.2f}" for distance in self._assembler.missing())
        return Ended(
            f"The lens passed the planes at {planes} m without a certain frame "
            f"(frames not used: {describe_drops(self.drops + self._guard.drops) or 'none'}); check the camera's rate, "
            "or take fewer planes."
        )

    def _no_frames(self) -> str:
        return (
            f"Too few frames within {self._timing.frame_timeout_ns / 1e9:.2f} s to know the camera's rate "
            f"(frames not used: {describe_drops(self.drops + self._guard.drops) or 'none arrived'}); check the camera "
            "and sweep.frame_timeout."
        )


class ExternalSweep:
    """Wait until a lens that somebody else drives has passed through every plane.

    Args:
        timing: of camera and lens.
        assembler: knows the track of the lens; keeps the newest frame of every plane.
        span_ns: longest time from the oldest frame of a stack to the newest.
        now_ns: beginning of the sweep.
        refused: frames that did not pass the guard, counted by it, for saying why a plane has none.
    """

    def __init__(
        self, timing: SweepTiming, assembler: MovingAssembler, span_ns: int, now_ns: int, refused: Counter[Drop]
    ):
        self._assembler = assembler
        self._refused = refused
        # Who passes through all planes within the span is back at the one just left within twice that.
        self._deadline_ns = now_ns + 2 * span_ns + timing.frame_timeout_ns
        assembler.begin()

    @property
    def drops(self) -> Counter[Drop]:
        """Frames not used so far."""
        return self._assembler.drops

    def next(self, now_ns: int) -> Step:
        """Return what to do."""
        self._assembler.resolve()
        if self._assembler.complete():
            return Ended("")
        if now_ns < self._deadline_ns:
            return Wait(self._deadline_ns)
        missing = ", ".join(f"{distance:.2f}" for distance in self._assembler.missing())
        return Ended(
            f"No certain frame for the planes at {missing} m "
            f"(frames not used: {describe_drops(self.drops + self._refused) or 'none arrived'}); "
            "check 'lens/state' and that the lens passes through sweep.near to sweep.far within sweep.max_span."
        )

    def commanding(self, now_ns: int) -> None:
        """Never called: the lens is another's."""

    def commanded(self, move: LensMove) -> None:
        """Never called: the lens is another's."""

    def measured(self, state: LensState) -> None:
        """The lens's track knows more now."""
        self._assembler.resolve()

    def verified(self) -> None:
        """Never called: the lens is another's."""

    def add_frame(self, frame: Frame) -> None:
        """Assign a frame."""
        self._assembler.add_frame(frame)

    def planes(self) -> list[TakenPlane]:
        """Return the planes that have a frame."""
        return self._assembler.planes()


def describe_drops(drops: Counter[Drop]) -> str:
    """Say how many frames were not used, and why."""
    return "; ".join(f"{count} {drop}" for drop, count in drops.most_common())
