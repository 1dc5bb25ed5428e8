"""Decode what a sequencer took: planes to pixels, outcomes to sweeps with a focus stack."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from fossa_ros.core.camera_model import CameraModel
from fossa_ros.core.errors import FossaError
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.sweep.captured import CapturedSweep
from fossa_ros.sweep.frame import Frame
from fossa_ros.sweep.gyro import GyroSamples
from fossa_ros.sweep.outcome import Outcome, TakenPlane
from fossa_ros.sweep.timing import SweepTiming

DECODED = 128  # planes kept at most: two sweeps of the largest plan
GYRO_MARGIN_NS = 50_000_000  # before the first exposure and after the last, so that both ends can be interpolated

DecodePlane = Callable[[], tuple[FocusPlane, np.ndarray]]
"""Returns a plane and its (3, 3) K, from any thread; raises InputError."""


def camera_of_K(frame: Frame, size: tuple[int, int]) -> CameraModel:
    """Return the camera of a frame whose ``intrinsics`` are K, row by row, and whose images are rectified."""
    return CameraModel(np.reshape(np.array(frame.intrinsics, np.float64), (3, 3)))


class SweepDecoder:
    """Make a ``CapturedSweep`` of each outcome of a sequencer. Thread-safe.

    A plane is decoded once, although rolling stacks share their planes and ``decode_plane`` may have asked for it.

    Args:
        decode: returns the (H, W, 3) uint8 RGB pixels of a frame; raises InputError.
        scale: returns a number that changes when ``decode`` scales pixels otherwise than before: all planes of a
            stack are decoded with the same.
        camera: returns the camera of a frame with images of a size (height, width); raises InputError.
        focal_length: metres, None if unknown.
        f_number: None if unknown.
        gyro: returns the gyroscope's samples between two stamps, in nanoseconds; None without a gyroscope.
        breathing: returns the (N, 3) scale and shift of each plane of a stack; None if it was not calibrated.
    """

    def __init__(
        self,
        decode: Callable[[Frame], np.ndarray],
        *,
        scale: Callable[[], int] = lambda: 0,
        camera: Callable[[Frame, tuple[int, int]], CameraModel] = camera_of_K,
        focal_length: float | None = None,
        f_number: float | None = None,
        gyro: Callable[[int, int], GyroSamples] | None = None,
        breathing: Callable[[FocusStack], np.ndarray] | None = None,
    ):
        self.decode = decode
        self._scale = scale
        self._camera = camera
        self._focal_length = focal_length
        self._f_number = f_number
        self._gyro = gyro
        self._breathing = breathing
        self._lock = threading.Lock()
        self._decoded: dict[int, tuple[FocusPlane, int]] = {}  # and scale, by start of exposure

    @property
    def resamples(self) -> bool:
        """Whether the planes of a sweep are resampled afterwards, because focus breathing is corrected."""
        return self._breathing is not None

    def decode_sweep(self, number: int, outcome: Outcome, timing: SweepTiming) -> CapturedSweep:
        """Return sweep ``number``; its reason names frames that cannot be decoded or do not fit together."""
        planes, reason = outcome.planes, outcome.reason
        stack = breathing = None
        if not reason:
            try:
                stack = self._stack(planes)
                breathing = None if self._breathing is None else self._breathing(stack)
            except FossaError as error:
                reason, stack = str(error), None
        return CapturedSweep(
            number=number,
            stack=stack,
            reason=reason,
            focus_distances=tuple(plane.focus_distance for plane in planes),
            stamps_ns=tuple(plane.start_ns for plane in planes),
            frames=tuple(plane.frame for plane in planes),
            drops={str(drop): count for drop, count in outcome.drops.items()},
            started_ns=outcome.started_ns,
            duration_ns=outcome.finished_ns - outcome.started_ns,
            uncertainties=tuple(plane.uncertainty for plane in planes),
            gyro=self._gyro_samples(planes, timing),
            breathing=breathing,
        )

    def decode_plane(self, plane: TakenPlane) -> tuple[FocusPlane, np.ndarray]:
        """Return a plane of a sweep that is still being taken, and its (3, 3) K.

        Raises:
            InputError: the frame cannot be decoded.
        """
        with self._lock:
            while len(self._decoded) >= DECODED and plane.start_ns not in self._decoded:
                del self._decoded[next(iter(self._decoded))]  # of a sweep that never became a stack
            decoded, _ = self._decoded[plane.start_ns] = self._plane_and_scale(plane)
        return decoded, self._camera(plane.frame, decoded.image.shape[:2]).K

    def _plane_and_scale(self, plane: TakenPlane) -> tuple[FocusPlane, int]:
        """Return a plane as it was decoded before, or decode it if the scale is another since; and the scale."""
        known = self._decoded.get(plane.start_ns)
        while known is None or known[1] != self._scale():
            scale = self._scale()  # decoding may change it
            known = FocusPlane(self.decode(plane.frame), plane.focus_distance, plane.start_ns), scale
        return known

    def _gyro_samples(self, planes: tuple[TakenPlane, ...], timing: SweepTiming) -> GyroSamples | None:
        if self._gyro is None or not planes:
            return None
        first, last = planes[0].start_ns, timing.exposed(planes[-1].frame)[1]
        samples = self._gyro(first - GYRO_MARGIN_NS, last + GYRO_MARGIN_NS)
        return samples if len(samples.stamps_ns) else None

    def _stack(self, planes: tuple[TakenPlane, ...]) -> FocusStack:
        with self._lock:
            # The range may have grown since these planes were decoded. A stack that was scaled alike stays as it is: by
            # the larger range it would only be darker.
            self._decoded = {
                plane.start_ns: self._decoded.get(plane.start_ns) or self._plane_and_scale(plane) for plane in planes
            }
            while len({scale for _, scale in self._decoded.values()}) > 1:
                self._decoded = {plane.start_ns: self._plane_and_scale(plane) for plane in planes}
            decoded = tuple(plane for plane, _ in self._decoded.values())
        camera = self._camera(planes[0].frame, decoded[0].image.shape[:2])
        return FocusStack(
            planes=decoded,
            K=camera.K,
            rectification=camera.rectification,
            cropped=camera.cropped,
            focal_length=self._focal_length,
            f_number=self._f_number,
        )
