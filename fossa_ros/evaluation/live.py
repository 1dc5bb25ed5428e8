"""The whole chain on a bench, without ROS: a camera of OpenCV, a lens, sweeps, motion check, depth."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import numpy as np

from fossa_ros.calibration.configured_lens import configured_breathing, configured_calibration, configured_lens
from fossa_ros.core.camera_model import sensible_intrinsics
from fossa_ros.core.errors import FossaError, InputError
from fossa_ros.evaluation.live_camera import LiveCamera, VideoCapture, rgb_of_frame
from fossa_ros.io.video import no_more_images
from fossa_ros.lens import FocusLens, LensState
from fossa_ros.motion import MotionCheck
from fossa_ros.parameters.node_config import FossaNodeConfig
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.pipeline.temporal_filter import TemporalFilter
from fossa_ros.pipeline.worker import DepthWorker
from fossa_ros.sweep import Frame, StampReference, SweepCapture, SweepDecoder

POLL_S = 0.1
SILENCE_S = 5.0  # without an image, after which a camera counts as lost
# A webcam, whose images are stamped when they arrive: by default, exposures as long as a frame, a rolling shutter, and
# a tenth of a second for transfer and decoding.
WEBCAM = MappingProxyType(
    {"sweep.exposure": 0.033, "sweep.readout": 0.03, "sweep.delay": 0.1, "sweep.frame_timeout": 1.5}
)


class LiveRig:
    """Take sweeps with a camera and a lens and make depth of them, as ``fossa_node`` does; a context manager.

    Entering it opens the lens and starts; leaving it parks and closes the lens and closes the camera. A lens that is
    lost is opened again; a camera that is lost ends the run.

    Args:
        config: parameters of ``fossa_node``. Images are stamped when they arrive, whatever sweep.stamp_reference says.
        capture: an open camera.
        name: of the camera, for errors.
        intrinsics: returns the (3, 3) K of images of a size (height, width).
        open_lens: opens the lens; None for the one that ``config`` describes.
        clock: nanoseconds.

    Raises:
        InputError: parameters that cannot be used.
    """

    def __init__(
        self,
        config: FossaNodeConfig,
        capture: VideoCapture,
        name: str,
        intrinsics: Callable[[tuple[int, int]], np.ndarray],
        *,
        open_lens: Callable[[], FocusLens] | None = None,
        clock: Callable[[], int] = time.time_ns,
    ):
        if not config.sweep.config.mode.drives_lens:
            raise InputError("A lens that another program drives needs its states from ROS; set sweep.mode to step.")
        calibration = configured_calibration(config.lens)
        self._name, self._clock = name, clock
        self._planes = len(config.sweep.plan.focus_distances)
        self._events: queue.SimpleQueue[SweepResult | str | FossaError] = queue.SimpleQueue()
        self._seen = self._expected = False  # whether a frame has arrived, and whether the rate to expect was told
        self._lens_failure = ""
        self.estimator = config.estimator.create()
        output = config.depth
        self._worker = DepthWorker(
            MotionCheck(config.motion),
            self.estimator,
            self._events.put,
            clock=clock,
            max_age_ns=output.max_age_ns,
            temporal=None if output.temporal is None else TemporalFilter(output.temporal),
            limits=config.limits,
            focus_check=output.focus_check,
            region=config.roi,
            still_sweeps=output.still_sweeps,
        )
        self._capture = SweepCapture(
            config.sweep.plan,
            replace(config.sweep.timing, stamp_reference=StampReference.ARRIVAL),
            open_lens or partial(configured_lens, config.lens, clock, calibration),
            SweepDecoder(
                rgb_of_frame,
                focal_length=config.camera.focal_length,
                f_number=config.camera.f_number,
                breathing=configured_breathing(calibration),
            ),
            on_sweep=self._worker.submit,
            on_lens_state=self._on_lens_state,
            clock=clock,
            config=config.sweep.config,
            on_plane=self._worker.add_plane,
        )
        self._camera = LiveCamera(
            capture, intrinsics, self._on_frame, lambda error: self._events.put(error or no_more_images(name)), clock
        )

    def __enter__(self) -> LiveRig:
        try:
            lens = self._capture.connect()
        except BaseException:
            self._camera.close()
            raise
        self._events.put(f"{lens.capabilities.identity}.")
        self._worker.start()
        self._capture.start()
        self._camera.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.close()
        self._worker.stop()
        self._camera.close()

    def events(self, ended: threading.Event) -> Iterator[SweepResult | str | None]:
        """Yield the result of every sweep, sentences about camera and lens, and None now and then between them.

        Ends once ``ended`` is set.

        Raises:
            InputError: the camera is lost.
        """
        while not ended.is_set():
            try:
                event = self._events.get(timeout=POLL_S)
            except queue.Empty:
                if not self._expected and self._capture.period_ns is not None:
                    self._expected = True
                    yield self._expectation()
                if self._clock() - self._camera.arrived_ns > SILENCE_S * 1e9:
                    raise InputError(
                        f"Camera {self._name!r} has delivered no image for {SILENCE_S:g} s; check its cable, and that "
                        "no other program uses it."
                    ) from None
                yield None
                continue
            if isinstance(event, FossaError):
                raise event
            yield event

    def _expectation(self) -> str:
        try:
            return self._capture.expectation()
        except InputError as error:
            return str(error)

    def _on_frame(self, frame: Frame) -> None:
        if not self._seen:
            self._seen = True
            self._worker.warm_up(frame.image.shape[:2], self._planes)
        self._capture.add_frame(frame)

    def _on_lens_state(self, state: LensState | None) -> None:
        failure = self._capture.lens_failure if state is None else ""
        if failure and failure != self._lens_failure:
            self._events.put(f"The lens is lost: {failure} Trying again until it returns.")
        elif self._lens_failure and not failure:
            self._events.put("The lens is back.")
        self._lens_failure = failure


def pinhole(size: tuple[int, int], fx: float | None, given: tuple[float, ...] | None) -> np.ndarray:
    """Return the (3, 3) K of images of a size (height, width).

    Args:
        size: of the images.
        fx: focal length in pixels, of square pixels around a principal point in the middle; None where ``given`` is.
        given: fx, fy, cx, cy.

    Raises:
        InputError: no camera of images of that size has such intrinsics.
    """
    height, width = size
    fx, fy, cx, cy = given or (fx, fx, (width - 1) / 2, (height - 1) / 2)
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]], dtype=np.float64)
    return sensible_intrinsics(K, size, "--intrinsics" if given else "--fx")
