"""The motion of the simulated lens against closed forms and brute force."""

from __future__ import annotations

import math
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fossa_ros.simulation.lens_dynamics import HISTORY, LensDynamics, LensModel

MS = 1_000_000
START = 1_700_000_000_000_000_000  # a wall clock, where floats no longer resolve nanoseconds
PLAIN = LensModel(ringing=0.0)


def full_step(model: LensModel) -> LensDynamics:
    """A lens that has settled at its least power and at START is commanded to its greatest."""
    lens = LensDynamics(model)
    lens.command(model.min_power, START - 10_000 * MS)
    lens.command(model.max_power, START)
    return lens


def test_at_rest_until_commanded():
    lens = LensDynamics(LensModel(neutral_power=0.5))
    assert lens.power_at(START) == 0.5
    assert lens.temperature_at(START) == 25.0
    assert lens.settled_ns() < START


def test_exponential_approach():
    lens = full_step(PLAIN)
    for ms in (0.0, 0.5, 2.8, 7.0, 14.0):
        exact = 3.0 - 5.0 * math.exp(-ms / 2.8)
        assert lens.power_at(START + round(ms * MS)) == pytest.approx(exact, abs=1e-12)
    assert lens.settled_ns(0.01) - START == pytest.approx(2.8 * MS * math.log(500.0), abs=1)


def test_default_lens_settles_like_a_liquid_lens():
    lens = full_step(LensModel())
    settled = lens.settled_ns(0.01) - START
    times = np.arange(0, 60 * MS, 20_000)
    errors = np.array([abs(lens.power_at(START + int(t)) - 3.0) for t in times])
    last_outside = times[errors > 0.01].max()
    assert last_outside < settled <= last_outside + 1e9 / 150  # at most a period late
    assert 15 * MS < settled < 18 * MS


def test_ringing_is_there_and_small():
    ringing, plain = full_step(LensModel()), full_step(PLAIN)
    times = START + np.arange(0, 30 * MS, 50_000)
    difference = [ringing.power_at(int(t)) - plain.power_at(int(t)) for t in times]
    assert 0.02 < max(difference) < 0.02 * 5.0
    assert -0.05 < min(difference) < -0.005


