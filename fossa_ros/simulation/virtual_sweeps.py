"""Sweeps in virtual time, with everything that goes wrong in life, against the truth that only the referee knows.

The real ``Sequencer`` decides; camera, wire and lens are simulated as times. What is approximated: an exposure is its
window of time, no pixels; a lens settles as ``LensDynamics``; a camera is regular but for a tenth of a millisecond.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from fossa_ros.core.errors import LensError
from fossa_ros.core.optics import dioptres, metres
from fossa_ros.lens import LensMove, LensState
from fossa_ros.simulation.lens_dynamics import LensDynamics, LensModel
from fossa_ros.sweep.config import SweepConfig, SweepMode, SweepOutput
from fossa_ros.sweep.frame import Frame
from fossa_ros.sweep.machines import Ended, MoveLens, ReadLens, VerifyLens, Wait
from fossa_ros.sweep.outcome import Outcome
from fossa_ros.sweep.plan import SweepPlan
from fossa_ros.sweep.sequencer import Sequencer
from fossa_ros.sweep.timing import SweepTiming

MS = 1_000_000
OFFSET = 2.0  # dioptres of the fixed optics before a lens of -2 to 3 D
STILL = 0.06  # D: a lens within that of its plane holds it (position tolerance and ringing)
RECOVERY = 30  # frames that a camera needs after a fault of its clock to be believed again


class Fault(StrEnum):
    """What goes wrong in a run."""

    NONE = "nothing"
    JITTER = "arrival jitter"
    DROPS = "lost frames"
    DUPLICATES = "duplicates"
    REORDERING = "re-ordering"
    CLOCK_STEPS = "clock steps"
    LATE_SETTLING = "late settling"
    LYING_LENS = "a lens that lies"
    LENS_ERRORS = "a lens that fails"
    SLOW_COMMANDS = "slow acknowledgements"
    ALL = "all at once"


@dataclass(frozen=True)
class Scenario:
    """One run.

    Attributes:
        fault: what goes wrong.
        mode, output: of the sweeps.
        rate: frames a second.
        seed: of everything drawn.
        measures: whether the lens measures its position.
    """

    fault: Fault
    mode: SweepMode = SweepMode.STEP
    output: SweepOutput = SweepOutput.SWEEP
    rate: float = 60.0
    seed: int = 0
    measures: bool = False


@dataclass
class Tally:
    """What became of the sweeps of a run.

    Attributes:
        good: stacks of which every plane has the focus that it claims.
        wrong: planes of stacks that were elsewhere than they claim.
        justified: sweeps without a stack that a fault had spoilt.
        lost: sweeps without a stack although nothing spoilt them.
        seconds: virtual time.
        notes: one line for each wrong plane and lost sweep.
    """

    good: int = 0
    wrong: int = 0
    justified: int = 0
    lost: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def __iadd__(self, other: Tally) -> Tally:
        for name in ("good", "wrong", "justified", "lost", "seconds", "notes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


class VirtualRun:
    """A camera, a lens and a sequencer on one virtual clock."""

    def __init__(self, scenario: Scenario, timing: SweepTiming | None = None, plan: SweepPlan | None = None):
        self.scenario = scenario
        self._random = np.random.default_rng([scenario.seed, *scenario.fault.encode()])
        self.period = round(1e9 / scenario.rate)
        exposure = min(10 * MS, self.period // 2)
        self.timing = timing or SweepTiming(exposure_ns=exposure)
        self.plan = plan or SweepPlan.evenly(0.35, 6.0, 5)
        config = SweepConfig(mode=scenario.mode, output=scenario.output, max_span_ns=2000 * MS)
        self.sequencer = Sequencer(self.plan, self.timing, config)
        self.tally = Tally()
        self._now = 10**9
        self._spoilt: list[tuple[int, int]] = []  # times within which a sweep may fail
        self._clock_steps: list[tuple[int, int, int]] = []  # from, to, by
        self._steps_until = self._now + 1500 * MS
        self._dynamics = LensDynamics(LensModel())
        self._truths: list[tuple[int, float]] = []
        self._delay = round(self._random.uniform(1, 12) * MS)
        self._arrivals: list[tuple[int, int, Frame | LensState]] = []
        self._serial = 0
        self._frames = self._camera()
        self._states = self._external_lens() if scenario.mode is SweepMode.EXTERNAL else iter(())
        self._coming: dict[str, tuple[int, Frame | LensState]] = {}
        self.truth: dict[int, tuple[int, int]] = {}  # exposures by the number that a frame has for its image
        self._exposed = 0
        if scenario.mode is not SweepMode.EXTERNAL:
            self.sequencer.connected(scenario.measures)

    def has(self, fault: Fault) -> bool:
        """Tell whether the run has a fault."""
        return self.scenario.fault in (fault, Fault.ALL)

    def sweeps(self, count: int, on_outcome: Callable[[Outcome], None] = lambda outcome: None) -> Tally:
        """Take ``count`` sweeps."""
        began = self._now
        for _ in range(count):
            started = self._now
            self.sequencer.begin(self._now)
            try:
                while not isinstance(step := self.sequencer.next(self._now), Ended):
                    self._take(step)
            except LensError as error:
                self._spoil(started, self._now)
                self.sequencer.abort(f"Lens: {error}")
                self.sequencer.rested()
                self._pass_time(100 * MS)
            for outcome in self.sequencer.outcomes():
                self._judge(outcome, started)
                on_outcome(outcome)
        self.tally.seconds += (self._now - began) / 1e9
        return self.tally

    def _take(self, step) -> None:
        match step:
            case Wait():
                self._until(step.until_ns)
            case MoveLens():
                self.sequencer.commanding(self._now)
                self.sequencer.commanded(self._move(step.focus_distance))
            case ReadLens():
                self._pass_time(round(self._random.uniform(0.3, 1.0) * MS))
                power = self._power(self._now) + OFFSET
                self.sequencer.measured(LensState(self._now, float(metres(power)), power, None, ()))
                self._pass_time(round(self._random.uniform(0.1, 0.5) * MS))
            case VerifyLens():
                self._pass_time(round(self._random.uniform(0.3, 1.0) * MS))
                self.sequencer.verified()

    def _move(self, distance: float) -> LensMove:
        """Send a command over the wire: it takes effect between leaving and being acknowledged, if all is well."""
        draw, sent = self._random.random, self._now
        latency = round(self._random.uniform(0.5, 3.0) * MS)
        if self.has(Fault.SLOW_COMMANDS) and draw() < 0.1:
            latency = round(self._random.uniform(5, 60) * MS)
            self._spoil(sent, sent + latency)  # nobody knows where the lens is meanwhile
        if self.has(Fault.LENS_ERRORS) and draw() < 0.02:
            self._pass_time(50 * MS)
            raise LensError("no answer")
        effect = sent + round(latency * draw())
        power = float(dioptres(distance)) - OFFSET
        told = distance
        if self.has(Fault.LATE_SETTLING):
            # A lens that measures may take as long as it likes; of another the declared settling is the bound.
            late = self._random.uniform(0, 60) if self.scenario.measures else self._random.uniform(0, 4)
            effect += round(late * MS) if self.scenario.mode is SweepMode.STEP else 0
        if self.has(Fault.LYING_LENS) and draw() < 0.1:
            self._spoil(sent, sent + 600 * MS)
            if self.scenario.measures:  # it acknowledges, and goes elsewhere
                power = float(np.clip(power + self._random.choice([-1, 1]) * self._random.uniform(0.2, 1), -2, 3))
            else:  # it says where it really goes
                power = float(np.clip(power + self._random.choice([-1, 1]) * self._random.uniform(0.2, 1), -1.8, 3))
                told = float(metres(power + OFFSET))
        self._command(power, effect)
        self._pass_time(latency)
        return LensMove(told, sent, self._now, settling_ns=18 * MS, command=power)

    def _command(self, power: float, effect: int) -> None:
        self._dynamics.command(power, max(effect, self._dynamics._segments[-1].start_ns))

    def _power(self, t_ns: int) -> float:
        """The truth: dioptres of the tunable lens."""
        if self.scenario.mode is SweepMode.EXTERNAL:
            return self._external_power(t_ns)
        return self._dynamics.power_at(t_ns)

    def _external_power(self, t_ns: int) -> float:
        """A lens that somebody swings between near and far, 0.3 to 0.8 times a second."""
        swing = 0.3 + 0.5 * ((self.scenario.seed * 0.618) % 1.0)
        return -0.5 + 1.45 * math.sin(2 * math.pi * swing * t_ns / 1e9)

    # Time

    def _until(self, until_ns: int) -> None:
        """Go on to the next arrival, or to ``until_ns``."""
        arrival = self._next_arrival()
        if arrival < until_ns:
            self._now = max(self._now, arrival)
            self._deliver()
        else:
            self._now = max(self._now, until_ns)

    def _pass_time(self, span_ns: int) -> None:
        end = self._now + span_ns
        while self._next_arrival() <= end:
            self._now = max(self._now, self._next_arrival())
            self._deliver()
        self._now = end

    def _next_arrival(self) -> int:
        # Arrivals are generated far enough ahead that none can come before those generated.
        while not self._arrivals or self._horizon < self._arrivals[0][0] + 200 * MS:
            arrival, what = next(self._frames)
            self._push(arrival, what)
            for arrival, state in self._states_until(self._horizon):
                self._push(arrival, state)
        return self._arrivals[0][0]

    def _push(self, arrival: int, what) -> None:
        if what is not None:
            self._serial += 1
            heapq.heappush(self._arrivals, (arrival, self._serial, what))

    def _deliver(self) -> None:
        _, _, what = heapq.heappop(self._arrivals)
        if isinstance(what, Frame):
            self.sequencer.add_frame(what)
        else:
            self.sequencer.on_external_state(what, True)

    # What arrives

    def _camera(self) -> Iterator[tuple[int, Frame | None]]:
        """Yield frames in the order of exposure, each with its arrival; None for one that is lost."""
        start, draw = self._now + round(self._random.uniform(0, self.period)), self._random.random
        length = self.timing.exposure_ns + self.timing.readout_ns
        gap_until = 0
        while True:
            start += self.period + round(self._random.normal(0, 0.1) * MS)
            self._horizon = start
            arrival = start + length + self._delay
            if self.has(Fault.JITTER):
                arrival += round(self._random.exponential(3) * MS)
            if self.has(Fault.REORDERING) and draw() < 0.1:
                arrival += round(self._random.uniform(1.0, 2.2) * self.period)
            if self.has(Fault.DROPS):
                if draw() < 0.002:  # a camera that stops for a while
                    gap_until = start + round(self._random.uniform(100, 900) * MS)
                    self._spoil(start - 100 * MS, gap_until + 100 * MS)
                if start < gap_until or draw() < 0.05:
                    if self.scenario.mode is not SweepMode.STEP:
                        self._spoil(start - self.period, arrival + self.period)
                    yield arrival, None
                    continue
            stamp = start + self._clock_error(start)
            self._exposed += 1
            self.truth[self._exposed] = (start, start + length)
            frame = Frame(stamp, arrival, (640, 480), (600.0,), self._exposed)
            yield arrival, frame
            if self.has(Fault.DUPLICATES) and draw() < 0.1:
                again = arrival + round(self._random.uniform(0, 30) * MS)
                self._push(again, Frame(stamp, again, (640, 480), (600.0,), self._exposed))

    def _clock_error(self, t_ns: int) -> int:
        """What the camera's clock is wrong by: now and then it jumps, and after a while back."""
        if not self.has(Fault.CLOCK_STEPS):
            return 0
        if t_ns > self._steps_until + 1500 * MS and self._random.random() < 0.02:
            least = max(2 * self.timing.clock_margin_ns, 0.2 * self.period)
            size = round(least + self._random.exponential(30) * MS)
            if self._random.random() < 0.2:  # by whole periods, which leaves the grid in place
                size = round(self._random.integers(1, 5) * self.period)
            self._step = size if self._random.random() < 0.5 else -size
            self._steps_from = t_ns
            self._steps_until = t_ns + round(self._random.uniform(50, 1500) * MS)
            self._spoil(t_ns - 100 * MS, self._steps_until + RECOVERY * self.period + 500 * MS)
        return self._step if getattr(self, "_steps_from", t_ns) < t_ns <= self._steps_until and self._started() else 0

    def _started(self) -> bool:
        return hasattr(self, "_step")

    def _external_lens(self) -> Iterator[tuple[int, LensState]]:
        """Yield what the lens says of itself, at 150 Hz, on a wire of its own."""
        t = self._now
        while True:
            t += round(1e9 / 150) + round(self._random.normal(0, 0.2) * MS)
            self._state_horizon = t
            arrival = t + round(self._random.uniform(0.5, 2) * MS)
            if self.has(Fault.JITTER):
                arrival += round(self._random.exponential(3) * MS)
            if self.has(Fault.REORDERING) and self._random.random() < 0.1:
                arrival += 15 * MS
            if self.has(Fault.DROPS) and self._random.random() < 0.05:
                continue
            state = LensState(t, float(metres(self._external_power(t) + OFFSET)), math.nan, None, ())
            yield arrival, state
            if self.has(Fault.DUPLICATES) and self._random.random() < 0.1:
                yield arrival + 5 * MS, state

    def _states_until(self, horizon: int) -> Iterator[tuple[int, LensState]]:
        if self.scenario.mode is not SweepMode.EXTERNAL:
            return
        while getattr(self, "_state_horizon", 0) < horizon:
            yield next(self._states)

    # The referee

    def _spoil(self, start_ns: int, end_ns: int) -> None:
        self._spoilt.append((start_ns, end_ns))

    def _judge(self, outcome: Outcome, started_ns: int) -> None:
        if outcome.reason:
            spoilt = any(start <= self._now and started_ns <= end for start, end in self._spoilt)
            self.tally.justified += spoilt
            self.tally.lost += not spoilt
            if not spoilt:
                self.tally.notes.append(f"lost: {self.scenario} {outcome.reason}")
            return
        wrong = [plane for plane in outcome.planes if not self._true(plane)]
        self.tally.wrong += len(wrong)
        self.tally.good += not wrong
        for plane in wrong:
            start, end = self.truth[plane.frame.image]
            self.tally.notes.append(
                f"wrong: {self.scenario} claims {float(dioptres(plane.focus_distance)):.3f} +- "
                f"{plane.uncertainty:.3f} D, was {self._power((start + end) // 2) + OFFSET:.3f} D"
            )

    def _true(self, plane) -> bool:
        """Tell whether the lens was where the plane says."""
        start, end = self.truth[plane.frame.image]
        claimed = float(dioptres(plane.focus_distance)) - OFFSET
        if self.scenario.mode is SweepMode.STEP:
            return all(abs(self._power(t) - claimed) <= STILL for t in np.linspace(start, end, 5).astype(int).tolist())
        return abs(self._power((start + end) // 2) - claimed) <= plane.uncertainty + 1e-6
