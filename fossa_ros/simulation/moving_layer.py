"""A moving object as one flat layer over a scene rendered in advance."""

from __future__ import annotations

import cv2
import numpy as np

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.simulation.camera import SimulatedCamera, encoded
from fossa_ros.simulation.motion_path import Pose
from fossa_ros.simulation.scenes import Mover, Scene
from fossa_ros.simulation.stack_renderer import true_depth
from fossa_ros.simulation.thin_lens import Synthesis


def plane_homography(K_to: np.ndarray, K_from: np.ndarray, motion: Pose, depth: float) -> np.ndarray:
    """Return the (3, 3) homography between two views of the plane z = depth: K_to (R + t e_z^T / depth) K_from^-1.

    ``motion`` maps points from the first camera's frame to the second's. Exact for that plane, and for everything if
    the motion is a rotation.
    """
    return K_to @ (motion.rotation + np.outer(motion.translation, [0, 0, 1 / depth])) @ np.linalg.inv(K_from)


def interpolated(slices: list[np.ndarray], powers: np.ndarray, power: float) -> np.ndarray:
    """Return the image at ``power`` between uint8 slices at increasing ``powers``; beyond them the last slice."""
    position = float(np.interp(power, powers, np.arange(len(powers))))
    index = min(int(position), len(powers) - 2)
    weight = position - index
    if weight == 0:
        return slices[index]
    return cv2.addWeighted(slices[index], 1 - weight, slices[index + 1], weight, 0)


class MovingLayer:
    """Focus slices of one object with its coverage, drawn at its position on a path.

    Its blurred edge is translucent. Approximations: the object is flat, at its median depth at rest, and faces the
    camera there (a homography moves it); nearer surfaces occlude it with a sharp edge; blending is in sRGB code values.

    Args:
        mover: the object; without its path it must be in view, and what is out of view then is missing later.
        camera: geometry and lens.
        powers: (N,) increasing focus powers in dioptres of the slices.
        views: pinholes across the aperture.
        workers: threads that render.

    Raises:
        InputError: the object at rest is not in view.
    """

    def __init__(self, mover: Mover, camera: SimulatedCamera, powers: np.ndarray, views: int, workers: int):
        self.mover, self.camera, self.powers = mover, camera, powers
        depth = true_depth(Scene(mover.surfaces), camera)
        rows, columns = np.nonzero(np.isfinite(depth))
        if not len(rows):
            raise InputError("The moving object is out of view at rest; place it in view and let its path move it.")
        self.rest_depth = float(np.nanmedian(depth))
        blur = optics.blur_radius(
            self.rest_depth, optics.metres(powers), camera.focal_length, camera.f_number, camera.pixel_size
        )
        edge = int(np.ceil(blur.max())) + 2
        self.left, self.top = int(columns.min()) - edge, int(rows.min()) - edge
        self.width, self.height = int(np.ptp(columns)) + 2 * edge + 1, int(np.ptp(rows)) + 2 * edge + 1
        frame = self.left, self.top, self.width, self.height
        synthesis = Synthesis(camera, optics.metres(powers), views, frame)
        light = synthesis.light(lambda _: mover.surfaces, workers=workers)
        silhouettes = tuple(surface.silhouette() for surface in mover.surfaces)
        coverage = synthesis.light(lambda _: silhouettes, workers=workers)[..., :1]
        self.slices = []
        for lit, covered in zip(light, coverage, strict=True):
            code = encoded(lit / np.maximum(covered, 1e-3))
            premultiplied = np.concatenate([code * covered, 255 * covered], axis=-1)
            self.slices.append(np.rint(premultiplied).astype(np.uint8))
        middle = [self.left + (self.width - 1) / 2, self.top + (self.height - 1) / 2, 1.0]
        self.centre = np.linalg.inv(camera.K) @ middle * self.rest_depth

    def draw(
        self,
        image: np.ndarray,
        power: float,
        pose: Pose,
        time: float,
        K: np.ndarray,
        backdrop_depth: np.ndarray,
        backdrop_warp: np.ndarray,
    ) -> None:
        """Draw the object into ``image`` where it is nearer than the backdrop.

        Args:
            image: (H, W, 3) uint8 RGB, changed in place.
            power: lens position in dioptres.
            pose: camera pose.
            time: seconds, along the mover's path.
            K: (3, 3) intrinsic matrix at this position of the lens.
            backdrop_depth: (H, W) depth of the scene at rest in metres.
            backdrop_warp: homography from the scene's image at rest to ``image``.
        """
        motion = pose.inverse() @ self.mover.path(time)
        depth = float((motion.rotation @ self.centre + motion.translation)[2])
        if depth <= 2 * self.camera.focal_length:
            return
        warp = plane_homography(K, self.camera.K, motion, self.rest_depth)
        to_image = warp @ np.array([[1, 0, self.left], [0, 1, self.top], [0, 0, 1.0]])
        corners = to_image @ [[0, self.width, 0, self.width], [0, 0, self.height, self.height], [1] * 4]
        corners, limit = corners[:2] / corners[2], image.shape[1::-1]
        low = np.clip(np.floor(corners.min(axis=1)), 0, limit).astype(int)
        high = np.clip(np.ceil(corners.max(axis=1)), 0, limit).astype(int)
        if (high <= low).any():
            return
        size, window = tuple(int(side) for side in high - low), np.s_[low[1] : high[1], low[0] : high[0]]
        from_window = np.array([[1, 0, low[0]], [0, 1, low[1]], [0, 0, 1.0]])

        def warped(source, matrix, interpolation, border):
            flags = interpolation | cv2.WARP_INVERSE_MAP
            return cv2.warpPerspective(source, matrix @ from_window, size, flags=flags, borderMode=border)

        # A nearer object is blurred like the object at rest at a focus that is farther by the same dioptres.
        same_blur = power + float(optics.dioptres(self.rest_depth) - optics.dioptres(depth))
        sprite = interpolated(self.slices, self.powers, same_blur)
        sprite = warped(sprite, np.linalg.inv(to_image), cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
        behind = warped(backdrop_depth, np.linalg.inv(backdrop_warp), cv2.INTER_NEAREST, cv2.BORDER_REPLICATE)
        sprite[behind < depth] = 0
        clear = cv2.cvtColor(255 - sprite[..., 3], cv2.COLOR_GRAY2RGB)
        image[window] = cv2.add(cv2.multiply(image[window], clear, scale=1 / 255), sprite[..., :3])

    def travel(self, poses: tuple[Pose, Pose], times: tuple[float, float]) -> float:
        """Return how far the object's centre moves in the image between two poses and times, in pixels."""
        pixels = []
        for pose, time in zip(poses, times, strict=True):
            motion = pose.inverse() @ self.mover.path(time)
            point = self.camera.K @ (motion.rotation @ self.centre + motion.translation)
            pixels.append(point[:2] / max(point[2], self.camera.focal_length))
        return float(np.hypot(*(pixels[1] - pixels[0])))
