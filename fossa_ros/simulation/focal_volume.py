"""A scene rendered in advance over the whole range of focus: an image at any lens position takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import cv2
import numpy as np

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.simulation.camera import SimulatedCamera, encoded
from fossa_ros.simulation.distortion import margin_of, pinhole_pixels
from fossa_ros.simulation.motion_path import Path, Pose, still
from fossa_ros.simulation.moving_layer import MovingLayer, interpolated, plane_homography
from fossa_ros.simulation.render_cache import cached
from fossa_ros.simulation.scenes import Scene, make_scene
from fossa_ros.simulation.stack_renderer import true_depth
from fossa_ros.simulation.thin_lens import Synthesis

BLUR_STEP = 0.6
"""Pixels of blur radius between neighbouring slices."""
MOTION_STEP = 0.75
"""Pixels by which an image may move between two of the instants that are averaged for motion blur."""
MOST_INSTANTS = 4


class FocalVolume:
    """Focus slices of one scene that are interpolated and warped into live images.

    Approximations, in addition to those of the thin lens:

    - Between slices, BLUR_STEP px of blur radius apart, images are interpolated linearly.
    - Slices, interpolation and motion blur are in 8-bit sRGB code values.
    - Camera rotation and breathing are exact homographies, resampled with cubic interpolation.
    - Camera translation is the homography of the plane at the scene's median depth, without parallax.
    - Distortion is resampled together with rotation and breathing, with cubic interpolation.
    - Beyond the margin the outermost pixels are repeated.
    - The blur of a breathing camera is magnified with the image.
    - A moving object is one flat layer (see MovingLayer).

    Args:
        scene: a scene, or the seed of one.
        camera: geometry and lens.
        powers: (nearest, farthest) focus in dioptres that the lens reaches, in any order.
        margin: pixels of scene rendered beyond each side of what the camera sees, for rotations up to margin / fx.
        views: pinholes across the aperture.
        workers: threads that render.
        progress: called with the share of the work done, 0..1, from any thread.
        reference_power: focus in dioptres at which a breathing camera's images have scale 1.
        detail: of a scene given by its seed, see make_scene; by default as fine as the camera can resolve.
        cache: whether the slices of a scene given by its seed are kept on disk and reused.

    Raises:
        InputError: focus within the focal length, a lens that distorts too much, or distortion and a moving object.
    """

    def __init__(
        self,
        scene: Scene | int,
        camera: SimulatedCamera,
        powers: tuple[float, float] = (0.0, 1 / 0.3),
        *,
        margin: int = 32,
        views: int = 96,
        workers: int = 2,
        progress: Callable[[float], None] | None = None,
        reference_power: float = 1.0,
        detail: float | None = None,
        cache: bool = False,
    ):
        self._given, self._detail = scene, 1.5 * camera.fx if detail is None else detail
        self._pinhole_pixels = pinhole_pixels(camera)
        if self._pinhole_pixels is not None:
            margin += margin_of(self._pinhole_pixels, camera)
            if isinstance(scene, Scene) and scene.mover is not None:
                raise InputError("A moving object cannot be seen through distortion; leave out one of them.")
        self.camera, self.margin, self.reference_power = camera, margin, reference_power
        low, high = min(powers), max(powers)
        if low < 0:
            raise InputError(f"Focus powers must be 0 (infinity) or more dioptres, not {low:g}.")
        radius = optics.blur_radius(
            np.inf, optics.metres(max(high, 1e-6)), camera.focal_length, camera.f_number, camera.pixel_size
        )
        per_dioptre = radius / max(high, 1e-6)
        self.powers = np.linspace(low, high, max(2, 1 + int(np.ceil((high - low) * per_dioptre / BLUR_STEP))))

        def render() -> dict[str, np.ndarray]:
            backdrop = self.scene.with_mover(None)
            frame = -margin, -margin, camera.width + 2 * margin, camera.height + 2 * margin
            synthesis = Synthesis(camera, optics.metres(self.powers), views, frame)
            light = synthesis.light(backdrop.at, workers=workers, progress=progress)
            slices = np.stack([encoded(image) for image in light])
            return {"slices": slices, "rest_depth": true_depth(backdrop, camera)}

        if cache and not isinstance(scene, Scene):
            description = repr((scene, self._detail, camera, self.powers.tolist(), margin, views))
            rendered = cached(description, render)
            if progress is not None:
                progress(1.0)
        else:
            rendered = render()
        self.slices, self.rest_depth = list(rendered["slices"]), rendered["rest_depth"]
        seen = self.rest_depth[np.isfinite(self.rest_depth)]
        self.median_depth = float(np.median(seen)) if seen.size else np.inf
        self.layer = None
        if isinstance(scene, Scene) and scene.mover is not None:
            self.layer = MovingLayer(scene.mover, camera, self.powers, views, workers)

    @cached_property
    def scene(self) -> Scene:
        """The scene; if it was given by its seed it is drawn when needed."""
        return self._given if isinstance(self._given, Scene) else make_scene(self._given, detail=self._detail)

    def image(
        self, power: float, pose: Pose | None = None, time: float = 0.0, interpolation: int = cv2.INTER_CUBIC
    ) -> np.ndarray:
        """Return the (H, W, 3) uint8 RGB image at lens position ``power`` (dioptres), without noise.

        LiveSensor adds noise, gain and vignetting. A position beyond the range shows the image at its end. The moving
        object is where it is at ``time`` (s). ``interpolation`` is OpenCV's, between the pixels of a view that moved.
        """
        image = interpolated(self.slices, self.powers, power)
        warp = self._warp(power, pose)
        size = self.camera.width, self.camera.height
        if self._pinhole_pixels is not None:
            return self._distorted(image, warp, interpolation)
        if np.allclose(warp, np.eye(3), rtol=0, atol=1e-7):
            edge = self.margin
            image = image[edge : edge + size[1], edge : edge + size[0]].copy()
        else:
            to_slice = np.array([[1, 0, self.margin], [0, 1, self.margin], [0, 0, 1.0]]) @ np.linalg.inv(warp)
            flags = interpolation | cv2.WARP_INVERSE_MAP
            image = cv2.warpPerspective(image, to_slice, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        if self.layer is not None:
            self.layer.draw(image, power, pose or Pose(), time, self._K(power), self.rest_depth, warp)
        return image

    def _distorted(self, image: np.ndarray, warp: np.ndarray, interpolation: int) -> np.ndarray:
        """Return the raw image of a slice whose view is warped by ``warp``."""
        to_slice = np.array([[1, 0, self.margin], [0, 1, self.margin], [0, 0, 1.0]]) @ np.linalg.inv(warp)
        pixels = cv2.perspectiveTransform(self._pinhole_pixels, to_slice).astype(np.float32)
        return cv2.remap(
            image, pixels[..., 0].copy(), pixels[..., 1].copy(), interpolation, borderMode=cv2.BORDER_REPLICATE
        )

    def exposed(
        self, power: Callable[[float], float], path: Path = still, start: float = 0.0, exposure: float = 0.0
    ) -> np.ndarray:
        """Return the (H, W, 3) uint8 RGB image of an exposure, with motion blur, without noise.

        Args:
            power: lens position in dioptres over time.
            path: camera pose over time.
            start: start of the exposure, seconds.
            exposure: seconds.

        It is the mean of up to MOST_INSTANTS instants, depending on the motion of image and lens.
        """
        ends = start, start + exposure / 2, start + exposure
        travel = max(self._travel(path, power, a, b) for a, b in (ends[:2], ends[1:]))
        count = int(np.clip(np.ceil(2 * travel / MOTION_STEP), 1, MOST_INSTANTS))
        times = start + exposure * (np.arange(count) + 0.5) / count
        # A motion that smears by two pixels hides the softness of linear interpolation, and a camera that runs live has
        # no time for four cubic ones: its frames would be late just while it is knocked.
        interpolation = cv2.INTER_LINEAR if count == MOST_INSTANTS else cv2.INTER_CUBIC
        images = (self.image(power(time), path(time), time, interpolation) for time in times)
        mean = next(images)
        for weight, image in enumerate(images, start=1):
            mean = cv2.addWeighted(mean, weight / (weight + 1), image, 1 / (weight + 1), 0)
        return mean

    def depth(self, pose: Pose | None = None, time: float = 0.0) -> np.ndarray:
        """Return the true (H, W) float32 z-depth in metres from ``pose`` at ``time``, by ray casting, exactly."""
        if self.layer is None and (pose is None or pose.is_close(Pose())):
            return self.rest_depth.copy()
        return true_depth(self.scene, self.camera, pose, time)

    def _K(self, power: float) -> np.ndarray:
        return self.camera.K_at(optics.metres(power), optics.metres(self.reference_power))

    def _warp(self, power: float, pose: Pose | None) -> np.ndarray:
        """Return the homography from the image at rest to the image seen from ``pose``, breathing included."""
        return plane_homography(self._K(power), self.camera.K, (pose or Pose()).inverse(), self.median_depth)

    def _travel(self, path: Path, power, start: float, end: float) -> float:
        """Return the farthest an image corner or a blur disc's edge moves between two times, in pixels."""
        width, height = self.camera.width, self.camera.height
        corners = np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
        moved = []
        for time in (start, end):
            points = self._warp(power(time), path(time)) @ corners
            moved.append(points[:2] / points[2])
        slices = np.interp([power(start), power(end)], self.powers, np.arange(len(self.powers)))
        travel = max(np.hypot(*(moved[1] - moved[0])).max(), BLUR_STEP * abs(slices[1] - slices[0]))
        if self.layer is not None:
            travel = max(travel, self.layer.travel((path(start), path(end)), (start, end)))
        return float(travel)
