"""Sweeps in virtual time against every fault: no frame in a wrong plane, no good sweep lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fossa_ros.simulation.virtual_sweeps import Fault, Scenario, VirtualRun
from fossa_ros.sweep import SweepMode, SweepOutput

MODES = [(mode, output) for mode in SweepMode for output in SweepOutput]
MODES.remove((SweepMode.COUNTED, SweepOutput.ROLLING))  # its planes are certain together only
RATES = (15.0, 30.0, 60.0, 100.0, 200.0)


@pytest.mark.parametrize(("mode", "output"), MODES)
@pytest.mark.parametrize("fault", Fault)
def test_no_fault_puts_a_frame_in_a_wrong_plane_nor_loses_a_good_sweep(mode, output, fault):
    good = 0
    for seed, rate in enumerate(RATES):
        measures = mode is not SweepMode.EXTERNAL and seed % 2 == 1
        tally = VirtualRun(Scenario(fault, mode, output, rate, seed, measures)).sweeps(4)
        assert (tally.wrong, tally.lost) == (0, 0), tally.notes
        good += tally.good
    assert good > 0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from(list(Fault)),
    st.sampled_from([*MODES[:4], (SweepMode.COUNTED, SweepOutput.SWEEP)]),
    st.floats(15, 200),
    st.integers(100, 10_000),
    st.booleans(),
)
def test_whatever_is_drawn_no_frame_is_in_a_wrong_plane(fault, mode, rate, seed, measures):
    tally = VirtualRun(Scenario(fault, *mode, rate, seed, measures)).sweeps(3)
    assert (tally.wrong, tally.lost) == (0, 0), tally.notes


def test_the_referee_sees_a_lens_that_settles_later_than_declared():
    """The harness can fail: an open-loop lens that moves after its declared settling cannot be found out by times."""
    run = VirtualRun(Scenario(Fault.NONE, seed=1))
    command = run._command
    run._command = lambda power, effect: command(power, effect + 40_000_000)
    assert run.sweeps(5).wrong > 0


def test_a_lens_that_measures_its_position_may_settle_late_and_still_no_frame_is_wrong():
    run = VirtualRun(Scenario(Fault.NONE, seed=1, measures=True))
    command = run._command
    run._command = lambda power, effect: command(power, effect + 40_000_000)
    tally = run.sweeps(5)
    assert (tally.good, tally.wrong, tally.lost) == (5, 0, 0)


@pytest.mark.parametrize("rate", [15.0, 30.0, 60.0])
def test_a_ramp_delivers_a_stack_every_n_frames_plus_one(rate):
    run = VirtualRun(Scenario(Fault.NONE, SweepMode.RAMP, rate=rate))
    run.sweeps(3)
    ends = []
    run.sweeps(20, lambda outcome: ends.append(max(plane.frame.image for plane in outcome.planes)))
    assert {after - before for before, after in pairwise(ends)} <= {5, 6}  # five planes; images are numbered


def test_a_rolling_stack_comes_with_every_plane():
    run = VirtualRun(Scenario(Fault.NONE, output=SweepOutput.ROLLING))
    run.sweeps(1)
    planes = []
    run.sweeps(10, lambda outcome: planes.append([plane.slot for plane in outcome.planes]))
    assert len(planes) == 10 * 5
    assert all(sorted(slots) == list(range(5)) for slots in planes)
    assert [slots[-1] for slots in planes[:10]] == [4, 3, 2, 1, 0, 0, 1, 2, 3, 4]


def test_a_plane_that_an_external_lens_has_just_left_is_waited_for_until_the_lens_is_back():
    """After a sweep that a clock step ended, the next begins wherever a slow lens happens to be."""
    scenario = Scenario(Fault.CLOCK_STEPS, SweepMode.EXTERNAL, SweepOutput.SWEEP, 15.0, 12000)
    tally = VirtualRun(scenario).sweeps(20)
    assert (tally.wrong, tally.lost) == (0, 0), tally.notes
