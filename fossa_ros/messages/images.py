"""Image messages to RGB arrays, without a copy where the encoding allows it.

A message is anything with the fields of ``sensor_msgs/Image`` or ``sensor_msgs/CompressedImage``: rclpy's own, or one
read from a bag without ROS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from fossa_ros.core.errors import InputError


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
_LAYOUTS = {
    "rgb8": _Layout(3, None),
    "bgr8": _Layout(3, cv2.COLOR_BGR2RGB),
    "rgba8": _Layout(4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Layout(4, cv2.COLOR_BGRA2RGB),
    "mono8": _Layout(1, cv2.COLOR_GRAY2RGB),
    "mono16": _Layout(1, cv2.COLOR_GRAY2RGB, np.uint16),
    **{f"bayer_{pattern}8": _Layout(1, code) for pattern, code in _BAYER.items()},
    **{f"bayer_{pattern}16": _Layout(1, code, np.uint16) for pattern, code in _BAYER.items()},
    # The older and the newer names of sensor_msgs: BT.601, 16 to 235.
    "yuv422": _Layout(2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": _Layout(2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": _Layout(2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": _Layout(2, cv2.COLOR_YUV2RGB_YUY2),
}
_TO_8_BITS = 255 / 65535  # the whole range of 16 bits, as cv_bridge does


def rgb_from_message(message: Any) -> np.ndarray:
    """Return the (H, W, 3) uint8 RGB pixels of an image message; rgb8 is a view of the message's own data.

    16-bit encodings are scaled by their whole range. cv_bridge converts uncommon encodings where it is installed. A
    compressed image may be JPEG or PNG.

    Raises:
        InputError: the encoding is unknown, or the data does not fill the stated size.
    """
    if hasattr(message, "format"):
        return _decompressed(message)
    layout = _LAYOUTS.get(message.encoding)
    if layout is None:
        return _rgb_by_cv_bridge(message)
    height, width = message.height, message.width
    row = width * layout.channels * np.dtype(layout.dtype).itemsize
    data = np.frombuffer(message.data, np.uint8)
    if message.step < row or data.size < message.step * height or 0 in (row, height):
        raise InputError(
            f"An image of {width}x{height} {message.encoding} with step {message.step} cannot have "
            f"{data.size} bytes; check the camera driver."
        )
    if layout.channels == 2 and width % 2:
        raise InputError(f"An image of {message.encoding} must have an even width, not {width}; check the driver.")
    pixels = data[: message.step * height].reshape(height, message.step)[:, :row]
    if layout.dtype is np.uint16:
        pixels = np.ascontiguousarray(pixels).view(">u2" if message.is_bigendian else "<u2").astype("=u2", copy=False)
    if layout.channels > 1:
        pixels = pixels.reshape(height, width, layout.channels)
    return _rgb(pixels, layout.to_rgb)


def _rgb(pixels: np.ndarray, to_rgb: int | None) -> np.ndarray:
    if to_rgb is not None:
        pixels = cv2.cvtColor(pixels, to_rgb)
    return cv2.convertScaleAbs(pixels, alpha=_TO_8_BITS) if pixels.dtype == np.uint16 else pixels


def _decompressed(message: Any) -> np.ndarray:
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
        return _rgb(pixels, cv2.COLOR_BGRA2RGB if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    encoding = message.format.split(";")[0].strip()  # image_transport compresses a mosaic without demosaicing
    layout = _LAYOUTS.get(encoding) if encoding.startswith("bayer_") else None
    return _rgb(pixels, layout.to_rgb if layout else cv2.COLOR_GRAY2RGB)


def _rgb_by_cv_bridge(message: Any) -> np.ndarray:
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except ImportError:
        raise InputError(
            f"Images of encoding '{message.encoding}' need cv_bridge; install it, or let the camera publish one of "
            f"{', '.join(_LAYOUTS)}."
        ) from None
    try:
        return np.asarray(CvBridge().imgmsg_to_cv2(message, "rgb8"))
    except CvBridgeError as error:
        raise InputError(f"Cannot decode '{message.encoding}': {error}; let the camera publish rgb8.") from error
