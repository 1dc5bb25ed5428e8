"""One sweep after another, as pure state: what to do next, and the stacks that came of it.

Everything that decides about frames is here and below; who drives it supplies time, lens and frames. The capture
thread does so in life, a loop in virtual time in the tests.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from fossa_ros.core.optics import dioptres
from fossa_ros.core.parameter import check_ranges, parameter, seconds, within
from fossa_ros.lens import LensMove, LensState
from fossa_ros.sweep.frame import Drop, Frame
from fossa_ros.sweep.machines import Ended, ExternalSweep, RampSweep, Step, StepSweep, Sweep
from fossa_ros.sweep.moving import MovingAssembler, TakenPlane
from fossa_ros.sweep.plan import SweepPlan
from fossa_ros.sweep.rolling import RollingStack
from fossa_ros.sweep.stamps import StampGuard
from fossa_ros.sweep.timing import SweepTiming
from fossa_ros.sweep.track import CommandTrack, LensResponse, MeasuredTrack, SetPointTrack

COMMANDS = 64
LONGER = 2  # times the usual interval of samples is too long to be interpolated
SAMPLED = 3.0  # by which the focus of a moving lens is less certain from samples than from its commands


class SweepMode(StrEnum):
    """Who moves the lens, and how."""

    STEP = "step"
    RAMP = "ramp"
    EXTERNAL = "external"


class SweepOutput(StrEnum):
    """When a stack is complete."""

    SWEEP = "sweep"  # once every plane is new
    ROLLING = "rolling"  # whenever one plane is new


@dataclass(frozen=True)
class SweepConfig:
    """How sweeps are taken.

    Raises:
        InputError: a value is outside the range of its parameter.
    """

    mode: SweepMode = parameter(
        SweepMode.STEP,
        "How the lens moves: step from plane to plane, ramp evenly through them, or external: another node drives it "
        "and publishes lens/state",
    )
    output: SweepOutput = parameter(
        SweepOutput.SWEEP, "When a depth map is made: once per sweep, or rolling: whenever a plane is renewed"
    )
    arrival_jitter_ns: int = seconds(
        20_000_000,
        "How much longer than the fastest frame another may take to arrive; a later one is held until the camera's "
        "clock is known to be intact",
        minimum=0.0001,
        maximum=1.0,
    )
    max_span_ns: int = seconds(
        1_000_000_000,
        "Longest time from the oldest to the newest plane of a stack, with rolling output or an external lens",
        minimum=0.01,
        maximum=600.0,
    )
    focus_tolerance: float = parameter(
        0.25,
        "Largest uncertainty of a frame's focus while the lens moves; a ramp is made slow enough for it",
        unit="D",
        minimum=0.03,
        maximum=10.0,
    )
    position_tolerance: float = parameter(
        0.05, "How far a lens may be from the plane it was commanded to", unit="D", minimum=0.001, maximum=10.0
    )
    response: LensResponse = field(default_factory=LensResponse, metadata=within(""))
    ramp_interval_ns: int = seconds(4_000_000, "Time between the lens commands of a ramp", minimum=0.0005, maximum=1.0)
    state_gap_ns: int = seconds(
        100_000_000,
        "External lens: longest gap in lens/state that is interpolated",
        minimum=0.001,
        maximum=10.0,
    )
    state_offset_ns: int = seconds(
        0,
        "External lens: added to the stamps of lens/state: how far their clock is behind this node's",
        minimum=-10.0,
        maximum=10.0,
    )

    def __post_init__(self) -> None:
        check_ranges(self)

    def ramp_plane_ns(self, plan: SweepPlan, timing: SweepTiming, command_ns: int, measures: bool = False) -> int:
        """Return the least time from one plane of a ramp to the next at which its focus is certain enough.

        ``command_ns`` is how long a command takes to be acknowledged.
        """
        powers = dioptres(plan.focus_distances).tolist()
        spacing = max(nearer - farther for nearer, farther in pairwise(powers))
        tolerance = self.focus_tolerance / SAMPLED if measures else self.focus_tolerance
        return self.response.slowest_ns(spacing, tolerance, timing.clock_margin_ns, command_ns)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of a sweep, or of one renewed plane.

    Attributes:
        planes: those taken, in the order of exposure.
        reason: why they are not a stack; empty where they are.
        drops: frames not used since the last outcome, by reason.
        started_ns: when the sweep began.
        finished_ns: when the last plane's frame arrived.
    """

    planes: tuple[TakenPlane, ...]
    reason: str
    drops: dict[Drop, int]
    started_ns: int
    finished_ns: int


