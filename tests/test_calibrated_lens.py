"""The calibrated lens, over real serial bytes against a lens that bends, sticks and drifts; and planes made alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fossa_ros.calibration.breathing_correction import plane_scales, resample_to_reference
from fossa_ros.calibration.calibrated_lens import CalibratedLens
from fossa_ros.calibration.focus_curve import FocusCurve
from fossa_ros.calibration.lens_calibration import Breathing, CalibratedDevice, LensCalibration, TemperatureModel
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import DepthMap, FocusPlane, FocusStack
from fossa_ros.estimators import Estimator
from fossa_ros.lens import open_lens
from fossa_ros.motion import MotionCheck
from fossa_ros.pipeline.steps import check_motion, estimate_depth
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.flat_target import FlatTarget
from fossa_ros.simulation.lens_dynamics import LensModel
from fossa_ros.simulation.target_rig import TargetRig, TargetRigConfig
from fossa_ros.sweep import CapturedSweep

CAMERA = SimulatedCamera(width=160, height=120, fx=150.0, breathing_length=0.004)
MODEL = LensModel(nonlinearity=0.2, hysteresis=0.08, drift=0.04, ringing=0.0)
MOST = 292.84  # mA


@pytest.fixture
def rig():
    with TargetRig(replace(TargetRigConfig(), camera=CAMERA, lens=MODEL)) as rig:
        yield rig


@pytest.fixture
def device(rig):
    with open_lens("optotune_ld4", rig.port, clock=rig.clock, control="current", timeout=5.0, settling=0.02) as lens:
        yield lens


def exact(**changes) -> LensCalibration:
    """Return the truth about the rig, on 60 knots."""
    commands = np.linspace(-250, 290, 60)
    focus = 2.0 + np.array([MODEL.power(each / MOST) for each in commands])
    calibration = LensCalibration(
        device=CalibratedDevice("optotune_ld4", "", "current", "mA", -MOST, MOST),
        rising=FocusCurve(commands, focus - MODEL.hysteresis / 2),
        falling=FocusCurve(commands, focus + MODEL.hysteresis / 2),
        uncertainty=0.01,
        temperature=TemperatureModel(MODEL.ambient, MODEL.drift, 0.001, 25.0, 30.0),
    )
    return replace(calibration, **changes)


def settled(rig, move) -> float:
    """Wait for a move and return where the lens truly stands, dioptres."""
    rig.wait(1.0)
    assert move.acknowledged_ns < rig.clock()
    return rig.focus_at(rig.clock())


def test_every_sweep_focuses_where_it_says_from_either_side_and_when_warm(rig, device):
    lens = CalibratedLens(device, exact(), clock=rig.clock)
    planes = [0.8, 1.1, 1.7, 2.1, 3.4, 4.5]
    for sweep, order in enumerate((planes, planes[::-1], planes, [2.0, 2.3, 2.1, 2.15, 4.0, 0.8])):
        for focus in order:
            move = lens.move_to(1 / focus)
            assert settled(rig, move) == pytest.approx(1 / move.focus_distance, abs=0.01)
            assert 1 / move.focus_distance == pytest.approx(focus, abs=0.003)
        lens.move_to(1 / 4.6)
        rig.wait(600.0)  # the lens warms to more than 34 degC
        state = lens.state()  # the temperature counts at once, and not only when the last one is old
        assert sweep == 0 or state.temperature > 30
        assert 1 / state.focus_distance == pytest.approx(rig.focus_at(rig.clock()), abs=0.01)


def test_without_its_parts_the_same_moves_miss(rig, device):
    lens = CalibratedLens(device, exact(temperature=None), clock=rig.clock)
    assert abs(settled(rig, lens.move_to(1 / 4.6)) - 4.6) < 0.05
    rig.wait(600.0)
    move = lens.move_to(1 / 4.0)
    assert abs(settled(rig, move) - 4.0) > 0.2


def test_after_parking_the_lens_runs_up_from_one_side(rig, device):
    lens = CalibratedLens(device, exact(), clock=rig.clock)
    for park in (False, True, True):
        if park:
            lens.move_to(1 / 3.0)
            rig.wait(1.0)
            lens.park()
            assert np.isnan(lens.state().focus_distance)
            rig.wait(600.0)
        for focus in (2.0, 0.35):  # near the rest, and at the far end, where there is no room on one side
            move = lens.move_to(1 / focus)
            assert settled(rig, move) == pytest.approx(focus, abs=0.01)


def test_range_and_kind_of_lens_are_checked(rig, device):
    lens = CalibratedLens(device, exact(), clock=rig.clock)
    assert 1 / lens.capabilities.nearest == pytest.approx(4.9, abs=0.2)
    lens.capabilities.require_metric()
    with pytest.raises(InputError, match="outside the calibrated range"):
        lens.move_to(0.15)
    with pytest.raises(InputError, match="outside the calibrated range"):
        lens.move_to(float("nan"))
    lens.move_to(1 / 4.6)
    rig.wait(600.0)
    with pytest.raises(InputError, match=r"cannot reach a focus distance of .* at 3\d\.\d degC"):
        lens.move_to(1 / 0.4)
    with pytest.raises(InputError, match="commanded by a current in steps"):
        CalibratedLens(device, exact(device=replace(exact().device, unit="steps")))
    with pytest.raises(InputError, match="'fossa calibrate'"):
        device.move_to(0.5)  # without a calibration there are no metres, and the sentence says how to get them


def test_a_lens_far_from_the_temperatures_of_its_calibration_complains(rig, device):
    unknown = exact(temperature=TemperatureModel(25.0))
    for calibration, limit, complains in (
        (exact(), 5.0, None),
        (exact(), 1.0, "drift is extrapolated"),
        (unknown, 12.0, None),
        (unknown, 5.0, "drift with temperature is not calibrated"),
    ):
        lens = CalibratedLens(device, calibration, clock=rig.clock, temperature_limit=limit)
        lens.move_to(1 / 4.6)
        rig.wait(600.0)
        faults = " ".join(lens.state().faults)
        assert (complains in faults) if complains else not faults


def breathing_stack(camera: SimulatedCamera) -> tuple[FocusStack, list[np.ndarray]]:
    """Return a stack that breathes, and its planes without breathing."""
    focus = [0.5, 2.0, 3.5, 5.0]
    targets = [FlatTarget(each, reference_power=2.0) for each in (camera, replace(camera, breathing_length=0.0))]
    breathing, still = ([target.image(power, 0.5) for power in focus] for target in targets)
    planes = tuple(FocusPlane(image, 1 / power) for image, power in zip(breathing, focus, strict=True))
    return FocusStack(planes, K=camera.K), still


def test_planes_are_resampled_to_one_scale_and_their_missing_borders_known():
    stack, still = breathing_stack(replace(CAMERA, breathing_length=0.01))
    places = np.linspace(0.2, 5.2, 9)
    scale = (1 - 0.01 * 2) / (1 - 0.01 * places)
    breathing = Breathing(160, 120, 2.0, places, scale, np.zeros((9, 2)))
    resampled, valid = resample_to_reference(stack, breathing)
    assert resampled.planes[1].image is stack.planes[1].image  # at the reference: not touched
    inside = np.s_[4:-4, 4:-4]
    for plane, before, truth in zip(resampled.planes, stack.planes, still, strict=True):
        was = np.abs(before.image[inside].astype(float) - truth[inside]).mean()
        now = np.abs(plane.image[inside].astype(float) - truth[inside]).mean()
        assert now < 1.0 and (now < 0.5 * was or was < 1.0)
    # 3 % larger at 5 D: what was at 79.5 px from the centre has left the image, 77 px has not.
    largest = float(breathing.at(5.0)[0])
    rows, columns = np.nonzero(valid)
    assert columns.min() == np.ceil(79.5 - 79.5 / largest) and columns.max() == np.floor(79.5 + 79.5 / largest)
    assert rows.min() == np.ceil(59.5 - 59.5 / largest)
    assert valid[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()


def test_nothing_is_done_where_nothing_breathes():
    stack, _ = breathing_stack(CAMERA)
    flat = Breathing(160, 120, 2.0, np.array([0.0, 5.0]), np.array([1.0, 1.00005]), np.zeros((2, 2)))
    assert resample_to_reference(stack, flat) == (stack, None)


def test_depth_is_unknown_where_a_resampled_plane_saw_nothing():
    stack, _ = breathing_stack(CAMERA)
    places = np.array([0.0, 2.0, 5.2])
    breathing = Breathing(160, 120, 2.0, places, (1 - 0.008) / (1 - 0.004 * places), np.zeros((3, 2)))

    class Flat(Estimator):
        name = "flat"

        def estimate(self, stack):
            depth = np.full(stack.size, 0.5, np.float32)
            return DepthMap(depth, np.ones_like(depth), stack.planes[0].image, stack.K)

    sweep = CapturedSweep(0, stack, "", tuple(stack.focus_distances), (), (), {}, 0, 0)
    sweep = replace(sweep, breathing=plane_scales(stack, breathing))
    prepared, valid = resample_to_reference(stack, breathing)
    result = estimate_depth(check_motion(sweep, MotionCheck()), Flat())
    assert result.verdict == "still", result.reason
    for plane, expected in zip(result.stack.planes, prepared.planes, strict=True):
        assert np.array_equal(plane.image, expected.image)
    assert np.array_equal(np.isfinite(result.depth.depth), valid)
    assert 0 < (~valid).sum() < 0.05 * valid.size
