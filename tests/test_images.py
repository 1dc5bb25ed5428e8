"""Image messages to RGB and back: each encoding by its bytes, no copy where none is needed."""

from __future__ import annotations

import importlib.util

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from fossa_ros.core.errors import InputError
from fossa_ros.messages.images import rgb_from_message
from fossa_ros.ros.conversions import depth_image, image_message

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def message(pixels, encoding):
    return image_message(np.ascontiguousarray(pixels), encoding, Header())


def with_alpha(pixels):
    return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])


def _cv_bridge(message):
    from cv_bridge import CvBridge

    if hasattr(message, "format"):
        return CvBridge().compressed_imgmsg_to_cv2(message, "rgb8")
    return CvBridge().imgmsg_to_cv2(message, "rgb8")


# The same expectations of both.
DECODERS = pytest.mark.parametrize(
    "decode",
    [
        rgb_from_message,
        pytest.param(
            _cv_bridge,
            marks=pytest.mark.skipif(
                importlib.util.find_spec("cv_bridge") is None, reason="cv_bridge comes with a ROS distribution"
            ),
        ),
    ],
)


def yuv422(rgb, order):
    """Return the (H, W, 2) samples of an image, its colour that of each pair's left pixel, by BT.601, 16 to 235."""
    r, g, b = np.moveaxis(rgb.astype(float), 2, 0)
    y = 16 + 0.256788 * r + 0.504129 * g + 0.097906 * b
    u = 128 - 0.148223 * r - 0.290993 * g + 0.439216 * b
    v = 128 + 0.439216 * r - 0.367788 * g - 0.071427 * b
    chroma = np.where(np.arange(rgb.shape[1]) % 2 == 0, u, np.roll(v, 1, axis=1))
    return np.rint(np.stack([chroma, y] if order == "uyvy" else [y, chroma], axis=2)).astype(np.uint8)


PAIRS = np.repeat(RGB[:, ::2], 2, axis=1)  # alike two by two, so that 4:2:2 loses nothing
ALPHA = with_alpha(RGB)
SIXTEEN = np.random.default_rng(1).integers(0, 65536, (6, 8), dtype=np.uint16)
EXPECTED = [
    ("rgb8", RGB, RGB, 0),
    ("bgr8", RGB[..., ::-1], RGB, 0),
    ("rgba8", with_alpha(RGB), RGB, 0),
    ("bgra8", with_alpha(RGB[..., ::-1]), RGB, 0),
    ("mono8", RGB[..., 0], np.repeat(RGB[..., :1], 3, axis=2), 0),
    ("mono16", SIXTEEN, np.repeat(np.rint(SIXTEEN / 257)[..., None], 3, axis=2), 0),
    ("rgb16", np.uint16(257) * RGB, RGB, 0),
    ("bgr16", np.uint16(257) * RGB[..., ::-1], RGB, 0),
    ("rgba16", np.uint16(257) * ALPHA, RGB, 0),
    ("bgra16", np.uint16(257) * ALPHA[..., [2, 1, 0, 3]], RGB, 0),
    ("yuv422", yuv422(PAIRS, "uyvy"), PAIRS, 2),
    ("yuv422_yuy2", yuv422(PAIRS, "yuyv"), PAIRS, 2),
    ("uyvy", yuv422(PAIRS, "uyvy"), PAIRS, 2),
    ("yuyv", yuv422(PAIRS, "yuyv"), PAIRS, 2),
]


@DECODERS
@pytest.mark.parametrize("padding", [0, 24])  # cv_bridge needs whole pixels
@pytest.mark.parametrize(("encoding", "pixels", "expected", "tolerance"), EXPECTED, ids=[row[0] for row in EXPECTED])
def test_each_encoding_gives_the_rgb_that_its_definition_says(decode, encoding, pixels, expected, tolerance, padding):
    if decode is _cv_bridge and encoding in ("uyvy", "yuyv"):
        pytest.skip("cv_bridge of Jazzy does not know the newer names")
    source = message(pixels, encoding)
    if padding:
        rows = np.frombuffer(source.data, np.uint8).reshape(source.height, source.step)
        padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=255)
        source = Image(height=source.height, width=source.width, encoding=encoding, step=source.step + padding)
        source.data.frombytes(padded)
    rgb = decode(source)
    assert rgb.shape == expected.shape and rgb.dtype == np.uint8
    assert np.abs(rgb.astype(int) - expected.astype(int)).max() <= tolerance


