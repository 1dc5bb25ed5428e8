"""Focus stacks of simulated scenes with their true depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fossa_ros.errors import InputError
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.motion_path import Path, Pose, still
from fossa_ros.simulation.raycast import Pinhole, cast_depth
from fossa_ros.simulation.scenes import Scene, make_scene
from fossa_ros.simulation.thin_lens import Synthesis
from fossa_ros.stack import FocusPlane, FocusStack


def render_stack(
    scene: Scene | int,
    camera: SimulatedCamera,
    focus_distances,
    *,
    poses: Sequence[Pose] | None = None,
    path: Path = still,
    times: Sequence[float] | None = None,
    exposure: float = 0.0,
    gains: Sequence[float] | None = None,
    rng: np.random.Generator | int | None = None,
    reference: int | None = None,
    views: int = 96,
    workers: int = 1,
) -> tuple[FocusStack, np.ndarray]:
    """Render a focus stack through a thin lens, with its true depth.

    Args:
        scene: a scene, or the seed of one.
        camera: geometry, lens and sensor.
        focus_distances: (N,) metres, one a plane; infinity allowed.
        poses: camera pose of each plane; without them ``path`` says where the camera is at each time.
        path: camera pose over time, followed during the exposure too.
        times: start of each plane's exposure in seconds; all 0 by default. With them planes carry stamps.
        exposure: seconds; what moves meanwhile (path, moving object) is blurred.
        gains: relative exposure of each plane (flicker); all 1 by default.
        rng: generator or seed of the sensor noise; None for an ideal sensor (still 8 bits).
        reference: plane whose pose and time the depth takes; the middle one by default.
        views: pinholes across the aperture, up to 256.
        workers: threads.

    Returns:
        The stack, and (H, W) float32 z-depth in metres at the reference plane's start of exposure, NaN where
        nothing is seen.

    Raises:
        InputError: a focus distance within the focal length, or lists of different lengths.
    """
    scene = make_scene(scene) if isinstance(scene, int | np.integer) else scene
    focus_distances = np.asarray(focus_distances, dtype=np.float64)
    count = len(focus_distances)
    reference = count // 2 if reference is None else reference
    for name, values in (("poses", poses), ("times", times), ("gains", gains)):
        if values is not None and len(values) != count:
            raise InputError(f"{len(values)} {name} were given for {count} focus distances; give one a plane.")
    rng = np.random.default_rng(rng) if isinstance(rng, int | np.integer) else rng
    starts = np.zeros(count) if times is None else np.asarray(times, dtype=np.float64)

    def path_of(plane: int) -> Path:
        return path if poses is None else lambda _: poses[plane]

    light = [None] * count
    for group in _rendered_together(scene, camera, focus_distances, path_of, starts, exposure, reference):
        first = group[0]
        scale = camera.image_scale(focus_distances[first], focus_distances[reference])
        synthesis = Synthesis(replace(camera, fx=camera.fx * scale), focus_distances, views)
        synthesis.radius /= scale
        rendered = synthesis.light(scene.at, path_of(first), starts[first], exposure, group, workers)
        for plane, image in zip(group, rendered, strict=True):
            light[plane] = image
    planes = tuple(
        FocusPlane(
            camera.expose(light[index], rng, 1.0 if gains is None else gains[index]),
            float(focus_distances[index]),
            None if times is None else round(starts[index] * 1e9),
        )
        for index in range(count)
    )
    stack = FocusStack(planes, camera.K, camera.f_number, camera.focal_length, reference)
    return stack, true_depth(scene, camera, path_of(reference)(starts[reference]), starts[reference])


def true_depth(scene: Scene, camera: SimulatedCamera, pose: Pose | None = None, time: float = 0.0) -> np.ndarray:
    """Return (H, W) float32 z-depth in metres at pixel centres, NaN where nothing is seen."""
    return cast_depth(scene.at(time), _pinhole(camera), pose or Pose())


def all_in_focus(
    scene: Scene, camera: SimulatedCamera, pose: Pose | None = None, time: float = 0.0, views: int = 16
) -> np.ndarray:
    """Render the (H, W, 3) uint8 image of a pinhole at the lens centre, averaged over ``views`` points a pixel."""
    pinhole = Synthesis(camera, [np.inf], views)
    pinhole.radius = 0.0
    return camera.expose(pinhole.light(scene.at, lambda _: pose or Pose(), time, 0.0, [0], 1)[0])


def _pinhole(camera: SimulatedCamera) -> Pinhole:
    return Pinhole(camera.width, camera.height, camera.fx, camera.K[0, 2], camera.K[1, 2])


def _rendered_together(scene, camera, focus_distances, path_of, starts, exposure, reference) -> list[list[int]]:
    """Group planes that see the same views: those of one scale, pose and state of the scene."""
    moments = np.linspace(0, exposure, 5)
    groups: list[list[int]] = []
    for plane in range(len(focus_distances)):
        for group in groups:
            first = group[0]
            alike = scene.mover is None or starts[first] == starts[plane]
            alike &= camera.image_scale(focus_distances[plane], focus_distances[first]) == 1.0
            if alike and all(
                path_of(plane)(starts[plane] + t).is_close(path_of(first)(starts[first] + t)) for t in moments
            ):
                group.append(plane)
                break
        else:
            groups.append([plane])
    return groups
