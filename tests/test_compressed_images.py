"""Compressed depth and colour against a reader of the plugins' layout, written from their sources."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage

from fossa_ros.messages.compressed_images import compressed_colour_fields, compressed_depth_fields
from fossa_ros.messages.fields import depth_pixels
from fossa_ros.messages.images import rgb_from_message
from fossa_ros.ros.conversions import build_message

RNG = np.random.default_rng(0)
STEP = 1 / 10100  # dioptres, of the plugin's default: depth_quantization 100


def read_depth(message):
    """Return depth as compressed_depth_image_transport does: 32FC1 in float32 arithmetic, 16UC1 as it is."""
    encoding, _, rest = message.format.partition(";")
    assert rest == " compressedDepth png"
    kind, a, b = struct.unpack_from("<iff", bytes(message.data))
    pixels = cv2.imdecode(np.frombuffer(message.data, np.uint8)[12:], cv2.IMREAD_UNCHANGED)
    assert kind == 0 and pixels.dtype == np.uint16
    if encoding == "16UC1":
        return pixels
    assert encoding == "32FC1"
    with np.errstate(divide="ignore"):
        depth = np.float32(a) / (pixels.astype(np.float32) - np.float32(b))
    return np.where(pixels == 0, np.float32(np.nan), depth)


def sent(depth, encoding="32FC1"):
    return build_message(CompressedImage, compressed_depth_fields(depth_pixels(depth, encoding), encoding))


def scene(nearest, farthest):
    depth = (1 / RNG.uniform(1 / farthest, 1 / nearest, (48, 64))).astype(np.float32)
    depth[0, :2] = nearest, farthest
    depth[3:6, 10:40] = np.nan
    return depth


@pytest.mark.parametrize(
    ("nearest", "farthest", "step"),
    [
        (0.35, 6.0, STEP),
        (0.35, 9.9, STEP),
        (0.5, 500.0, STEP),  # the plugin itself writes nothing beyond 10 m
        (0.04, 0.05, STEP),
        (0.03, 8.0, (1 / 0.03 - 1 / 8.0) / 65533),  # more steps than 16 bits hold: the plugin's would wrap around
        (2.0, 2.0, STEP),
    ],
)
def test_depth_survives_within_half_a_step_and_unknown_stays_unknown(nearest, farthest, step):
    depth = scene(nearest, farthest)
    read = read_depth(sent(depth))
    np.testing.assert_array_equal(np.isnan(read), np.isnan(depth))
    error = np.nanmax(np.abs(1 / read.astype(np.float64) - 1 / depth.astype(np.float64)))
    assert error < 0.55 * step  # half a step, and the float32 of the reader
    assert np.unique(read).size > 0.2 * min((1 / nearest - 1 / farthest) / step, depth.size)  # and no coarser


def test_depth_of_the_plugins_own_range_has_the_plugins_own_quantisation():
    _, a, _ = struct.unpack_from("<iff", bytes(sent(scene(0.35, 10.0)).data))
    assert a == 100.0 * 101.0


def test_depth_that_is_unknown_everywhere_or_no_depth_at_all():
    depth = np.array([[np.nan, 0.0, -1.0, np.inf]], np.float32)
    assert np.isnan(read_depth(sent(depth))).all()
    depth[0, 0] = 1.5
    assert read_depth(sent(depth))[0] == pytest.approx([1.5, np.nan, np.nan, np.nan], nan_ok=True)


def test_millimetres_survive_exactly():
    depth = scene(0.35, 60.0)
    message = sent(depth, "16UC1")
    np.testing.assert_array_equal(read_depth(message), depth_pixels(depth, "16UC1"))
    assert bytes(message.data[:12]) == bytes(12)


def test_colour_is_read_as_what_it_was_and_quality_is_a_matter_of_size():
    rgb = cv2.GaussianBlur(RNG.integers(0, 256, (96, 128, 3), dtype=np.uint8), (0, 0), 4)
    rgb[:, :64, 0] //= 2  # red and blue differ
    sizes = []
    for quality, most in ((95, 2.0), (30, 8.0)):
        message = build_message(CompressedImage, compressed_colour_fields(rgb, quality))
        assert message.format == "rgb8; jpeg compressed bgr8"
        assert np.abs(rgb_from_message(message).astype(int) - rgb).mean() < most
        sizes.append(len(message.data))
    assert sizes[0] > 2 * sizes[1]
