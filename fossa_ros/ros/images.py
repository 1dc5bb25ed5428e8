"""Image messages to RGB arrays, without a copy where the encoding allows it.

A message is anything with the fields of ``sensor_msgs/Image``: rclpy's own, or one read from a bag without ROS.
"""

from __future__ import annotations

import cv2
import numpy as np

from fossa_ros.errors import InputError

# OpenCV names a Bayer pattern by its second row, ROS by its first: rggb is what OpenCV calls BG.
_TO_RGB = {
    "bgr8": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
    "bayer_rggb8": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr8": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg8": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg8": cv2.COLOR_BayerGB2RGB,
}
_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4}


def rgb_from_message(message) -> np.ndarray:
    """Return the (H, W, 3) uint8 RGB pixels of an image message; rgb8 is a view of the message's own data.

    Encodings beyond the common 8-bit ones go through cv_bridge where it is installed.

    Raises:
        InputError: an encoding nobody here can decode, or data that does not fill the stated size.
    """
    if message.encoding != "rgb8" and message.encoding not in _TO_RGB:
        return _rgb_by_cv_bridge(message)
    channels = _CHANNELS.get(message.encoding, 1)
    row = message.width * channels
    data = np.frombuffer(message.data, np.uint8)
    if message.step < row or data.size < message.step * message.height or row == 0:
        raise InputError(
            f"An image of {message.width}x{message.height} {message.encoding} with step {message.step} cannot have "
            f"{data.size} bytes; check the camera driver."
        )
    pixels = data[: message.step * message.height].reshape(message.height, message.step)[:, :row]
    if channels > 1:
        pixels = pixels.reshape(message.height, message.width, channels)
    return pixels if message.encoding == "rgb8" else cv2.cvtColor(pixels, _TO_RGB[message.encoding])


def _rgb_by_cv_bridge(message) -> np.ndarray:
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except ImportError:
        raise InputError(
            f"Images of encoding '{message.encoding}' need cv_bridge; install it, or let the camera publish one of "
            f"rgb8, {', '.join(_TO_RGB)}."
        ) from None
    try:
        return CvBridge().imgmsg_to_cv2(message, "rgb8")
    except CvBridgeError as error:
        raise InputError(f"Cannot decode '{message.encoding}': {error}; let the camera publish rgb8.") from error
