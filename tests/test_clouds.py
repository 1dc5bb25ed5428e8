"""The points message as its readers read it."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from fossa_ros.core.geometry import POINT, coloured_cloud
from fossa_ros.core.stack import DepthMap
from fossa_ros.messages.fields import cloud_fields
from fossa_ros.pipeline.cloud import CloudConfig, cloud_of
from fossa_ros.ros.conversions import build_message

K = np.array([[50.0, 0, 1.5], [0, 60.0, 1.0], [0, 0, 1]])
DEPTH = np.array([[1.0, 2.0, np.nan, 4.0], [0.5, 0.5, 0.5, 0.5], [3.0, 3.0, 3.0, np.nan]], np.float32)
COLOUR = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
CONFIDENCE = np.where(np.isnan(DEPTH), 0.0, np.linspace(0.1, 0.9, 12).reshape(3, 4)).astype(np.float32)
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


def cloud(depth=DEPTH, colour=COLOUR, confidence=CONFIDENCE, **config):
    return cloud_of(DepthMap(depth, confidence, colour, K), CloudConfig(**config))


def room(height=480, width=640):
    """Return a depth map of slanted surfaces with gaps, at the size where clouds cost."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:height, :width]
    depth = (1.0 + rows / height + 2.0 * (columns // 80 % 2)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.2] = np.nan
    colour = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return depth, colour, np.where(np.isnan(depth), 0, rng.random(depth.shape)).astype(np.float32)


def colours(points):
    packed = np.ascontiguousarray(points["rgb"]).view(np.uint32)
    return np.stack([packed >> shift & 255 for shift in (16, 8, 0)], axis=-1)


def test_the_default_cloud_is_every_pixel():
    assert cloud().tobytes() == coloured_cloud(DEPTH, K, COLOUR).tobytes()


@pytest.mark.parametrize("stride", [2, 3, 5])
def test_a_stride_gives_the_very_points_of_its_pixels(stride):
    depth, colour, confidence = room()
    every, some = (cloud(depth, colour, confidence, stride=step) for step in (1, stride))
    assert some.shape == every[::stride, ::stride].shape
    for axis in "xyz":
        np.testing.assert_allclose(some[axis], every[::stride, ::stride][axis], rtol=2e-6, atol=1e-7)
    np.testing.assert_array_equal(colours(some), colours(every[::stride, ::stride]))


def test_stride_2_is_a_quarter_of_the_bytes():
    made = room()
    sizes = [len(cloud_fields(cloud(*made, stride=step))["data"]) for step in (1, 2, 4)]
    assert sizes[0] == 4 * sizes[1] == 16 * sizes[2] == 480 * 640 * 16


def test_a_dense_cloud_is_the_known_points_in_one_row():
    points = cloud(dense=True)
    assert points.shape == (1, 10)
    np.testing.assert_array_equal(points[0]["z"], DEPTH[np.isfinite(DEPTH)])
    message = build_message(PointCloud2, {"header": HEADER, **cloud_fields(points)})
    assert (message.height, message.width, message.row_step, message.is_dense) == (1, 10, 160, True)
    nothing = cloud_fields(cloud(np.full_like(DEPTH, np.nan), confidence=np.zeros_like(DEPTH), dense=True))
    assert (nothing["width"], nothing["is_dense"], len(nothing["data"])) == (0, True, 0)


def test_doubtful_points_are_left_out_of_the_cloud():
    points = cloud(min_confidence=0.5)
    np.testing.assert_array_equal(np.isfinite(points["z"]), np.isfinite(DEPTH) & (CONFIDENCE >= 0.5))
    assert np.isnan(points["x"][~np.isfinite(points["z"])]).all()


@pytest.mark.parametrize("form", [{}, {"dense": True}, {"stride": 2}])
def test_confidence_is_a_field_of_its_own(form):
    points = cloud_of(DepthMap(DEPTH, CONFIDENCE, COLOUR, K), CloudConfig(confidence=True, **form))
    fields = cloud_fields(points)
    assert [(one["name"], one["offset"]) for one in fields["fields"]] == [
        ("x", 0),
        ("y", 4),
        ("z", 8),
        ("rgb", 12),
        ("confidence", 16),
    ]
    assert fields["point_step"] == 20 and fields["row_step"] == 20 * fields["width"]
    kind = np.dtype({"names": [one["name"] for one in fields["fields"]], "formats": ["<f4"] * 5})
    points = np.frombuffer(fields["data"], kind)
    step = form.get("stride", 1)
    expected, known = CONFIDENCE[::step, ::step], np.isfinite(DEPTH[::step, ::step])
    np.testing.assert_array_equal(points["confidence"], expected[known] if form.get("dense") else expected.ravel())


def test_each_cube_has_the_mean_of_its_points():
    depth, colour, confidence = room()
    every = cloud_of(DepthMap(depth, confidence, colour, K), CloudConfig(dense=True, confidence=True))[0]
    side = 0.5
    merged = cloud_of(DepthMap(depth, confidence, colour, K), CloudConfig(voxel=side, confidence=True))[0]
    groups = {}
    for point, rgb in zip(every.tolist(), colours(every), strict=True):
        groups.setdefault(tuple(np.floor(np.array(point[:3]) / side)), []).append((*point[:3], point[4], *rgb))
    expected = {cube: np.mean(points, axis=0) for cube, points in groups.items()}
    assert 50 < merged.size == len(expected) < every.size / 50
    for point, rgb in zip(merged.tolist(), colours(merged), strict=True):
        # The mean of points of a cube lies in it, so that it names the cube.
        mean = expected.pop(tuple(np.floor(np.array(point[:3]) / side)))
        assert (*point[:3], point[4]) == pytest.approx(mean[:4], rel=1e-5, abs=1e-6)
        assert np.abs(rgb - mean[4:]).max() <= 0.5 + 1e-9
    assert not expected


def test_small_cubes_and_far_points_do_not_meet():
    depth = np.array([[0.5, 0.5, 9000.0, 9000.0, np.nan]], np.float32)
    confidence = np.where(np.isnan(depth), 0, 1).astype(np.float32)
    points = cloud(depth, np.zeros((1, 5, 3), np.uint8), confidence, voxel=1e-6)
    assert points.shape == (1, 4)
    assert cloud(
        np.full((2, 2), np.nan, np.float32), np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.float32), voxel=0.1
    ).shape == (1, 0)