@DECODERS
def test_sixteen_bits_are_read_in_the_order_of_their_bytes(decode):
    if decode is _cv_bridge:
        pytest.skip("cv_bridge fails on big-endian images with NumPy 2")
    source = message(SIXTEEN.byteswap(), "mono16")
    source.is_bigendian = 1
    np.testing.assert_array_equal(decode(source)[..., 1], np.rint(SIXTEEN / 257))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_mosaic_of_a_smooth_image_gives_it_back(pattern, bits):
    across, down = np.meshgrid(np.linspace(20, 200, 64), np.linspace(0, 40, 48))
    image = np.stack([across + down, 220 - across, 60 + down], axis=2)
    mosaic = np.empty((48, 64))
    for index, colour in enumerate(pattern):
        at = np.s_[index // 2 :: 2, index % 2 :: 2]
        mosaic[at] = image[(*at, "rgb".index(colour))]
    deep = bits > 8
    mosaic = np.rint(mosaic / 255 * (2**bits - 1)).astype(np.uint16 if deep else np.uint8)
    rgb = rgb_from_message(message(mosaic, f"bayer_{pattern}{16 if deep else 8}"))
    assert np.abs(rgb[2:-2, 2:-2] - image[2:-2, 2:-2]).max() <= 2


def compressed(pixels, suffix, form):
    source = CompressedImage(format=form)
    source.data.frombytes(cv2.imencode(suffix, pixels)[1].tobytes())
    return source


@DECODERS
@pytest.mark.parametrize(
    ("form", "suffix", "tolerance"),
    [("rgb8; png compressed bgr8", ".png", 0), ("png", ".png", 0), ("bgr8; jpeg compressed bgr8", ".jpg", 6)],
)
def test_images_that_image_transport_compressed(decode, form, suffix, tolerance):
    across, down = np.meshgrid(np.linspace(20, 200, 64), np.linspace(0, 40, 48))
    image = np.stack([across + down, 220 - across, 60 + down], axis=2).astype(np.uint8)
    rgb = decode(compressed(image[..., ::-1], suffix, form))
    assert np.abs(rgb.astype(int) - image).max() <= tolerance


def test_compressed_mosaics_and_sixteen_bits_are_what_they_were_before():
    mosaic = np.tile(np.array([[200, 120], [120, 40]], np.uint8), (8, 8))
    rgb = rgb_from_message(compressed(mosaic, ".png", "bayer_rggb8; png compressed "))
    assert (rgb[4:-4, 4:-4] == [200, 120, 40]).all()
    grey = rgb_from_message(compressed(SIXTEEN, ".png", "mono16; png compressed mono16"))
    np.testing.assert_array_equal(grey[..., 2], np.rint(SIXTEEN / 257))


@pytest.mark.parametrize("damage", [b"", b"not an image", None])
def test_what_is_no_image_is_refused_by_its_format(damage):
    source = compressed(RGB, ".png", "png")
    data = bytes(source.data)[:20] if damage is None else damage
    source = CompressedImage(format="png")
    source.data.frombytes(data)
    with pytest.raises(InputError, match="'png' cannot be decoded"):
        rgb_from_message(source)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_bayer_mosaic_of_one_colour_gives_that_colour(pattern):
    colour = {"r": 200, "g": 120, "b": 40}
    mosaic = np.tile(np.array([colour[c] for c in pattern], np.uint8).reshape(2, 2), (8, 8))
    rgb = rgb_from_message(message(mosaic, f"bayer_{pattern}8"))
    assert (rgb[4:-4, 4:-4] == [200, 120, 40]).all()


def test_rgb8_shares_the_memory_of_its_message():
    source = message(RGB, "rgb8")
    assert np.shares_memory(rgb_from_message(source), np.frombuffer(source.data, np.uint8))


def test_data_that_does_not_fill_the_size_is_refused():
    source = message(RGB, "rgb8")
    source.height = 7
    with pytest.raises(InputError, match="cannot have 144 bytes"):
        rgb_from_message(source)


def two_planes(rgb, order, padding):
    """Return the bytes of nv12 or nv21 of an image whose colour is the same in each square of 2x2."""
    samples = yuv422(rgb, "yuyv")
    colours = samples[::2, :, 1]
    if order == "nv21":
        colours = colours.reshape(len(colours), -1, 2)[..., ::-1].reshape(len(colours), -1)
    return np.pad(np.vstack([samples[..., 0], colours]), ((0, 0), (0, padding)), constant_values=255)


@pytest.mark.parametrize("padding", [0, 24])
@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_a_plane_of_brightness_and_one_of_colours(encoding, padding):
    squares = np.repeat(PAIRS[::2], 2, axis=0)
    source = Image(height=6, width=8, encoding=encoding, step=8 + padding)
    source.data.frombytes(two_planes(squares, encoding, padding).tobytes())
    rgb = rgb_from_message(source)
    assert rgb.shape == squares.shape and np.abs(rgb.astype(int) - squares).max() <= 2
    source.height = 7
    with pytest.raises(InputError, match=f"{encoding} must have an even width and height, not 8x7"):
        rgb_from_message(source)
    source.height = 8
    with pytest.raises(InputError, match="cannot have"):
        rgb_from_message(source)


@pytest.mark.parametrize("padded", [True, False], ids=["whole pairs", "half a pair"])
@pytest.mark.parametrize("encoding", ["yuv422_yuy2", "yuv422"])
def test_an_odd_width_keeps_its_last_column(encoding, padded):
    rgb = np.repeat(PAIRS[:, 4:6], 4, axis=1)  # one colour a row, so that the last pair may lend its own
    samples = yuv422(rgb, "yuyv" if encoding == "yuv422_yuy2" else "uyvy")
    rows = samples[:, : 8 if padded else 7].reshape(6, -1)
    source = Image(height=6, width=7, encoding=encoding, step=rows.shape[1])
    source.data.frombytes(np.ascontiguousarray(rows).tobytes())
    found = rgb_from_message(source)
    assert found.shape == (6, 7, 3) and np.abs(found.astype(int) - rgb[:, :7]).max() <= 2


def test_a_step_of_zero_stands_for_rows_without_padding():
    source = message(RGB, "rgb8")
    source.step = 0
    np.testing.assert_array_equal(rgb_from_message(source), RGB)
    source.width = 9
    with pytest.raises(InputError, match="cannot have 144 bytes"):
        rgb_from_message(source)


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1", "nv24", "", "rgb9"])
def test_an_encoding_that_is_no_colour_image_is_refused_by_its_name(encoding):
    with pytest.raises(InputError) as caught:
        rgb_from_message(Image(height=2, width=2, encoding=encoding, step=4))
    sentence = str(caught.value)
    assert sentence.startswith(f"Images of encoding '{encoding}' cannot be decoded; let the camera publish one of rgb8")
    assert "cv_bridge" not in sentence


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
