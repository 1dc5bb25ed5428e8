"""Compressed depth and colour against a reader of the plugins' layout, written from their sources."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sensor_msgs.msg import CompressedImage

from fossa_ros.messages.compressed_images import compressed_colour_fields, compressed_depth_fields
from fossa_ros.messages.fields import depth_pixels
from fossa_ros.messages.images import rgb_from_message
from fossa_ros.messages.rvl import encode_rvl
from fossa_ros.ros.conversions import build_message

RNG = np.random.default_rng(0)
STEP = 1 / 10100  # dioptres, of the plugin's default: depth_quantization 100


def read_depth(message):
    """Return depth as compressed_depth_image_transport does: 32FC1 in float32 arithmetic, 16UC1 as it is."""
    encoding, _, rest = message.format.partition(";")
    kind, a, b = struct.unpack_from("<iff", bytes(message.data))
    if rest == " compressedDepth rvl":
        pixels = read_rvl(bytes(message.data[12:]))
        assert pixels.size <= 5 * (len(message.data) - 12)  # else the plugin takes it for malformed
    else:
        assert rest == " compressedDepth png"
        pixels = cv2.imdecode(np.frombuffer(message.data, np.uint8)[12:], cv2.IMREAD_UNCHANGED)
    assert kind == 0 and pixels.dtype == np.uint16
    if encoding == "16UC1":
        return pixels
    assert encoding == "32FC1"
    with np.errstate(divide="ignore"):
        depth = np.float32(a) / (pixels.astype(np.float32) - np.float32(b))
    return np.where(pixels == 0, np.float32(np.nan), depth)


def read_rvl(data):
    """Return what RVL holds, number by number."""
    width, height = struct.unpack_from("<II", data)
    words = np.frombuffer(data, "<u4", offset=8)
    nibbles = iter(np.stack([words >> shift & 15 for shift in range(28, -1, -4)], axis=1).ravel().tolist())

    def number():
        value = shift = 0
        while True:
            nibble = next(nibbles)
            value |= (nibble & 7) << shift
            shift += 3
            if not nibble & 8:
                return value

    pixels, last = [], 0
    while len(pixels) < width * height:
        pixels += [0] * number()
        for _ in range(number()):
            code = number()
            last += code >> 1 if code % 2 == 0 else -(code >> 1) - 1
            pixels.append(last)
    assert not any(nibbles)  # what is left fills the last word
    return np.array(pixels, np.uint16).reshape(height, width)


def sent(depth, encoding="32FC1", compression="png"):
    pixels = depth_pixels(depth, encoding)
    return build_message(CompressedImage, compressed_depth_fields(pixels, encoding, compression))


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


def test_rvl_as_worked_out_by_hand():
    # Runs: 2 zeros, 3 pixels with the differences 5, 1, 0; 2 zeros, 1 pixel with the difference 994. Written as
    # 2 3 10 2 0 2 1 1988, in groups of 3 bits 2 | 3 | 2+ 1 | 2 | 0 | 2 | 1 | 4+ 0+ 7+ 3, where + says that more follow:
    # the words 23A12021 and C8F30000, each with its last byte first.
    pixels = np.array([[0, 0, 5, 6], [6, 0, 0, 1000]], np.uint16)
    assert encode_rvl(pixels).tobytes().hex(" ") == "04 00 00 00 02 00 00 00 21 20 a1 23 00 00 f3 c8"
    # No zeros, then 2 pixels with the differences 7 and -3, written as 14 = 6+ 1 and 5: the word 02E15000.
    assert encode_rvl(np.array([[7, 4]], np.uint16)).tobytes()[8:] == bytes.fromhex("0050e102")


@given(
    arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 2**16 - 1)),
    st.integers(0, 2**16 - 1),
)
def test_rvl_holds_any_pixels(pixels, least):
    pixels = np.where(pixels < least, 0, pixels).astype(np.uint16)
    np.testing.assert_array_equal(read_rvl(encode_rvl(pixels).tobytes()), pixels)


@pytest.mark.parametrize("encoding", ["32FC1", "16UC1"])
def test_rvl_holds_what_the_png_holds(encoding):
    depth = scene(0.35, 6.0)
    message = sent(depth, encoding, "rvl")
    assert message.format == f"{encoding}; compressedDepth rvl"
    np.testing.assert_array_equal(read_depth(message), read_depth(sent(depth, encoding)))


def test_depth_whose_rvl_a_reader_would_refuse_is_a_png():
    depth = np.full((96, 128), np.nan, np.float32)
    depth[40, 50] = 1.5
    message = sent(depth, "16UC1", "rvl")
    assert message.format == "16UC1; compressedDepth png"
    np.testing.assert_array_equal(read_depth(message), depth_pixels(depth, "16UC1"))


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
