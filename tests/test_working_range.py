"""What ``fossa range`` promises, against rays worked out by hand and against the estimator on rendered scenes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fossa_ros.commands.cli import main
from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.estimators.classical import ClassicalEstimator
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack
from fossa_ros.sweep import SweepPlan
from fossa_ros.sweep.working_range import BLUR_ERROR_PX, WorkingRange

FOCAL_LENGTH, F_NUMBER, PIXEL = 0.012, 1.4, 20e-6
PLAN = SweepPlan.evenly(0.35, 6.0, 5)
LENS = WorkingRange(FOCAL_LENGTH, F_NUMBER, PIXEL, PLAN)


@given(st.floats(0.1, 100), st.floats(0.1, 100))
def test_blur_per_dioptre_is_the_slope_of_the_blur(depth, focus):
    dioptres = abs(1 / depth - 1 / focus)
    blur = 2 * optics.blur_radius(depth, focus, FOCAL_LENGTH, F_NUMBER, PIXEL)
    slope = optics.blur_per_dioptre(focus, FOCAL_LENGTH, F_NUMBER, PIXEL)
    assert blur == pytest.approx(slope * dioptres, rel=1e-9, abs=1e-9)


def test_blur_per_dioptre_focused_at_infinity():
    # An aperture of 8.571 mm; a point at 1 m: 8.571 mm * 12 mm / 1 m on the sensor, in pixels of 20 um.
    assert optics.blur_per_dioptre(math.inf, FOCAL_LENGTH, F_NUMBER, PIXEL) == pytest.approx(5.142857, rel=1e-6)


@given(st.floats(0.3, 50))
def test_blur_is_the_limit_at_the_ends_of_the_depth_of_field(focus):
    low, high = LENS.in_focus(focus, limit=1.0)
    assert low < focus < high
    assert LENS.blur(low, focus) == pytest.approx(1.0, rel=1e-9)
    assert math.isinf(high) or LENS.blur(high, focus) == pytest.approx(1.0, rel=1e-9)


def test_beyond_the_hyperfocal_distance_everything_is_in_focus():
    hyperfocal = FOCAL_LENGTH**2 / (F_NUMBER * PIXEL) + FOCAL_LENGTH  # the textbook's, for a blur of one pixel
    assert math.isinf(LENS.in_focus(1.001 * hyperfocal)[1]) and math.isfinite(LENS.in_focus(0.999 * hyperfocal)[1])
    assert LENS.in_focus(hyperfocal)[0] == pytest.approx(hyperfocal / 2, rel=1e-3)


@given(st.floats(0.2, 20), st.floats(1e-4, 0.04))
def test_depth_error_is_half_of_what_the_dioptres_allow(depth, dioptres):
    far, near = 1 / (1 / depth - dioptres), 1 / (1 / depth + dioptres)
    assert optics.depth_error(depth, dioptres) == pytest.approx((far - near) / 2, rel=1e-6)


def test_depth_error_is_unbounded_where_infinity_is_within_it():
    assert optics.depth_error(np.array([5.0, 20.0, np.inf]), 0.1) == pytest.approx([0.1 / 0.03, np.inf, np.inf])


def test_reach_is_where_the_error_is_what_was_asked():
    reach = LENS.reach(0.05)
    assert LENS.depth_error(reach) / reach == pytest.approx(0.05, rel=2e-3)
    # To first order z = share / dioptres: 0.05 / (0.25 px / 5.15 px per dioptre) = 1.03 m.
    assert reach == pytest.approx(1.03, abs=0.01)
    assert WorkingRange(0.002, 8.0, PIXEL, PLAN).reach(0.01) == 0.0


def test_what_the_estimator_reaches_on_rendered_scenes_is_what_is_promised():
    """At two apertures: the deviation of depth is below the promise, and not by so much that it means nothing."""
    for f_number in (1.4, 2.8):
        camera = SimulatedCamera(width=160, height=120, fx=150.0, f_number=f_number)
        promised = WorkingRange(camera.focal_length, f_number, camera.pixel_size, PLAN)
        shares = []
        for scene in (0, 3):
            stack, truth = render_stack(scene, camera, list(PLAN.focus_distances), rng=scene, workers=2)
            depth = ClassicalEstimator().estimate(stack).depth
            known = np.isfinite(depth) & (truth > PLAN.focus_distances[0]) & (truth < PLAN.focus_distances[-1])
            shares.append(np.abs(1 / depth[known] - 1 / truth[known]) / promised.dioptre_error(truth[known]))
        deviation = np.quantile(np.concatenate(shares), 0.68)
        assert 0.25 < deviation < 1.3, f_number


def run(*arguments):
    return CliRunner(env={"COLUMNS": "140"}).invoke(main, ["range", *arguments])


def test_the_command_prints_and_draws_what_the_formulas_say(tmp_path):
    lens = ("--focal-length", "12", "--f-number", "1.4", "--pixel-size", "20")
    result = run(*lens, "--distance", "0.5", "--distance", "2", "--out", str(tmp_path / "range.png"))
    assert result.exit_code == 0, result.output
    error = float(LENS.depth_error(0.5))
    assert f"+- {error:.2g}" in result.output and f"{100 * error / 0.5:.1f}" in result.output
    assert f"{float(LENS.blur(2.0, 0.35)):.1f}" in result.output
    assert f"accurate to 5% up to {LENS.reach(0.05):.2f} m" in result.output
    with Image.open(tmp_path / "range.png") as image:
        assert image.size == (990, 378) and len(image.convert("L").getcolors()) > 50
    by_pixels = run("--focal-length", "12", "--f-number", "1.4", "--fx", "600", "--distance", "0.5", "--distance", "2")
    assert by_pixels.output == result.output.partition("Drawn")[0]
    assert f"measured to {BLUR_ERROR_PX:g} px" in by_pixels.output


def test_a_lens_that_tells_nothing_is_said_to():
    result = run("--focal-length", "2", "--f-number", "8", "--fx", "300")
    assert "Depth is not accurate to 5% anywhere from 0.35 m on" in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Give either --pixel-size or --fx"),
        (("--fx", "600", "--pixel-size", "3"), "Give either --pixel-size or --fx"),
        (("--fx", "0"), "pixel_size must be a positive number"),
        (("--fx", "600", "--near", "0.02"), "give a longer --near"),
        (("--fx", "600", "--near", "3", "--far", "1"), "swap or widen"),
        (("--fx", "600", "--blur-error", "nan"), "blur_error must be a positive number"),
        (("--fx", "600", "--error", "0"), "--error must be a positive number"),
        (("--fx", "600", "--out", "/no/such/folder/x.png"), "/no/such/folder"),
        (("--fx", "600", "--out", "x.docx"), "give a .png, .svg or .pdf file"),
    ],
)
def test_what_cannot_be_is_a_sentence(arguments, says):
    result = run("--focal-length", "12", "--f-number", "1.4", *arguments)
    assert result.exit_code == 1 and "Traceback" not in result.output
    assert says in " ".join(result.output.split()), result.output


def test_numbers_of_a_lens_that_cannot_be():
    with pytest.raises(InputError, match="f_number must be a positive number, not 0"):
        WorkingRange(0.012, 0.0, PIXEL, PLAN)


def test_the_table_fits_a_terminal_of_80_columns():
    result = CliRunner(env={"COLUMNS": "80"}).invoke(
        main, ["range", "--focal-length", "12", "--f-number", "1.4", "--fx", "600"]
    )
    rows = [line for line in result.output.splitlines() if line.startswith("│")]
    assert len(rows) == 8 and all(row.split()[1] for row in rows)
    assert max(map(len, rows)) <= 80 and all(" to " in row for row in rows)  # no cell is broken
