"""Frames of a camera that OpenCV reads, stamped when they arrive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.sweep import Frame

WARM_UP_NS = 1_000_000_000  # the driver's stored images come first, and a webcam still sets its exposure
CLOSING_S = 2.0  # a camera that is gone may keep a read waiting longer; it is left, then


class VideoCapture(Protocol):
    """What is used of ``cv2.VideoCapture``."""

    def read(self) -> tuple[bool, Any]:
        """Wait for the next image, (H, W, 3) uint8 BGR or (H, W) uint8; False where there is none any more."""

    def release(self) -> None:
        """Close the camera."""


class LiveCamera:
    """Read a camera on a thread of its own, as fast as it delivers, so that no image waits in its driver.

    OpenCV does not say when an image was exposed. Its stamp is therefore the time at which it arrived.

    Args:
        capture: an open camera; closed with this.
        intrinsics: returns the (3, 3) K of images of a size (height, width).
        on_frame: receives every frame, on the camera's thread.
        on_end: called once on that thread when the camera delivers no more images, with None, or such as cannot be
            used, with the error that says why.
        clock: nanoseconds on the lens's clock.
    """

    def __init__(
        self,
        capture: VideoCapture,
        intrinsics: Callable[[tuple[int, int]], np.ndarray],
        on_frame: Callable[[Frame], None],
        on_end: Callable[[InputError | None], None],
        clock: Callable[[], int],
    ):
        self._capture = capture
        self._intrinsics = intrinsics
        self._on_frame = on_frame
        self._on_end = on_end
        self._clock = clock
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-camera", daemon=True)
        self.arrived_ns = clock()  # of the last image

    def start(self) -> None:
        """Begin to read."""
        self.arrived_ns = self._clock()
        self._thread.start()

    def close(self) -> None:
        """Close the camera."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(CLOSING_S)
        if not self._thread.is_alive():
            self._capture.release()

    def _run(self) -> None:
        ready_ns = self._clock() + WARM_UP_NS
        while not self._closing.is_set():
            given, image = self._capture.read()
            if not given:
                if not self._closing.is_set():
                    self._on_end(None)
                return
            self.arrived_ns = now_ns = self._clock()
            if now_ns >= ready_ns:
                try:
                    _check_pixels(image)
                    K = self._intrinsics(image.shape[:2])
                except InputError as error:
                    self._on_end(error)
                    return
                self._on_frame(Frame(now_ns, now_ns, image.shape, tuple(K.ravel().tolist()), image))


def _check_pixels(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.shape[2:] not in ((), (3,)):
        raise InputError(
            f"The camera delivers {image.dtype} in {image.shape[2:] or 1} channels; set it to 8 bits, colour or grey."
        )


def rgb_of_frame(frame: Frame) -> np.ndarray:
    """Return the (H, W, 3) uint8 RGB pixels of a frame of ``LiveCamera``."""
    grey = frame.image.ndim == 2
    return cv2.cvtColor(frame.image, cv2.COLOR_GRAY2RGB if grey else cv2.COLOR_BGR2RGB)
