"""Drift with temperature, and where the entrance pupil lies, from sweeps of a board before a lens with both."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import numpy as np
import pytest

from board_sweeps import BOARD, CAMERA, COMMANDS, DEVICE, LENS, PLACES
from fossa_ros.calibration.board.adjustment import adjust
from fossa_ros.calibration.board.board_calibration import BoardCalibration
from fossa_ros.calibration.board.calibrate_board import calibrate_board
from fossa_ros.calibration.board.checks import weaknesses
from fossa_ros.calibration.board.focus import FocusPeaks, fit_focus
from fossa_ros.calibration.board.observation import observe
from fossa_ros.calibration.board.projection import Camera, Corners
from fossa_ros.calibration.board.pupil import find_pupil
from fossa_ros.calibration.board.report import facts, report_page
from fossa_ros.calibration.series import Direction
from fossa_ros.simulation.board_rig import BoardRig, facing

DRIFT, SHIFT = 0.012, 0.002  # D/degC; m/D
WARMING = (25.0, 26.0, 27.5, 29.0, 31.0, 33.0, 35.0)
RISING = COMMANDS[:15]


@pytest.fixture(scope="module")
def warmed() -> BoardCalibration:
    """Sweep six places while the lens warms, and then the first place once more; the lens has its thermometer."""
    rig = BoardRig(replace(LENS, drift=DRIFT), BOARD, seed=3)
    places = zip((*PLACES, PLACES[0]), WARMING, strict=True)
    return calibrate_board(
        [rig.sweep(facing(rig, *place), RISING, celsius=lambda _, at=degrees: at) for place, degrees in places],
        DEVICE,
        BOARD,
    )


def test_a_place_that_is_visited_again_tells_the_drift(warmed):
    temperature = warmed.calibration.temperature
    assert temperature.coefficient == pytest.approx(DRIFT, abs=0.0015)
    assert abs(temperature.coefficient - DRIFT) < 4 * temperature.uncertainty < 0.012
    assert (temperature.low, temperature.high) == (25.0, 35.0)
    curve = warmed.calibration.rising
    truth = [LENS.focus(each, True) + DRIFT * (temperature.reference - 25) for each in curve.commands]
    assert curve.dioptres == pytest.approx(truth, abs=0.05)
    told = dict(facts(warmed))["drift"]
    assert told == f"{temperature.coefficient:+.4f} +- {temperature.uncertainty:.4f} D/degC between 25.0 and 35.0 degC"
    page = report_page(warmed)
    assert told in page and 'alt="Drift with temperature"' in page


def test_the_report_says_where_the_entrance_pupil_lies(warmed):
    pupil = warmed.pupil
    assert not pupil.moves
    assert (pupil.nearest, pupil.farthest) == pytest.approx((0.27, 0.75), abs=0.02)
    assert 1e-5 < pupil.nearest_uncertainty < pupil.farthest_uncertainty < 0.01
    told = dict(facts(warmed))["entrance pupil"]
    assert re.fullmatch(
        r"distances are from it, to \+- 0\.\d\d mm at 0\.2\d m and \+- \d\.\d\d mm at 0\.7\d m; whether it moves with "
        r"focus cannot be told from none \([+-]0\.\d\d \+- 0\.\d\d mm/D\)",
        told,
    )
    assert told in html.unescape(report_page(warmed))


@pytest.mark.parametrize("shift", [0.0, SHIFT])
def test_sweeps_at_several_distances_tell_how_the_entrance_pupil_moves(shift):
    """The camera and the focus of every frame are known here; breathing is not."""
    rig = BoardRig(replace(LENS, pupil_shift=shift), BOARD, seed=4)
    commands = COMMANDS[:15:2]
    sweeps = [observe(rig.sweep(facing(rig, *place), commands), BOARD, "sweep") for place in PLACES]
    focus = [np.array([LENS.focus(each, True) for each in commands])] * len(sweeps)
    knots = np.linspace(1, 4.5, 4)
    scales = np.log([LENS.K(each)[0, 0] / CAMERA.fx for each in knots])
    camera = Camera(
        (CAMERA.height, CAMERA.width),
        LENS.K(LENS.reference_power),
        "plumb_bob",
        np.array([*CAMERA.distortion, 0.0]),
        LENS.reference_power,
        knots,
        np.column_stack([scales, np.zeros((4, 2))]),
        np.zeros(3),
    )
    corners = Corners(
        np.repeat(np.arange(len(sweeps)), [len(each.frames) for each in sweeps]),
        np.concatenate([each.corners[each.which] for each in sweeps]),
        np.concatenate([at[each.frames] for each, at in zip(sweeps, focus, strict=True)]),
        np.concatenate([each.pixels for each in sweeps]),
    )
    placed = adjust(corners, BOARD, camera, fixed=True)
    pupil = find_pupil(sweeps, focus, [placed.depth(BOARD, n, each.corners) for n, each in enumerate(sweeps)], placed)
    assert pupil.moves == bool(shift)
    assert pupil.shift == pytest.approx(shift, abs=3 * pupil.shift_uncertainty)
    assert pupil.shift_uncertainty < 0.0004
    assert ("it moves towards the scene by +" in str(pupil)) == bool(shift)


def peaks_of(dioptres: np.ndarray, degrees: np.ndarray, rng: np.random.Generator) -> FocusPeaks:
    """Return the peaks of eight corners of each sweep, of a lens that drifts and has a straight curve."""
    sweep, corner = np.repeat(np.arange(len(dioptres)), 8), np.tile(np.arange(8), len(dioptres))
    commands = 10 * (dioptres - DRIFT * (degrees - 25))[sweep] + rng.normal(0, 0.02, len(sweep))
    return FocusPeaks(sweep, corner, commands, np.full(len(sweep), 0.05), degrees[sweep], ())


def test_without_a_second_visit_the_drift_is_as_uncertain_as_the_curve():
    rng = np.random.default_rng(1)
    places, degrees = np.linspace(4, 0.8, 8), np.linspace(25, 35, 8)
    once = fit_focus(
        {Direction.RISING: peaks_of(places, degrees, rng)}, {Direction.RISING: np.repeat(places, 8)}
    ).temperature
    places, degrees = np.append(places, places[:3]), np.append(degrees, [35.0] * 3)
    again = fit_focus(
        {Direction.RISING: peaks_of(places, degrees, rng)}, {Direction.RISING: np.repeat(places, 8)}
    ).temperature
    assert again.coefficient == pytest.approx(DRIFT, abs=0.001)
    assert again.uncertainty < 0.001 < 5 * again.uncertainty < once.uncertainty


def test_a_drift_that_cannot_be_told_and_a_cold_lens_are_said(warmed):
    known = warmed.calibration
    unsure = replace(known.temperature, coefficient=0.0, uncertainty=0.02)
    result = replace(warmed, calibration=replace(known, temperature=unsure))
    assert dict(facts(result))["drift"] == "none found, 0 +- 0.0200 D/degC between 25.0 and 35.0 degC"
    words = [each for each in weaknesses(result, warmed.adjustment, ()) if "warmed" in each]
    assert words == [
        "The lens warmed by 10 degC, which may have moved the focus by 0.20 D; put the board where it was first once "
        "more, and sweep again while the lens is warm."
    ]
    cold = replace(known.temperature, coefficient=None, uncertainty=None, low=25.0, high=25.4)
    result = replace(warmed, calibration=replace(known, temperature=cold))
    assert dict(facts(result))["drift"] == "unknown: the lens stayed between 25.0 and 25.4 degC"
    assert 'alt="Drift with temperature"' not in report_page(result)
