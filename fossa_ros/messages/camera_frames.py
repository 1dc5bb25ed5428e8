"""Frames made of the messages of a camera: image, camera_info and, where it is reported, the exposure time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fossa_ros.core.camera_model import CameraModel
from fossa_ros.core.sample_range import LOG, Log, SampleRange
from fossa_ros.messages.camera_info import CameraCalibration
from fossa_ros.messages.exposure_times import ExposureTimes
from fossa_ros.messages.fields import nanoseconds
from fossa_ros.messages.images import assumed_encoding, rgb_from_message
from fossa_ros.sweep import Frame


class CameraFrames:
    """Make frames of pairs of messages and pass them on in their order, pixels untouched. Not thread-safe.

    Args:
        on_frame: receives the frames.
        exposure_times: whether frames wait for ``add_metadata`` to report their exposure time, as ``ExposureTimes``
            describes; if not, all have the configured one.
        counter_key: of the frame's number in the same messages; empty for none.
        rectified: whether the images are rectified, so that P of their camera_info counts.
        frame_id: of what is made of them; empty for the one of their camera_info.
    """

    def __init__(
        self,
        on_frame: Callable[[Frame], None],
        *,
        exposure_times: bool = False,
        counter_key: str = "",
        rectified: bool = False,
        frame_id: str = "",
    ):
        self._on_frame = on_frame
        self._rectified = rectified
        self._frame_id = frame_id
        self._exposures = ExposureTimes(on_frame, counter_key) if exposure_times else None

    def add(self, image: Any, info: Any, arrival_ns: int) -> None:
        """Add an image, raw or compressed, with its camera_info, that arrived at ``arrival_ns``.

        The frame of the camera_info becomes the one that was given.
        """
        if self._frame_id:
            info.header.frame_id = self._frame_id
        frame = camera_frame(image, info, arrival_ns, self._rectified)
        if self._exposures is None:
            self._on_frame(frame)
        else:
            self._exposures.add_frame(frame, image.header.frame_id)

    def add_metadata(self, message: Any) -> None:
        """Add a ``diagnostic_msgs/DiagnosticArray`` that may report the exposure time of a frame."""
        if self._exposures is not None:
            self._exposures.add_metadata(message)

    def fault(self) -> str:
        """Return why exposure times are missing; empty where they are not, or are not asked for."""
        return "" if self._exposures is None else self._exposures.fault()


def camera_frame(image: Any, info: Any, arrival_ns: int, rectified: bool = False) -> Frame:
    """Return a frame of an image, raw or compressed, and its camera_info, pixels untouched."""
    compressed = hasattr(image, "format")  # sensor_msgs/CompressedImage
    size, coding = (
        ((info.width, info.height), image.format) if compressed else ((image.width, image.height), image.encoding)
    )
    return Frame(
        stamp_ns=nanoseconds(image.header.stamp),
        arrival_ns=arrival_ns,
        format=(*size, coding, image.header.frame_id),
        intrinsics=CameraCalibration.of(info, rectified),
        image=image,
        camera_info=info,
    )


class FrameDecoder:
    """Decode the frames of one camera that ``CameraFrames`` made, 16-bit pixels by one range. Thread-safe.

    Args:
        bits: of that range; None to find it, as ``SampleRange`` does.
        log: receives what is assumed of the images.
    """

    def __init__(self, bits: int | None = None, log: Log = LOG):
        self._range = SampleRange(bits, log=log)
        self._log = log
        self._assumed = ""

    def __call__(self, frame: Frame) -> np.ndarray:
        """Return the (H, W, 3) uint8 RGB pixels of a frame; raises InputError."""
        encoding = getattr(frame.image, "encoding", "")
        assumed = assumed_encoding(encoding)
        if assumed and encoding != self._assumed:
            self._assumed = encoding
            self._log.warning(
                f"Images of encoding {encoding} are taken for {assumed}; let the camera publish what they are."
            )
        return rgb_from_message(frame.image, self._range)

    def scale(self) -> int:
        """Return a number that changes when pixels are scaled otherwise than before."""
        return self._range.bits


def frame_camera(frame: Frame, size: tuple[int, int]) -> CameraModel:
    """Return the camera of a frame that ``CameraFrames`` made, for its images of ``size``; raises InputError."""
    assert isinstance(frame.intrinsics, CameraCalibration)
    return frame.intrinsics.model(size)
