"""Messages of rclpy from the package's types."""

from __future__ import annotations

import array
import copy
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from fossa_ros.core.optics import dioptres
from fossa_ros.core.stack import FocusPlane
from fossa_ros.lens import LensState
from fossa_ros.messages.camera_info import CameraCalibration
from fossa_ros.messages.fields import depth_fields, image_fields, stamp_fields
from fossa_ros.messages.images import has_sixteen_bits
from fossa_ros.msg import FocusStack as FocusStackMessage
from fossa_ros.msg import LensState as LensStateMessage
from fossa_ros.msg import SweepReport
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.pipeline.result_messages import report_fields
from fossa_ros.sweep import CapturedSweep, Frame


@cache
def message_class(msgtype: str) -> Any:
    """Return the class of a message type, ``PACKAGE/msg/NAME`` or ``PACKAGE/NAME``."""
    package, *_, name = msgtype.split("/")
    return getattr(import_module(f"{package}.msg"), name)


def build_message(kind: Any, fields: Mapping[str, Any]) -> Any:
    """Return a message of class ``kind`` with ``fields`` as ``fossa_ros.messages.fields`` makes them.

    Nested messages are given as mappings, or as messages.
    """
    message = kind()
    types = kind.get_fields_and_field_types()
    for name, value in fields.items():
        if isinstance(value, Mapping):
            value = build_message(message_class(types[name]), value)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            nested = message_class(types[name].removeprefix("sequence<").removesuffix(">"))
            value = [build_message(nested, entry) for entry in value]
        elif isinstance(value, np.ndarray) and isinstance(held := getattr(message, name), array.array):
            held.frombytes(value.view(np.uint8))  # assigning would copy element by element in Python
            continue
        setattr(message, name, value)
    return message


def time_message(stamp_ns: int) -> Time:
    """Return nanoseconds as a stamp."""
    return Time(**stamp_fields(stamp_ns))


def image_message(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    """Return ``pixels`` (H, W) or (H, W, C), C-contiguous, as an image message."""
    return build_message(Image, {"header": header, **image_fields(pixels, encoding)})


def depth_image(depth: np.ndarray, encoding: str, header: Header) -> Image:
    """Return (H, W) float32 metres as 32FC1 (NaN unknown) or 16UC1 (millimetres, 0 unknown), REP 118."""
    return build_message(Image, {"header": header, **depth_fields(depth, encoding)})


def focus_stack_message(sweep: CapturedSweep) -> FocusStackMessage:
    """Return a complete sweep as one message, its planes in the camera's encoding."""
    stack, info = sweep.stack, copy.copy(sweep.camera_info or CameraInfo())
    frame_id = info.header.frame_id
    info.header = header = Header(stamp=time_message(stack.stamp_ns), frame_id=frame_id)
    _restate(info, sweep)
    message = FocusStackMessage(
        header=header,
        sweep=sweep.number,
        reference=stack.reference,
        focus_distances=array.array("d", stack.focus_distances),
        uncertainties=array.array("d", sweep.uncertainties),
        camera_info=info,
        f_number=stack.f_number or 0.0,
        focal_length=stack.focal_length or 0.0,
        started=time_message(sweep.started_ns),
        sweep_ms=sweep.duration_ns / 1e6,
        drop_reasons=list(sweep.drops),
        drop_counts=array.array("I", sweep.drops.values()),
    )
    message.planes = [
        _plane_message(plane, frame, Header(stamp=time_message(plane.stamp_ns), frame_id=frame_id))
        for plane, frame in zip(stack.planes, sweep.frames, strict=True)
    ]
    if sweep.breathing is not None:
        message.breathing = array.array("d", sweep.breathing.ravel())
    if sweep.gyro is not None:
        message.gyro_stamps = array.array("q", sweep.gyro.stamps_ns)
        message.gyro_rates = array.array("d", sweep.gyro.rates.ravel())
    return message


def _restate(info: CameraInfo, sweep: CapturedSweep) -> None:
    """Describe rectified images as those of a lens without distortion, so that the message needs no other mark."""
    camera = sweep.frames[0].intrinsics if sweep.frames else None
    if isinstance(camera, CameraCalibration) and camera.rectified:
        _, K = camera.K
        P = np.reshape(np.array(camera.p), (3, 4)).copy()
        P[:, :3] = K
        info.distortion_model, info.d = "plumb_bob", [0.0] * 5
        info.k, info.r, info.p = K.ravel().tolist(), np.eye(3).ravel().tolist(), P.ravel().tolist()


def _plane_message(plane: FocusPlane, frame: Frame, header: Header) -> Image:
    image = frame.image
    if not isinstance(image, Image):  # it came compressed
        return image_message(np.ascontiguousarray(plane.image), "rgb8", header)
    if has_sixteen_bits(image.encoding):  # scaled, as the range was found in this node
        grey = image.encoding.startswith("mono")
        pixels = plane.image[..., 0] if grey else plane.image
        return image_message(np.ascontiguousarray(pixels), "mono8" if grey else "rgb8", header)
    image = copy.copy(image)  # which shares the pixels
    image.header = header
    return image


def lens_state_message(
    state: LensState | None, backend: str, frame_id: str, measured: bool, now_ns: int
) -> LensStateMessage:
    """Return the state of a lens; None stands for a lens that does not answer."""
    message = LensStateMessage(backend=backend, measured=measured, reachable=state is not None)
    message.header.frame_id = frame_id
    message.header.stamp = time_message(now_ns if state is None else state.stamp_ns)
    message.focus_distance = message.power = message.temperature = float("nan")
    if state is not None:
        message.focus_distance = float(state.focus_distance)
        message.power = float(dioptres(state.focus_distance))
        message.temperature = float("nan") if state.temperature is None else float(state.temperature)
        message.faults = list(state.faults)
    return message


def sweep_report(result: SweepResult) -> SweepReport:
    """Return the report of a sweep."""
    return build_message(SweepReport, report_fields(result))
