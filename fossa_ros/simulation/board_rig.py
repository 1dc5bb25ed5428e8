"""A printed board in front of a lens with secrets: what a calibration with the board is tested against.

A synthetic aperture like ``thin_lens``, but for one board at any pose and a raw image: each pixel's rays start at
points all over the entrance pupil and meet in the plane in focus, on the pixel's chief ray. Blur that varies over a
tilted board, distortion and breathing are exact therefore; each ray samples its own point of the pixel. The entrance
pupil keeps its size, so that a blur disc is fx * pupil * |1/s - 1/Z| px wide with the fx of that focus. There is no
diffraction, no aberration and no shading, and the background is grey.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from scipy.interpolate import RectBivariateSpline

from fossa_ros.calibration.board.artwork import raster
from fossa_ros.calibration.board.board import Board
from fossa_ros.calibration.series import CalibrationFrame, CalibrationSeries
from fossa_ros.core.optics import metres
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.motion_path import Pose
from fossa_ros.simulation.thin_lens import ApertureSamples

WHITE, BLACK, BACKGROUND = 0.75, 0.04, 0.2  # linear light
PAPER_RIM = 6  # mm of white paper around the pattern
TEXELS_PER_MM = 5.0
LEAST_VIEWS, MOST_VIEWS = 16, 64
_GRID = 6  # px between exact rays, from which the others are interpolated
_BEYOND = 0.06  # of the image size: rays are known this far outside, as breathing shows them


@dataclass(frozen=True, eq=False)
class BoardLens:
    """A camera and a lens with secrets.

    Attributes:
        camera: its K and distortion hold at ``reference_power``; breathing, pupil and noise.
        power: dioptres of focus over a command that rises.
        hysteresis: dioptres between the two directions.
        least, greatest: range of the command.
        reference_power: dioptres.
        drift: dioptres per degC above ``ambient``.
        ambient: degC at which ``power`` holds.
        pupil_shift: metres by which the entrance pupil moves towards the scene per dioptre of focus.
    """

    camera: SimulatedCamera
    power: Callable[[float], float]
    hysteresis: float
    least: float
    greatest: float
    reference_power: float
    drift: float = 0.0
    ambient: float = 25.0
    pupil_shift: float = 0.0

    def focus(self, command: float, rising: bool) -> float:
        """Return the true dioptres at a command."""
        return self.power(command) + (-0.5 if rising else 0.5) * self.hysteresis

    @property
    def blur_gain(self) -> float:
        """Diameter of the blur disc per dioptre at the reference focus, px."""
        return self.camera.fx * self.camera.aperture

    def K(self, power: float) -> np.ndarray:
        """Return the (3, 3) intrinsic matrix at a focus, dioptres."""
        return self.camera.K_at(float(metres(power)), float(metres(self.reference_power)))


class BoardRig:
    """Images of a board.

    Args:
        lens: camera and lens.
        board: as it is printed.
        bow: metres by which the middle of the board lies behind its left and right edges.
        seed: of the sensor noise.
    """

    def __init__(self, lens: BoardLens, board: Board, bow: float = 0.0, seed: int = 0):
        self.lens, self.board, self._bow = lens, board, bow
        self._rng = np.random.default_rng(seed)
        print_ = BLACK + (WHITE - BLACK) * raster(board, TEXELS_PER_MM)
        rim = round(PAPER_RIM * TEXELS_PER_MM)
        self._levels = [np.pad(print_, rim, constant_values=WHITE).astype(np.float32)]
        while min(self._levels[-1].shape) > 64:
            self._levels.append(cv2.resize(self._levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
        self._rim = rim
        self._light: dict[tuple, np.ndarray] = {}

    @cached_property
    def _rays(self) -> tuple[RectBivariateSpline, RectBivariateSpline]:
        """Splines of x and y of the chief ray on z = 1, over row and column of the image at the reference focus."""
        camera = self.lens.camera
        columns, rows = (
            np.linspace(-_BEYOND * side, (1 + _BEYOND) * side, round(side / _GRID))
            for side in (camera.width, camera.height)
        )
        pixels = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
        if camera.rectification is not None:
            pixels = camera.rectification.view_pixels(camera.K, pixels)
        points = (pixels - camera.K[:2, 2]) / camera.fx
        shape = len(rows), len(columns)
        return tuple(RectBivariateSpline(rows, columns, points[:, axis].reshape(shape), s=0) for axis in (0, 1))

    def light(self, pose: Pose, power: float) -> np.ndarray:
        """Return the (H, W) float32 linear light of the board at ``pose`` in the camera's frame."""
        key = (round(power, 9), pose.rotation.tobytes(), pose.translation.tobytes())
        if key not in self._light:
            self._light[key] = self._rendered(pose, power)
        return self._light[key]

    def image(self, pose: Pose, power: float) -> np.ndarray:
        """Return the (H, W) uint8 image, with fresh noise."""
        return self.lens.camera.expose(self.light(pose, power)[..., None].copy(), self._rng)[..., 0]

    def sweep(
        self,
        pose: Pose,
        commands: Sequence[float],
        focus: Callable[[int], float] | None = None,
        celsius: Callable[[int], float] | None = None,
    ) -> CalibrationSeries:
        """Return the frames of one sweep.

        ``focus`` may replace the dioptres of the frame of a number; ``celsius`` gives the temperature of the lens then,
        which has no thermometer without it.
        """
        frames = []
        rising = True
        for number, command in enumerate(commands):
            if number and command != commands[number - 1]:
                rising = command > commands[number - 1]
            degrees = None if celsius is None else celsius(number)
            if focus is not None:
                power = focus(number)
            else:
                warmth = 0.0 if degrees is None else degrees - self.lens.ambient
                power = self.lens.focus(command, rising) + self.lens.drift * warmth
            nearer = self.lens.pupil_shift * (power - self.lens.reference_power)
            seen = replace(pose, translation=pose.translation - (0.0, 0.0, nearer)) if nearer else pose
            image = self.image(seen, power)
            frames.append(CalibrationFrame(float(command), lambda image=image: image, degrees))
        return CalibrationSeries(tuple(frames), None)

    def _rendered(self, pose: Pose, power: float) -> np.ndarray:
        camera, lens = self.lens.camera, self.lens
        K = lens.K(power)
        to_reference = camera.K @ np.linalg.inv(K)
        x = np.arange(camera.width) * to_reference[0, 0] + to_reference[0, 2]
        y = np.arange(camera.height) * to_reference[1, 1] + to_reference[1, 2]
        ray_x, ray_y = (spline(y, x).astype(np.float32) for spline in self._rays)
        slopes = [np.gradient(ray) for ray in (ray_x, ray_y)]  # per pixel, down and right
        depth = self.board.corners @ pose.rotation[2] + pose.translation[2]
        widest = K[0, 0] * camera.aperture * np.abs(power - 1 / depth).max()
        pairs = int(np.clip(0.5 * widest**2 + LEAST_VIEWS, LEAST_VIEWS, MOST_VIEWS)) // 2
        texel = depth.min() / K[0, 0] * 1000 * TEXELS_PER_MM / self.board.scale  # of the finest level, per pixel
        level = int(np.clip(np.floor(np.log2(max(texel / 1.5, 1))), 0, len(self._levels) - 1))
        # Places in the pupil come in opposite pairs that share a place in the pixel. Places in pupil and pixel that
        # happen to go together would shift the focus, by hundredths of a dioptre for a few dozen of them.
        samples = ApertureSamples.spiral(pairs)
        half = samples.points * camera.aperture / 2
        points = np.concatenate([half, -half])
        jitter = np.tile(samples.jitter - samples.jitter.mean(axis=0), (2, 1))
        total = np.zeros((camera.height, camera.width), np.float32)
        for (a, b), (right, down) in zip(points, jitter, strict=True):
            rays = [ray + slope[0] * down + slope[1] * right for ray, slope in zip((ray_x, ray_y), slopes, strict=True)]
            across = (rays[0] - np.float32(a * power), rays[1] - np.float32(b * power))
            total += self._seen(pose, np.array([a, b, 0.0]), across, level)
        return total / np.float32(len(points))

    def _seen(self, pose: Pose, eye: np.ndarray, across: tuple[np.ndarray, np.ndarray], level: int) -> np.ndarray:
        """Return the light along rays (x, y, 1) from ``eye``."""
        turn = pose.rotation.T.astype(np.float32)
        origin = pose.rotation.T @ (eye - pose.translation)
        way = [turn[axis, 0] * across[0] + turn[axis, 1] * across[1] + turn[axis, 2] for axis in range(3)]
        length = np.float32(-origin[2]) / way[2]
        x = np.float32(origin[0]) + length * way[0]
        if self._bow:
            half = self.board.size[0] / 2
            for _ in range(3):
                behind = np.float32(self._bow) * (1 - ((x - np.float32(half)) / np.float32(half)) ** 2)
                length = (behind - np.float32(origin[2])) / way[2]
                x = np.float32(origin[0]) + length * way[0]
        y = np.float32(origin[1]) + length * way[1]
        fine = 1000 / self.board.scale * TEXELS_PER_MM
        shrink = 2.0**level
        to_texel = [((axis * np.float32(fine) + self._rim) / shrink - 0.5).astype(np.float32) for axis in (x, y)]
        return cv2.remap(
            self._levels[level], *to_texel, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=BACKGROUND
        )


def facing(
    rig: BoardRig,
    distance: float,
    centre: tuple[float, float] = (0.0, 0.0),
    tilt: tuple[float, float] = (0.0, 0.0),
    roll=0.0,
) -> Pose:
    """Return the pose of a board.

    Args:
        rig: of the board.
        distance: of its middle along the optical axis, metres.
        centre: x / z and y / z of its middle.
        tilt: about the horizontal and the vertical axis, radians.
        roll: in its plane, radians.
    """
    rotation = cv2.Rodrigues(np.array([tilt[0], tilt[1], 0.0]))[0] @ cv2.Rodrigues(np.array([0.0, 0.0, roll]))[0]
    middle = distance * np.array([*centre, 1.0])
    width, height = rig.board.size
    return Pose(rotation, middle - rotation @ np.array([width / 2, height / 2, 0.0]))
