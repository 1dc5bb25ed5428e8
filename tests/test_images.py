"""Image messages to RGB and back: each encoding by its bytes, no copy where none is needed."""

from __future__ import annotations

import importlib.util

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from fossa_ros.errors import InputError
from fossa_ros.ros.conversions import depth_image, image_message
from fossa_ros.ros.images import rgb_from_message

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def message(pixels, encoding):
    return image_message(np.ascontiguousarray(pixels), encoding, Header())


def with_alpha(pixels):
    return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])


@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("rgba8", with_alpha(RGB)),
        ("bgra8", with_alpha(RGB[..., ::-1])),
    ],
)
def test_colour_encodings_give_the_same_rgb(encoding, pixels):
    np.testing.assert_array_equal(rgb_from_message(message(pixels, encoding)), RGB)


def test_mono_is_grey_in_all_channels():
    rgb = rgb_from_message(message(RGB[..., 0], "mono8"))
    np.testing.assert_array_equal(rgb, np.repeat(RGB[..., :1], 3, axis=2))


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_bayer_mosaic_of_one_colour_gives_that_colour(pattern):
    colour = {"r": 200, "g": 120, "b": 40}
    mosaic = np.tile(np.array([colour[c] for c in pattern], np.uint8).reshape(2, 2), (8, 8))
    rgb = rgb_from_message(message(mosaic, f"bayer_{pattern}8"))
    assert (rgb[4:-4, 4:-4] == [200, 120, 40]).all()


def test_rgb8_shares_the_memory_of_its_message():
    source = message(RGB, "rgb8")
    assert np.shares_memory(rgb_from_message(source), np.frombuffer(source.data, np.uint8))


def test_rows_may_be_padded():
    source = Image(height=6, width=8, encoding="rgb8", step=32)
    source.data.frombytes(np.pad(RGB.reshape(6, 24), ((0, 0), (0, 8))))
    np.testing.assert_array_equal(rgb_from_message(source), RGB)


def test_data_that_does_not_fill_the_size_is_refused():
    source = message(RGB, "rgb8")
    source.height = 7
    with pytest.raises(InputError, match="cannot have 144 bytes"):
        rgb_from_message(source)


@pytest.mark.skipif(
    importlib.util.find_spec("cv_bridge") is not None, reason="cv_bridge is installed and decodes the rarer encodings"
)
def test_a_rare_encoding_without_cv_bridge_is_refused_by_name():
    with pytest.raises(InputError, match="'yuv422' need cv_bridge"):
        rgb_from_message(Image(height=2, width=2, encoding="yuv422", step=4))


@pytest.mark.skipif(importlib.util.find_spec("cv_bridge") is None, reason="cv_bridge comes with a ROS distribution")
def test_encodings_agree_with_cv_bridge():
    from cv_bridge import CvBridge

    bridge = CvBridge()
    for encoding, pixels in (("rgb8", RGB), ("bgr8", RGB[..., ::-1]), ("mono8", RGB[..., 0])):
        source = message(pixels, encoding)
        np.testing.assert_array_equal(rgb_from_message(source), bridge.imgmsg_to_cv2(source, "rgb8"))


def test_depth_in_metres_keeps_nan_and_in_millimetres_becomes_zero():
    depth = np.array([[1.2345, np.nan], [70.0, 0.0004]], np.float32)
    metres = depth_image(depth, "32FC1", Header())
    assert (metres.encoding, metres.step) == ("32FC1", 8)
    np.testing.assert_array_equal(np.frombuffer(metres.data, np.float32).reshape(2, 2), depth)
    millimetres = depth_image(depth, "16UC1", Header())
    assert millimetres.step == 4
    # 70 m does not fit 16 bits and 0.4 mm rounds to nothing: both are unknown
    assert np.frombuffer(millimetres.data, np.uint16).tolist() == [1234, 0, 0, 0]


def test_a_decoded_image_can_be_drawn_by_opencv():
    assert cv2.cvtColor(rgb_from_message(message(RGB, "rgb8")), cv2.COLOR_RGB2GRAY).shape == (6, 8)
