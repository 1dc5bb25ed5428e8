"""One sweep after another, as pure state: what to do next, and the stacks that result.

Everything that decides about frames is here and in the modules this one imports. The driver supplies time, lens and
frames: the capture thread on a robot, a loop in virtual time in tests, planner and replay.
"""

from __future__ import annotations

from collections import deque

from fossa_ros.core.optics import dioptres
from fossa_ros.lens import LensMove, LensState
from fossa_ros.sweep.command_track import CommandTrack
from fossa_ros.sweep.config import SweepConfig, SweepMode, SweepOutput
from fossa_ros.sweep.counted import CountedAssembler
from fossa_ros.sweep.frame import Drop, Frame
from fossa_ros.sweep.machines import Action, CountedSweep, Ended, ExternalSweep, RampSweep, StepSweep, SweepMachine
from fossa_ros.sweep.moving import MovingAssembler
from fossa_ros.sweep.outcome import Outcome, TakenPlane
from fossa_ros.sweep.plan import SweepPlan
from fossa_ros.sweep.rolling import RollingStack
from fossa_ros.sweep.sampled_track import MeasuredTrack, SetPointTrack
from fossa_ros.sweep.stamp_guard import StampGuard
from fossa_ros.sweep.timing import SweepTiming
from fossa_ros.sweep.track import LensTrack

COMMANDS = 64  # whose acknowledgement times are remembered


