"""Image messages to RGB arrays, without a copy where the encoding allows it.

A message is anything with the fields of ``sensor_msgs/Image`` or ``sensor_msgs/CompressedImage``: rclpy's own, or one
read from a bag without ROS. What cv_bridge converts to rgb8 is decoded here, and more: cv_bridge knows neither nv12 nor
nv21, and takes 16 bits for used to the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.sample_range import SampleRange, payload_of, to_8_bits


@dataclass(frozen=True)
class _Layout:
    """Layout of an encoding's pixels in memory, and OpenCV's conversion to RGB."""

    channels: int
    to_rgb: int | None  # None for RGB
    dtype: type = np.uint8


# OpenCV names a Bayer pattern by its second row, ROS by its first: rggb is what OpenCV calls BG.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}
_COLOURS = {
    "rgb": (3, None),
    "bgr": (3, cv2.COLOR_BGR2RGB),
    "rgba": (4, cv2.COLOR_RGBA2RGB),
    "bgra": (4, cv2.COLOR_BGRA2RGB),
    "mono": (1, cv2.COLOR_GRAY2RGB),
    **{f"bayer_{pattern}": (1, code) for pattern, code in _BAYER.items()},
}
_LAYOUTS = {
    **{f"{name}8": _Layout(*layout) for name, layout in _COLOURS.items()},
    **{f"{name}16": _Layout(*layout, np.uint16) for name, layout in _COLOURS.items()},
    # The older and the newer names of sensor_msgs: BT.601, 16 to 235.
    "yuv422": _Layout(2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": _Layout(2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": _Layout(2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": _Layout(2, cv2.COLOR_YUV2RGB_YUY2),
}
# A plane of brightness and, below it, one of half the height with pairs of colours.
_TWO_PLANES = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21}
_ASSUMED = {"8UC1": "mono8", "8UC3": "bgr8", "8UC4": "bgra8"}  # names of OpenCV, which say nothing of colours
ENCODINGS = (*_LAYOUTS, *_TWO_PLANES)


def assumed_encoding(encoding: str) -> str:
    """Return what an encoding that does not name its colours is taken for; empty for any other."""
    return _ASSUMED.get(encoding, "")


def has_sixteen_bits(encoding: str) -> bool:
    """Return whether an encoding has 16 bits a channel, of which the camera may use fewer."""
    layout = _LAYOUTS.get(encoding)
    return layout is not None and layout.dtype is np.uint16


def rgb_from_message(message: Any, sample_range: SampleRange | None = None) -> np.ndarray:
    """Return the (H, W, 3) uint8 RGB pixels of an image message; rgb8 is a view of the message's own data.

    A compressed image may be JPEG or PNG.

    Args:
        message: the image.
        sample_range: of the camera's 16-bit pixels, which takes account of this image; without it, they are scaled by
            the least range that holds those of this image.

    Raises:
        InputError: the encoding is unknown, the data does not fill the stated size, or a value is out of range.
    """
    if hasattr(message, "format"):
        return _decompressed(message, sample_range)
    encoding = _ASSUMED.get(message.encoding, message.encoding)
    if encoding in _TWO_PLANES:
        return _rgb_of_two_planes(message, _TWO_PLANES[encoding])
    layout = _LAYOUTS.get(encoding)
    if layout is None:
        raise InputError(
            f"Images of encoding '{message.encoding}' cannot be decoded; let the camera publish one of "
            f"{', '.join(ENCODINGS)}."
        )
    width = message.width
    row = width * layout.channels * np.dtype(layout.dtype).itemsize
    rows = _rows(message, message.height, row)
    if layout.channels == 2 and width % 2:
        return _rgb(_even(rows, width), layout.to_rgb)[:, :width]
    pixels = rows[:, :row]
    if layout.dtype is np.uint16:
        pixels = np.ascontiguousarray(pixels).view(">u2" if message.is_bigendian else "<u2").astype("=u2", copy=False)
    if layout.channels > 1:
        pixels = pixels.reshape(message.height, width, layout.channels)
    return _rgb(pixels, layout.to_rgb, message.encoding, sample_range)


def decoded_alike(messages: Sequence[Any], sample_range: SampleRange) -> list[np.ndarray]:
    """Return the pixels of the images of one stack, all scaled by one range; raises InputError."""
    while True:
        before = sample_range.bits
        decoded = [rgb_from_message(message, sample_range) for message in messages]
        if sample_range.bits == before:
            return decoded


def _rows(message: Any, count: int, row: int) -> np.ndarray:
    """Return (count, step) uint8, of which ``row`` bytes each are pixels; a step of 0 stands for rows without padding.

    Raises:
        InputError: the data does not fill the stated size.
    """
    step = message.step or row
    data = np.frombuffer(message.data, np.uint8)
    if step < row or data.size < step * count or 0 in (row, count):
        raise InputError(
            f"An image of {message.width}x{message.height} {message.encoding} with step {message.step} cannot have "
            f"{data.size} bytes; check the camera driver."
        )
    return data[: step * count].reshape(count, step)


def _even(rows: np.ndarray, width: int) -> np.ndarray:
    """Return 4:2:2 samples (H, width + 1, 2) of rows of odd width, whose last pixel lacks half of its colour.

    Drivers that pad a row to whole pairs have that half in the padding; where there is none, the colour is that of the
    pair before.
    """
    pair = 2 * (width + 1)
    if rows.shape[1] >= pair:
        return rows[:, :pair].reshape(len(rows), width + 1, 2)
    samples = rows[:, : 2 * width].reshape(len(rows), width, 2)
    last = samples[:, width - 2 : width - 1] if width > 1 else np.full_like(samples, 128)
    return np.concatenate([samples, last], axis=1)


def _rgb_of_two_planes(message: Any, to_rgb: int) -> np.ndarray:
    height, width = message.height, message.width
    if height % 2 or width % 2:
        raise InputError(
            f"An image of {message.encoding} must have an even width and height, not {width}x{height}; check the "
            "camera driver."
        )
    rows = _rows(message, height * 3 // 2, width)
    return cv2.cvtColor(np.ascontiguousarray(rows[:, :width]), to_rgb)


def _rgb(
    pixels: np.ndarray, to_rgb: int | None, encoding: str = "", sample_range: SampleRange | None = None
) -> np.ndarray:
    sixteen = pixels.dtype == np.uint16
    bits = 0
    if sixteen:
        bits = payload_of(pixels) if sample_range is None else sample_range.add(pixels, encoding)
    if to_rgb is not None:
        pixels = cv2.cvtColor(pixels, to_rgb)
    return to_8_bits(pixels, bits) if sixteen else pixels


def _decompressed(message: Any, sample_range: SampleRange | None) -> np.ndarray:
    """Decode an image of image_transport; its ``format`` is "ENCODING; jpeg compressed bgr8" or just "jpeg"."""
    data = np.frombuffer(message.data, np.uint8)
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    except cv2.error:  # larger than OpenCV allows
        pixels = None
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"A compressed image of format '{message.format}' cannot be decoded; let the camera send jpeg or png."
        )
    if pixels.ndim == 3:
        to_rgb = cv2.COLOR_BGRA2RGB if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
    else:
        encoding = message.format.split(";")[0].strip()  # image_transport compresses a mosaic without demosaicing
        layout = _LAYOUTS.get(encoding) if encoding.startswith("bayer_") else None
        to_rgb = layout.to_rgb if layout and layout.to_rgb is not None else cv2.COLOR_GRAY2RGB
    return _rgb(pixels, to_rgb, message.format, sample_range)
