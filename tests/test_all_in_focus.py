"""The all-in-focus image: each pixel from the plane that its depth names."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fossa_ros.all_in_focus import compose_all_in_focus
from fossa_ros.stack import FocusPlane, FocusStack


def flat(values, distances):
    images = (np.full((20, 30, 3), value, np.uint8) for value in values)
    return FocusStack(tuple(FocusPlane(*plane) for plane in zip(images, distances, strict=True)))


STACK = flat((10, 100, 200), (0.5, 1.0, np.inf))


@pytest.mark.parametrize(("depth", "value"), [(0.5, 10), (0.3, 10), (1.0, 100), (1.1, 100), (50.0, 200), (1e6, 200)])
def test_a_depth_takes_the_plane_nearest_in_dioptres(depth, value):
    image = compose_all_in_focus(STACK, np.full((20, 30), depth, np.float32))
    assert image.dtype == np.uint8 and (image == value).all()


def test_half_way_between_two_planes_is_their_mean():
    image = compose_all_in_focus(STACK, np.full((20, 30), 1 / 1.5, np.float32))
    assert (np.abs(image.astype(int) - 55) <= 1).all()


def test_the_order_of_the_planes_does_not_matter():
    depth = np.random.default_rng(0).uniform(0.4, 5, (20, 30)).astype(np.float32)
    shuffled = FocusStack((STACK.planes[2], STACK.planes[0], STACK.planes[1]))
    np.testing.assert_array_equal(compose_all_in_focus(STACK, depth), compose_all_in_focus(shuffled, depth))


def test_where_depth_is_unknown_the_sharpest_plane_decides():
    texture = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    blurred = cv2.GaussianBlur(texture, (0, 0), 3)
    stack = FocusStack((FocusPlane(blurred, 0.5), FocusPlane(texture, 1.0), FocusPlane(blurred, 4.0)))
    image = compose_all_in_focus(stack, np.full((60, 80), np.nan, np.float32))
    np.testing.assert_array_equal(image, texture)
