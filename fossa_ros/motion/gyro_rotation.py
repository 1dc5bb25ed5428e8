"""Misalignment of planes from a gyroscope: angular velocities integrated from exposure to exposure.

A camera that turns by R sees a homography K R K^-1 of its earlier view, whatever the depth. A gyroscope does not
measure shifts of the camera; they are part of the uncertainty.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fossa_ros.core.stack import FocusStack
from fossa_ros.motion.config import MotionConfig
from fossa_ros.motion.misalignment import Difference
from fossa_ros.motion.tiling import ZOOM, Tiling

if TYPE_CHECKING:
    from fossa_ros.sweep.gyro import GyroSamples

_LONGEST_GAP_NS = 50_000_000  # between samples: a vibration could go unnoticed in a longer one
_TIMING = 0.005  # seconds by which the stamps of images and gyroscope may differ: rows, exposure, transport
_SMALL = 1e-4  # rad: step of numerical derivatives
_NO_VIEW_PX = 0.3  # shears and perspectives that a rotation causes beyond the first order


def integrate_rates(samples: GyroSamples, stamps_ns: np.ndarray) -> np.ndarray | None:
    """Integrate angular velocities to attitudes.

    Args:
        samples: rad/s in the camera's axes; interpolated linearly.
        stamps_ns: (N,) instants, rising.

    Returns:
        (N, 3, 3) attitude of the camera at each instant in its axes at the first; None where the samples do not cover
        all instants without a gap.
    """
    known = np.asarray(samples.stamps_ns)
    if len(known) < 2 or known[0] > stamps_ns[0] or known[-1] < stamps_ns[-1]:
        return None
    first, last = np.searchsorted(known, stamps_ns[0], "right") - 1, np.searchsorted(known, stamps_ns[-1])
    if np.diff(known[first : last + 1]).max() > _LONGEST_GAP_NS:
        return None
    instants = np.union1d(known[(known > stamps_ns[0]) & (known < stamps_ns[-1])], stamps_ns)
    seconds = (instants - stamps_ns[0]) * 1e-9
    rates = _interpolate(samples, instants)
    attitudes = [np.eye(3)]
    for mean, duration in zip((rates[1:] + rates[:-1]) / 2, np.diff(seconds), strict=True):
        attitudes.append(attitudes[-1] @ cv2.Rodrigues(mean * duration)[0])
    return np.stack(attitudes)[np.searchsorted(instants, stamps_ns)]


def gyro_differences(
    samples: GyroSamples | None, stack: FocusStack, tiling: Tiling, config: MotionConfig
) -> list[Difference]:
    """Return the misalignment of planes that follow each other in time; empty without samples, K or stamps."""
    stamps = [plane.stamp_ns for plane in stack.planes if plane.stamp_ns is not None]
    if samples is None or stack.K is None or len(set(stamps)) < len(stack):
        return []
    order = np.argsort(stamps)
    rising = np.array(stamps, np.int64)[order]
    attitudes = integrate_rates(samples, rising)
    if attitudes is None:
        return []
    K = _centred(stack.K, tiling)
    inverse = np.linalg.inv(K)
    slopes = np.stack([tiling.motion(K @ cv2.Rodrigues(axis)[0] @ inverse) for axis in _SMALL * np.eye(3)], axis=1)
    slopes /= _SMALL
    rates = _interpolate(samples, rising)
    unmeasured = np.full(len(tiling.generators), _NO_VIEW_PX)
    unmeasured[: ZOOM + 1] = config.gyro_shift_px
    found = []
    for (before, after), (base, plane) in zip(pairwise(range(len(order))), pairwise(order), strict=True):
        H = K @ attitudes[after].T @ attitudes[before] @ inverse
        duration = (rising[after] - rising[before]) * 1e-9
        bias = (config.gyro_bias * duration) ** 2 * np.eye(3)
        timing = np.diag((_TIMING * (rates[after] - rates[before])) ** 2)
        covariance = slopes @ (bias + timing) @ slopes.T + np.diag(unmeasured**2)
        found.append(Difference(int(plane), int(base), tiling.motion(H)[None], covariance[None], biased=False))
    return found


def _interpolate(samples: GyroSamples, instants: np.ndarray) -> np.ndarray:
    """Return the (N, 3) rates at (N,) instants."""
    return np.stack([np.interp(instants, samples.stamps_ns, axis) for axis in np.asarray(samples.rates).T], axis=1)


def _centred(K: np.ndarray, tiling: Tiling) -> np.ndarray:
    """Return K in px at network resolution from the image's centre."""
    height, width = tiling.size
    centred = np.array(K, np.float64)
    centred[:2, 2] -= [(width - 1) / 2, (height - 1) / 2]
    centred[:2] *= tiling.network_scale
    return centred
