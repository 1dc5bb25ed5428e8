"""Step a lens in front of a camera and record the images."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import cv2
import numpy as np

from fossa_ros.calibration.lens_calibration import CalibratedDevice
from fossa_ros.calibration.recording import RecordingWriter
from fossa_ros.calibration.series import CalibrationFrame, CalibrationSeries
from fossa_ros.core.errors import InputError
from fossa_ros.io.video import no_more_images, open_video
from fossa_ros.lens import FocusLens

CLOCK_MARGIN_NS = 2_000_000
SOAK_PERIOD_S = 1.0
PREVIEW_PERIOD_S = 0.1


class CalibrationCamera(Protocol):
    """A camera that waits until the lens has settled."""

    def frame_after(self, t_ns: int) -> np.ndarray:
        """Return a frame, (H, W) uint8 grey, whose exposure began at or after ``t_ns`` on the clock of the lens."""

    def wait(self, seconds: float) -> None:
        """Wait."""


class VideoCamera:
    """A camera or video that OpenCV opens.

    OpenCV does not report when a frame was exposed. Therefore, once the lens has settled, the frames buffered by the
    driver are discarded and the next one is used.

    Args:
        source: number of a camera (``0``), a device, file or URL.
        stored: number of frames to discard, the size of the driver's buffer.

    Raises:
        InputError: the camera cannot be opened.
    """

    def __init__(self, source: str, stored: int = 4):
        self._source, self._stored = source, stored
        self._capture = open_video(source)

    def frame_after(self, t_ns: int) -> np.ndarray:
        """Return the first frame whose exposure certainly began after ``t_ns`` (of ``time.time_ns``)."""
        self.wait((t_ns - time.time_ns()) / 1e9)
        for _ in range(self._stored):
            self._capture.grab()
        ok, image = self._capture.read()
        if not ok:
            raise no_more_images(self._source)
        return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)

    def wait(self, seconds: float) -> None:
        """Wait."""
        time.sleep(max(seconds, 0.0))

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()


class ShownCamera:
    """A camera whose images are also handed to ``show``, which must return at once."""

    def __init__(self, camera: CalibrationCamera, show: Callable[[np.ndarray], None]):
        self._camera, self._show = camera, show

    def frame_after(self, t_ns: int) -> np.ndarray:
        """Return a frame of the camera."""
        image = self._camera.frame_after(t_ns)
        self._show(image)
        return image

    def wait(self, seconds: float) -> None:
        """Wait."""
        self._camera.wait(seconds)


@contextmanager
def previewed(camera: CalibrationCamera) -> Iterator[None]:
    """Take frames on a thread of its own, which ends before the block does, so that a person sees what is placed.

    A camera that fails ends the frames only: whoever uses it next is told why.
    """
    ended = threading.Event()

    def take() -> None:
        while not ended.is_set():
            try:
                camera.frame_after(time.time_ns())
            except InputError:
                return
            ended.wait(PREVIEW_PERIOD_S)

    thread = threading.Thread(target=take, name="preview", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def device_of(lens: FocusLens) -> CalibratedDevice:
    """Return the description of an open lens for a calibration."""
    command = lens.capabilities.command
    identity = lens.capabilities.identity
    return CalibratedDevice(lens.backend, identity, command.quantity, command.unit, command.least, command.greatest)


def both_ways(least: float, greatest: float, steps: int) -> tuple[float, ...]:
    """Return evenly spaced commands from one end to the other, and back."""
    up = np.linspace(least, greatest, steps).tolist()
    return (*up, *up[-2::-1])


def record_series(
    lens: FocusLens,
    camera: CalibrationCamera,
    commands: Sequence[float],
    distance: float | None,
    recording: RecordingWriter,
    name: str,
    progress: Callable[[], None] = lambda: None,
) -> CalibrationSeries:
    """Move the lens to each command and record a frame.

    Raises:
        LensError: the lens does not answer.
        InputError: a command is outside its range, or an image cannot be written.
    """
    frames, entries = [], []
    for number, command in enumerate(commands):
        move = lens.move_to_command(command)
        image = camera.frame_after(move.acknowledged_ns + move.settling_ns + CLOCK_MARGIN_NS)
        temperature = lens.state().temperature
        file = f"{name}_{number:03}.png"
        frames.append(CalibrationFrame(move.command, recording.image(file, image), temperature))
        entries.append((file, move.command, temperature))
        progress()
    recording.series(distance, entries)
    return CalibrationSeries(tuple(frames), distance)


def soak(
    lens: FocusLens, camera: CalibrationCamera, seconds: float, progress: Callable[[], None] = lambda: None
) -> None:
    """Warm the lens: hold it at the end of its command range that is farther from 0, where its drive is strongest.

    ``progress`` is called every ``SOAK_PERIOD_S``.
    """
    command = lens.capabilities.command
    lens.move_to_command(max(command.least, command.greatest, key=abs))
    for _ in range(int(seconds / SOAK_PERIOD_S)):
        camera.wait(SOAK_PERIOD_S)
        progress()
    camera.wait(seconds % SOAK_PERIOD_S)