class Sequencer:
    """Take sweeps, near-far-near-far.

    ``begin`` a sweep; ask ``next`` for a step, take it, and tell how it went until the step is ``Ended``; collect
    ``outcomes`` meanwhile. Frames and lens states may be told at any time. Not thread-safe: the caller serialises.
    """

    def __init__(self, plan: SweepPlan, timing: SweepTiming, config: SweepConfig | None = None):
        self.plan = plan
        self.timing = timing
        self.config = config or SweepConfig()
        self.measures = False
        self._state_measured: bool | None = None
        self._guard = StampGuard(timing, self.config.arrival_jitter_ns)
        self._rolling = RollingStack(len(plan.focus_distances), self.config.max_span_ns)
        self._track = self._assembler = None
        self._sweep: Sweep | None = None
        self._count = 0
        self._last_move: LensMove | None = None
        self._last_now_ns: int | None = None
        self._outcomes: list[Outcome] = []
        self._acknowledged: deque[int] = deque(maxlen=COMMANDS)  # what the last commands took
        self._failure = ""
        self._follow(measured=False)

    @property
    def period_ns(self) -> int | None:
        """The camera's frame period; None while it is not known."""
        return self._guard.period_ns

    @property
    def latency_ns(self) -> int:
        """How long the quickest frame took from the end of its exposure to its arrival; 0 while it is not known."""
        return self._guard.floor_ns or 0

    @property
    def clock_jumped(self) -> bool:
        """Whether the camera's clock jumped, so that no frame is used."""
        return self._guard.jumped

    def connected(self, measures: bool) -> None:
        """Note that a lens was opened, and whether it measures its position."""
        self.measures = measures
        if self.config.mode is SweepMode.RAMP:
            self._follow(measures)
        self.rested()

    def set_timing(self, timing: SweepTiming) -> None:
        """Use another timing from the next sweep on."""
        if timing != self.timing:
            self.timing = timing
            self._guard = StampGuard(timing, self.config.arrival_jitter_ns)
            self._rolling.clear()
            self._follow(self._state_measured)

    def rested(self) -> None:
        """Note that the lens was parked or lost: where it stands is not known."""
        self._last_move = None
        self._rolling.clear()
        self._track.reset()

    def begin(self, now_ns: int) -> None:
        """Begin a sweep."""
        slots = self.plan.slots(self._count)
        self._count += 1
        self._started_ns = self._last_now_ns = now_ns
        self._emitted: set[int] = set()
        self._rolled = False
        self._failure = ""
        self._guard.drops.clear()
        match self.config.mode:
            case SweepMode.STEP:
                self._sweep = StepSweep(
                    self.plan,
                    slots,
                    self.timing,
                    measures=self.measures,
                    tolerance=self.config.position_tolerance,
                    prove_each=self.config.output is SweepOutput.ROLLING,
                    holding=self._last_move,
                    refused=self._guard.drops,
                )
            case SweepMode.RAMP:
                if isinstance(self._track, MeasuredTrack):
                    # A command that took longer than they do moved the lens between two samples, nobody knows when.
                    usual = self.config.ramp_interval_ns + 2 * self._command_ns(0.5)
                    self._track.gap_ns = min(LONGER * usual, self.config.state_gap_ns)
                self._sweep = RampSweep(
                    self.plan,
                    slots,
                    self.timing,
                    self._assembler,
                    self._guard,
                    self._last_move,
                    lag_ns=self.config.response.time_constant_ns,
                    plane_ns=self.config.ramp_plane_ns(self.plan, self.timing, self._command_ns(), self.measures),
                    interval_ns=self.config.ramp_interval_ns,
                    measures=self.measures,
                    now_ns=now_ns,
                )
            case SweepMode.EXTERNAL:
                self._sweep = self._external(now_ns)

    def next(self, now_ns: int) -> Step:
        """Return what to do; after ``Ended`` the sweep is over and its outcome waits in ``outcomes``."""
        behind = self._last_now_ns - now_ns
        if behind > self.timing.clock_margin_ns and not self._failure:
            self._failure = f"The clock was set back by {behind / 1e9:.3f} s during the sweep."
            self._guard.reset()
            self.rested()
        self._last_now_ns = now_ns
        step = Ended(self._failure) if self._failure else self._sweep.next(now_ns)
        if self.config.output is SweepOutput.ROLLING:
            self._roll()
        if isinstance(step, Ended):
            self._end(step.reason, now_ns)
        return step

    def abort(self, reason: str, now_ns: int) -> None:
        """End the sweep from outside, for instance because the lens failed."""
        if self._sweep is not None:
            self._end(reason, now_ns)

    def outcomes(self) -> list[Outcome]:
        """Return the outcomes since the last call."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def planes(self) -> list[TakenPlane]:
        """Return the planes of the present sweep that have a frame."""
        return [] if self._sweep is None else self._sweep.planes()

    def commanding(self, now_ns: int) -> None:
        """Note that a command is about to leave."""
        if isinstance(self._track, CommandTrack):
            self._track.commanding(now_ns)
        self._sweep.commanding(now_ns)

    def commanded(self, move: LensMove) -> None:
        """Note that the lens acknowledged a command."""
        self._last_move = move
        self._acknowledged.append(move.acknowledged_ns - move.sent_ns)
        if isinstance(self._track, CommandTrack):
            self._track.commanded(move)
        self._sweep.commanded(move)

    def measured(self, state: LensState) -> None:
        """Note what the lens said when it was asked."""
        if not isinstance(self._track, CommandTrack):
            self._track.measured(state.stamp_ns, float(dioptres(state.focus_distance)))
        self._sweep.measured(state)

    def verified(self) -> None:
        """Note that the lens still held its last command."""
        self._sweep.verified()

    def on_external_state(self, state: LensState, measured: bool) -> bool:
        """Note what somebody else's lens said, ``measured`` or as it was told; return whether a sweep waits for it."""
        if measured is not self._state_measured:
            self._follow(measured)
        self._track.measured(state.stamp_ns, float(dioptres(state.focus_distance)))
        return self._sweep is not None

    def add_frame(self, frame: Frame) -> bool:
        """Take a frame that has just arrived; return whether a sweep may have come farther by it."""
        passed, drop = self._guard.add_frame(frame)
        if self._guard.jumped and drop is Drop.CLOCK_JUMP:
            self._rolling.clear()
        external = self.config.mode is SweepMode.EXTERNAL  # between two sweeps that lens moves on
        take = self._sweep.add_frame if self._sweep is not None else self._assembler.wait if external else None
        for one in passed if take is not None else ():
            take(one)
        return bool(passed)

    def _follow(self, measured: bool | None) -> None:
        """Choose how the lens is followed."""
        config = self.config
        self._state_measured = measured
        if config.mode is SweepMode.EXTERNAL and not measured:
            self._track = SetPointTrack(self.timing.settling_ns, config.state_gap_ns, config.state_offset_ns)
        elif measured:
            self._track = MeasuredTrack(config.state_gap_ns, config.state_offset_ns)
        else:
            self._track = CommandTrack(config.response, self.timing)
        self._assembler = MovingAssembler(
            self.plan,
            self.timing,
            self._track,
            config.focus_tolerance,
            renewing=config.mode is SweepMode.EXTERNAL,
            span_ns=config.max_span_ns if config.mode is SweepMode.EXTERNAL else None,
        )
        if isinstance(self._sweep, ExternalSweep):
            self._sweep = self._external(self._last_now_ns)

    def _external(self, now_ns: int) -> ExternalSweep:
        return ExternalSweep(self.timing, self._assembler, self.config.max_span_ns, now_ns, self._guard.drops)

    def _command_ns(self, share: float = 0.9) -> int:
        """Return how long commands take, but for the slowest tenth of them, or what ``share`` leaves."""
        ordered = sorted(self._acknowledged)
        return ordered[int(len(ordered) * share)] if ordered else 0

    def _roll(self) -> None:
        """Offer the planes that are new to the rolling stack."""
        for plane in self._sweep.planes():
            if plane.start_ns in self._emitted:
                continue
            self._emitted.add(plane.start_ns)
            stack = self._rolling.renew(plane)
            if stack is not None:
                self._rolled = True
                self._outcomes.append(
                    Outcome(tuple(stack), "", self._drops(), self._started_ns, plane.frame.arrival_ns)
                )

    def _end(self, reason: str, now_ns: int) -> None:
        if not reason and self.config.output is SweepOutput.ROLLING and not self._rolled:
            span = self.config.max_span_ns / 1e9
            reason = f"The planes were more than {span:g} s apart; raise sweep.max_span, or take fewer planes."
        if reason or self.config.output is SweepOutput.SWEEP:
            planes = tuple(self._sweep.planes())
            finished = max((plane.frame.arrival_ns for plane in planes), default=self._started_ns)
            self._outcomes.append(Outcome(planes, reason, self._drops(), self._started_ns, finished))
        self._sweep = None

    def _drops(self) -> dict[Drop, int]:
        drops = self._sweep.drops + self._guard.drops
        self._guard.drops.clear()
        self._sweep.drops.clear()
        return dict(drops)
