"""The planner and ``fossa plan``: figures that can be worked out by hand."""

from __future__ import annotations

import math

import pytest
from click.testing import CliRunner
from PIL import Image

from fossa_ros.commands.cli import main
from fossa_ros.core.errors import InputError
from fossa_ros.sweep import StampReference, SweepConfig, SweepMode, SweepOutput, SweepPlan, SweepTiming
from fossa_ros.sweep.planner import Latencies, timeline

MS = 1_000_000
PLAN = SweepPlan.evenly(0.35, 6.0, 5)
TIMING = SweepTiming(settling_ns=18 * MS, exposure_ns=4 * MS)


def found(rate, mode=SweepMode.STEP, output=SweepOutput.SWEEP, timing=TIMING, **line):
    return timeline(PLAN, timing, SweepConfig(mode=mode, output=output), Latencies(round(1e9 / rate), **line))


def test_step_takes_the_periods_that_settling_and_exposure_need():
    # 2 + 18 + 2 + 4 + 2 ms are two periods of 60 Hz; the plane where the last sweep ended needs no move: 9 periods.
    sixty = found(60)
    assert sixty.sweep_ns == pytest.approx(9e9 / 60, rel=1e-3)
    assert sixty.depth_rate == pytest.approx(60 / 9, rel=1e-3)
    assert "1.8 frame periods" in sixty.why and "28.0 ms" in sixty.why
    assert found(30).depth_rate == pytest.approx(6, rel=1e-3)  # one period a plane
    slower = found(60, timing=SweepTiming(settling_ns=40 * MS, exposure_ns=4 * MS))
    assert slower.sweep_ns == pytest.approx(13e9 / 60, rel=1e-3)  # three periods a move
    assert len([exposure for exposure in sixty.exposures if exposure.slot is not None]) == 10


def test_a_stamp_at_arrival_costs_each_plane_the_delay_that_is_not_known():
    arrival = SweepTiming(18 * MS, 4 * MS, stamp_reference=StampReference.ARRIVAL, delay_ns=100 * MS)
    late = found(60, timing=arrival)
    # 2 + 18 + 2 + 4 + 100 + 2 ms are eight periods of 60 Hz.
    assert late.sweep_ns == pytest.approx(33e9 / 60, rel=1e-3)
    assert "after 128.0 ms" in late.why and "exposure 4.0, sweep.delay 100.0 and arrival 2.0" in late.why


def test_rolling_output_is_a_depth_map_a_plane_and_a_ramp_n_frames_plus_one():
    assert found(60, output=SweepOutput.ROLLING).depth_rate == pytest.approx(60 / 9 * 5, rel=1e-3)
    ramp = found(60, SweepMode.RAMP)
    assert ramp.sweep_ns == pytest.approx(6e9 / 60, rel=1e-3)
    # A faster camera does not make the lens faster: its focus must stay certain.
    assert 10 < found(200, SweepMode.RAMP).depth_rate < 17


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: found(60, SweepMode.EXTERNAL), "external"),
        (lambda: found(200, timing=SweepTiming(exposure_ns=10 * MS)), "does not fit"),
        (lambda: Latencies(0), "rate"),
        (lambda: found(1), "frame_timeout"),
        (lambda: found(30, acknowledge_ns=10**24), "shorten acknowledge"),
        (lambda: SweepPlan.evenly(-1, 6, 5), "nearest plane must be a positive number of metres, not -1"),
        (lambda: SweepPlan.evenly(math.nan, 6, 5), "nearest plane must be a positive number of metres, not nan"),
        (lambda: SweepPlan.evenly(1, math.nan, 5), "farthest plane must be a positive number of metres, not nan"),
        (lambda: SweepPlan.evenly(1, -6, 5), "farthest plane must be a positive number of metres, not -6"),
    ],
)
def test_what_cannot_be_is_said(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_a_lens_that_settles_at_once_and_ranges_without_an_end_are_said():
    result = CliRunner().invoke(main, ["plan", "--settling", "0"])
    assert result.exit_code == 0 and "settling 0.0" in result.output
    help_text = CliRunner().invoke(main, ["demo", "--help"]).output
    assert "--seconds" in help_text and "None" not in help_text


def test_the_command_prints_and_draws(tmp_path):
    picture = tmp_path / "plan.png"
    result = CliRunner().invoke(main, ["plan", "--rate", "60", "--exposure", "4", "--out", str(picture)])
    assert result.exit_code == 0, result.output
    assert "6.7 depth maps a second" in result.output.replace("\n", " ")
    rows = result.output.splitlines()
    assert [row.split()[0] for row in rows[:5]] == ["0.35", "0.46", "0.66", "1.19", "6.00"]
    assert all(row.count("#") for row in rows[:6])
    assert "~ moving, = settled" in rows[7] and "# used, - not used" in rows[7]
    assert Image.open(picture).size == (900, 360)
    failed = CliRunner().invoke(main, ["plan", "--near", "5", "--far", "1"])
    assert failed.exit_code == 1 and "swap or widen" in failed.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "--near", "-1"),
        ("plan", "--near", "nan"),
        *(
            ("plan", f"--{name}", value)
            for name in ("rate", "exposure", "readout", "settling", "time-constant", "acknowledge", "latency", "margin")
            for value in ("nan", "inf", "1e400", "1e12", "-1")
        ),
        ("replay", ".", "--rate", "nan"),
        ("predict", "stack", "--fx", "nan"),
        ("range", "--fx", "600", "--f-number", "2", "--focal-length", "nan"),
        ("range", "--focal-length", "9", "--f-number", "2", "--fx", "inf"),
        ("demo", "--seconds", "nan"),
        ("evaluate", "simulated", "--misstate", "nan"),
        ("evaluate", "simulated", "--apertures", "2,nan"),
        ("calibrate", "folder", "recording", "--drift", "nan"),
        ("calibrate", "folder", "recording", "--intrinsics", "600,nan,10,10"),
        ("lens", "set", "--port", "none", "--command", "nan"),
        ("lens", "info", "--port", "none", "--power-offset", "inf"),
    ],
    ids=" ".join,
)
def test_a_number_that_is_not_finite_or_far_out_of_range_is_refused_at_its_option(arguments):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2 and f"Invalid value for '{arguments[-2]}'" in result.output, result.output


def test_distances_in_dioptres_and_infinity_are_planned():
    result = CliRunner().invoke(main, ["plan", "--near", "2D", "--far", "inf", "--planes", "3"])
    assert result.exit_code == 0 and "Planes at 0.50, 1.00, inf m." in result.output, result.output


@pytest.mark.parametrize(
    ("name", "words"),
    [("x.xyz", "give a .png, .svg or .pdf file"), ("missing/x.png", "create it or give another path")],
)
@pytest.mark.parametrize(
    "command", [("plan",), ("range", "--focal-length", "9", "--f-number", "2", "--fx", "600")], ids=("plan", "range")
)
def test_a_picture_that_cannot_be_drawn_is_refused_before_anything_is_printed(tmp_path, command, name, words):
    result = CliRunner().invoke(main, [*command, "--out", str(tmp_path / name)])
    assert result.exit_code == 1 and result.stdout == "" and words in result.stderr
