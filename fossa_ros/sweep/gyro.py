"""Samples of a gyroscope beside the camera, kept until a sweep asks for them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.sweep.timed_buffer import TimedBuffer

SPAN_NS = 20_000_000_000  # longer than a sweep of many planes and the wait for its motion check


class GyroSamples(NamedTuple):
    """Angular velocities in the camera's optical frame, oldest first.

    Attributes:
        stamps_ns: (M,) int64, on the clock of the image stamps.
        rates: (M, 3) float64 rad/s.
    """

    stamps_ns: np.ndarray
    rates: np.ndarray


class GyroBuffer:
    """The gyroscope's samples of the last seconds; one thread may add while another asks.

    Args:
        rotation: quaternion (x, y, z, w) of the sensor's frame in the camera's optical frame: it turns rates from the
            sensor's axes into the camera's.
        clock_offset_ns: added to every stamp: how far the sensor's clock is behind that of the image stamps.
        span_ns: how far back from the newest sample the buffer reaches.

    Raises:
        InputError: a quaternion that is not of length 1.
    """

    def __init__(
        self, rotation: Sequence[float] = (0.0, 0.0, 0.0, 1.0), clock_offset_ns: int = 0, span_ns: int = SPAN_NS
    ):
        self._rotation = rotation_matrix(rotation)
        self._clock_offset_ns = clock_offset_ns
        self._samples: TimedBuffer[tuple[float, float, float]] = TimedBuffer(span_ns)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, stamp_ns: int, rate: tuple[float, float, float]) -> bool:
        """Keep the angular velocity ``rate`` (rad/s, sensor's axes) at ``stamp_ns`` of the sensor's clock.

        Return False if it cannot be used: not finite, with a known stamp, or older than the buffer reaches.
        """
        if not np.isfinite(rate).all():
            return False
        with self._lock:
            return self._samples.add(stamp_ns + self._clock_offset_ns, rate)

    def between(self, start_ns: int, end_ns: int) -> GyroSamples:
        """Return the samples of start <= stamp <= end; empty arrays if there are none."""
        with self._lock:
            found = self._samples.between(start_ns, end_ns)
        stamps = np.array([stamp for stamp, _ in found], np.int64)
        rates = np.array([rate for _, rate in found], np.float64).reshape(-1, 3)
        return GyroSamples(stamps, rates @ self._rotation.T)


def rotation_matrix(quaternion: Sequence[float]) -> np.ndarray:
    """Return the (3, 3) rotation of a quaternion (x, y, z, w); raises InputError where its length is not 1."""
    q = np.asarray(quaternion, np.float64)
    if q.shape != (4,) or not abs(np.linalg.norm(q) - 1.0) < 1e-3:
        raise InputError(
            f"A rotation is a quaternion (x, y, z, w) of length 1, not {list(quaternion)}; correct imu.rotation."
        )
    x, y, z, w = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
