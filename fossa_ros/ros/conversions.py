"""Messages to the package's dataclasses and back."""

from __future__ import annotations

import array
import copy

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from fossa_ros.core.optics import dioptres
from fossa_ros.core.stack import FocusPlane
from fossa_ros.lens import LensState
from fossa_ros.messages.fields import (
    cloud_layout,
    depth_fields,
    image_fields,
    stamp_fields,
)
from fossa_ros.msg import FocusStack as FocusStackMessage
from fossa_ros.msg import LensState as LensStateMessage
from fossa_ros.msg import SweepReport
from fossa_ros.pipeline.report import report_fields, report_stamp_ns
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.sweep import CapturedSweep, Frame


def time_message(stamp_ns: int) -> Time:
    """Return nanoseconds as a stamp."""
    return Time(**stamp_fields(stamp_ns))


def image_message(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    """Return ``pixels`` (H, W) or (H, W, C), C-contiguous, as an image message."""
    return _with_data(Image, image_fields(pixels, encoding), header)


def depth_image(depth: np.ndarray, encoding: str, header: Header) -> Image:
    """Return (H, W) float32 metres as 32FC1 (NaN unknown) or 16UC1 (millimetres, 0 unknown), REP 118."""
    return _with_data(Image, depth_fields(depth, encoding), header)


def depth_camera_info(info: CameraInfo, header: Header) -> CameraInfo:
    """Return the camera's calibration under the depth image's header."""
    info = copy.copy(info)
    info.header = header
    return info


def empty_cloud(height: int, width: int, header: Header) -> PointCloud2:
    """Return an organised XYZRGB cloud without its data, which are (H, W) of ``geometry.POINT``; NaN where unknown."""
    fields = cloud_layout(height, width)
    fields["fields"] = [PointField(**field) for field in fields["fields"]]
    return PointCloud2(header=header, **fields)


def calibration_of(sweep: CapturedSweep) -> CameraInfo:
    """Return the camera's calibration that came with a sweep's frames; an empty one where there is no frame."""
    return CameraInfo() if sweep.camera_info is None else sweep.camera_info


def focus_stack_message(sweep: CapturedSweep) -> FocusStackMessage:
    """Return a complete sweep as one message, its planes in the camera's encoding."""
    stack, info = sweep.stack, calibration_of(sweep)
    frame_id = info.header.frame_id
    header = Header(stamp=time_message(stack.stamp_ns), frame_id=frame_id)
    message = FocusStackMessage(
        header=header,
        sweep=sweep.number,
        reference=stack.reference,
        focus_distances=array.array("d", stack.focus_distances),
        uncertainties=array.array("d", sweep.uncertainties),
        camera_info=depth_camera_info(info, header),
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


def _plane_message(plane: FocusPlane, frame: Frame, header: Header) -> Image:
    image = frame.image
    if not isinstance(image, Image):  # it came compressed
        return image_message(np.ascontiguousarray(plane.image), "rgb8", header)
    image = copy.copy(image)  # which shares the pixels
    image.header = header
    return image


def lens_state_message(
    state: LensState | None, backend: str, frame_id: str, measured: bool, now_ns: int
) -> LensStateMessage:
    """Return what the lens says of itself; None stands for a lens that does not answer."""
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
    """Return what became of a sweep."""
    frame_id = calibration_of(result.sweep).header.frame_id
    fields = report_fields(result)
    return SweepReport(
        header=Header(stamp=time_message(report_stamp_ns(result)), frame_id=frame_id),
        **fields
        | {
            "focus_distances": array.array("d", fields["focus_distances"]),
            "stamps": [time_message(stamp) for stamp in fields["stamps"]],
            "drop_counts": array.array("I", fields["drop_counts"]),
        },
    )


def _with_data(kind: type, fields: dict, header: Header):
    data = fields.pop("data")
    message = kind(header=header, **fields)
    # frombytes fills the message's own array at memory speed; assigning bytes walks them one by one in Python.
    message.data.frombytes(data)
    return message
