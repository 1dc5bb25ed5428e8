"""Sweeps by the clock of a machine whose clock is set while they are taken."""

from __future__ import annotations

import math

import pytest

from fossa_ros.lens import LensMove
from fossa_ros.sweep.config import SweepConfig, SweepMode
from fossa_ros.sweep.frame import Frame
from fossa_ros.sweep.machines import Ended, MoveLens, VerifyLens
from fossa_ros.sweep.plan import SweepPlan
from fossa_ros.sweep.sequencer import Sequencer
from fossa_ros.sweep.timing import SweepTiming

MS = 1_000_000
PERIOD = 33 * MS
EXPOSURE = 10 * MS
STEP = MS // 2  # of the simulation


class Machine:
    """A camera and a lens that never fail, and a clock that can be set."""

    def __init__(self, mode: SweepMode):
        timing = SweepTiming(exposure_ns=EXPOSURE, frame_timeout_ns=500 * MS)
        self.sequencer = Sequencer(SweepPlan.evenly(0.35, 6.0, 5), timing, SweepConfig(mode=mode))
        self.sequencer.on_connected(False)
        self.real = 0  # nanoseconds that have passed
        self.offset = 3600 * 10**9
        self.frames = 0

    @property
    def clock(self) -> int:
        return self.real + self.offset

    def wait(self) -> None:
        self.real += STEP
        if self.real >= self.frames * PERIOD + EXPOSURE + 5 * MS:
            start = self.frames * PERIOD + self.offset
            self.sequencer.add_frame(Frame(start, self.clock, (640, 480), (600.0,), self.frames))
            self.frames += 1

    def sweep(self, set_back_ns: int = 0, after_ns: int = 0) -> tuple[str, float]:
        """Take a sweep; return why it failed and how many seconds it took."""
        begin = self.real
        self.sequencer.begin(self.clock)
        while not isinstance(action := self.sequencer.next(self.clock), Ended):
            if set_back_ns and self.real - begin >= after_ns:
                self.offset, set_back_ns = self.offset - set_back_ns, 0
            match action:
                case MoveLens():
                    self.sequencer.on_commanding(self.clock)
                    sent = self.clock
                    self.wait()
                    move = LensMove(action.focus_distance, sent, self.clock, 18 * MS, math.nan)
                    self.sequencer.on_commanded(move)
                case VerifyLens():
                    self.sequencer.on_verified()
            self.wait()
        reasons = [outcome.reason for outcome in self.sequencer.outcomes()]
        assert len(reasons) == 1
        return reasons[0], (self.real - begin) / 1e9


@pytest.mark.parametrize("mode", [SweepMode.STEP, SweepMode.RAMP])
@pytest.mark.parametrize("seconds", [0.1, 30, 3000])
def test_a_clock_set_back_between_two_sweeps_delays_and_spoils_none(mode, seconds):
    machine = Machine(mode)
    for _ in range(4):
        usual = machine.sweep()
    assert not usual[0]
    machine.offset -= round(seconds * 1e9)
    results = [machine.sweep() for _ in range(4)]
    assert not any(reason for reason, _ in results[1:]), results
    assert max(took for _, took in results) < usual[1] + 0.3, results  # frames are learned again


@pytest.mark.parametrize("mode", [SweepMode.STEP, SweepMode.RAMP])
@pytest.mark.parametrize("after", [0, 5, 40, 90])
@pytest.mark.parametrize("seconds", [0.1, 30, 3000])
def test_a_clock_set_back_within_a_sweep_ends_it_with_a_reason_and_no_other(mode, after, seconds):
    machine = Machine(mode)
    for _ in range(4):
        usual = machine.sweep()
    reason, took = machine.sweep(round(seconds * 1e9), after * MS)
    assert "clock was set back" in reason and took < usual[1] + 0.1
    results = [machine.sweep() for _ in range(3)]
    assert not any(reason for reason, _ in results), results
