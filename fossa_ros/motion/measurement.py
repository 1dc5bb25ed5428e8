"""The motion measured in one stack.

Lengths are in px at network resolution, as in `fossa_ros.motion.tiling`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fossa_ros.motion.config import MotionConfig
from fossa_ros.motion.frame import Frame
from fossa_ros.motion.misalignment import Misalignment, largest_deviation
from fossa_ros.motion.moving_region import SameFocusPair, moving_region
from fossa_ros.motion.tiling import Tiling


@dataclass(frozen=True, eq=False)
class Measurement:
    """The motion measured in one stack, and what the next measurement needs of it.

    Attributes:
        tiling: the T tiles of the view.
        frames: the N planes.
        focus_distances: (N,) metres.
        stamps: of the planes, ns; without those that have none.
        view: (B = 1, d = 8) misalignment of the view as a whole, in amounts of the tiling's generators.
        tiles: (B = T, d = 2) misalignment of each tile beyond that.
        mismatch: (N, T) how badly the tiles of neighbouring planes fit each other, 0..1.
        suspicion: (N, T) evidence that a tile of a plane moved independently; it counts as moved from 1 on.
        textured: (T,) bool, True where motion is visible.
        blurred: (N,) bool, True where a plane is blurred by motion.
        unmatched: which neighbours have texture but nothing in common; empty when all match.
        same_focus: the pairs compared with the previous stack.
        gyro: whether a gyroscope contributed.
    """

    tiling: Tiling
    frames: tuple[Frame, ...]
    focus_distances: np.ndarray
    stamps: frozenset[int]
    view: Misalignment
    tiles: Misalignment
    mismatch: np.ndarray
    suspicion: np.ndarray
    textured: np.ndarray
    blurred: np.ndarray
    unmatched: str
    same_focus: tuple[SameFocusPair, ...]
    gyro: bool

    @property
    def motion_px(self) -> np.ndarray:
        """(N,) largest misalignment of each plane over the view."""
        return self._displacement.max(axis=1)

    @property
    def uncertainty_px(self) -> float:
        """Standard deviation of the largest misalignment."""
        plane, place = np.unravel_index(self._displacement.argmax(), self._displacement.shape)
        field = self.tiling.fields[place]
        covariance = field @ self.view.plane_covariance()[0, plane] @ field.T
        return float(largest_deviation(covariance))

    @property
    def moving(self) -> np.ndarray:
        """(N, T) bool, True where a tile of a plane moved independently."""
        return self.suspicion >= 1.0

    def evidence(self) -> list[str]:
        """Name the sources of evidence, strongest first."""
        names = []
        if self.same_focus:
            names.append(f"the same focus in the sweep before ({len(self.same_focus)} planes)")
        if self.gyro:
            names.append("gyroscope")
        return [*names, "neighbours in focus"]

    def homographies(self) -> list[np.ndarray]:
        """Return H (3, 3) of each plane: the point at p in the reference plane is at H(p) in it."""
        return [self.tiling.homography(motion) for motion in self.view.planes[0]]

    def moving_region(self) -> np.ndarray:
        """Outline what moved independently: (h, w) bool at the finest level, seen from the reference plane."""
        order = np.argsort(self.focus_distances, kind="stable")
        suspicion = self.suspicion.max(axis=0)
        return moving_region(self.frames, order, self.homographies(), self.same_focus, suspicion)

    def same_focus_plane(self, focus_distance: float, config: MotionConfig) -> int | None:
        """Return the index of the plane with this focus distance (m); None where there is none."""
        plane = int(np.argmin(np.abs(1 / self.focus_distances - 1 / focus_distance)))
        return plane if config.is_same_focus(self.focus_distances[plane], focus_distance) else None

    def remembered(self) -> Measurement:
        """Return the measurement with only what the next one needs of its frames."""
        return replace(self, frames=tuple(frame.without_templates() for frame in self.frames), same_focus=())

    @cached_property
    def _displacement(self) -> np.ndarray:
        return np.linalg.norm(np.einsum("tik,nk->nti", self.tiling.fields, self.view.planes[0]), axis=2)
