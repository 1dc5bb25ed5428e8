"""Focus stacks and depth maps: what cannot be is refused in a sentence."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import DepthMap, FocusPlane, FocusStack

K = np.array([[50.0, 0, 4], [0, 50.0, 3], [0, 0, 1]])


def image(value=0, height=6, width=8):
    return np.full((height, width, 3), value, np.uint8)


def stack(distances=(0.5, 1.0, math.inf), **kwargs):
    planes = tuple(FocusPlane(image(i), distance, 10 + i) for i, distance in enumerate(distances))
    return FocusStack(planes, **kwargs)


def test_a_stack_tells_its_size_order_and_reference():
    one = stack(K=K)
    assert (len(one), one.size, one.reference, one.stamp_ns) == (3, (6, 8), 1, 11)
    np.testing.assert_array_equal(one.focus_distances, [0.5, 1.0, math.inf])
    assert one.images().shape == (3, 6, 8, 3) and one.images()[2, 0, 0, 0] == 2
    other = one.with_images([image(7)] * 3)
    assert other.images().min() == 7 and other.planes[2].stamp_ns == 12 and other.K is one.K


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FocusPlane(np.zeros((6, 8), np.uint8), 1.0), "RGB"),
        (lambda: FocusPlane(image().astype(float), 1.0), "uint8"),
        (lambda: FocusPlane(image(), -1.0), "positive"),
        (lambda: FocusPlane(image(), math.nan), "positive"),
        (lambda: stack((0.5,)), "at least 2"),
        (lambda: FocusStack((FocusPlane(image(), 1.0), FocusPlane(image(width=9), 2.0))), "8x6, 9x6"),
        (lambda: stack(reference=3), "Reference plane 3"),
        (lambda: stack(f_number=0.0), "f_number"),
        (lambda: stack((0.01, 1.0), focal_length=0.012), "not beyond the focal length"),
        (lambda: stack(K=np.zeros((3, 3))), "uncalibrated"),
        (lambda: stack(K=np.eye(4)), r"3x3 intrinsic matrix, not of shape \(4, 4\)"),
        (lambda: stack(K=K * [[1, 1, 3], [1, 1, 1], [1, 1, 1]]), "outside the 8x6 image"),
        (lambda: stack(K=K * np.nan), "finite"),
    ],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(InputError, match=words) as refused:
        make()
    assert str(refused.value).count(". ") == 0  # one sentence


def test_a_depth_map_agrees_with_itself():
    depth = np.ones((6, 8), np.float32)
    assert DepthMap(depth, depth, image()).estimator == ""
    with pytest.raises(TypeError):
        DepthMap(depth.astype(np.float64), depth, image())
    with pytest.raises(ValueError, match="disagree"):
        DepthMap(depth, depth[:-1], image())
