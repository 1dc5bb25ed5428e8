"""Focus stacks of simulated scenes, with their true depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.geometry import scaled_intrinsics
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.distortion import FINE, distorted, margin_of, pinhole_pixels
from fossa_ros.simulation.motion_path import Path, Pose, still
from fossa_ros.simulation.raycast import Pinhole, cast_depth
from fossa_ros.simulation.scenes import Scene, make_scene
from fossa_ros.simulation.thin_lens import Synthesis


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
        scene: a scene, or the seed of one, which is drawn as finely as this camera can resolve.
        camera: geometry, lens and sensor; with distortion, the planes are raw images and the depth is that of the
            rectified view.
        focus_distances: (N,) metres, one per plane; infinity allowed.
        poses: camera pose of each plane; without them ``path`` gives the pose at each time.
        path: camera pose over time, also during the exposure.
        times: start of each plane's exposure in seconds, which becomes the plane's stamp; all 0 by default.
        exposure: seconds; motion of camera and object meanwhile is blurred.
        gains: relative exposure of each plane (flicker); all 1 by default.
        rng: generator or seed of the sensor noise; None for an ideal sensor (still 8 bits).
        reference: plane at whose pose and time the depth is given; the middle one by default.
        views: pinholes across the aperture, up to 256.
        workers: threads.

    Returns:
        The stack, and (H, W) float32 z-depth in metres at the reference plane's start of exposure, NaN where
        nothing is hit.

    Raises:
        InputError: a focus distance within the focal length, or lists of different lengths.
    """
    rng = np.random.default_rng(rng) if isinstance(rng, int | np.integer) else rng
    focus_distances = camera.checked_focus(focus_distances)
    count = len(focus_distances)
    reference = count // 2 if reference is None else reference
    for name, values in (("poses", poses), ("times", times), ("gains", gains)):
        if values is not None and len(values) != count:
            raise InputError(f"{len(values)} {name} were given for {count} focus distances; give one per plane.")
    if isinstance(scene, int | np.integer):
        scene = make_scene(scene, detail=1.5 * camera.fx)
    starts = np.zeros(count) if times is None else np.asarray(times, dtype=np.float64)
    paths = [path] * count if poses is None else [lambda _, pose=pose: pose for pose in poses]
    matrices = [camera.K_at(distance, focus_distances[reference]) for distance in focus_distances]

    light = [None] * count
    pixels = pinhole_pixels(camera, FINE)
    margin = 0 if pixels is None else margin_of(pixels, camera)
    for group in _rendered_together(scene, matrices, paths, starts, exposure):
        first = group[0]
        synthesis = _synthesis(camera, focus_distances[group], views, matrices[first], margin)
        images = synthesis.light(scene.at, paths[first], starts[first], exposure, workers)
        for plane, image in zip(group, images, strict=True):
            light[plane] = image if pixels is None else distorted(image, pixels, margin)
    planes = tuple(
        FocusPlane(
            camera.expose(light[plane], rng, 1.0 if gains is None else gains[plane]),
            float(focus_distances[plane]),
            None if times is None else round(starts[plane] * 1e9),
        )
        for plane in range(count)
    )
    stack = FocusStack(
        planes, camera.K, camera.f_number, camera.focal_length, reference, rectification=camera.rectification
    )
    start = float(starts[reference])
    return stack, true_depth(scene, camera, paths[reference](start), start)


def true_depth(scene: Scene, camera: SimulatedCamera, pose: Pose | None = None, time: float = 0.0) -> np.ndarray:
    """Return (H, W) float32 z-depth in metres at pixel centres, seen from the lens centre; NaN where nothing is hit."""
    pinhole = Pinhole(camera.width, camera.height, camera.fx, camera.K[0, 2], camera.K[1, 2])
    return cast_depth(scene.at(time), pinhole, pose or Pose())


def all_in_focus(
    scene: Scene, camera: SimulatedCamera, pose: Pose | None = None, time: float = 0.0, views: int = 16
) -> np.ndarray:
    """Render the (H, W, 3) uint8 view of a pinhole at the lens centre, with ``views`` samples per pixel."""
    stopped_down = Synthesis(replace(camera, f_number=1e9), [np.inf], views)
    return camera.expose(stopped_down.light(scene.at, lambda _: pose or Pose(), start=time)[0])


def _synthesis(camera: SimulatedCamera, focus_distances, views: int, K: np.ndarray, margin: int) -> Synthesis:
    """Return the thin lens of a camera; with a ``margin``, of its pinhole image at FINE times the resolution."""
    if margin == 0:
        return Synthesis(camera, focus_distances, views, K=K)
    size, fine = (camera.height, camera.width), (FINE * camera.height, FINE * camera.width)
    finer = replace(camera, width=fine[1], height=fine[0], fx=FINE * camera.fx, distortion=())
    frame = -FINE * margin, -FINE * margin, fine[1] + 2 * FINE * margin, fine[0] + 2 * FINE * margin
    return Synthesis(finer, focus_distances, views, frame, scaled_intrinsics(K, size, fine))


def _rendered_together(scene, matrices, paths, starts, exposure) -> list[list[int]]:
    """Group planes that share their views: those with the same matrix, pose and state of the scene."""
    moments = np.linspace(0, exposure, 5)
    groups: list[list[int]] = []
    for plane, start in enumerate(starts):
        for group in groups:
            first = group[0]
            alike = np.array_equal(matrices[plane], matrices[first]) and (scene.mover is None or start == starts[first])
            if alike and all(paths[plane](start + t).is_close(paths[first](starts[first] + t)) for t in moments):
                group.append(plane)
                break
        else:
            groups.append([plane])
    return groups
