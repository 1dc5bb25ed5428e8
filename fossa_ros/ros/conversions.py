"""Messages to the package's dataclasses and back."""

from __future__ import annotations

import array
import copy
import math

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from fossa_ros.geometry import POINT
from fossa_ros.lens import LensState
from fossa_ros.msg import FocusStack as FocusStackMessage
from fossa_ros.msg import LensState as LensStateMessage
from fossa_ros.msg import SweepReport
from fossa_ros.optics import dioptres
from fossa_ros.pipeline import SweepResult
from fossa_ros.ros.images import image_message
from fossa_ros.stack import FocusStack


def nanoseconds(stamp: Time) -> int:
    """Return a stamp in nanoseconds."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def time_message(stamp_ns: int) -> Time:
    """Return nanoseconds as a stamp."""
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def depth_image(depth: np.ndarray, encoding: str, header: Header) -> Image:
    """Return (H, W) float32 metres as 32FC1 (NaN unknown) or 16UC1 (millimetres, 0 unknown), REP 118."""
    if encoding == "16UC1":
        millimetres = np.rint(depth * 1e3)
        known = (millimetres > 0) & (millimetres <= np.iinfo(np.uint16).max)  # false for NaN
        depth = np.where(known, millimetres, 0).astype(np.uint16)
    return image_message(depth, encoding, header)


def depth_camera_info(info: CameraInfo, header: Header) -> CameraInfo:
    """Return the camera's calibration under the depth image's header."""
    info = copy.copy(info)
    info.header = header
    return info


def cloud_message(points: np.ndarray, header: Header) -> PointCloud2:
    """Return (H, W) structured points (``geometry.POINT``) as an organised XYZRGB cloud; NaN where unknown."""
    height, width = points.shape
    message = PointCloud2(header=header, height=height, width=width, is_dense=False, is_bigendian=False)
    message.fields = [
        PointField(name=name, offset=offset, datatype=PointField.FLOAT32, count=1)
        for name, (_, offset) in POINT.fields.items()
    ]
    message.point_step = POINT.itemsize
    message.row_step = POINT.itemsize * width
    message.data.frombytes(points.view(np.uint8))
    return message


def focus_stack_message(stack: FocusStack, sweep: int, info: CameraInfo, frame_id: str) -> FocusStackMessage:
    """Return a focus stack as one message, its planes stamped with their start of exposure."""
    header = Header(stamp=time_message(stack.stamp_ns), frame_id=frame_id)
    return FocusStackMessage(
        header=header,
        sweep=sweep,
        reference=stack.reference,
        focus_distances=array.array("d", stack.focus_distances),
        planes=[
            image_message(
                np.ascontiguousarray(plane.image),
                "rgb8",
                Header(stamp=time_message(plane.stamp_ns), frame_id=frame_id),
            )
            for plane in stack.planes
        ],
        camera_info=depth_camera_info(info, header),
        f_number=stack.f_number or 0.0,
        focal_length=stack.focal_length or 0.0,
    )


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


def lens_state(message: LensStateMessage) -> LensState:
    """Return what a lens said, from its message."""
    return LensState(
        stamp_ns=nanoseconds(message.header.stamp),
        focus_distance=message.focus_distance,
        command=float("nan"),
        temperature=None if math.isnan(message.temperature) else message.temperature,
        faults=tuple(message.faults),
    )


def sweep_report(result: SweepResult, frame_id: str) -> SweepReport:
    """Return what became of a sweep."""
    sweep = result.sweep
    stamp_ns = sweep.started_ns if result.depth is None else result.depth.stamp_ns
    return SweepReport(
        header=Header(stamp=time_message(stamp_ns), frame_id=frame_id),
        sweep=sweep.number,
        accepted=result.depth is not None,
        verdict=str(result.verdict),
        reason=result.reason,
        motion_px=float(result.motion_px),
        focus_distances=array.array("d", sweep.focus_distances),
        stamps=[time_message(stamp) for stamp in sweep.stamps_ns],
        drop_reasons=list(sweep.drops),
        drop_counts=array.array("I", sweep.drops.values()),
        sweep_ms=sweep.duration_ns / 1e6,
        motion_ms=float(result.motion_ms),
        inference_ms=float(result.inference_ms),
    )
