"""A camera that this program opens itself, through OpenCV: images with the time of their exposure or arrival."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.io.video import no_more_images, open_video

WITH_STAMPS = "V4L2"  # OpenCV's name of the only backend whose CAP_PROP_POS_MSEC is the driver's buffer timestamp
OLDEST_S = 5.0  # a buffer timestamp older than this is not on the monotonic clock
DEFAULT_RATE = 25.0  # Hz, of a file that states none
_NUMBERED = re.compile(r"%\d*d")


@dataclass(frozen=True, eq=False)
class CameraImage:
    """An image of a camera.

    Attributes:
        pixels: (H, W) or (H, W, 3) uint8, BGR, or (H, W) uint16.
        encoding: of the pixels, as in ``sensor_msgs/Image``.
        stamp_ns: the driver's buffer timestamp, or when the image arrived.
    """

    pixels: np.ndarray
    encoding: str
    stamp_ns: int


class CameraSource:
    """A camera, file or stream that OpenCV opens, one image at a time. Not thread-safe.

    Args:
        source: number of a camera (``0``), a device, file, URL or GStreamer pipeline. The images of a file come at its
            rate.
        size: (width, height) that images must have; a camera is asked for it.
        pixel_format: four letters to ask a camera for, such as MJPG; empty for its own.
        arrival: whether stamps are arrivals; if not, the driver must give buffer timestamps.
        clock: nanoseconds, on which stamps are.
        open_capture: opens a ``cv2.VideoCapture``.
    """

    def __init__(
        self,
        source: str,
        size: tuple[int, int],
        pixel_format: str = "",
        *,
        arrival: bool = False,
        clock: Callable[[], int] = time.time_ns,
        open_capture: Callable[[str], Any] = open_video,
    ):
        self.source = source
        self._size = size
        self._pixel_format = pixel_format
        self._arrival = arrival
        self._clock = clock
        self._open_capture = open_capture
        self._capture: Any = None
        self._period_s = 0.0  # of a file
        self._due = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the camera is held."""
        return self._capture is not None

    def open(self) -> str:
        """Open the camera and return a sentence about it.

        Raises:
            InputError: it cannot be opened, delivers nothing, or images of another size or pixel format than asked for,
                or no times of exposure.
        """
        self._capture = self._open_capture(self.source)
        try:
            self._ask()
            self._period_s = self._pace()
            image = self.read()
            backend = self._capture.getBackendName()
        except BaseException:
            self.close()
            raise
        stamps = "when they arrive" if self._arrival else "by its driver"
        width, height = self._size
        return f"Camera {self.source!r} ({backend}): {width}x{height} {image.encoding}, images are stamped {stamps}."

    def close(self) -> None:
        """Close the camera."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()

    def read(self) -> CameraImage:
        """Wait for the next image.

        Raises:
            InputError: there is none any more, or it cannot be used.
        """
        if self._period_s:
            time.sleep(max(self._due - time.monotonic(), 0.0))
            self._due = max(self._due, time.monotonic() - self._period_s) + self._period_s
        given, pixels = self._capture.read()
        arrival_ns = self._clock()
        if not given:
            raise no_more_images(self.source)
        height, width = pixels.shape[:2]
        if (width, height) != self._size:
            raise InputError(
                f"Camera {self.source!r} delivers {width}x{height}, but the calibration in camera.info_url is of "
                f"{self._size[0]}x{self._size[1]}; set the camera to that, or calibrate it as it is."
            )
        return CameraImage(pixels, self._encoding(pixels), arrival_ns if self._arrival else self._stamp(arrival_ns))

    def _ask(self) -> None:
        """Ask for pixel format and size; a driver may refuse both."""
        capture, (width, height) = self._capture, self._size
        if self._pixel_format:
            code = cv2.VideoWriter.fourcc(*self._pixel_format)
            capture.set(cv2.CAP_PROP_FOURCC, code)
            given = int(capture.get(cv2.CAP_PROP_FOURCC))
            if given != code:
                letters = given.to_bytes(4, "little", signed=given < 0).decode("ascii", "replace").strip("\0 ")
                raise InputError(
                    f"Camera {self.source!r} delivers {letters or 'another format'}, not {self._pixel_format}; set "
                    "camera.pixel_format to one that it has, or leave it empty."
                )
        if round(capture.get(cv2.CAP_PROP_FRAME_WIDTH)) != width:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        if round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) != height:
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)

    def _pace(self) -> float:
        """Return the seconds between the images of a file; 0 for a camera, which has a pace of its own."""
        if not is_file(self.source):
            return 0.0
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        return 1.0 / (rate if math.isfinite(rate) and rate > 0 else DEFAULT_RATE)

    def _encoding(self, pixels: np.ndarray) -> str:
        kinds = {(2, "uint8"): "mono8", (2, "uint16"): "mono16", (3, "uint8"): "bgr8"}
        encoding = kinds.get((pixels.ndim, pixels.dtype.name))
        if encoding is None or (pixels.ndim == 3 and pixels.shape[2] != 3):
            raise InputError(
                f"Camera {self.source!r} delivers {pixels.dtype} in {pixels.shape[2:] or 1} channels; set "
                "camera.pixel_format to one of colour or grey."
            )
        return encoding

    def _stamp(self, arrival_ns: int) -> int:
        """Return the driver's buffer timestamp, which V4L2 gives on the monotonic clock, on ``clock``."""
        if self._capture.getBackendName() == WITH_STAMPS:
            stamped_ns = round(float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) * 1e6)
            age_ns = time.monotonic_ns() - stamped_ns
            if 0 <= age_ns <= OLDEST_S * 1e9:
                return arrival_ns - age_ns
        raise InputError(
            f"Camera {self.source!r} does not say when its images are exposed; set sweep.stamp_reference to arrival, "
            "and sweep.delay to the longest time from the end of an exposure to its arrival."
        )


def is_file(source: str) -> bool:
    """Return whether images come as fast as they are read: of a file, or numbered files (``image%04d.png``).

    A stream must not be slowed to the rate that it states: images would wait, and be stamped later and later. Its URL
    may have percent signs too.
    """
    if "://" in source:
        return False
    try:
        return _NUMBERED.search(source) is not None or Path(source).is_file()
    except OSError:  # a GStreamer pipeline may be longer than any name of a file
        return False
