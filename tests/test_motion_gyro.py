"""The gyroscope's evidence: rates integrated between exposures, and what they say of the planes."""

from __future__ import annotations

import numpy as np
import pytest

import motion_renders as renders
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.motion import MotionCheck, MotionConfig
from fossa_ros.motion.gyro_rotation import gyro_differences, integrate_rates
from fossa_ros.motion.tiling import Tiling, in_pixels, transform
from fossa_ros.simulation.motion_path import Pose, angular_velocity, bump, rotation_matrix, sinusoid
from fossa_ros.sweep import GyroSamples

MS = 1_000_000
STAMPS = np.array([100, 150, 200, 250]) * MS


def measured(path, start=50, end=300, step=5, bias=0.0) -> GyroSamples:
    """Return what a gyroscope on a path measures, from ``start`` to ``end`` ms."""
    stamps = np.arange(start, end, step) * MS
    return GyroSamples(stamps, np.array([angular_velocity(path, stamp * 1e-9) for stamp in stamps]) + bias)


def test_rates_integrate_to_the_attitude():
    path = sinusoid(rotation=(0.02, -0.05, 0.03), frequency=3.0)
    found = integrate_rates(measured(path), STAMPS)
    origin = path(0.1).rotation.T
    for attitude, stamp in zip(found, STAMPS, strict=True):
        error = attitude.T @ (origin @ path(stamp * 1e-9).rotation)
        assert np.degrees(np.arccos(np.clip((np.trace(error) - 1) / 2, -1, 1))) < 0.01


def test_samples_that_leave_a_gap_say_nothing():
    path = sinusoid(rotation=(0.02, 0, 0))
    assert integrate_rates(measured(path, start=120), STAMPS) is None
    assert integrate_rates(measured(path, end=240), STAMPS) is None
    whole = measured(path)
    kept = (whole.stamps_ns < 130 * MS) | (whole.stamps_ns > 190 * MS)
    assert integrate_rates(GyroSamples(whole.stamps_ns[kept], whole.rates[kept]), STAMPS) is None


def stamped(stack: FocusStack) -> FocusStack:
    planes = (
        FocusPlane(plane.image, plane.focus_distance, int(stamp))
        for plane, stamp in zip(stack.planes, STAMPS, strict=True)
    )
    return FocusStack(tuple(planes), K=stack.K, reference=stack.reference)


def turning(path):
    """Return the homography of each plane's view from the straight one."""
    return [renders.CAMERA.K @ path(stamp * 1e-9).rotation.T @ np.linalg.inv(renders.CAMERA.K) for stamp in STAMPS]


def test_what_the_gyroscope_says_is_what_the_images_show():
    path = bump(0.12, rotation=(0.01, 0.015, -0.01), frequency=4.0)
    stack = stamped(renders.sweep(1, np.random.default_rng(0)))
    tiling, config = Tiling.for_stack(stack), MotionConfig()
    differences = gyro_differences(measured(path), stack, tiling, config)
    assert [(each.base, each.plane) for each in differences] == [(0, 1), (1, 2), (2, 3)]
    points = np.array([[10.0, 10.0], [310.0, 20.0], [160.0, 120.0], [20.0, 230.0]])
    views = turning(path)
    for each in differences:
        between = views[each.plane] @ np.linalg.inv(views[each.base])
        found = in_pixels(tiling.homography(each.value[0]), tiling.size)
        assert np.abs(transform(found, points) - transform(between, points)).max() < 0.15
        assert np.linalg.eigvalsh(each.covariance[0]).min() > 0


def test_a_bias_is_within_the_uncertainty():
    path = sinusoid(rotation=(0.0, 0.0, 0.0))
    stack = stamped(renders.sweep(1, np.random.default_rng(0)))
    tiling = Tiling.for_stack(stack)
    for bias in (0.0, 0.01, 0.03):
        differences = gyro_differences(measured(path, bias=bias), stack, tiling, MotionConfig(gyro_bias=0.03))
        error = np.linalg.norm(tiling.fields @ differences[0].value[0], axis=1).max()
        assert error < 3 * np.sqrt(differences[0].covariance[0, 0, 0])


@pytest.mark.parametrize(("pixels", "verdict"), [(0.0, "still"), (30.0, "rejected")])
def test_before_a_wall_without_texture_the_gyroscope_knows(pixels, verdict):
    rng = np.random.default_rng(1)
    planes = tuple(
        FocusPlane(np.clip(120 + 2 * rng.standard_normal((240, 320, 3)), 0, 255).astype(np.uint8), focus, int(stamp))
        for focus, stamp in zip(renders.FOCUS, STAMPS, strict=True)
    )
    stack = FocusStack(planes, K=renders.CAMERA.K)
    angle = pixels / renders.NETWORK_SCALE / renders.CAMERA.fx

    def path(time):
        return Pose(rotation_matrix((0.0, angle * (time - 0.2) / 0.1, 0.0)))

    assert MotionCheck().check(stack).verdict == "unknown"
    config = MotionConfig(gyro_shift_px=0.2, gyro_bias=0.003)
    result = MotionCheck(config).check(stack, measured(path))
    assert result.verdict == verdict, result
    corner = np.array([0.0, 0.0])
    first, *_, reference, _ = turning(path)
    moved = transform(first @ np.linalg.inv(reference), corner) - corner
    # The outermost tile's centre lies somewhat within the corner.
    assert result.motion_px == pytest.approx(np.linalg.norm(moved) * renders.NETWORK_SCALE, rel=0.1, abs=1.0)


def test_the_gyroscope_makes_the_estimate_more_certain():
    path = bump(0.12, rotation=(0.004, 0.006, 0.0), frequency=4.0)
    views = turning(path)
    light = renders.sweep(2, np.random.default_rng(3), views)
    stack = stamped(light)
    alone, together = MotionCheck().check(stack), MotionCheck().check(stack, measured(path))
    assert together.verdict == alone.verdict == "repaired"
    assert together.uncertainty_px < 0.8 * alone.uncertainty_px
