"""Messages of the simulated camera while it has a fault."""

from __future__ import annotations

import copy

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from fossa_ros.ros.conversions import image_message, time_message
from fossa_ros.simulation.rig import RigFrame
from fossa_ros.simulation.rig_faults import RigFault

PAST_NS = 3600 * 10**9
CROP = 3 / 4  # of width and height


def faulty_messages(
    frame: RigFrame, number: int, info: CameraInfo, frame_id: str, fault: RigFault
) -> tuple[Image | None, CameraInfo | None]:
    """Return the image and calibration of the ``number``-th frame with ``fault``; None where none is published."""
    if fault is RigFault.CAMERA_STOPPED or (fault is RigFault.HALF_RATE and number % 2):
        return None, None
    past = PAST_NS if fault is RigFault.PAST_STAMPS else 0
    header = Header(stamp=time_message(frame.stamp_ns - past), frame_id=frame_id)
    info = copy.copy(info)
    info.header = header
    pixels, encoding = frame.image, "rgb8"
    match fault:
        case RigFault.OTHER_SIZE:
            pixels, info = _crop(pixels, info)
        case RigFault.OTHER_ENCODING:
            pixels, encoding = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), "bgr8"
        case RigFault.TEN_BITS | RigFault.TWELVE_BITS:
            bits = 10 if fault is RigFault.TEN_BITS else 12
            grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
            pixels, encoding = grey.astype(np.uint16) << (bits - 8), "mono16"
        case RigFault.UNKNOWN_ENCODING:
            encoding = "no_such_encoding"
        case RigFault.NO_CAMERA_INFO:
            info = None
        case RigFault.ZERO_CAMERA_INFO:
            info.k, info.p = [0.0] * 9, [0.0] * 12
        case RigFault.OTHER_CAMERA_INFO:
            info.width, info.height = 2 * info.width, 2 * info.height
            info.k = (np.reshape(info.k, (3, 3)) * [[2], [2], [1]]).ravel().tolist()
            info.p = (np.reshape(info.p, (3, 4)) * [[2], [2], [1]]).ravel().tolist()
    return image_message(pixels, encoding, header), info


def _crop(pixels: np.ndarray, info: CameraInfo) -> tuple[np.ndarray, CameraInfo]:
    """Return the middle of the image, with its calibration."""
    height, width = (round(side * CROP) for side in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    K = np.reshape(info.k, (3, 3)).copy()
    K[:2, 2] -= left, top
    P = np.hstack([K, np.zeros((3, 1))])
    info.width, info.height, info.k, info.p = width, height, K.ravel().tolist(), P.ravel().tolist()
    return np.ascontiguousarray(pixels[top : top + height, left : left + width]), info
