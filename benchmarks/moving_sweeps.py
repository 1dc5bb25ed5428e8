"""Draw sweeps with known motion, against which the motion check is measured.

One view of each scene is rendered wide and at twice the resolution, at every focus distance and focus error. Noise,
flicker and exposure differ in each frame. A camera that turns sees a homography of the wide view, an object that
crosses is drawn as a layer over it (``MovingLayer``), and a camera that walks is rendered pose by pose because of
parallax.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache

import cv2
import numpy as np

from fossa_ros.core import optics
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.simulation import textures
from fossa_ros.simulation.builder import Builder
from fossa_ros.simulation.camera import FULL_SCALE, LIGHT_OF_CODE, SimulatedCamera, encoded
from fossa_ros.simulation.motion_path import (
    Path,
    Pose,
    angular_velocity,
    bump,
    compose,
    drift,
    sinusoid,
    still,
)
from fossa_ros.simulation.moving_layer import MovingLayer
from fossa_ros.simulation.raycast import Pinhole, cast_depth
from fossa_ros.simulation.scenes import Mover, make_scene
from fossa_ros.simulation.stack_renderer import true_depth
from fossa_ros.simulation.thin_lens import Synthesis

CAMERA = SimulatedCamera(width=320, height=240, fx=300.0)
FOCUS = tuple(float(distance) for distance in optics.metres(np.linspace(1 / 0.35, 1 / 6.0, 5)))
FOCUS_ERROR = 0.05
PERIOD = 0.066  # seconds from plane to plane: two frames at 30 Hz
GYRO_PERIOD = 0.005
SWEEP_PERIOD = 0.36  # seconds from sweep to sweep
REFERENCE = 2
NETWORK_SCALE = 518 / CAMERA.height
_MARGIN = 32  # px rendered beyond the view on each side
_FINE = 2  # resolution of the wide views over that of the camera
_VIEWS = 32
_WALKING_VIEWS = 16
_POWERS = np.linspace(0.02, 5.0, 12)  # dioptres of the slices of moving objects
_CROSSERS = 12
_WALKS = 2  # of each scene


class Motion(StrEnum):
    """What moves."""

    NOTHING = "nothing"
    EXPOSURE_STEP = "exposure step"
    DRIFT = "slow drift"
    VIBRATION = "vibration"
    BUMP = "bump"
    TURN = "turn"
    WALKING = "walking pace"
    CROSSING = "person crossing"
    SMALL_MOVER = "small mover"


KNOCKED = 14
"""Sweeps of `ScenePool.knocked`, ..."""
QUIET = 3
"""... of which this many begin before the knock."""
CAMERA_TURNS = (Motion.DRIFT, Motion.VIBRATION, Motion.BUMP, Motion.TURN)
OBJECT_MOVES = (Motion.CROSSING, Motion.SMALL_MOVER)


@dataclass(frozen=True, eq=False)
class MovingSweep:
    """A sweep, the sweeps before it, and the truth.

    Attributes:
        motion: kind of motion.
        before: the sweeps before it, oldest first; may be empty.
        stack: the sweep.
        bookend: another frame at the focus of the first plane, taken after the last.
        unmoved: the sweep without motion, with the same noise model.
        depth: (H, W) true depth of the reference plane's view, metres.
        displacement_px: (N,) largest displacement of each plane relative to the reference plane over the view, px at
            network resolution, without objects that move by themselves.
        moving: (H, W) bool, covered in some plane by an object that moved more than 1.5 px within the sweep.
        mover_px: (N,) displacement of that object in each plane relative to the reference plane, px likewise.
        gyro_ns: (M,) stamps of the gyroscope.
        gyro: (M, 3) rad/s in the camera's frame, with noise and bias.
    """

    motion: Motion
    before: tuple[FocusStack, ...]
    stack: FocusStack
    bookend: FocusPlane
    unmoved: FocusStack
    depth: np.ndarray
    displacement_px: np.ndarray
    moving: np.ndarray
    mover_px: np.ndarray
    gyro_ns: np.ndarray
    gyro: np.ndarray

    @property
    def misalignment_px(self) -> float:
        """Return the largest displacement anywhere in the stack."""
        return float(self.displacement_px.max())

    def is_bad(self, still_px: float = 1.5, moving_share: float = 0.02) -> bool:
        """Return whether the stack must not be used as it is."""
        return self.misalignment_px > still_px or float(self.moving.mean()) > moving_share


class ScenePool:
    """Wide views of scenes without motion, rendered when they are first needed.

    Args:
        scenes: number of scenes; the scene of a sweep is its seed modulo this number.
        first: seed of the first scene.
    """

    def __init__(self, scenes: int = 16, first: int = 100):
        self.seeds = tuple(range(first, first + scenes))
        self.wide = cache(self._wide)
        self.scene = cache(lambda seed: make_scene(seed, detail=1.5 * _FINE * CAMERA.fx))
        self.depth = cache(lambda seed: true_depth(self.scene(seed), CAMERA))
        self.layer = cache(self._layer)
        self.walk = cache(self._walk)

    def draw(self, seed: int, motion: Motion | None = None) -> MovingSweep:
        """Draw a sweep; the same seed gives the same sweep.

        Args:
            seed: any non-negative integer.
            motion: kind of motion; by default half of the sweeps stand still and the others move in every way.
        """
        rng = np.random.default_rng([seed, 7])
        if motion is None:
            kinds = (Motion.NOTHING, Motion.EXPOSURE_STEP, *CAMERA_TURNS, Motion.WALKING, *OBJECT_MOVES)
            share = [0.4, 0.05, 0.08, 0.08, 0.08, 0.08, 0.05, 0.1, 0.08]
            motion = kinds[rng.choice(len(kinds), p=share)]
        return _Drawing(self, seed, motion, rng).sweep()

    def knocked(self, seed: int) -> tuple[list[FocusStack], np.ndarray]:
        """Draw successive sweeps of a camera at rest that is knocked during the fourth or before it.

        Returns:
            KNOCKED sweeps, and (KNOCKED,) largest true misalignment of each, px at network resolution.
        """
        return _Drawing(self, seed, Motion.BUMP, np.random.default_rng([seed, 23])).knocked()

    def at_focus(self, seed: int, motion: Motion, taken_at: Sequence[int], moves: bool) -> FocusStack:
        """Take a sweep of the scene and sensor of ``draw(seed, motion)`` with a still camera.

        Args:
            seed: as in ``draw``.
            motion: which object is in the scene, if any.
            taken_at: which focus distance of FOCUS the lens truly has in each plane; FOCUS is what the stack states.
            moves: whether that object moves.
        """
        return _Drawing(self, seed, motion, np.random.default_rng([seed, 19])).at_focus(taken_at, moves)

    def _wide(self, seed: int) -> np.ndarray:
        """Return (3, N, H, W, 3) uint8 sRGB: too near, right and too far, for each plane."""
        fine = _fine_camera()
        distances = np.outer([1 - FOCUS_ERROR, 1.0, 1 + FOCUS_ERROR], FOCUS).ravel()
        edge = _FINE * _MARGIN
        frame = (-edge, -edge, fine.width + 2 * edge, fine.height + 2 * edge)
        light = Synthesis(fine, distances, _VIEWS, frame).light(lambda _: self.scene(seed).surfaces)
        return np.stack([encoded(each) for each in light]).reshape(3, len(FOCUS), *light.shape[1:])

    def _layer(self, motion: Motion, index: int) -> MovingLayer:
        rng = np.random.default_rng([index, 11])
        build = Builder(rng)
        if motion is Motion.CROSSING:
            z = rng.uniform(0.7, 2.0)
            height = rng.uniform(0.35, 0.75) * z * CAMERA.height / CAMERA.fx
            width = height * rng.uniform(0.3, 0.6)
            body = build.card((0, 0.15 * height, z), (width, 0.7 * height), textures.OBJECTS)
            surfaces = (body, build.ball(np.array([0, -0.32 * height, z]), 0.17 * height))
        else:
            z = rng.uniform(0.4, 1.5)
            size = rng.uniform(0.2, 0.4, 2) * z * CAMERA.height / CAMERA.fx
            surfaces = (build.card((0, 0, z), size, textures.OBJECTS),)
        return MovingLayer(Mover(surfaces), CAMERA, _POWERS, 24, 1)

    def _walk(self, seed: int, index: int) -> tuple[list[np.ndarray], Path]:
        """Return the light of each plane and the path of a camera that walks through a scene."""
        rng = np.random.default_rng([seed, index, 13])
        speed = np.exp(rng.uniform(np.log(0.03), np.log(1.2)))
        heading = np.array([0, 0, rng.choice([0.0, 1.0, 1.0])]) + rng.normal(0, 0.5, 3)
        sway = rng.normal(0, 0.5, 3) * [0.012, 0.006, 0.004] * min(1.0, speed)
        path = compose(
            drift(velocity=speed * heading / np.linalg.norm(heading)),
            sinusoid(rotation=sway, frequency=1.9, phase=rng.uniform(0, 6)),
        )
        path = _from_reference(path)
        surfaces = make_scene(seed, detail=1.5 * CAMERA.fx).surfaces
        light = [
            Synthesis(CAMERA, [distance], _WALKING_VIEWS).light(lambda _: surfaces, path, start, 0.004)[0]
            for distance, start in zip(FOCUS, _times(), strict=True)
        ]
        return light, path


def _fine_camera() -> SimulatedCamera:
    return SimulatedCamera(width=_FINE * CAMERA.width, height=_FINE * CAMERA.height, fx=_FINE * CAMERA.fx)


def _times() -> np.ndarray:
    """Return the start of each plane's exposure in seconds, the reference plane's at 0."""
    return (np.arange(len(FOCUS)) - REFERENCE) * PERIOD


def _from_reference(path: Path) -> Path:
    """Return a path as seen from where it is at time 0."""
    origin = path(0.0).inverse()
    return lambda time: origin @ path(time)


@dataclass
class _Drawing:
    """The random draws of one sweep."""

    pool: ScenePool
    seed: int
    motion: Motion
    rng: np.random.Generator

    def sweep(self) -> MovingSweep:
        rng, pool = self.rng, self.pool
        seed = self._begin()
        path, light = self._path(), None
        if self.motion is Motion.WALKING:
            light, path = pool.walk(seed, int(rng.integers(_WALKS)))
        if self.motion in OBJECT_MOVES:
            self._choose_mover(seed)
        history = rng.choice(["none", "still", "moving"], p=[0.1, 0.55, 0.35])
        before = ()
        if history != "none":
            moves = history == "moving" and self.motion is not Motion.WALKING
            count = 1 + int(rng.integers(2))
            before = tuple(
                self._stack(seed, path if moves else still, -SWEEP_PERIOD * age, moves, backwards=age % 2 == 1)
                for age in range(count, 0, -1)
            )
        stack = self._stack(seed, path, 0.0, True, light=light, step=self.motion is Motion.EXPOSURE_STEP)
        bookend = self._plane(seed, path, len(FOCUS), 0, 0.0, True, 1.0)
        depth = pool.depth(seed)
        moving, mover_px, depth = self._moving(depth)
        gyro_ns, gyro = self._gyro(path)
        return MovingSweep(
            self.motion,
            before,
            stack,
            bookend,
            self._stack(seed, still, 0.0, False),
            depth,
            np.array([_displacement(path(time), pool.depth(seed)) for time in _times()]),
            moving,
            mover_px,
            gyro_ns,
            gyro,
        )

    def _begin(self) -> int:
        """Draw the sensor; return the seed of the scene."""
        rng = self.rng
        self.sensor = SimulatedCamera(
            CAMERA.width, CAMERA.height, CAMERA.fx, full_well=rng.choice([2500.0, 5000.0, 10000.0])
        )
        self.flicker = rng.choice([0.0, 0.03])
        self.errs = rng.random() < 0.5
        self.mover_path = None
        return self.pool.seeds[self.seed % len(self.pool.seeds)]

    def knocked(self) -> tuple[list[FocusStack], np.ndarray]:
        rng, seed = self.rng, self._begin()
        axis = rng.normal(0, 1, 3) * [1, 1, 0.3]
        swing = np.exp(rng.uniform(np.log(5), np.log(75))) / (CAMERA.fx * NETWORK_SCALE)
        at = _times()[0] + SWEEP_PERIOD * rng.uniform(0, 1)
        rotation = axis / np.linalg.norm(axis) * swing
        path = bump(at, rotation, frequency=rng.uniform(3, 8), decay=rng.uniform(0.05, 0.25))
        stacks, misalignment = [], []
        for number in range(KNOCKED):
            since = SWEEP_PERIOD * (number - QUIET)
            stacks.append(self._stack(seed, path, since, True, backwards=number % 2 == 1))
            seen = [path(since).inverse() @ path(since + time) for time in _times()]
            misalignment.append(max(_displacement(pose, self.pool.depth(seed)) for pose in seen))
        return stacks, np.array(misalignment)

    def at_focus(self, taken_at: Sequence[int], moves: bool) -> FocusStack:
        seed = self._begin()
        if moves:
            self._choose_mover(seed)
        planes = (
            replace(self._plane(seed, still, taken, index, 0.0, moves, 1.0), focus_distance=FOCUS[taken])
            for taken, index in enumerate(taken_at)
        )
        return FocusStack(tuple(planes), K=CAMERA.K, f_number=CAMERA.f_number, focal_length=CAMERA.focal_length)

    def _path(self) -> Path:
        """Draw the camera's path: rotations, sized in px at network resolution."""
        rng = self.rng
        px = 1 / (CAMERA.fx * NETWORK_SCALE)
        axis = rng.normal(0, 1, 3) * [1, 1, 0.3]
        axis /= np.linalg.norm(axis)
        span = PERIOD * (len(FOCUS) - 1)

        def size(low, high):
            return px * np.exp(rng.uniform(np.log(low), np.log(high)))

        match self.motion:
            case Motion.DRIFT:
                path = drift(angular_velocity=axis * size(0.3, 12) / span)
            case Motion.TURN:
                path = drift(angular_velocity=axis * size(6, 60) / span)
            case Motion.VIBRATION:
                frequency = np.exp(rng.uniform(np.log(3), np.log(40)))
                path = sinusoid(rotation=axis * size(0.2, 8), frequency=frequency, phase=rng.uniform(0, 6))
            case Motion.BUMP:
                at = rng.uniform(_times()[0], _times()[-1] - 0.02)
                path = bump(at, rotation=axis * size(1, 40), frequency=rng.uniform(3, 8))
            case _:
                return still
        return _from_reference(path)

    def _choose_mover(self, seed: int) -> None:
        rng = self.rng
        self.layer = self.pool.layer(self.motion, int(rng.integers(_CROSSERS)))
        z = self.layer.rest_depth
        half = 0.5 * z * np.array([CAMERA.width, CAMERA.height]) / CAMERA.fx
        low = 0.35 if self.motion is Motion.CROSSING else 0.7
        start = rng.uniform(-low, low, 2) * half * [1, 1 if self.motion is Motion.SMALL_MOVER else 0.2]
        speed = np.exp(rng.uniform(np.log(0.05), np.log(1.3)))
        velocity = rng.normal(0, 1, 3) * [1, 0.25, 0.15]
        velocity *= speed / np.linalg.norm(velocity)
        self.mover_path = lambda time: Pose(translation=np.array([*start, 0.0]) + velocity * time)
        self.layer.mover = Mover(self.layer.mover.surfaces, self.mover_path)

    def _stack(self, seed, path, since, moves, *, backwards=False, light=None, step=False) -> FocusStack:
        order = range(len(FOCUS))[::-1] if backwards else range(len(FOCUS))
        changed = self.rng.integers(1, len(FOCUS)) if step else len(FOCUS)
        factor = np.exp(self.rng.uniform(-0.4, 0.25))
        planes = tuple(
            self._plane(
                seed, path, taken, index, since, moves, factor if taken >= changed else 1.0, light and light[index]
            )
            for taken, index in enumerate(order)
        )
        return FocusStack(planes, K=CAMERA.K, f_number=CAMERA.f_number, focal_length=CAMERA.focal_length)

    def _plane(self, seed, path, taken, index, since, moves, gain, light=None) -> FocusPlane:
        rng = self.rng
        time = since + (taken - REFERENCE) * PERIOD
        error = int(rng.integers(3)) if self.errs else 1
        if light is None:
            pose = path(time)
            image = _turned(self.pool.wide(seed)[error, index], pose)
            if moves and self.mover_path is not None:
                warp = CAMERA.K @ pose.rotation.T @ np.linalg.inv(CAMERA.K)
                power = float(optics.dioptres(FOCUS[index] * (1 + FOCUS_ERROR * (error - 1))))
                self.layer.draw(image, power, pose, time, CAMERA.K, self.pool.depth(seed), warp)
            light = LIGHT_OF_CODE.take(image) / np.float32(FULL_SCALE)
        gain *= 1 + rng.uniform(-self.flicker, self.flicker)
        stamp = round((time + 100.0) * 1e9)
        return FocusPlane(self.sensor.expose(light, rng, gain), FOCUS[index], stamp)

    def _moving(self, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the area the mover covers, its displacement in each plane, and the depth with it."""
        moving, mover_px = np.zeros(depth.shape, bool), np.zeros(len(FOCUS))
        if self.mover_path is None:
            return moving, mover_px, depth
        pinhole = Pinhole(CAMERA.width, CAMERA.height, CAMERA.fx, CAMERA.K[0, 2], CAMERA.K[1, 2])
        covers = []
        for time in _times():
            seen = cast_depth(self.layer.mover.at(time), pinhole, Pose())
            with np.errstate(invalid="ignore"):
                covers.append((seen < depth, seen))
        here, seen = covers[REFERENCE]
        for plane, ((there, _), time) in enumerate(zip(covers, _times(), strict=True)):
            mover_px[plane] = self.layer.travel((Pose(), Pose()), (0.0, time)) * NETWORK_SCALE
            if mover_px[plane] > 1.5:
                moving |= here | there
        return moving, mover_px, np.where(here, seen, depth).astype(np.float32)

    def _gyro(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        times = np.arange(_times()[0] - 0.05, _times()[-1] + 0.1, GYRO_PERIOD)
        bias = self.rng.normal(0, 0.005, 3)
        rates = np.array([angular_velocity(path, time) for time in times]) + bias
        rates += self.rng.normal(0, 0.004, rates.shape)
        return np.rint((times + 100.0) * 1e9).astype(np.int64), rates


def _turned(wide: np.ndarray, pose: Pose) -> np.ndarray:
    """Return the (H, W, 3) view of a camera that turned, cut out of a wide view."""
    fine = _fine_camera()
    turn = fine.K @ pose.rotation @ np.linalg.inv(fine.K)  # pixel of the turned view to pixel of the straight one
    edge = _FINE * _MARGIN
    cut = np.array([[1, 0, edge], [0, 1, edge], [0, 0, 1.0]]) @ turn
    size, flags = (fine.width, fine.height), cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    view = cv2.warpPerspective(wide, cut, size, flags=flags, borderMode=cv2.BORDER_REFLECT)
    return cv2.resize(view, (CAMERA.width, CAMERA.height), interpolation=cv2.INTER_AREA)


def _displacement(pose: Pose, depth: np.ndarray) -> float:
    """Return the largest displacement (network px) of what the reference view sees when the camera is at ``pose``."""
    x, y = np.meshgrid(np.arange(0, CAMERA.width, 4), np.arange(0, CAMERA.height, 4))
    z = depth[::4, ::4].astype(np.float64)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(CAMERA.K).T
    there = pose.inverse()
    moved = (rays * z[..., None]) @ there.rotation.T + there.translation
    with np.errstate(invalid="ignore", divide="ignore"):
        pixels = moved[..., :2] / moved[..., 2:] * CAMERA.fx + CAMERA.K[:2, 2]
        shift = np.hypot(pixels[..., 0] - x, pixels[..., 1] - y)
    within = np.isfinite(shift) & (np.abs(pixels - CAMERA.K[:2, 2]) <= CAMERA.K[:2, 2]).all(axis=-1)
    return float(shift[within].max() * NETWORK_SCALE) if within.any() else np.inf
