"""Sweeps taken for real: a lens driver on a pseudo-terminal, a camera on a clock, no renderer."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from fossa_ros.core.errors import InputError
from fossa_ros.lens import open_lens
from fossa_ros.simulation.ld4_device import SimulatedLd4
from fossa_ros.simulation.lens_dynamics import LensDynamics
from fossa_ros.simulation.pseudo_terminal import PseudoTerminal
from fossa_ros.simulation.serial_device import LineFault
from fossa_ros.sweep import (
    ClockUse,
    Frame,
    SweepCapture,
    SweepConfig,
    SweepDecoder,
    SweepMode,
    SweepOutput,
    SweepPlan,
    SweepTiming,
)

pytestmark = pytest.mark.real_time

MS = 1_000_000
PERIOD_NS = 5 * MS
OFFSET = 2.0  # dioptres of the fixed optics
TIMING = SweepTiming(settling_ns=20 * MS, exposure_ns=4 * MS, frame_timeout_ns=300 * MS)
PLAN = SweepPlan.evenly(0.3, 5.0, 4)
K = (600.0, 0.0, 4.0, 0.0, 600.0, 3.0, 0.0, 0.0, 1.0)


class Rig:
    """A 200 Hz camera whose pixels encode the lens position at mid-exposure, in hundredths of a dioptre."""

    def __init__(self, stamp_error=0, timing=TIMING, **options):
        self.stamp_error = stamp_error
        self.dynamics = LensDynamics()
        self.device = SimulatedLd4(self.dynamics)
        self.terminal = PseudoTerminal(self.device)
        self.sweeps, self.states = [], []
        self.intrinsics, self.running = K, True
        self.capture = SweepCapture(
            PLAN,
            timing,
            lambda: open_lens("optotune_ld4", self.terminal.port, power_offset=OFFSET, timeout=0.1),
            SweepDecoder(lambda frame: frame.image, focal_length=0.012, f_number=1.4),
            on_sweep=self.sweeps.append,
            on_lens_state=self.states.append,
            **options,
        )
        self.camera = threading.Thread(target=self._expose, daemon=True)
        self._closing = threading.Event()
        self.camera.start()

    def _expose(self):
        """Expose on the grid of a clock, as a camera: frames are late or lost where this thread has to wait."""
        ended = time.time_ns()
        while True:
            ended += (1 + max(time.time_ns() - ended, 0) // PERIOD_NS) * PERIOD_NS
            if self._closing.wait((ended - time.time_ns()) / 1e9):
                return
            if not self.running:
                continue
            start = ended - TIMING.exposure_ns
            power = self.dynamics.power_at(start + TIMING.exposure_ns // 2) + OFFSET
            image = np.full((6, 8, 3), round(power * 50), np.uint8)
            image[:, 4:] = 0  # an edge as strong as the lens is powerful
            stamp = start + self.stamp_error
            self.capture.add_frame(Frame(stamp, time.time_ns(), (8, 6, "rgb8"), self.intrinsics, image))

    def wait_for(self, count, timeout=10):
        deadline = time.monotonic() + timeout
        while len(self.sweeps) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(self.sweeps) >= count

    def stacks(self, count, timeout=30):
        """Return sweeps with a stack, once there are ``count``: on a busy machine a sweep may miss its frames."""
        deadline = time.monotonic() + timeout
        while sum(sweep.stack is not None for sweep in self.sweeps) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        found = [sweep for sweep in self.sweeps if sweep.stack is not None]
        assert len(found) >= count, [sweep.reason for sweep in self.sweeps[:count]]
        return found

    def stack_after(self, failed):
        """Return the first sweep with a stack after a failed one."""
        before = sum(sweep.stack is not None for sweep in self.sweeps if sweep.number <= failed.number)
        return self.stacks(before + 1)[before]

    def close(self):
        self.capture.close()
        self._closing.set()
        self.camera.join()
        self.terminal.close()


@pytest.fixture
def rig():
    rig = Rig()
    yield rig
    rig.close()


def test_every_frame_of_every_sweep_shows_the_lens_where_its_plane_says(rig):
    rig.capture.connect()
    rig.capture.start()
    rig.wait_for(4)
    rig.capture.stop()
    for sweep in rig.sweeps:
        assert sweep.stack is not None, sweep.reason
        assert sweep.focus_distances == pytest.approx(PLAN.order(sweep.number), rel=0.01)
        for plane in sweep.stack.planes:
            assert plane.image[1, 1, 0] / 50 == pytest.approx(1 / plane.focus_distance, abs=0.02)
        assert sweep.stack.K[0, 0] == 600 and sweep.stack.f_number == 1.4
    assert [sweep.number for sweep in rig.sweeps] == list(range(len(rig.sweeps)))
    assert rig.dynamics.set_point == 0.0  # parked
    assert rig.states[0].temperature == pytest.approx(25, abs=2)


@pytest.mark.parametrize("output", [SweepOutput.SWEEP, SweepOutput.ROLLING])
def test_plan_and_timing_change_from_the_next_sweep_on(output):
    rig = Rig(config=SweepConfig(output=output))
    rig.capture.connect()
    rig.capture.start()
    rig.wait_for(2)
    plan = SweepPlan.evenly(0.4, 2.0, 3)
    rig.capture.reconfigure(plan, replace(TIMING, exposure_ns=3 * MS), SweepConfig(output=output))
    seen = len(rig.sweeps)
    rig.wait_for(seen + 8)
    rig.capture.stop()
    rig.close()
    sizes = [len(sweep.focus_distances) for sweep in rig.sweeps if not sweep.reason]
    assert sizes == sorted(sizes, reverse=True) and set(sizes) == {4, 3}  # no sweep mixes two plans
    for sweep in rig.sweeps[-3:]:
        assert sweep.stack is not None, sweep.reason
        assert sorted(sweep.focus_distances) == pytest.approx(plan.focus_distances, rel=0.01)
        for plane in sweep.stack.planes:
            assert plane.image[1, 1, 0] / 50 == pytest.approx(1 / plane.focus_distance, abs=0.02)


def test_a_sweep_of_its_own_plan_lies_between_those_of_the_parameters(rig):
    rig.capture.connect()
    rig.capture.start()
    rig.wait_for(1)
    own, taken = SweepPlan.evenly(0.4, 2.0, 3), []
    number = rig.capture.request_own(own, lambda count, plane: taken.append((count, plane.focus_distance)))
    assert rig.capture.request() == number + 1  # a caller of 'capture' wants the planes of the parameters
    rig.wait_for(number + 1)
    with pytest.raises(InputError, match="for another goal is under way"):
        rig.capture.request_own(None, lambda count, plane: None)
    time.sleep(0.3)
    assert len(rig.sweeps) == number + 1  # none may replace it before its depth is made
    rig.capture.release(number)
    rig.wait_for(number + 3)
    rig.capture.stop()
    for sweep in rig.sweeps[: number + 3]:
        plan = own if sweep.number == number else PLAN
        assert sweep.stack is not None, sweep.reason
        assert sorted(sweep.focus_distances) == pytest.approx(plan.focus_distances, rel=0.01)
    assert taken == list(enumerate(rig.sweeps[number].focus_distances, 1))


def test_a_sweep_of_its_own_is_replaced_withdrawn_or_ended(rig):
    rig.capture.set_enabled(False)
    rig.capture.connect()
    rig.capture.start()
    time.sleep(0.2)
    assert not rig.sweeps
    planes = []
    rig.running = False  # no frame: the first plane waits
    first = rig.capture.request_own(PLAN, lambda count, plane: planes.append(count))
    deadline = time.monotonic() + 5
    while rig.dynamics.set_point == 0.0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert rig.capture.cancel_own(first, "The goal was cancelled.")
    rig.wait_for(1)
    assert rig.sweeps[0].reason == "The goal was cancelled." and rig.sweeps[0].stack is None
    rig.capture.release(first)
    rig.running = True
    with pytest.raises(InputError, match=r"reaches beyond the lens.*near and far of the goal"):
        rig.capture.request_own(SweepPlan.evenly(0.02, 5.0, 4), lambda count, plane: None)
    rig.capture.stop()
    again = rig.capture.request_own(None, lambda count, plane: None)  # not begun: no thread
    assert again == rig.capture.request_own(PLAN, lambda count, plane: None) == 1
    assert not rig.capture.cancel_own(again, "")
    rig.capture.start()
    time.sleep(0.5)
    assert len(rig.sweeps) == 1 and not planes


def test_a_sweep_of_its_own_needs_a_lens_of_ours_and_whole_sweeps():
    rig = Rig(config=SweepConfig(output=SweepOutput.ROLLING))
    with pytest.raises(InputError, match=r"sweep\.output rolling"):
        rig.capture.request_own(None, lambda count, plane: None)
    rig.close()
    rig = Rig(config=SweepConfig(mode=SweepMode.EXTERNAL))
    with pytest.raises(InputError, match=r"sweep\.mode external"):
        rig.capture.request_own(PLAN, lambda count, plane: None)
    rig.close()


def test_a_plan_beyond_an_open_lens_is_refused_before_it_is_used(rig):
    beyond = SweepPlan.evenly(0.02, 5.0, 4)
    rig.capture.check_plan(beyond)  # no lens is open: it is checked when one is
    rig.capture.connect()
    with pytest.raises(InputError, match=r"from 0\.02 to 5 m reaches beyond the lens"):
        rig.capture.check_plan(beyond)
    rig.capture.check_plan(PLAN)


@pytest.mark.parametrize("mode", [SweepMode.STEP, SweepMode.RAMP])
def test_planes_can_be_looked_at_while_their_sweep_goes_on(mode):
    shown = []
    rig = Rig(config=SweepConfig(mode=mode), on_plane=lambda decode: shown.append((len(rig.sweeps), *decode())))
    try:
        rig.capture.start()
        stacks = rig.stacks(3)
    finally:
        rig.close()
    for sweep in stacks:
        seen = [plane for during, plane, K in shown if during == sweep.number and K[0, 0] == 600]
        # The last is not: its sweep is at an end. Two planes of a ramp may have become certain together.
        least = 1 if mode is SweepMode.RAMP else len(PLAN.focus_distances) - 1
        assert least <= len(seen) < len(PLAN.focus_distances)
        assert len({id(plane) for plane in seen}) == len(seen)
        assert {id(plane.image) for plane in seen} < {id(plane.image) for plane in sweep.stack.planes}


def test_a_camera_that_stops_ends_the_sweep_with_a_reason_and_it_goes_on_by_itself(rig):
    rig.capture.start()
    rig.wait_for(1)
    rig.running = False
    seen = len(rig.sweeps)
    rig.wait_for(seen + 2)
    failed = rig.sweeps[-1]
    assert failed.stack is None
    assert "No frame for the plane" in failed.reason and "sweep.frame_timeout" in failed.reason
    rig.running = True
    rig.stack_after(failed)


def test_a_silent_lens_ends_the_sweep_and_is_opened_again(rig):
    rig.capture.start()
    rig.wait_for(2)
    rig.device.inject(LineFault(silent=True), 4)
    deadline = time.monotonic() + 10
    while not any(sweep.reason.startswith("Lens: ") for sweep in rig.sweeps) and time.monotonic() < deadline:
        time.sleep(0.01)
    failed = next(sweep for sweep in rig.sweeps if sweep.reason.startswith("Lens: "))
    assert failed.stack is None and None in rig.states
    rig.stack_after(failed)


def test_a_lens_that_is_reset_after_its_last_move_gives_no_stack(rig):
    commands, feed = [], rig.device.feed

    def reset_after_the_last_plane(data):
        reply = feed(data)
        commands.append(data)
        if sum(b"PwDA" in command for command in commands) == len(PLAN.focus_distances) and b"PrDA" in data:
            feed(b"Start")  # as a supply that dips: back to no current while the last frame is exposed
            rig.device.feed = feed
        return reply

    rig.device.feed = reset_after_the_last_plane
    rig.capture.start()
    rig.wait_for(2)
    assert rig.sweeps[0].stack is None and "holds 0 D" in rig.sweeps[0].reason
    assert len(rig.sweeps[0].focus_distances) == len(PLAN.focus_distances)  # every plane had its frame
    assert rig.sweeps[1].stack is not None


def test_uncalibrated_intrinsics_give_no_stack(rig):
    rig.intrinsics = (0.0,) * 9
    rig.capture.start()
    rig.wait_for(1)
    assert rig.sweeps[0].stack is None and "uncalibrated" in rig.sweeps[0].reason


def test_single_sweeps_on_request_and_a_parked_lens_between(rig):
    rig.capture.set_enabled(False)
    rig.capture.start()
    time.sleep(0.2)
    assert rig.sweeps == []
    number = rig.capture.request()
    rig.wait_for(1)
    time.sleep(0.3)
    assert [sweep.number for sweep in rig.sweeps] == [number]
    assert rig.dynamics.set_point == 0.0
    rig.capture.set_enabled(True)
    rig.wait_for(3)


def test_stopping_in_mid_sweep_is_prompt_and_reports_nothing_half_done():
    patient = replace(TIMING, frame_timeout_ns=5000 * MS)
    rig = Rig(timing=patient)
    rig.running = False
    rig.capture.start()
    deadline = time.monotonic() + 10
    while rig.dynamics.set_point == 0.0:  # until the lens is sent to the first plane
        assert time.monotonic() < deadline
        time.sleep(0.005)
    began = time.monotonic()
    rig.capture.stop()
    assert time.monotonic() - began < patient.frame_timeout_ns / 1e9
    rig.close()
    assert rig.sweeps == []
    assert all(thread.name != "sweep-capture" for thread in threading.enumerate())


def test_a_plan_beyond_the_lens_is_refused_with_its_range(rig):
    capture = SweepCapture(
        SweepPlan((0.1, 1.0)),
        TIMING,
        lambda: open_lens("optotune_ld4", rig.terminal.port, power_offset=OFFSET),
        SweepDecoder(lambda frame: frame.image),
        on_sweep=lambda sweep: None,
    )
    with pytest.raises(InputError, match=r"0\.2 to .*sweep\.near"):
        capture.connect()
    open_lens("optotune_ld4", rig.terminal.port).close()  # the port was freed


def test_the_camera_clock_is_compared_with_the_lens_by_what_images_show():
    rig = Rig(stamp_error=-12 * MS, clock_use=ClockUse.CORRECT)
    try:
        rig.capture.start()
        rig.wait_for(30, timeout=30)
        found = rig.capture.clock_offset
        assert found is not None and found.steps >= 12
        assert found.offset_ns / MS == pytest.approx(12, abs=max(4, 3 * found.uncertainty_ns / MS))
    finally:
        rig.close()


@pytest.mark.parametrize("mode", [SweepMode.STEP, SweepMode.RAMP])
@pytest.mark.parametrize("output", SweepOutput)
def test_every_mode_and_output_gives_planes_that_show_what_they_claim(mode, output):
    rig = Rig(config=SweepConfig(mode=mode, output=output))
    try:
        rig.capture.start()
        for sweep in rig.stacks(3):
            for plane, doubt in zip(sweep.stack.planes, sweep.uncertainties, strict=True):
                shown = plane.image[1, 1, 0] / 50
                assert shown == pytest.approx(1 / plane.focus_distance, abs=0.02 + doubt)
        assert "depth maps a second" in rig.capture.expectation()
    finally:
        rig.close()
