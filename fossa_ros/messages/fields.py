"""Fields of messages from the package's types, and back.

Messages are those of rclpy or those read from a bag without ROS: anything with the fields of the definition. Functions
named ``*_fields`` return the fields by name: nested messages as dictionaries, arrays of numbers as NumPy arrays, bytes
as (N,) uint8 views of the pixels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.sample_range import SampleRange
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.lens import LensState
from fossa_ros.messages.camera_info import CameraCalibration
from fossa_ros.messages.images import decoded_alike
from fossa_ros.sweep import CapturedSweep, Frame, GyroSamples

FLOAT32 = 7  # sensor_msgs/PointField


def nanoseconds(stamp: Any) -> int:
    """Return a stamp in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def stamp_fields(stamp_ns: int) -> dict[str, int]:
    """Return nanoseconds as a stamp."""
    return {"sec": stamp_ns // 1_000_000_000, "nanosec": stamp_ns % 1_000_000_000}


def header_fields(stamp_ns: int, frame_id: str) -> dict[str, Any]:
    """Return a header."""
    return {"stamp": stamp_fields(stamp_ns), "frame_id": frame_id}


def image_fields(pixels: np.ndarray, encoding: str) -> dict[str, Any]:
    """Return ``pixels`` (H, W) or (H, W, C), C-contiguous, as an image."""
    return {
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "encoding": encoding,
        "is_bigendian": 0,
        "step": pixels.strides[0],
        "data": pixels.reshape(-1).view(np.uint8),
    }


def depth_fields(depth: np.ndarray, encoding: str) -> dict[str, Any]:
    """Return (H, W) float32 metres as 32FC1 (NaN unknown) or 16UC1 (millimetres, 0 unknown), REP 118."""
    return image_fields(depth_pixels(depth, encoding), encoding)


def depth_pixels(depth: np.ndarray, encoding: str) -> np.ndarray:
    """Return (H, W) float32 metres as the pixels of ``depth_fields``."""
    if encoding == "16UC1":
        millimetres = np.rint(depth * 1e3)
        known = (millimetres > 0) & (millimetres <= np.iinfo(np.uint16).max)  # false for NaN
        depth = np.where(known, millimetres, 0).astype(np.uint16)
    return np.ascontiguousarray(depth)


def depth_from_message(message: Any) -> np.ndarray:
    """Return the (H, W) float32 metres of a depth image, NaN where unknown: the inverse of ``depth_fields``."""
    dtype = np.dtype(np.uint16 if message.encoding == "16UC1" else np.float32)
    dtype = dtype.newbyteorder(">" if message.is_bigendian else "<")
    rows = np.frombuffer(message.data, np.uint8)[: message.step * message.height].reshape(message.height, message.step)
    pixels = np.ascontiguousarray(rows[:, : message.width * dtype.itemsize]).view(dtype)
    if dtype.itemsize == 4:
        return pixels.astype(np.float32)
    return np.where(pixels == 0, np.float32(np.nan), pixels * np.float32(1e-3)).astype(np.float32)


def cloud_fields(points: np.ndarray) -> dict[str, Any]:
    """Return (H, W) structured points, ``geometry.POINT`` for one, as an XYZRGB cloud.

    One row without unknown points is dense; otherwise the cloud is organised, and they are NaN.
    """
    height, width = points.shape
    names = points.dtype.names or ()
    return {
        "height": height,
        "width": width,
        "fields": [
            {"name": name, "offset": index * np.dtype(np.float32).itemsize, "datatype": FLOAT32, "count": 1}
            for index, name in enumerate(names)
        ],
        "is_bigendian": False,
        "point_step": points.dtype.itemsize,
        "row_step": points.dtype.itemsize * width,
        "is_dense": height == 1 and bool(np.isfinite(points["z"]).all()),
        "data": points.reshape(-1).view(np.uint8),
    }


def lens_state(message: Any) -> LensState:
    """Return the state of a lens from its message (``fossa_ros/LensState``)."""
    return LensState(
        stamp_ns=nanoseconds(message.header.stamp),
        focus_distance=message.focus_distance,
        command=float("nan"),
        temperature=None if math.isnan(message.temperature) else message.temperature,
        faults=tuple(message.faults),
    )


def angular_velocity(message: Any) -> tuple[float, float, float] | None:
    """Return the rad/s of a ``sensor_msgs/Imu`` about x, y, z; None where the sensor has no gyroscope."""
    if message.angular_velocity_covariance[0] == -1:
        return None
    rate = message.angular_velocity
    return rate.x, rate.y, rate.z


def captured_sweep(message: Any, rectified: bool = False, sample_range: SampleRange | None = None) -> CapturedSweep:
    """Return a sweep from its message (``fossa_ros/FocusStack``).

    A message that cannot be used becomes a sweep without a stack, with the reason.

    Args:
        message: the sweep.
        rectified: whether its images are rectified although the camera_info has distortion; sweep_node sends a
            camera_info without, then.
        sample_range: of planes with 16 bits, which other programs may send; without it, that of this stack.
    """
    calibration = CameraCalibration.of(message.camera_info, rectified)
    stamps = tuple(nanoseconds(plane.header.stamp) for plane in message.planes)
    stack, reason, gyro, breathing = None, "", None, None
    try:
        distances, count = message.focus_distances, len(message.planes)
        if len(distances) != count or len(message.breathing) not in (0, 3 * count):
            raise InputError(
                f"A focus_stack of {count} planes has {len(distances)} focus distances and {len(message.breathing)} "
                "numbers of breathing; send one distance and none or three numbers a plane."
            )
        if len(message.gyro_rates) != 3 * len(message.gyro_stamps):
            raise InputError("A focus_stack must have three gyro_rates for each of its gyro_stamps; correct them.")
        planes = tuple(
            FocusPlane(image, float(focus), stamp)
            for image, focus, stamp in zip(
                decoded_alike(message.planes, sample_range or SampleRange()), distances, stamps, strict=True
            )
        )
        if not planes:
            raise InputError("A focus_stack needs planes; send at least two.")
        camera = calibration.model(planes[0].image.shape[:2])
        stack = FocusStack(
            planes=planes,
            K=camera.K,
            rectification=camera.rectification,
            cropped=camera.cropped,
            f_number=message.f_number or None,
            focal_length=message.focal_length or None,
            reference=message.reference,
        )
        if len(message.breathing):
            breathing = np.reshape(np.array(message.breathing, np.float64), (count, 3))
        if len(message.gyro_stamps):
            rates = np.reshape(np.array(message.gyro_rates, np.float64), (-1, 3))
            gyro = GyroSamples(np.array(message.gyro_stamps, np.int64), rates)
    except InputError as error:
        reason, stack = str(error), None
    return CapturedSweep(
        number=message.sweep,
        stack=stack,
        reason=reason,
        focus_distances=tuple(float(distance) for distance in message.focus_distances),
        stamps_ns=stamps,
        frames=tuple(
            Frame(stamp, stamp, image.encoding, calibration, image, message.camera_info)
            for stamp, image in zip(stamps, message.planes, strict=True)
        ),
        drops={reason: int(count) for reason, count in zip(message.drop_reasons, message.drop_counts, strict=False)},
        started_ns=nanoseconds(message.started),
        duration_ns=round(message.sweep_ms * 1e6) if math.isfinite(message.sweep_ms) else 0,
        uncertainties=tuple(float(uncertainty) for uncertainty in message.uncertainties),
        gyro=gyro,
        breathing=breathing,
    )