def test_slew_limit():
    limited = replace(PLAIN, slew_limit=100.0)
    lens = full_step(limited)
    # The exponential takes over when 100 D/s * 2.8 ms = 0.28 D are left, after 4.72 D at 100 D/s.
    assert lens.power_at(START + 20 * MS) == pytest.approx(0.0, abs=1e-12)
    assert lens.power_at(START + round(47.2 * MS)) == pytest.approx(2.72, abs=1e-9)
    assert lens.power_at(START + 50 * MS) == pytest.approx(3.0 - 0.28 * math.exp(-1.0), abs=1e-9)
    powers = np.array([lens.power_at(START + i * MS // 10) for i in range(800)])
    speed = np.diff(powers) / 1e-4
    assert speed.max() == pytest.approx(100.0, rel=1e-6)
    assert speed.min() >= 0.0
    expected = 47.2 * MS + 2.8 * MS * math.log(28.0)
    assert lens.settled_ns(0.01) - START == pytest.approx(expected, abs=2)


def test_ringing_starts_when_the_slew_limit_lets_go():
    lens = full_step(LensModel(slew_limit=100.0))
    powers = np.array([lens.power_at(START + i * 10_000) for i in range(8000)])
    speed = np.diff(powers) / 1e-5
    assert speed[:4719] == pytest.approx(100.0, rel=1e-6)
    # From there 0.28 D are free to ring: 2 % of them at 150 Hz are 5.3 D/s at most.
    assert 105.0 < speed.max() < 105.3


def test_a_later_command_changes_only_what_comes_later():
    lens = full_step(LensModel())
    times = [START + i * MS // 4 for i in range(20)]
    before = [lens.power_at(t) for t in times]
    lens.command(0.0, START + 5 * MS)
    assert [lens.power_at(t) for t in times] == before
    assert lens.power_at(START + 5 * MS) == pytest.approx(lens.power_at(START + 5 * MS - 1), abs=1e-5)
    assert lens.power_at(START + 100 * MS) == pytest.approx(0.0, abs=1e-9)
    assert lens.set_point == 0.0


@given(
    st.lists(st.tuples(st.floats(-2.0, 3.0), st.integers(0, 50 * MS)), min_size=1, max_size=20),
    st.sampled_from([math.inf, 200.0, 20.0]),
)
def test_motion_is_continuous_and_arrives(commands, slew_limit):
    lens = LensDynamics(LensModel(slew_limit=slew_limit))
    now = START
    for power, wait in commands:
        now += wait
        before = lens.power_at(now)
        lens.command(power, now)
        assert lens.power_at(now) == pytest.approx(before, abs=1e-9)
        assert -2.3 < before < 3.3  # the ringing of a full step is 0.1 D
    assert lens.power_at(lens.settled_ns(0.005)) == pytest.approx(commands[-1][0], abs=0.005 + 1e-9)


def test_commands_outside_the_range_are_refused():
    lens = LensDynamics()
    with pytest.raises(ValueError, match="outside"):
        lens.command(3.1, START)
    with pytest.raises(ValueError, match="outside"):
        lens.command(math.nan, START)


def test_clock_set_back():
    lens = full_step(PLAIN)
    lens.command(0.0, START - 3_600_000 * MS)
    assert lens.power_at(START - 3_600_000 * MS) == 3.0  # where it had been sent
    assert lens.power_at(START) == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(ValueError, match="history"):
        lens.power_at(START - 3_600_001 * MS)
    warmed = 10.0 * (2 / 3) ** 2 * (1 - math.exp(-10 / 120))  # 10 s at two thirds of the drive
    assert lens.temperature_at(START - 3_600_001 * MS) == pytest.approx(25.0 + warmed)


def test_history_is_bounded():
    lens = LensDynamics(PLAIN)
    for i in range(HISTORY + 10):
        lens.command(i % 2 * 1.0, START + i * 20 * MS)
    last = START + (HISTORY + 9) * 20 * MS
    assert lens.power_at(last) == pytest.approx(0.0, abs=1e-3)  # 20 ms after being sent to 0
    assert lens.power_at(last - 80_000 * MS) == pytest.approx(0.0, abs=1e-3)
    with pytest.raises(ValueError, match="history"):
        lens.power_at(START)


def test_settling_within_nothing_is_refused():
    with pytest.raises(ValueError, match="tolerance"):
        LensDynamics().settled_ns(0.0)


def test_temperature_follows_the_drive_slowly():
    lens = LensDynamics(PLAIN)
    lens.command(3.0, START)
    assert lens.temperature_at(START) == 25.0
    assert lens.temperature_at(START + 120_000 * MS) == pytest.approx(25.0 + 10.0 * (1 - math.exp(-1)))
    assert lens.temperature_at(START + 10_000_000 * MS) == pytest.approx(35.0)
    lens.command(1.5, START + 10_000_000 * MS)  # half the drive, a quarter of the heat
    assert lens.temperature_at(START + 10_000_000 * MS) == pytest.approx(35.0)
    assert lens.temperature_at(START + 20_000_000 * MS) == pytest.approx(27.5)


def test_drift_is_off_unless_asked_for():
    late = START + 10_000_000 * MS
    for drift, power in ((0.0, 3.0), (0.04, 3.0 + 0.04 * 10.0)):
        lens = LensDynamics(replace(PLAIN, drift=drift))
        lens.command(3.0, START)
        assert lens.power_at(late) == pytest.approx(power, abs=1e-9)


@pytest.mark.parametrize("wrong", [{"min_power": 3.0}, {"time_constant": 0.0}, {"slew_limit": -1.0}])
def test_impossible_models_are_refused(wrong):
    with pytest.raises(ValueError):
        LensModel(**wrong)


def test_asking_from_another_thread():
    lens, done, seen = LensDynamics(PLAIN), threading.Event(), []

    def ask():
        while not done.is_set():
            seen.append(lens.power_at(START + 1_000_000 * MS))

    thread = threading.Thread(target=ask)
    thread.start()
    for i in range(2000):
        lens.command(i % 2 * 1.0, START + i * MS)
    done.set()
    thread.join()
    assert seen and min(seen) >= 0.0 and max(seen) <= 1.0
    # Whatever was asked meanwhile, the answer is that of a lens nobody asked.
    alone = LensDynamics(PLAIN)
    for i in range(2000):
        alone.command(i % 2 * 1.0, START + i * MS)
    assert [lens.power_at(START + i * MS // 3) for i in range(6000)] == [
        alone.power_at(START + i * MS // 3) for i in range(6000)
    ]


def test_play_stops_a_lens_short_on_the_way_it_came():
    lens = LensDynamics(LensModel(hysteresis=0.1, ringing=0.0))
    settled = []
    for number, power in enumerate((1.0, 2.0, 1.95, 1.0, 1.0, 1.05, 2.0)):
        lens.command(power, number * 10**9)
        settled.append(lens.power_at((number + 1) * 10**9 - 1))
        assert lens.set_point == power
    assert settled == pytest.approx([0.95, 1.95, 1.95, 1.05, 1.05, 1.05, 1.95])


@given(st.floats(0, 0.3), st.floats(-1, 1))
def test_a_bent_curve_keeps_its_ends_and_has_an_inverse(nonlinearity, drive):
    model = LensModel(min_power=-3.0, nonlinearity=nonlinearity)
    assert model.power(1.0) == pytest.approx(3.0) and model.power(0.0) == 0.0
    assert model.drive(model.power(drive)) == pytest.approx(drive, abs=1e-6)
