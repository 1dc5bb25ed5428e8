"""Thin-lens optics against closed forms worked out from rays."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fossa_ros.core import optics

FOCAL_LENGTH, F_NUMBER = 0.012, 1.4
depths = st.floats(0.05, 1000)


def image_distance(distance):
    """Return where a thin lens images a point, from 1/f = 1/v + 1/z."""
    return FOCAL_LENGTH if math.isinf(distance) else 1 / (1 / FOCAL_LENGTH - 1 / distance)


@given(depths, depths)
def test_the_blur_disc_is_the_cone_of_light_cut_by_the_sensor(depth, focus):
    # Similar triangles: the cone from the aperture to its point at v(z), cut at the sensor at v(s).
    v, sensor = image_distance(depth), image_distance(focus)
    cone = FOCAL_LENGTH / F_NUMBER * (sensor - v) / v
    blur = optics.circle_of_confusion(depth, focus, FOCAL_LENGTH, F_NUMBER)
    assert blur == pytest.approx(cone, rel=1e-6, abs=1e-12)
    assert math.copysign(1, blur) == (1 if depth > focus else -1) or blur == 0


def test_blur_at_infinity_on_either_side():
    aperture = FOCAL_LENGTH / F_NUMBER
    focused_far = optics.circle_of_confusion(2.0, np.inf, FOCAL_LENGTH, F_NUMBER)
    assert focused_far == pytest.approx(-aperture * FOCAL_LENGTH / 2.0)
    far_point = optics.circle_of_confusion(np.inf, 2.0, FOCAL_LENGTH, F_NUMBER)
    assert far_point == pytest.approx(aperture * FOCAL_LENGTH / (2.0 - FOCAL_LENGTH))


def test_blur_in_pixels_is_half_the_disc_over_the_pitch():
    pitch = optics.pixel_size(FOCAL_LENGTH, 600.0)
    assert pitch == pytest.approx(20e-6)
    radius = optics.blur_radius(np.array([1.0, 2.0]), 1.0, FOCAL_LENGTH, F_NUMBER, pitch)
    # A f (z - s) / (z (s - f)) with A = 8.5714 mm: 52.05 um at 2 m
    np.testing.assert_allclose(radius, [0.0, 52.0532e-6 / 2 / 20e-6], rtol=1e-4)


def test_dioptres_and_metres_are_each_others_inverse_at_the_ends_too():
    distances = np.array([0.25, 4.0, np.inf])
    np.testing.assert_array_equal(optics.dioptres(distances), [4.0, 0.25, 0.0])
    np.testing.assert_array_equal(optics.metres(optics.dioptres(distances)), distances)


def test_planes_even_in_dioptres_are_even_in_blur():
    planes = optics.dioptre_space(0.4, np.inf, 6)
    np.testing.assert_allclose(optics.dioptres(planes), [2.5, 2.0, 1.5, 1.0, 0.5, 0.0], atol=1e-12)
    blur = optics.circle_of_confusion(1.0, planes, FOCAL_LENGTH, F_NUMBER) / optics.magnification(planes, FOCAL_LENGTH)
    assert np.diff(blur) == pytest.approx(np.full(5, np.diff(blur)[0]))


@given(st.floats(0.05, 100))
def test_breathing_is_the_growth_of_the_image_distance(focus):
    expected = image_distance(focus) / FOCAL_LENGTH
    assert optics.magnification(focus, FOCAL_LENGTH) == pytest.approx(expected, rel=1e-9)
    assert optics.magnification(np.inf, FOCAL_LENGTH) == 1.0


def test_the_canonical_cameras_focal_length_is_its_width():
    K = np.array([[500.0, 0, 320], [0, 480.0, 240], [0, 0, 1]])
    assert optics.canonical_scale(K, 640) == pytest.approx(1.28)
    assert optics.canonical_scale(np.diag([640.0, 640.0, 1.0]), 640) == 1.0
