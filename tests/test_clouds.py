"""The points message as its readers read it."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from fossa_ros.core.geometry import POINT, coloured_cloud
from fossa_ros.messages.fields import cloud_fields
from fossa_ros.ros.conversions import build_message

K = np.array([[50.0, 0, 1.5], [0, 60.0, 1.0], [0, 0, 1]])
DEPTH = np.array([[1.0, 2.0, np.nan, 4.0], [0.5, 0.5, 0.5, 0.5], [3.0, 3.0, 3.0, np.nan]], np.float32)
COLOUR = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
HEADER = Header(frame_id="camera_optical_frame")
MESSAGE = build_message(PointCloud2, {"header": HEADER, **cloud_fields(coloured_cloud(DEPTH, K, COLOUR))})


def by_numpy(message):
    return np.frombuffer(message.data, POINT)


def by_sensor_msgs_py(message):
    from sensor_msgs_py import point_cloud2

    return point_cloud2.read_points(message, field_names=["x", "y", "z", "rgb"])


@pytest.mark.parametrize(
    "read",
    [
        by_numpy,
        pytest.param(
            by_sensor_msgs_py,
            marks=pytest.mark.skipif(
                importlib.util.find_spec("sensor_msgs_py") is None,
                reason="sensor_msgs_py comes with a ROS distribution",
            ),
        ),
    ],
)
def test_points_are_read_back_in_metres_and_colour(read):
    points = np.asarray(read(MESSAGE)).reshape(3, 4)
    np.testing.assert_array_equal(points["z"], DEPTH)
    # x = (u - cx) / fx * z: pixel (3, 0) at 4 m, (0, 1) at 0.5 m
    assert points["x"][0, 3] == pytest.approx(1.5 / 50 * 4.0)
    assert points["y"][2, 0] == pytest.approx(1.0 / 60 * 3.0)
    assert np.isnan(points["x"][0, 2]) and np.isnan(points["y"][0, 2])
    packed = np.ascontiguousarray(points["rgb"]).view(np.uint32)
    np.testing.assert_array_equal(packed >> 16 & 255, COLOUR[..., 0])
    np.testing.assert_array_equal(packed & 255, COLOUR[..., 2])


def test_the_cloud_is_organised_and_says_that_it_has_gaps():
    assert (MESSAGE.height, MESSAGE.width, MESSAGE.point_step, MESSAGE.row_step) == (3, 4, 16, 64)
    assert not MESSAGE.is_dense and not MESSAGE.is_bigendian and len(MESSAGE.data) == 192
