"""The all-in-focus image: each pixel from the plane that its depth names."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fossa_ros.core.all_in_focus import TILE, compose_all_in_focus
from fossa_ros.core.stack import FocusPlane, FocusStack


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


def test_unknown_depth_in_one_place_takes_what_it_takes_where_all_is_unknown():
    """Local contrast is made where it is needed only; what lies around that place is part of it all the same."""
    rng = np.random.default_rng(2)
    size = TILE[0] + 40, TILE[1] + 40
    planes = [cv2.GaussianBlur(rng.integers(0, 256, (*size, 3), dtype=np.uint8), (0, 0), 1 + i) for i in range(2)]
    stack = FocusStack(tuple(FocusPlane(*plane) for plane in zip(planes, (0.5, 2.0), strict=True)))
    depth = np.full(size, 2.0, np.float32)
    hole = np.s_[TILE[0] - 20 : TILE[0] + 20, TILE[1] - 20 : TILE[1] + 20]  # in four tiles
    depth[hole] = np.nan
    image = compose_all_in_focus(stack, depth)
    everywhere = compose_all_in_focus(stack, np.full(size, np.nan, np.float32))
    np.testing.assert_array_equal(image[hole], everywhere[hole])
    depth[hole] = 2.0
    np.testing.assert_array_equal(compose_all_in_focus(stack, depth), planes[1])


@pytest.mark.parametrize("depth", [0.0, -1.0, np.inf])
def test_a_depth_that_cannot_be_is_unknown(depth):
    rng = np.random.default_rng(3)
    planes = [rng.integers(0, 256, (20, 30, 3), dtype=np.uint8) for _ in range(2)]
    stack = FocusStack(tuple(FocusPlane(*plane) for plane in zip(planes, (0.5, 2.0), strict=True)))
    images = [compose_all_in_focus(stack, np.full((20, 30), value, np.float32)) for value in (depth, np.nan)]
    np.testing.assert_array_equal(*images)
