"""Motion of camera and objects: paths with six degrees of freedom as functions of time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

BUMP_DECAYS = 9.0  # time constants after which a knock is over; 1e-4 of it is left


@dataclass(frozen=True, eq=False)
class Pose:
    """A rigid transform from a body's frame to the world: ``world = rotation @ body + translation``.

    Attributes:
        rotation: (3, 3) float64.
        translation: (3,) float64 metres.
    """

    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    translation: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def __matmul__(self, other: Pose) -> Pose:
        """Apply ``other`` first, then this."""
        return Pose(self.rotation @ other.rotation, self.rotation @ other.translation + self.translation)

    def inverse(self) -> Pose:
        """Return the transform from the world to the body's frame."""
        return Pose(self.rotation.T, -self.rotation.T @ self.translation)

    def is_close(self, other: Pose, tolerance: float = 1e-9) -> bool:
        """Return whether two poses agree within ``tolerance`` radians and metres."""
        return np.allclose(self.rotation, other.rotation, rtol=0, atol=tolerance) and np.allclose(
            self.translation, other.translation, rtol=0, atol=tolerance
        )


Path = Callable[[float], Pose]
"""A pose for every time in seconds."""


def rotation_matrix(rotation_vector) -> np.ndarray:
    """Convert an axis times an angle in radians to a (3, 3) rotation."""
    return cv2.Rodrigues(np.asarray(rotation_vector, dtype=np.float64))[0]


def rotation_vector(rotation: np.ndarray) -> np.ndarray:
    """Convert a (3, 3) rotation to (3,) axis times angle in radians."""
    return cv2.Rodrigues(rotation)[0].ravel()


def still(time: float) -> Pose:
    """Stand at the origin at all times."""
    return Pose()


def drift(velocity=(0, 0, 0), angular_velocity=(0, 0, 0)) -> Path:
    """Move at constant ``velocity`` (m/s) and ``angular_velocity`` (rad/s) from the origin at time 0."""
    velocity, angular_velocity = np.asarray(velocity, float), np.asarray(angular_velocity, float)
    return lambda time: Pose(rotation_matrix(angular_velocity * time), velocity * time)


def sinusoid(translation=(0, 0, 0), rotation=(0, 0, 0), frequency: float = 1.0, phase: float = 0.0) -> Path:
    """Swing by ``translation`` (m) and ``rotation`` (rad, axis times angle) at ``frequency`` (Hz)."""
    translation, rotation = np.asarray(translation, float), np.asarray(rotation, float)

    def path(time: float) -> Pose:
        swing = np.sin(2 * np.pi * frequency * time + phase)
        return Pose(rotation_matrix(rotation * swing), translation * swing)

    return path


def bump(at: float, rotation=(0.02, 0, 0), translation=(0, 0, 0), frequency: float = 6.0, decay: float = 0.15) -> Path:
    """Knock the body at time ``at``: a damped oscillation with time constant ``decay`` (s).

    ``rotation`` (rad) and ``translation`` (m) are the amplitudes without damping. After ``BUMP_DECAYS`` time constants
    the body rests.
    """
    translation, rotation = np.asarray(translation, float), np.asarray(rotation, float)

    def path(time: float) -> Pose:
        since = time - at
        if not 0 < since < BUMP_DECAYS * decay:
            return Pose()
        swing = np.exp(-since / decay) * np.sin(2 * np.pi * frequency * since)
        return Pose(rotation_matrix(rotation * swing), translation * swing)

    return path


def compose(*paths: Path) -> Path:
    """Chain paths: the last one moves in the frame of the one before it."""

    def path(time: float) -> Pose:
        pose = Pose()
        for part in paths:
            pose = pose @ part(time)
        return pose

    return path


def angular_velocity(path: Path, time: float, step: float = 1e-4) -> np.ndarray:
    """Return the reading of an ideal gyroscope on the body: (3,) rad/s in its frame, by central differences."""
    before, after = path(time - step).rotation, path(time + step).rotation
    return rotation_vector(before.T @ after) / (2 * step)
