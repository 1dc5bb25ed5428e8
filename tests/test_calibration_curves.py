"""Sharpness peaks, focus curves and calibration files: numbers against known ones, and every refusal by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fossa_ros.calibration.calibration_file import read_calibration, write_calibration
from fossa_ros.calibration.focus_curve import BEYOND, FocusCurve
from fossa_ros.calibration.lens_calibration import Breathing, CalibratedDevice, LensCalibration, TemperatureModel
from fossa_ros.calibration.peaks import FocusPass, fit_curves
from fossa_ros.calibration.series import CalibrationFrame, CalibrationSeries, Direction
from fossa_ros.calibration.sharpness import Peak, find_peak, sharpness
from fossa_ros.core.errors import InputError
from fossa_ros.core.geometry import scaled_intrinsics

DEVICE = CalibratedDevice("optotune_ld4", "a lens", "current", "mA", -300.0, 300.0)


def calibration() -> LensCalibration:
    """Return one with all its parts: 0.05 D of hysteresis, 0.04 D/degC, 2 % of breathing."""
    commands = np.array([-200.0, -50.0, 20.0, 120.0, 250.0])
    focus = np.array([0.3, 1.1, 1.6, 2.5, 4.2])
    places = np.linspace(0.2, 4.5, 5)
    return LensCalibration(
        device=DEVICE,
        rising=FocusCurve(commands, focus - 0.025),
        falling=FocusCurve(commands, focus + 0.025),
        uncertainty=0.01,
        temperature=TemperatureModel(26.0, 0.04, 0.002, 25.0, 34.0),
        breathing=Breathing(
            640, 480, 2.0, places, (1 - 0.004 * 2) / (1 - 0.004 * places), np.outer(places - 2, [0.4, -0.2]), 1e-4
        ),
        K=np.array([[600.0, 0, 320], [0, 600.0, 240], [0, 0, 1]]),
        created="2026-01-01T00:00:00+00:00",
    )


@given(st.floats(-20, 20), st.floats(0.9, 3.0), st.floats(-0.03, 0.03), st.integers(0, 9))
def test_a_peak_between_steps_of_an_uneven_scale_is_found(top, width, bend, seed):
    commands = np.linspace(-40, 40, 41)
    blur = ((commands - top) + bend * (commands - top) ** 2 / 4) / (3 * width)
    rough = 1 + 0.002 * np.random.default_rng(seed).standard_normal(41)
    peak = find_peak(commands, rough * (0.02 + 1 / (1 + blur**2 + 0.3 * blur**4)))
    assert peak.command == pytest.approx(top, abs=0.15 * 2)  # steps of 2


def test_curves_without_one_clear_peak_are_refused_with_what_to_change():
    x = np.linspace(0, 10, 21)

    def hill(middle, height=1.0):
        return height / (1 + (x - middle) ** 2)

    with pytest.raises(InputError, match="peak of sharpness is too low"):
        find_peak(x, 1 + 0.01 * hill(5))
    with pytest.raises(InputError, match="end of the range"):
        find_peak(x, hill(-1))
    with pytest.raises(InputError, match="two peaks of sharpness, at 8"):
        find_peak(x, hill(2) + hill(8, 0.9))
    with pytest.raises(InputError, match="too few"):
        find_peak(x[:4], hill(1)[:4])
    with pytest.raises(InputError, match="too coarse"):
        find_peak(x, 0.01 + 1.0 * (np.arange(21) == 7))


def test_sharpness_ignores_brightness_and_noise():
    rng = np.random.default_rng(0)
    picture = 100 + 40 * np.sin(np.arange(320) / 3)[None, :] * np.sin(np.arange(240) / 4)[:, None]
    plain = sharpness(picture.astype(np.uint8))
    assert sharpness((0.5 * picture).astype(np.uint8)) == pytest.approx(plain, rel=0.05)
    noisy = picture + 3 * rng.standard_normal(picture.shape)
    assert sharpness(noisy.astype(np.uint8)) == pytest.approx(plain, rel=0.05)


@settings(deadline=None)  # scipy is imported in the first call
@given(st.lists(st.floats(0.05, 1.0), min_size=3, max_size=8), st.integers(0, 10_000), st.booleans())
def test_a_focus_curve_is_monotone_and_its_own_inverse(steps, seed, falls):
    rng = np.random.default_rng(seed)
    focus = 0.2 + np.cumsum(steps)
    curve = FocusCurve(np.cumsum(rng.uniform(5, 50, len(steps))), focus[::-1] if falls else focus)
    low, high = curve.range
    assert high - focus.max() == pytest.approx(BEYOND * np.ptp(focus))
    for dioptre in np.linspace(low, high, 23):
        assert curve.focus(curve.command(dioptre)) == pytest.approx(dioptre, abs=1e-6)
    dense = curve.focus(np.linspace(curve.commands[0] - 1, curve.commands[-1] + 1, 200))
    assert (np.diff(dense) < 0).all() if falls else (np.diff(dense) > 0).all()


def test_temperature_and_direction_move_the_command():
    lens = calibration()
    for way in Direction:
        for temperature in (None, 20.0, 26.0, 40.0):
            command = lens.command(2.0, way, temperature)
            assert lens.dioptres(command, way, temperature) == pytest.approx(2.0, abs=1e-6)
    assert lens.dioptres(20.0, Direction.FALLING) - lens.dioptres(20.0, Direction.RISING) == pytest.approx(0.05)
    warm, cold = (lens.dioptres(20.0, Direction.RISING, t) for t in (36.0, 26.0))
    assert warm - cold == pytest.approx(0.4)
    assert lens.hysteresis == pytest.approx(0.05)


def test_intrinsics_follow_the_breathing_at_any_size():
    lens = calibration()
    K = lens.intrinsics(4.5, (480, 640))
    assert K[0, 0] / 600 == pytest.approx(lens.scale(4.5)) == pytest.approx((1 - 0.008) / (1 - 0.018), abs=1e-5)
    assert K[0, 2] == pytest.approx(319.5 + lens.scale(4.5) * (320 - 319.5) + 0.4 * 2.5)
    half = lens.intrinsics(4.5, (240, 320))
    assert half == pytest.approx(scaled_intrinsics(K, (480, 640), (240, 320)))
    assert lens.intrinsics(2.0, (480, 640)) == pytest.approx(lens.K)
    with pytest.raises(InputError, match="640x480 images, which do not scale to 640x360"):
        lens.intrinsics(2.0, (360, 640))


def passes_of(drift=0.0, visits=((25.0, 25.0), (33.0, 34.0))):
    """Return exact passes of a lens of 0.01 D a mA, 2 mA apart from either side, before five targets."""
    found = []
    for visit in visits:
        for number, focus in enumerate([0.5, 1.0, 1.6, 2.4, 3.5]):
            for way, play, temperature in zip(Direction, (1.0, -1.0), visit, strict=True):
                command = (focus - 2.0 - drift * (temperature - 25.0)) / 0.01 + play
                peak = Peak(command, 0.1, 20.0)
                found.append(FocusPass(number, 1 / focus, way, np.empty(0), np.empty(0), peak, temperature))
    return found


def test_drift_is_found_from_warm_and_cold_visits_and_not_from_one():
    curves, temperature = fit_curves(passes_of(0.04), "mA")
    assert temperature.coefficient == pytest.approx(0.04, rel=0.01)
    for way, play in zip(Direction, (1.0, -1.0), strict=True):
        focus = curves[way].focus(10.0 + play) + temperature.drift(29.0)
        assert focus == pytest.approx(2.0 + 0.01 * 10 + 0.04 * 4, abs=2e-3)
    curves, temperature = fit_curves(passes_of(0.0, visits=((25.0, 25.3),)), "mA")
    assert temperature.coefficient is None
    _, temperature = fit_curves(passes_of(0.0), "mA")
    assert temperature.coefficient == 0.0


def test_distances_out_of_order_are_named():
    wrong = [replace(each, distance=1 / 1.7) if each.distance == 1.0 else each for each in passes_of()]
    with pytest.raises(InputError, match=r"0\.62. m .* 0\.588|0\.588\d+ m .*0\.625 m"):
        fit_curves(wrong, "mA")
    few = [each for each in passes_of() if each.distance in (1.0, 2.0)]
    with pytest.raises(InputError, match="2 distances"):
        fit_curves(few, "mA")


def test_passes_of_a_series_leave_out_what_came_from_nowhere():
    commands = [0, 1, 2, 3, 2, 1, 1, 0]
    series = CalibrationSeries(tuple(CalibrationFrame(c, lambda: None) for c in commands), 1.0)
    assert series.passes() == [(Direction.RISING, (1, 2, 3)), (Direction.FALLING, (4, 5, 6, 7))]


def test_a_file_gives_back_what_was_written(tmp_path):
    path, before = tmp_path / "lens.yaml", calibration()
    write_calibration(path, before, passes_of())
    after = read_calibration(path)
    assert (after.device, after.temperature, after.created) == (before.device, before.temperature, before.created)
    for way in Direction:
        at = np.linspace(-250, 280, 50)
        assert after.dioptres(at, way, 30.0) == pytest.approx(before.dioptres(at, way, 30.0))
    assert after.breathing.at(3.3) == pytest.approx(before.breathing.at(3.3))
    assert pytest.approx(before.K) == after.K and after.uncertainty == before.uncertainty
    bare = replace(before, temperature=None, breathing=None, K=None)
    write_calibration(path, bare)
    after = read_calibration(path)
    assert after.temperature is None and after.breathing is None and after.scale(3.0) == 1.0


@pytest.mark.parametrize(
    ("entry", "value", "named"),
    [
        (("focus", "rising", "command"), [1, 3, 2, 4, 5], "focus.rising.command needs commands that rise"),
        (("focus", "rising", "dioptres"), [0.5, 1.0, 0.7, 2, 3], "focus.rising.command needs dioptres"),
        (("focus", "falling", "dioptres"), [1.0, 2.0], "focus.falling.dioptres must have 5 numbers, not 2"),
        (("focus", "falling", "dioptres"), [5, 4, 3, 2, 1], "focus.falling.dioptres must run the same way"),
        (("focus", "rising", "command"), [0, 1, "x", 3, 4], r"focus.rising.command\[2\] must be a finite number"),
        (("focus", "uncertainty_dioptres"), float("nan"), "focus.uncertainty_dioptres must be a number >= 0, not NaN"),
        (("lens", "unit"), 5, "lens.unit must be text"),
        (("lens", "greatest"), -400, "lens.greatest must be greater"),
        (("breathing", "scale"), [1, 1, 3, 1, 1], r"breathing.scale\[2\] must be a number <= 2, not 3"),
        (("breathing", "dioptres"), [1, 1, 2, 3, 4], "breathing.dioptres must rise"),
        (("temperature", "reference_celsius"), None, "temperature.reference_celsius must be a finite number"),
        (("focus",), None, "focus must be a mapping"),
        (("fossa_lens_calibration",), 2, "not a lens calibration of version 1"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, entry, value, named):
    path = tmp_path / "lens.yaml"
    write_calibration(path, calibration())
    content = yaml.safe_load(path.read_text())
    place = content
    for name in entry[:-1]:
        place = place[name]
    place[entry[-1]] = value
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=named):
        read_calibration(path)


def test_files_that_are_none_are_refused(tmp_path):
    path = tmp_path / "lens.yaml"
    with pytest.raises(InputError, match="does not exist"):
        read_calibration(path)
    path.write_text("a: [1, 2")
    with pytest.raises(InputError, match="not valid YAML"):
        read_calibration(path)
    path.write_text("- 1\n")
    with pytest.raises(InputError, match="must be a YAML mapping"):
        read_calibration(path)
    path.write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(InputError, match="not valid YAML"):
        read_calibration(path)
