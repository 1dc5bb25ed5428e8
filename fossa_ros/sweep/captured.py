"""What a sweep becomes: one value with its focus stack, or with the reason why there is none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fossa_ros.core.errors import FossaError
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.sweep.frame import Frame
from fossa_ros.sweep.gyro import GyroSamples
from fossa_ros.sweep.moving import TakenPlane
from fossa_ros.sweep.sequencer import Outcome
from fossa_ros.sweep.timing import SweepTiming

DECODED = 128  # planes kept at most: two sweeps of the largest plan
GYRO_MARGIN_NS = 50_000_000  # before the first exposure and after the last, so that both ends can be interpolated


@dataclass(frozen=True, eq=False)
class CapturedSweep:
    """One sweep, complete or not.

    Attributes:
        number: running number since the capture was created.
        stack: the focus stack; None where a plane is missing.
        reason: why there is no stack; empty otherwise.
        focus_distances: metres, of the planes taken, in the order they were taken.
        stamps_ns: start of exposure of each of them.
        frames: their frames, as they were offered.
        drops: how many frames were not used, by reason.
        started_ns: first lens command, on the capture's clock.
        duration_ns: first lens command to the arrival of the last plane.
        uncertainties: dioptres by which each focus may be wrong, 0 where the lens stood; empty where not known.
        gyro: how the camera turned meanwhile; None where there is no gyroscope.
        breathing: (N, 3) scale and shift of each plane (``calibration.breathing_correction``), to be taken out of
            the stack before anything else; None where it is not known.
    """

    number: int
    stack: FocusStack | None
    reason: str
    focus_distances: tuple[float, ...]
    stamps_ns: tuple[int, ...]
    frames: tuple[Frame, ...]
    drops: dict[str, int]
    started_ns: int
    duration_ns: int
    uncertainties: tuple[float, ...] = ()
    gyro: GyroSamples | None = None
    breathing: np.ndarray | None = None


class SweepDecoder:
    """Make a ``CapturedSweep`` of each outcome of a sequencer: decode its frames, number it. Thread-safe.

    Args:
        decode: turns a frame's payload into an (H, W, 3) uint8 RGB image; raises InputError.
        focal_length: metres, None where unknown.
        f_number: None where unknown.
        gyro: returns how the camera turned between two stamps, in nanoseconds; None where there is no gyroscope.
        breathing: returns the scale and shift of each plane of a stack; None where it was not calibrated.
    """

    def __init__(
        self,
        decode: Callable[[object], np.ndarray],
        *,
        focal_length: float | None = None,
        f_number: float | None = None,
        gyro: Callable[[int, int], GyroSamples] | None = None,
        breathing: Callable[[FocusStack], np.ndarray] | None = None,
    ):
        self._decode = decode
        self._focal_length = focal_length
        self._f_number = f_number
        self._gyro = gyro
        self._breathing = breathing
        self._lock = threading.Lock()
        self._decoded: dict[int, FocusPlane] = {}  # by stamp, of the last stack: a rolling one shares its planes

    def decode_sweep(self, number: int, outcome: Outcome, timing: SweepTiming) -> CapturedSweep:
        """Return sweep ``number``; frames that cannot be decoded or do not fit together are its reason."""
        planes, reason, stack, breathing = outcome.planes, outcome.reason, None, None
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
            gyro=self._turning(planes, timing),
            breathing=breathing,
        )

    def decode_plane(self, plane: TakenPlane) -> FocusPlane:
        """Return a plane of a sweep that goes on; it is decoded once. Raises InputError."""
        with self._lock:
            if plane.start_ns not in self._decoded:
                while len(self._decoded) >= DECODED:  # sweeps that never become a stack
                    del self._decoded[next(iter(self._decoded))]
                self._decoded[plane.start_ns] = self._plane(plane)
            return self._decoded[plane.start_ns]

    def _plane(self, plane: TakenPlane) -> FocusPlane:
        return FocusPlane(self._decode(plane.frame.payload), plane.focus_distance, plane.start_ns)

    def _turning(self, planes: tuple[TakenPlane, ...], timing: SweepTiming) -> GyroSamples | None:
        if self._gyro is None or not planes:
            return None
        first, last = planes[0].start_ns, timing.exposed(planes[-1].frame)[1]
        samples = self._gyro(first - GYRO_MARGIN_NS, last + GYRO_MARGIN_NS)
        return samples if len(samples.stamps_ns) else None

    def _stack(self, planes: tuple[TakenPlane, ...]) -> FocusStack:
        with self._lock:
            known = self._decoded
            self._decoded = {plane.start_ns: known.get(plane.start_ns) or self._plane(plane) for plane in planes}
            decoded = tuple(self._decoded.values())
        return FocusStack(
            planes=decoded,
            K=intrinsics(planes[0]),
            focal_length=self._focal_length,
            f_number=self._f_number,
        )


def intrinsics(plane: TakenPlane) -> np.ndarray:
    """Return the (3, 3) intrinsic matrix of a plane's frame."""
    return np.reshape(plane.frame.intrinsics, (3, 3))
