"""Focus stacks through Mitsuba's thin lens, and their exact depth."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import drjit
import numpy as np

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.evaluation.path_traced.world import World, mi
from fossa_ros.simulation.camera import SimulatedCamera, encoded

BOUNCES = 4
PINHOLE = 1e4  # F-number through which everything is sharp
BRIGHT = 0.8  # linear exposure of the 97th percentile of the pixels


@dataclass(frozen=True)
class View:
    """A camera and its pose.

    Attributes:
        origin, target: (3,) metres in the world, z up: the centre of the lens, and a point on the optical axis.
        camera: geometry and lens; its sensor noise is not used, as the path tracer has its own.
        planes: number of planes of the stack.
    """

    origin: tuple[float, float, float]
    target: tuple[float, float, float]
    camera: SimulatedCamera
    planes: int = 5

    @property
    def axes(self) -> np.ndarray:
        """(3, 3) columns right, down and forward of the image, in the world."""
        forward = np.subtract(self.target, self.origin).astype(np.float64)
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(forward, right), forward], axis=1)

    def resized(self, scale: float) -> View:
        """Return the same view with ``scale`` times the pixels a side."""
        camera = self.camera
        width, height = (round(scale * side) for side in (camera.width, camera.height))
        return replace(self, camera=replace(camera, width=width, height=height, fx=scale * camera.fx))


def use_threads(count: int) -> None:
    """Render with ``count`` threads; 0 is one per core."""
    drjit.set_thread_count(count or os.cpu_count())


def render_path_traced(world: World, view: View, samples: int, seed: int, focus_distances=None):
    """Render ``world`` as a focus stack.

    Args:
        world: the scene.
        view: of the camera.
        samples: light paths per pixel, which determine the noise.
        seed: of the paths; every plane has its own noise.
        focus_distances: metres; by default ``view.planes``, evenly in disparity from the 95 % quantile of the
            scene's disparity to the 5 % quantile.

    Returns:
        The stack, and (H, W) float32 z-depth in metres at the pixel centres, NaN where rays hit nothing.

    Raises:
        InputError: the view shows no surface, or the planes are nearer than the lens can be focused.
    """
    scene, camera = mi.load_dict(world.scene), view.camera
    truth = _seen_depth(scene, view)
    if focus_distances is None:
        far, near = np.quantile(optics.dioptres(truth[np.isfinite(truth)]), (0.05, 0.95))
        focus_distances = optics.dioptre_space(1 / near, 1 / far, view.planes)
    focus_distances = camera.checked_focus(focus_distances)
    light = [_light(scene, view, s, samples, 1000 * seed + n) for n, s in enumerate(focus_distances)]
    planes = tuple(FocusPlane(image, float(s)) for image, s in zip(_exposed(light), focus_distances, strict=True))
    return FocusStack(planes, camera.K, camera.f_number, camera.focal_length), truth


def render_sharp(world: World, view: View, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Render ``world`` through a pinhole.

    Args:
        world, view, samples, seed: as of ``render_path_traced``; aperture and planes of the view do not matter.

    Returns:
        (H, W, 3) uint8 sRGB, and (H, W) float32 z-depth in metres, NaN where rays hit nothing.

    Raises:
        InputError: the view shows no surface.
    """
    scene = mi.load_dict(world.scene)
    truth = _seen_depth(scene, view)
    pinhole = replace(view, camera=replace(view.camera, f_number=PINHOLE))
    return _exposed([_light(scene, pinhole, 1.0, samples, seed)])[0], truth


def _seen_depth(scene, view: View) -> np.ndarray:
    truth = exact_depth(scene, view)
    if not np.isfinite(truth).any():
        raise InputError("The view shows no surface; aim it at some.")
    return truth


def _light(scene, view: View, focus_distance: float, samples: int, seed: int) -> np.ndarray:
    integrator = mi.load_dict({"type": "path", "max_depth": BOUNCES})
    return np.array(mi.render(scene, sensor=_sensor(view, focus_distance, samples), integrator=integrator, seed=seed))


def _exposed(light: list[np.ndarray]) -> list[np.ndarray]:
    """Return images of one exposure, which suits the middle one."""
    gain = BRIGHT / np.percentile(np.max(light[len(light) // 2], axis=2), 97)
    return [encoded(gain * image) for image in light]


def exact_depth(scene, view: View) -> np.ndarray:
    """Return (H, W) float32 z-depth (m) along the pinhole rays through the pixel centres; NaN where they hit nothing.

    One unfiltered ray per pixel, so that no depth lies between foreground and background.
    """
    camera, axes = view.camera, view.axes
    rows, columns = np.mgrid[: camera.height, : camera.width].astype(np.float64)
    rays = np.stack([(columns - camera.K[0, 2]) / camera.fx, (rows - camera.K[1, 2]) / camera.fx, rows * 0 + 1], -1)
    origin = mi.ScalarPoint3f(list(view.origin))
    directions = (rays @ axes.T).reshape(-1, 3)
    # The directions have a z of 1, so that the distance in their units is the z-depth.
    if _one_ray_at_a_time():
        z = [scene.ray_intersect_preliminary(mi.Ray3f(origin, d)).t for d in directions.tolist()]
    else:
        z = scene.ray_intersect_preliminary(mi.Ray3f(mi.Point3f(origin), mi.Vector3f(directions.T))).t
    z = np.array(z, dtype=np.float32).reshape(camera.height, camera.width)
    return np.where(np.isfinite(z), z, np.float32(np.nan))


def _sensor(view, focus_distance, samples):
    camera, axes = view.camera, view.axes
    pose = np.eye(4)
    pose[:3] = np.column_stack([-axes[:, 0], -axes[:, 1], axes[:, 2], view.origin])  # Mitsuba: x left, y up
    # The film of Mitsuba does not move. A focusing lens moves away from the sensor, which magnifies image and blur.
    # The image keeps its scale (registered planes, as in SimulatedCamera); the blur gets its full size.
    aperture = camera.aperture * float(optics.magnification(focus_distance, camera.focal_length))
    sensor = mi.load_dict(
        {
            "type": "thinlens",
            "to_world": mi.ScalarTransform4f(pose),
            "fov": float(np.degrees(2 * np.arctan(camera.width / (2 * camera.fx)))),
            "fov_axis": "x",
            "near_clip": 0.01,
            "far_clip": 1000.0,
            "aperture_radius": aperture / 2,
            "focus_distance": float(focus_distance),
            "sampler": {"type": "multijitter", "sample_count": samples},
            "film": {
                "type": "hdrfilm",
                "width": camera.width,
                "height": camera.height,
                "pixel_format": "rgb",
                "component_format": "float32",
                "rfilter": {"type": "box"},
            },
        }
    )
    if not _one_ray_at_a_time():
        # Values that are not baked into the compiled code, which then serves all planes and views of a scene.
        parameters = mi.traverse(sensor)
        for name in ("to_world", "aperture_radius", "focus_distance"):
            drjit.make_opaque(parameters[name])
            parameters[name] = parameters[name]
        parameters.update()
    return sensor


def _one_ray_at_a_time() -> bool:
    return mi.variant().startswith("scalar")
