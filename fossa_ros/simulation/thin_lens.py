"""Thin-lens rendering of focus stacks by synthetic aperture.

A thin lens of aperture A focused at s averages pinholes: the pinhole at aperture point a sees a scene point (X, Z) at
fx (X - a)/Z px and the lens adds fx a / s, so that whatever lies at s coincides in all of them. The blur disc of a
point at Z is then A fx |1/s - 1/Z| px wide and occlusion is exact: each pinhole sees what it sees.

optics.circle_of_confusion has the further factor v/f = optics.magnification(s): the image distance v grows as the lens
moves out. ``fx`` here is the calibrated one, constant unless the camera breathes, so the factor goes into the aperture:
it is widened by it (4 % at 0.3 m for 12 mm), and blur in pixels is optics.circle_of_confusion / pixel_size exactly.

What is approximated: the aperture is sampled by ``views`` points (a blur disc wider than about sqrt(views) px shows
faint grain at sharp edges of high contrast); light is three bands of sRGB primaries; no diffraction, no aberrations,
no distortion. Nothing is interpolated between pixels: every view samples its own point of the pixel and is shifted by
whole pixels, chosen so that this point stays in the pixel. A sharp edge is thus sampled by a box of one pixel. Light
adds up linearly and is encoded as sRGB afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from fossa_ros import optics
from fossa_ros.errors import InputError
from fossa_ros.simulation.camera import FULL_SCALE, LIGHT_OF_CODE, SimulatedCamera
from fossa_ros.simulation.motion_path import Path, Pose
from fossa_ros.simulation.raycast import Pinhole, cast_view

MOST_VIEWS = 256  # sums of more would not be exact in float32


@dataclass(frozen=True, eq=False)
class ApertureSamples:
    """Where each view stands in the aperture and in the pixel.

    Attributes:
        points: (M, 2) float64 in units of the widest aperture's radius, by growing radius (Vogel's spiral): the
            first m of them fill a disc of radius sqrt(m / M).
        jitter: (M, 2) float64 pixels, -0.5..0.5: where in the pixel the view samples.
        moments: (M,) float64 in 0..1: when in the exposure.
    """

    points: np.ndarray
    jitter: np.ndarray
    moments: np.ndarray

    @classmethod
    def spiral(cls, views: int) -> ApertureSamples:
        """Lay ``views`` samples: golden-angle spiral, R2 sequence in the pixel, golden ratio in time."""
        if not 1 <= views <= MOST_VIEWS:
            raise InputError(f"The number of views must be in 1..{MOST_VIEWS}, not {views}.")
        index = np.arange(views)
        angle, radius = index * np.pi * (3 - np.sqrt(5)), np.sqrt((index + 0.5) / views)
        points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        plastic = 1.32471795724474602596
        jitter = (0.5 + index[:, None] / np.array([plastic, plastic**2])) % 1.0 - 0.5
        moments = (0.5 + index * 0.3819660112501051 * 7) % 1.0
        return cls(points, jitter, moments)

    def __len__(self):
        return len(self.points)


class Synthesis:
    """Sums of pinhole views of one camera, focused at several distances at once.

    Args:
        camera: geometry and lens.
        focus_distances: metres, infinity allowed.
        views: pinholes across the widest aperture.
        margin: extra pixels on each side of every image.
        reference: focus distance at which a breathing camera's image has scale 1.
    """

    def __init__(self, camera: SimulatedCamera, focus_distances, views: int, margin: int = 0):
        self.camera, self.margin = camera, margin
        self.focus_distances = np.asarray(focus_distances, dtype=np.float64)
        if not (self.focus_distances > camera.focal_length).all():
            raise InputError(
                f"Focus distances must be beyond the focal length of {camera.focal_length:g} m; the nearest is "
                f"{self.focus_distances.min():g} m."
            )
        self.samples = ApertureSamples.spiral(views)
        widening = optics.magnification(self.focus_distances, camera.focal_length)
        self.radius = camera.aperture / 2 * widening.max()
        self.views_used = np.maximum(np.rint(views * (widening / widening.max()) ** 2), 1).astype(int)
        self.shift_per_metre = camera.fx * optics.dioptres(self.focus_distances)
        self.border = int(np.ceil(self.radius * self.shift_per_metre.max())) + 1

    def view(self, index: int, surfaces, pose: Pose) -> np.ndarray:
        """Render pinhole ``index`` with its border: (H + 2b, W + 2b, 3) uint8 sRGB, b = margin + border."""
        camera, edge = self.camera, self.margin + self.border
        point, jitter = self.samples.points[index] * self.radius, self.samples.jitter[index]
        pinhole = Pinhole(
            camera.width + 2 * edge,
            camera.height + 2 * edge,
            camera.fx,
            camera.K[0, 2] + edge - jitter[0],
            camera.K[1, 2] + edge - jitter[1],
        )
        eye = pose @ Pose(translation=np.array([*point, 0.0]))
        return cast_view(surfaces, pinhole, eye)[0]

    def window(self, index: int, plane: int) -> tuple[slice, slice]:
        """Return the part of view ``index`` that falls on the image focused at ``plane``.

        The lens moves the view by fx a / s. Rounding the move to whole pixels leaves the view's sample elsewhere in
        the pixel; rounding the move less the jitter keeps it inside.
        """
        shift = self.samples.points[index] * self.radius * self.shift_per_metre[plane]
        columns, rows = np.rint(shift - self.samples.jitter[index]).astype(int)
        height, width = self.camera.height + 2 * self.margin, self.camera.width + 2 * self.margin
        top, left = self.border - rows, self.border - columns
        return slice(top, top + height), slice(left, left + width)

    def light(self, surfaces_at: Callable, path: Path, time: float, exposure: float, planes, workers: int, progress=None):
        """Return the light on ``planes`` (indices): (len(planes), H, W, 3) float32, 1 saturates.

        ``surfaces_at(t)`` and ``path(t)`` are sampled over the exposure, which starts at ``time``.
        """
        size = (len(planes), self.camera.height + 2 * self.margin, self.camera.width + 2 * self.margin, 3)

        def add_up(first: int) -> np.ndarray:
            total = np.zeros(size, np.float32)
            for index in range(first, len(self.samples), workers):
                moment = time + exposure * self.samples.moments[index]
                light = LIGHT_OF_CODE.take(self.view(index, surfaces_at(moment), path(moment)))
                for row, plane in enumerate(planes):
                    if index < self.views_used[plane]:
                        total[row] += light[self.window(index, plane)]
                if progress is not None:
                    progress()
            return total

        with ThreadPoolExecutor(workers) as pool:  # sums of whole numbers: their order does not matter
            totals = list(pool.map(add_up, range(workers)))
        total = totals[0]
        for other in totals[1:]:
            total += other
        for row, plane in enumerate(planes):
            total[row] *= 1 / (FULL_SCALE * self.views_used[plane])
        return total
