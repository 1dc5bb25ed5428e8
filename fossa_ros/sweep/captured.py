"""A captured sweep: its focus stack, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fossa_ros.core.stack import FocusStack
from fossa_ros.sweep.frame import Frame
from fossa_ros.sweep.gyro import GyroSamples


@dataclass(frozen=True, eq=False)
class CapturedSweep:
    """One sweep, complete or not.

    Attributes:
        number: running number since the capture was created.
        stack: the focus stack; None if a plane is missing.
        reason: why there is no stack; empty otherwise.
        focus_distances: metres, of the planes taken, in the order they were taken.
        stamps_ns: start of exposure of each of them.
        frames: their frames, as they arrived.
        drops: how many frames were not used, by reason.
        started_ns: first lens command, on the capture's clock.
        duration_ns: first lens command to the arrival of the last plane.
        uncertainties: dioptres by which each focus may be wrong, 0 if the lens stood still; empty if unknown.
        gyro: the rotation of the camera meanwhile; None without a gyroscope.
        breathing: (N, 3) scale and shift of each plane (``calibration.breathing_correction``), to be removed from the
            stack before anything else; None if it is not known.
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

    @property
    def camera_info(self) -> Any:
        """The calibration message that came with the first frame; None if there is no frame."""
        return self.frames[0].camera_info if self.frames else None