class Sequencer:
    """Take sweeps, near-far-near-far.

    ``begin`` a sweep; ask ``next`` for an action, carry it out, and report the result until the action is ``Ended``;
    collect ``outcomes`` meanwhile. Frames and lens states may be added at any time. Not thread-safe: the caller
    serialises.
    """

    def __init__(self, plan: SweepPlan, timing: SweepTiming, config: SweepConfig | None = None):
        self.plan = plan
        self.timing = timing
        self.config = config or SweepConfig()
        self.measures = False
        self._guard = StampGuard(timing, self.config.arrival_jitter_ns)
        self._rolling = RollingStack(len(plan.focus_distances), self.config.max_span_ns)
        self._sweep: SweepMachine | None = None
        self._count = 0
        self._started_ns = self._now_ns = 0  # of the present sweep: its beginning, and the last time it was asked
        self._rolled: set[int] = set()  # starts of the present sweep's planes that the rolling stack was given
        self._stacked = False  # whether a stack came of them
        self._clock_fault = ""
        self._last_move: LensMove | None = None
        self._outcomes: list[Outcome] = []
        self._acknowledged: deque[int] = deque(maxlen=COMMANDS)  # how long the last commands took
        self._counted = self._counted_assembler()
        self._follow_lens(measured=False)

    @property
    def period_ns(self) -> int | None:
        """The camera's frame period; None while it is not known."""
        if self._counted is not None:
            return self.config.trigger_period_ns if self._counted.running else None
        return self._guard.period_ns

    @property
    def latency_ns(self) -> int:
        """From the end of exposure to arrival of the fastest recent frame; 0 while it is not known."""
        return self._counted.latency_ns if self._counted is not None else self._guard.floor_ns or 0

    # The lens and the camera

    def on_connected(self, measures: bool) -> None:
        """Note that a lens was opened, and whether it measures its position."""
        self.measures = measures
        if self.config.mode is SweepMode.RAMP:
            self._follow_lens(measures)
        self.on_rested()

    def on_rested(self) -> None:
        """Note that the lens was parked or lost: its position is unknown."""
        self._last_move = None
        self._rolling.clear()
        self._track.reset()

    def set_timing(self, timing: SweepTiming) -> None:
        """Use another timing from the next sweep on."""
        self.reconfigure(self.plan, timing, self.config)

    def reconfigure(self, plan: SweepPlan, timing: SweepTiming, config: SweepConfig) -> None:
        """Use another plan, timing and configuration, of the same mode and output, from the next sweep on."""
        if (plan, timing, config) == (self.plan, self.timing, self.config):
            return
        if timing != self.timing or config.arrival_jitter_ns != self.config.arrival_jitter_ns:
            self._guard = StampGuard(timing, config.arrival_jitter_ns)
        self.plan, self.timing, self.config = plan, timing, config
        self._rolling = RollingStack(len(plan.focus_distances), config.max_span_ns)
        self._follow_lens(self._track_is_measured)
        self._counted = self._counted_assembler()
        if self._counted is not None and self._sweep is not None:
            self._sweep = self._counted_sweep(self._counted, self._now_ns)

    def add_frame(self, frame: Frame) -> bool:
        """Add a frame that has just arrived; return whether a sweep may have progressed by it."""
        if self._sweep is not None:
            self._sweep.on_arrival(frame)
        if self._counted is not None:  # which has more than stamps and arrivals to find a clock that is wrong
            self._counted.add_frame(frame)
            return self._sweep is not None
        passed, drop = self._guard.add_frame(frame)
        if self._guard.jumped and drop is Drop.CLOCK_JUMP:
            self._rolling.clear()
        for one in passed:
            if self._sweep is not None:
                self._sweep.add_frame(one)
            elif self.config.mode is SweepMode.EXTERNAL:  # between two sweeps that lens moves on
                self._assembler.wait(one)
        return bool(passed)

    def on_external_state(self, state: LensState, measured: bool) -> bool:
        """Note the state of an external lens, ``measured`` or its set-point; return whether a sweep waits for it."""
        if measured is not self._track_is_measured:
            self._follow_lens(measured)
        self._track.on_measured(state.stamp_ns, float(dioptres(state.focus_distance)))
        return self._sweep is not None

    def on_trigger(self, stamp_ns: int, arrival_ns: int, source: str) -> bool:
        """Note that hardware has begun a sweep; return whether one waits for it.

        Args:
            stamp_ns: when it began, on the rig's clock.
            arrival_ns: when the message arrived.
            source: of the message; may name the order of the planes.
        """
        if self._counted is not None:
            self._counted.add_trigger(stamp_ns, arrival_ns, source)
        return self._sweep is not None

    # A sweep

    def begin(self, now_ns: int) -> None:
        """Begin a sweep."""
        # A clock that was set back since the last one spoils none, but this one would wait for a lens that settles from
        # a command in the future.
        self._set_back_ns(now_ns)
        order = self.plan.slots(self._count)
        self._count += 1
        self._started_ns = now_ns
        self._rolled.clear()
        self._stacked = False
        self._clock_fault = ""
        self._guard.drops.clear()
        match self.config.mode:
            case SweepMode.STEP:
                self._sweep = self._step_sweep(order)
            case SweepMode.RAMP:
                self._sweep = self._ramp_sweep(order, now_ns)
            case SweepMode.EXTERNAL:
                self._sweep = self._external_sweep(now_ns)
            case SweepMode.COUNTED:
                assert self._counted is not None
                self._sweep = self._counted_sweep(self._counted, now_ns)

    def next(self, now_ns: int) -> Action:
        """Return the next action; after ``Ended`` the sweep is over and its outcome waits in ``outcomes``."""
        behind = self._set_back_ns(now_ns)
        if behind and not self._clock_fault:
            self._clock_fault = f"The clock was set back by {behind / 1e9:.3f} s during the sweep."
        action = Ended(self._clock_fault) if self._clock_fault else self._present.next(now_ns)
        if self.config.output is SweepOutput.ROLLING:
            self._roll()
        if isinstance(action, Ended):
            self._end(action.reason)
        return action

    def abort(self, reason: str) -> None:
        """End the sweep from outside, for instance because the lens failed."""
        if self._sweep is not None:
            self._end(reason)

    def planes(self) -> list[TakenPlane]:
        """Return the planes of the present sweep that have a frame."""
        return [] if self._sweep is None else self._sweep.planes()

    def outcomes(self) -> list[Outcome]:
        """Return the outcomes since the last call."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    # Results of actions

    def on_commanding(self, now_ns: int) -> None:
        """Note that a command is about to be sent."""
        self._track.on_commanding(now_ns)
        self._present.on_commanding(now_ns)

    def on_commanded(self, move: LensMove) -> None:
        """Note that the lens acknowledged a command."""
        self._last_move = move
        self._acknowledged.append(move.acknowledged_ns - move.sent_ns)
        self._track.on_commanded(move)
        self._present.on_commanded(move)

    def on_measured(self, state: LensState) -> None:
        """Note the state that was read from the lens."""
        self._track.on_measured(state.stamp_ns, float(dioptres(state.focus_distance)))
        self._present.on_measured(state)

    def on_verified(self) -> None:
        """Note that the lens still held its last command."""
        self._present.on_verified()

    def _set_back_ns(self, now_ns: int) -> int:
        """Return by how much the clock was set back since it was last read, 0 if it was not; forget what it dated."""
        behind, self._now_ns = self._now_ns - now_ns, now_ns
        if behind <= self.timing.clock_margin_ns:
            return 0
        self._guard.reset()
        self.on_rested()
        if self._counted is not None:
            self._counted.reset()
        return behind

    @property
    def _present(self) -> SweepMachine:
        if self._sweep is None:
            raise RuntimeError("No sweep is under way; call begin() first.")
        return self._sweep

    def _step_sweep(self, order: tuple[int, ...]) -> StepSweep:
        return StepSweep(
            self.plan,
            order,
            self.timing,
            self._guard.drops,
            measures=self.measures,
            tolerance=self.config.position_tolerance,
            verify_each=self.config.output is SweepOutput.ROLLING,
            holding=self._last_move,
        )

    def _ramp_sweep(self, order: tuple[int, ...], now_ns: int) -> RampSweep:
        # The lens is read after every command. A longer gap contains a command that took effect at an unknown time.
        self._track.expect_samples_every(self.config.ramp_interval_ns + 2 * self._command_ns(0.5))
        return RampSweep(
            self.plan,
            order,
            self.timing,
            self._assembler,
            self._guard,
            self._last_move,
            lag_ns=self.config.response.time_constant_ns,
            plane_ns=self.config.ramp_plane_ns(self.plan, self.timing, self._command_ns(0.9), self.measures),
            interval_ns=self.config.ramp_interval_ns,
            measures=self.measures,
            now_ns=now_ns,
        )

    def _external_sweep(self, now_ns: int) -> ExternalSweep:
        span = self.config.max_span_ns
        return ExternalSweep(self.timing, self._assembler, self._track, self._guard.drops, span, now_ns)

    def _counted_assembler(self) -> CountedAssembler | None:
        counted = self.config.mode is SweepMode.COUNTED
        return CountedAssembler(self.plan, self.timing, self.config) if counted else None

    def _counted_sweep(self, assembler: CountedAssembler, now_ns: int) -> CountedSweep:
        patience = 2 * self.config.max_span_ns + self.timing.frame_timeout_ns
        return CountedSweep(assembler, patience, now_ns)

    def _follow_lens(self, measured: bool) -> None:
        """Choose how the position of a moving lens becomes known: from what it measures, or from its commands."""
        config, external = self.config, self.config.mode is SweepMode.EXTERNAL
        self._track_is_measured = measured
        self._track: LensTrack
        if measured:
            self._track = MeasuredTrack(config.state_gap_ns, config.state_offset_ns)
        elif external:
            self._track = SetPointTrack(self.timing.settling_ns, config.state_gap_ns, config.state_offset_ns)
        else:
            self._track = CommandTrack(config.response, self.timing)
        self._assembler = MovingAssembler(
            self.plan,
            self.timing,
            self._track,
            config.focus_tolerance,
            renewing=external,
            span_ns=config.max_span_ns if external else None,
        )
        if external and self._sweep is not None:
            self._sweep = self._external_sweep(self._now_ns)

    def _command_ns(self, share: float) -> int:
        """Return within what time ``share`` of the last commands were acknowledged."""
        ordered = sorted(self._acknowledged)
        return ordered[int(len(ordered) * share)] if ordered else 0

    def _roll(self) -> None:
        """Renew the rolling stack with the planes that are new."""
        for plane in self._present.planes():
            if plane.start_ns in self._rolled:
                continue
            self._rolled.add(plane.start_ns)
            stack = self._rolling.renew(plane)
            if stack is not None:
                self._stacked = True
                self._emit(tuple(stack), "", plane.frame.arrival_ns)

    def _end(self, reason: str) -> None:
        if not reason and self.config.output is SweepOutput.ROLLING and not self._stacked:
            span = self.config.max_span_ns / 1e9
            reason = f"The planes were more than {span:g} s apart; raise sweep.max_span, or take fewer planes."
        if reason or self.config.output is SweepOutput.SWEEP:
            planes = tuple(self._present.planes())
            finished = max((plane.frame.arrival_ns for plane in planes), default=self._started_ns)
            self._emit(planes, reason, finished)
        if self._counted is not None:
            self._counted.end(self._now_ns)
        self._sweep = None

    def _emit(self, planes: tuple[TakenPlane, ...], reason: str, finished_ns: int) -> None:
        drops = self._present.drops + self._guard.drops
        self._present.drops.clear()
        self._guard.drops.clear()
        self._outcomes.append(Outcome(planes, reason, dict(drops), self._started_ns, finished_ns))
