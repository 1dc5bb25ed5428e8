"""Sweeps in virtual time with injected faults, checked by a referee that knows the truth.

The ``Sequencer`` is the real one; camera, connection and lens are simulated as times. Approximations: an exposure is a
window of time without pixels, a lens settles as ``LensDynamics`` does, a camera is regular to a tenth of a millisecond.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from fossa_ros.core.errors import LensError
from fossa_ros.core.optics import dioptres, metres
from fossa_ros.lens import LensMove, LensState
from fossa_ros.simulation.lens_dynamics import LensDynamics, LensModel
from fossa_ros.simulation.sweep_referee import Fault, Referee, Scenario, Tally
from fossa_ros.sweep.config import SweepConfig, SweepMode, TriggerOrder
from fossa_ros.sweep.frame import Frame
from fossa_ros.sweep.machines import Action, Ended, MoveLens, ReadLens, VerifyLens, Wait
from fossa_ros.sweep.outcome import Outcome
from fossa_ros.sweep.plan import SweepPlan
from fossa_ros.sweep.sequencer import Sequencer
from fossa_ros.sweep.timing import SweepTiming

__all__ = ["Fault", "Scenario", "Tally", "VirtualRun"]

MS = 1_000_000
OFFSET = 2.0  # dioptres of the fixed optics before a lens of -2 to 3 D
RECOVERY = 30  # frames after a fault of the clock until frames are used again
STATE_RATE = 150  # Hz, of an external lens
FAULTY = 0.1  # share of the triggered sweeps with a fault of the rig


@dataclass(frozen=True)
class _TriggerMessage:
    stamp_ns: int
    source: str


class VirtualRun:
    """A camera, a lens and a sequencer on one virtual clock."""

    def __init__(self, scenario: Scenario, timing: SweepTiming | None = None, plan: SweepPlan | None = None):
        self.scenario = scenario
        self._random = np.random.default_rng([scenario.seed, *scenario.fault.encode()])
        self.period = round(1e9 / scenario.rate)
        self.timing = timing or SweepTiming(exposure_ns=min(10 * MS, self.period // 2))
        self.plan = plan or SweepPlan.evenly(0.35, 6.0, 5)
        config = SweepConfig(
            mode=scenario.mode,
            output=scenario.output,
            max_span_ns=2000 * MS,
            trigger_period_ns=self.period,
            trigger_delay_ns=3 * MS,
            trigger_order=TriggerOrder.SOURCE if scenario.seed % 2 else TriggerOrder.NEAR_TO_FAR,
        )
        self._config = config
        self.sequencer = Sequencer(self.plan, self.timing, config)
        self._referee = Referee(scenario, lambda t_ns: self._power(t_ns) + OFFSET)
        self._external = scenario.mode is SweepMode.EXTERNAL
        self._triggered = scenario.mode is SweepMode.COUNTED
        self._steps: list[tuple[int, float]] = [(0, 0.0)]  # times and powers of a triggered lens
        self._now = 10**9
        # The clock of the camera is wrong by ``_step`` from ``_steps_from`` to ``_steps_until``.
        self._step = 0
        self._steps_from = self._steps_until = self._now + 1500 * MS
        self._dynamics = LensDynamics(LensModel())
        self._delay = round(self._random.uniform(1, 12) * MS)
        self._arrivals: list[tuple[int, int, Frame | LensState | _TriggerMessage]] = []
        self._arrival_count = self._frame_count = 0
        self._horizon = self._state_horizon = 0  # until when frames and states have been generated
        self._frames = self._camera()
        self._states = self._external_lens()
        if scenario.mode.drives_lens:
            self.sequencer.on_connected(scenario.measures)

    def sweeps(self, count: int, on_outcome: Callable[[Outcome], None] = lambda outcome: None) -> Tally:
        """Take ``count`` sweeps; return what became of all sweeps of the run."""
        tally, began = self._referee.tally, self._now
        for _ in range(count):
            started = self._now
            self.sequencer.begin(self._now)
            try:
                while not isinstance(action := self.sequencer.next(self._now), Ended):
                    self._act(action)
            except LensError as error:
                self._referee.disturb(started, self._now)
                self.sequencer.abort(f"Lens: {error}")
                self.sequencer.on_rested()
                self._pass_time(100 * MS)
            if self._triggered:  # its trigger may have waited for the sweep before to give up
                started -= self.timing.frame_timeout_ns
            for outcome in self.sequencer.outcomes():
                self._referee.check(outcome, started, self._now)
                on_outcome(outcome)
        tally.seconds += (self._now - began) / 1e9
        return tally

    def _act(self, action: Action) -> None:
        match action:
            case Wait():
                self._wait_until(action.until_ns)
            case MoveLens():
                self.sequencer.on_commanding(self._now)
                self.sequencer.on_commanded(self._move(action.focus_distance))
            case ReadLens():
                self._pass_time(round(self._random.uniform(0.3, 1.0) * MS))
                power = self._power(self._now) + OFFSET
                self.sequencer.on_measured(LensState(self._now, float(metres(power)), power, None, ()))
                self._pass_time(round(self._random.uniform(0.1, 0.5) * MS))
            case VerifyLens():
                self._pass_time(round(self._random.uniform(0.3, 1.0) * MS))
                self.sequencer.on_verified()

    # The lens

    def _move(self, distance: float) -> LensMove:
        """Send a command: without faults it takes effect between being sent and being acknowledged."""
        has, draw, sent = self.scenario.has, self._random.random, self._now
        latency = round(self._random.uniform(0.5, 3.0) * MS)
        if has(Fault.SLOW_COMMANDS) and draw() < 0.1:
            latency = round(self._random.uniform(5, 60) * MS)
            self._referee.disturb(sent, sent + latency)  # the position of the lens is unknown meanwhile
        if has(Fault.LENS_ERRORS) and draw() < 0.02:
            self._pass_time(50 * MS)
            raise LensError("no answer")
        effect = sent + round(latency * draw())
        power = float(dioptres(distance)) - OFFSET
        acknowledged = distance
        if has(Fault.LATE_SETTLING):
            # A lens that measures may settle at any time; for another the declared settling time is the bound.
            late = self._random.uniform(0, 60) if self.scenario.measures else self._random.uniform(0, 4)
            effect += round(late * MS) if self.scenario.mode is SweepMode.STEP else 0
        if has(Fault.LYING_LENS) and draw() < 0.1:
            self._referee.disturb(sent, sent + 600 * MS)
            stray = power + self._random.choice([-1, 1]) * self._random.uniform(0.2, 1)
            if self.scenario.measures:  # it acknowledges the command, and goes elsewhere
                power = float(np.clip(stray, -2, 3))
            else:  # it acknowledges its real target
                power = float(np.clip(stray, -1.8, 3))
                acknowledged = float(metres(power + OFFSET))
        self._command(power, effect)
        self._pass_time(latency)
        return LensMove(acknowledged, sent, self._now, settling_ns=18 * MS, command=power)

    def _command(self, power: float, effect_ns: int) -> None:
        self._dynamics.command(power, max(effect_ns, self._dynamics.last_command_ns))

    def _power(self, t_ns: int) -> float:
        """Return the true power of the tunable lens, dioptres."""
        if self._triggered:
            return self._steps[bisect_right(self._steps, (t_ns, math.inf)) - 1][1]
        return self._external_power(t_ns) if self._external else self._dynamics.power_at(t_ns)

    def _external_power(self, t_ns: int) -> float:
        """Return the power of a lens that swings between near and far, 0.3 to 0.8 times a second."""
        swing = 0.3 + 0.5 * ((self.scenario.seed * 0.618) % 1.0)
        return -0.5 + 1.45 * math.sin(2 * math.pi * swing * t_ns / 1e9)

    # Time

    def _wait_until(self, until_ns: int) -> None:
        """Advance to the next arrival, or to ``until_ns``."""
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
        # Frames are generated so far ahead that none generated later can arrive before these.
        while not self._arrivals or self._horizon < self._arrivals[0][0] + 200 * MS:
            self._push(*next(self._frames))
            while self._external and self._state_horizon < self._horizon:
                self._push(*next(self._states))
        return self._arrivals[0][0]

    def _push(self, arrival_ns: int, arriving: Frame | LensState | _TriggerMessage | None) -> None:
        if arriving is not None:
            self._arrival_count += 1
            heapq.heappush(self._arrivals, (arrival_ns, self._arrival_count, arriving))

    def _deliver(self) -> None:
        _, _, arriving = heapq.heappop(self._arrivals)
        if isinstance(arriving, Frame):
            self.sequencer.add_frame(arriving)
        elif isinstance(arriving, _TriggerMessage):
            self.sequencer.on_trigger(arriving.stamp_ns, self._now, arriving.source)
        else:
            self.sequencer.on_external_state(arriving, True)

    # What arrives

    def _camera(self) -> Iterator[tuple[int, Frame | None]]:
        """Yield frames in the order of exposure, each with its arrival; None for one that is lost."""
        has, draw = self.scenario.has, self._random.random
        length = self.timing.exposure_ns + self.timing.readout_ns
        gap_until = 0
        for start in self._triggered_exposures() if self._triggered else self._regular_exposures():
            self._horizon = start
            arrival = start + length + self._delay
            if has(Fault.JITTER):
                arrival += round(self._random.exponential(3) * MS)
            if has(Fault.REORDERING) and draw() < 0.1:
                arrival += round(self._random.uniform(1.0, 2.2) * self.period)
            if has(Fault.DROPS):
                if draw() < 0.002:  # a camera that stops for a while
                    gap_until = start + round(self._random.uniform(100, 900) * MS)
                    self._referee.disturb(start - 100 * MS, gap_until + 100 * MS)
                if start < gap_until or draw() < 0.05:
                    if self.scenario.mode is not SweepMode.STEP:
                        self._referee.disturb(start - self.period, arrival + self.period)
                    yield arrival, None
                    continue
            if self._triggered and arrival - start > 5 * self.period:  # later than a sweep lasts
                self._referee.disturb(start - self.period, arrival + self.period)
            stamp = start + self._clock_error(start)
            number = self._frame_count  # takes the place of an image
            counter = number if self.scenario.measures else None
            self._referee.add_exposure(number, start, start + length)
            yield arrival, Frame(stamp, arrival, (640, 480), (600.0,), number, counter=counter)
            if has(Fault.DUPLICATES) and draw() < 0.1:
                again = arrival + round(self._random.uniform(0, 30) * MS)
                self._push(again, Frame(stamp, again, (640, 480), (600.0,), number, counter=counter))

    def _regular_exposures(self) -> Iterator[int]:
        """Yield the starts of the exposures of a camera that runs freely."""
        start = self._now + round(self._random.uniform(0, self.period))
        while True:
            start += self.period + round(self._random.normal(0, 0.1) * MS)
            self._frame_count += 1
            yield start

    def _triggered_exposures(self) -> Iterator[int]:
        """Yield the starts of the exposures of a rig that triggers lens and camera; push its triggers, move its lens.

        The lens is in a plane from a quarter of a period before its exposure until three quarters after its start.
        """
        has, draw, count = self.scenario.has, self._random.random, len(self.plan.focus_distances)
        end, sweep = self._now, 0
        while True:
            first = end + round(self._random.uniform(1.1, 4) * self.period)  # after a pause
            begin = first - self._config.trigger_delay_ns
            back = self._config.trigger_order is TriggerOrder.SOURCE and sweep % 2 == 1
            self._push_trigger(begin, first, TriggerOrder.FAR_TO_NEAR if back else TriggerOrder.NEAR_TO_FAR)
            exposures = []
            planned = self.plan.focus_distances[::-1] if back else self.plan.focus_distances
            for index, distance in enumerate(planned):
                due = first + index * self.period
                self._steps.append((due - self.period // 4, float(dioptres(distance)) - OFFSET))
                exposures.append(due + round(self._random.uniform(-0.25, 0.25) * MS))
            end = first + count * self.period
            if has(Fault.LENS_ERRORS) and draw() < FAULTY:  # the camera misses a trigger, or sees one too many
                self._referee.disturb(begin - 2 * self.period, end + 2 * self.period)
                if draw() < 0.5:
                    del exposures[int(self._random.integers(len(exposures)))]
                if draw() < 0.5:
                    extra = first + round(self._random.uniform(-1.2, count + 0.2) * self.period)
                    if all(abs(extra - other) > self.period // 2 for other in exposures):
                        exposures.append(extra)
            if has(Fault.LATE_SETTLING) and draw() < FAULTY:  # the rig stops within the sweep
                self._referee.disturb(begin - self.period, end + self.period)
                del exposures[int(self._random.integers(1, count)) :]
            for start in sorted(exposures):
                self._frame_count += 1
                yield start
            sweep += 1

    def _push_trigger(self, begin_ns: int, first_ns: int, order: TriggerOrder) -> None:
        """Push the message of a sweep's trigger, with the faults of a rig."""
        has, draw = self.scenario.has, self._random.random
        lasts = (len(self.plan.focus_distances) + 1) * self.period
        stamp = begin_ns + round(self._random.uniform(-0.25, 0.25) * MS)
        arrival = begin_ns + round(self._random.uniform(0.5, 3) * MS)
        disturbed = begin_ns - lasts, begin_ns + 3 * lasts
        if has(Fault.JITTER):
            arrival += round(self._random.exponential(3) * MS)
        if has(Fault.SLOW_COMMANDS) and draw() < FAULTY:
            arrival += round(self._random.uniform(5, 60) * MS)
        if arrival - stamp > lasts:
            self._referee.disturb(begin_ns - self.period, arrival + lasts)
        if has(Fault.LYING_LENS) and draw() < FAULTY:  # the stamp of another time
            periods = self._random.uniform(-7, 7) if draw() < 0.5 else self._random.choice([-6, -2, -1, 1, 2, 6])
            stamp += round(periods * self.period)
            self._referee.disturb(*disturbed)
        if has(Fault.DROPS) and draw() < 0.05:
            self._referee.disturb(*disturbed)
            return
        message = _TriggerMessage(stamp, str(order))
        self._push(arrival, message)
        if has(Fault.DUPLICATES) and draw() < FAULTY:
            self._push(arrival + round(self._random.uniform(0, 5) * MS), message)

    def _clock_error(self, t_ns: int) -> int:
        """Return the error of the camera's clock, which jumps from time to time, and back after a while."""
        if not self.scenario.has(Fault.CLOCK_STEPS):
            return 0
        if t_ns > self._steps_until + 1500 * MS and self._random.random() < 0.02:
            least = max(2 * self.timing.clock_margin_ns, 0.2 * self.period)
            size = round(least + self._random.exponential(30) * MS)
            if self._random.random() < 0.2:  # by whole periods, which leaves the grid in place
                size = round(self._random.integers(1, 5) * self.period)
            self._step = size if self._random.random() < 0.5 else -size
            self._steps_from = t_ns
            self._steps_until = t_ns + round(self._random.uniform(50, 1500) * MS)
            self._referee.disturb(t_ns - 100 * MS, self._steps_until + RECOVERY * self.period + 500 * MS)
        return self._step if self._steps_from < t_ns <= self._steps_until else 0

    def _external_lens(self) -> Iterator[tuple[int, LensState]]:
        """Yield the states of an external lens, each with its arrival."""
        has, t = self.scenario.has, self._now
        while True:
            t += round(1e9 / STATE_RATE) + round(self._random.normal(0, 0.2) * MS)
            self._state_horizon = t
            arrival = t + round(self._random.uniform(0.5, 2) * MS)
            if has(Fault.JITTER):
                arrival += round(self._random.exponential(3) * MS)
            if has(Fault.REORDERING) and self._random.random() < 0.1:
                arrival += 15 * MS
            if has(Fault.DROPS) and self._random.random() < 0.05:
                continue
            state = LensState(t, float(metres(self._external_power(t) + OFFSET)), math.nan, None, ())
            yield arrival, state
            if has(Fault.DUPLICATES) and self._random.random() < 0.1:
                yield arrival + 5 * MS, state
