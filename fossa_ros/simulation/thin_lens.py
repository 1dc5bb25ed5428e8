"""Thin-lens images by synthetic aperture: the mean of pinhole views from points all over the lens.

The pinhole at aperture point a sees a scene point (X, Z) at fx (X - a) / Z px, and the lens adds fx a / s, so that
everything at the focus distance s coincides in all views. The blur disc of a point at Z is then A fx |1/s - 1/Z| px
wide, and occlusion is exact.

optics.circle_of_confusion has the additional factor optics.magnification(s): the image distance grows when the lens
moves out. ``fx`` is the calibrated one, the same at every focus unless the camera breathes. The factor is therefore
applied to the aperture, which is widened (by 4 % at 0.3 m for 12 mm), and the blur disc in pixels is
optics.circle_of_confusion / pixel_size at every focus distance, with breathing or without.

Approximations: the aperture is sampled by a finite number of views (with 96 views the width of a blur disc is accurate
to about 0.2 px and its position to 0.1 px; a disc wider than about sqrt(views) px shows faint grain at sharp edges of
high contrast); light has three bands; there is no diffraction, aberration or distortion. Nothing is interpolated
between pixels: every view samples its own point of the pixel and is shifted by whole pixels, chosen so that this point
stays in the pixel. What is in focus is therefore averaged over one pixel and no more. Light is added linearly and
encoded as sRGB afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.simulation.camera import FULL_SCALE, LIGHT_OF_CODE, SimulatedCamera
from fossa_ros.simulation.motion_path import Path, Pose, still
from fossa_ros.simulation.raycast import Pinhole, Surface, cast_view

MOST_VIEWS = 256
"""Sums of more views would not be exact in float32."""


@dataclass(frozen=True, eq=False)
class ApertureSamples:
    """Position of each view in the aperture, in the pixel and in the exposure.

    Attributes:
        points: (M, 2) float64 in units of the widest aperture's radius, sorted by radius (Vogel's spiral): the first m
            of them fill a disc of radius sqrt(m / M).
        jitter: (M, 2) float64 pixels, -0.5..0.5: position in the pixel.
        moments: (M,) float64 in 0..1: time within the exposure.
    """

    points: np.ndarray
    jitter: np.ndarray
    moments: np.ndarray

    @classmethod
    def spiral(cls, views: int) -> ApertureSamples:
        """Return samples: a golden-angle spiral in the aperture, the R3 sequence (Roberts, 2018) in pixel and time."""
        if not 1 <= views <= MOST_VIEWS:
            raise InputError(f"The number of views must be in 1..{MOST_VIEWS}, not {views}.")
        index = np.arange(views)
        angle, radius = index * np.pi * (3 - np.sqrt(5)), np.sqrt((index + 0.5) / views)
        points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        root = 1.2207440846057596  # of x^4 = x + 1
        sequence = (0.5 + index[:, None] * root ** -np.array([1.0, 2.0, 3.0])) % 1.0
        return cls(points, sequence[:, :2] - 0.5, sequence[:, 2])

    def __len__(self):
        return len(self.points)


class Synthesis:
    """The thin lens of one camera, focused at several distances at once.

    Args:
        camera: geometry and lens.
        focus_distances: (N,) metres, infinity allowed.
        views: pinholes across the widest aperture.
        frame: (left, top, width, height) in pixels of the image to render; the whole image by default.
        K: (3, 3) intrinsic matrix, the camera's by default; another one for a plane of a breathing camera.

    Raises:
        InputError: a focus distance within the focal length, or too many views.
    """

    def __init__(self, camera: SimulatedCamera, focus_distances, views: int, frame=None, K: np.ndarray | None = None):
        focus_distances = camera.checked_focus(focus_distances)
        self.camera = camera
        self.left, self.top, self.width, self.height = frame or (0, 0, camera.width, camera.height)
        self.K = camera.K if K is None else K
        scale = self.K[0, 0] / camera.fx
        self.samples = ApertureSamples.spiral(views)
        widening = optics.magnification(focus_distances, camera.focal_length)
        self.views_used = np.maximum(np.rint(views * (widening / widening.max()) ** 2), 1).astype(int)
        self.points = self.samples.points * (camera.aperture / 2 * widening.max() / scale)
        self.shift_per_metre = self.K[0, 0] * optics.dioptres(focus_distances)
        self.border = int(np.ceil(np.abs(self.points).max() * self.shift_per_metre.max())) + 1

    def view(self, index: int, surfaces: tuple[Surface, ...], pose: Pose) -> np.ndarray:
        """Render pinhole ``index``: (height + 2 border, width + 2 border, 3) uint8 sRGB."""
        jitter, edge = self.samples.jitter[index], self.border
        pinhole = Pinhole(
            self.width + 2 * edge,
            self.height + 2 * edge,
            self.K[0, 0],
            self.K[0, 2] - self.left + edge - jitter[0],
            self.K[1, 2] - self.top + edge - jitter[1],
        )
        eye = pose @ Pose(translation=np.array([*self.points[index], 0.0]))
        return cast_view(surfaces, pinhole, eye)

    def window(self, index: int, plane: int) -> tuple[slice, slice]:
        """Return the part of view ``index`` that belongs to the image of plane ``plane``.

        The lens moves the view by fx a / s; its samples are offset by ``jitter`` from its pixel centres. The sum of
        both is rounded to whole pixels, so that each sample is within half a pixel of the pixel to which it is added.
        """
        shift = self.points[index] * self.shift_per_metre[plane]
        columns, rows = np.rint(shift + self.samples.jitter[index]).astype(int)
        top, left = self.border - rows, self.border - columns
        return slice(top, top + self.height), slice(left, left + self.width)

    def light(
        self,
        surfaces_at: Callable[[float], tuple[Surface, ...]],
        path: Path = still,
        start: float = 0.0,
        exposure: float = 0.0,
        workers: int = 1,
        progress: Callable[[float], None] | None = None,
    ) -> np.ndarray:
        """Return the light on every plane: (N, height, width, 3) float32, linear, 1 saturates.

        Args:
            surfaces_at: returns the surfaces at a time in seconds, sampled over the exposure like ``path``.
            path: the camera's pose over time.
            start: start of the exposure, seconds.
            exposure: seconds.
            workers: threads; the result does not depend on their number.
            progress: called with the share of the work done, 0..1, from any thread.
        """
        done = iter(range(1, len(self.samples) + 1))

        def add_up(first: int) -> np.ndarray:
            total = np.zeros((len(self.views_used), self.height, self.width, 3), np.float32)
            for index in range(first, len(self.samples), workers):
                time = start + exposure * self.samples.moments[index]
                light = LIGHT_OF_CODE.take(self.view(index, surfaces_at(time), path(time)))
                for plane in np.flatnonzero(index < self.views_used):
                    total[plane] += light[self.window(index, plane)]
                if progress is not None:
                    progress(next(done) / len(self.samples))
            return total

        with ThreadPoolExecutor(workers) as pool:
            totals = list(pool.map(add_up, range(workers)))
        total = totals[0]
        for other in totals[1:]:
            total += other  # whole numbers below 2^24: exact in any order
        total /= FULL_SCALE * self.views_used[:, None, None, None].astype(np.float32)
        return total
