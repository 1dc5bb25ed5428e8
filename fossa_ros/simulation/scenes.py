"""Scenes: random textured rooms, tables, cards and corridors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.simulation import textures
from fossa_ros.simulation.builder import DETAIL, Builder
from fossa_ros.simulation.motion_path import Path, rotation_matrix, rotation_vector, still
from fossa_ros.simulation.raycast import Sphere, Surface


@dataclass(frozen=True)
class Mover:
    """A moving object: its surfaces at rest, and a path."""

    surfaces: tuple[Surface, ...]
    path: Path = still

    def at(self, time: float) -> tuple[Surface, ...]:
        """Return the surfaces at ``time`` (s)."""
        pose = self.path(time)
        return tuple(surface.moved(pose) for surface in self.surfaces)


@dataclass(frozen=True)
class Scene:
    """A world in the frame of the camera's first pose (x right, y down, z forward, metres).

    Attributes:
        surfaces: what does not move.
        mover: one moving object, None for none.
        name: kind and seed, for reports.
    """

    surfaces: tuple[Surface, ...]
    mover: Mover | None = None
    name: str = ""

    def at(self, time: float) -> tuple[Surface, ...]:
        """Return all surfaces at ``time`` (s)."""
        return self.surfaces if self.mover is None else self.surfaces + self.mover.at(time)

    def with_mover(self, mover: Mover | None) -> Scene:
        """Return the same scene with another moving object."""
        return replace(self, mover=mover)


def make_scene(seed: int, kind: str | None = None, detail: float = DETAIL) -> Scene:
    """Draw a scene; the same seed gives the same scene.

    Args:
        seed: any non-negative integer.
        kind: one of KINDS; by default the seed chooses, in turn.
        detail: texels per radian seen from the origin; 1.5 times the focal length in pixels is enough, fewer are drawn
            faster. It changes the pattern of the textures, not the geometry.

    Raises:
        InputError: an unknown kind of scene.
    """
    names = list(KINDS)
    kind = kind or names[seed % len(names)]
    if kind not in KINDS:
        raise InputError(f"There is no kind of scene {kind!r}; choose one of {', '.join(names)}.")
    rng = np.random.default_rng(seed)
    surfaces = KINDS[kind](rng, Builder(rng, detail))
    return Scene(tuple(sorted(surfaces, key=_nearness)), name=f"{kind} {seed}")


def _living_room(rng, build: Builder) -> list[Surface]:
    """A room with furniture, pictures, balls and a pole, 0.7 to 6 m."""
    turn = np.array([rng.uniform(0.02, 0.15), rng.uniform(-0.35, 0.35), 0])
    tilt = rotation_matrix(turn)
    floor, far, half = rng.uniform(0.7, 1.2), rng.uniform(3.5, 5.2), rng.uniform(1.6, 2.4)
    things = build.room(half, floor, 1.5, far, (textures.FLOORS, textures.WALLS, textures.WALLS), turn)
    for _ in range(rng.integers(2, 5)):  # pictures on the far wall
        size = rng.uniform(0.4, 1.0, 2)
        place = tilt @ [rng.uniform(-half, half) * 0.7, rng.uniform(-0.9, 0.3), far - 0.03]
        things.append(build.card(place, size, textures.OBJECTS, turn))
    for _ in range(rng.integers(5, 9)):  # furniture
        size = rng.uniform([0.2, 0.2, 0.2], [0.7, 1.0, 0.6])
        z = rng.uniform(1.3, far - 0.5)
        place = np.array([rng.uniform(-0.5, 0.5) * z, floor - size[1] / 2, z])
        spin = tilt @ rotation_matrix([0, rng.uniform(-0.8, 0.8), 0])
        things += build.box(tilt @ place, size, textures.OBJECTS, rotation_vector(spin))
        if rng.random() < 0.5:  # something stands on it
            radius = rng.uniform(0.07, 0.16)
            things.append(build.ball(tilt @ (place - [0, size[1] / 2 + radius, 0]), radius))
    z = rng.uniform(0.9, 1.6)
    pole = np.array([rng.choice([-1, 1]) * rng.uniform(0.15, 0.4) * z, (floor - 1.5) / 2, z])
    things += build.box(tilt @ pole, (0.04, floor + 1.5, 0.04), (textures.fabric, textures.granite), turn)
    near = np.array([rng.uniform(-0.25, 0.25), rng.uniform(-0.1, 0.3), rng.uniform(0.7, 1.1)])
    things.append(build.ball(near, rng.uniform(0.05, 0.12)))
    return things


def _table(rng, build: Builder) -> list[Surface]:
    """A table top with small things from 0.3 m, a wall behind."""
    pitch = rng.uniform(0.25, 0.5)
    turn = np.array([pitch, rng.uniform(-0.2, 0.2), 0])
    tilt = rotation_matrix(turn)
    far, top = rng.uniform(2.0, 4.0), rng.uniform(0.24, 0.34)
    things = build.room(2.2, 1.1, 1.8, far, (textures.FLOORS, textures.WALLS, textures.WALLS), turn)
    corner, edge_x, edge_y = tilt @ [-0.8, top, 0.25], tilt @ [1.6, 0, 0], tilt @ [0, 0, 1.1]
    things.append(build.rectangle(corner, edge_x, edge_y, (textures.planks, textures.granite, textures.fabric)))
    for _ in range(rng.integers(7, 12)):
        z = rng.uniform(0.5, 1.2)
        x = rng.uniform(-0.5, 0.5) * z
        draw = rng.random()
        if draw < 0.5:
            size = rng.uniform([0.05, 0.04, 0.05], [0.16, 0.22, 0.14])
            spin = tilt @ rotation_matrix([0, rng.uniform(-1.2, 1.2), 0])
            things += build.box(tilt @ [x, top - size[1] / 2, z], size, textures.OBJECTS, rotation_vector(spin))
        elif draw < 0.8:
            radius = rng.uniform(0.03, 0.08)
            things.append(build.ball(tilt @ [x, top - radius, z], radius))
        else:  # a rod
            height = rng.uniform(0.15, 0.4)
            things += build.box(tilt @ [x, top - height / 2, z], (0.012, height, 0.012), textures.OBJECTS, turn)
    z = rng.uniform(0.34, 0.48)
    hanging = (rng.choice([-1, 1]) * rng.uniform(0.3, 0.45) * z, rng.uniform(-0.3, 0.1) * z, z)
    things.append(build.card(hanging, (0.12, 0.16), textures.OBJECTS, rng.uniform(-0.4, 0.4, 3)))
    return things


def _cards(rng, build: Builder) -> list[Surface]:
    """Tilted cards at all distances in front of a tilted wall."""
    far = rng.uniform(3.5, 5.0)
    turn = rng.uniform([-0.15, -0.4, -0.1], [0.15, 0.4, 0.1])
    things = [build.card((0, 0, far), (12, 9), textures.WALLS, turn)]
    for power in rng.uniform(1 / (far - 1.2), 1 / 0.35, 16):
        z = 1 / power
        place = (rng.uniform(-0.55, 0.55) * z, rng.uniform(-0.42, 0.42) * z, z)
        size = np.minimum(rng.uniform(0.12, 0.35, 2) * z, 0.9)
        painters = textures.WEAK if rng.random() < 0.08 else textures.OBJECTS
        things.append(build.card(place, size, painters, rng.uniform(-0.7, 0.7, 3)))
    return things


def _corridor(rng, build: Builder) -> list[Surface]:
    """A long corridor with a fence of thin bars, boxes along the walls and a hanging sign."""
    turn = np.array([rng.uniform(-0.05, 0.1), rng.uniform(-0.2, 0.2), 0])
    tilt = rotation_matrix(turn)
    floor, half, far = rng.uniform(0.6, 1.0), rng.uniform(0.9, 1.3), rng.uniform(5.0, 6.0)
    things = build.room(half, floor, 1.3, far, (textures.FLOORS, textures.WALLS, textures.OBJECTS), turn)
    z, side = rng.uniform(0.8, 1.5), rng.choice([-1, 1])
    for index in range(rng.integers(4, 8)):  # a fence on one side
        place = np.array([side * (0.55 - 0.11 * index) * z, (floor - 0.5) / 2, z])
        things += build.box(tilt @ place, (0.025, floor + 0.5, 0.025), (textures.fabric, textures.marble), turn)
    rail = np.array([side * 0.35 * z, -0.25 * z, z - 0.03])
    things += build.box(tilt @ rail, (0.7 * z, 0.03, 0.02), (textures.planks,), turn)
    for z in np.linspace(1.4, far - 0.6, rng.integers(4, 7)):
        size = rng.uniform([0.2, 0.3, 0.2], [0.5, 0.9, 0.5])
        place = np.array([rng.choice([-1, 1]) * (half - size[0] / 2 - 0.02), floor - size[1] / 2, z])
        things += build.box(tilt @ place, size, textures.OBJECTS, turn)
    sign = tilt @ [rng.uniform(-0.3, 0.3), -0.5, rng.uniform(2.0, 3.5)]
    things.append(build.card(sign, (0.6, 0.3), (textures.poster,), turn))
    near = tilt @ [-side * 0.25, rng.uniform(0.05, 0.3), rng.uniform(0.6, 1.2)]
    things.append(build.ball(near, rng.uniform(0.06, 0.1)))
    return things


KINDS: dict[str, Callable] = {"room": _living_room, "table": _table, "cards": _cards, "corridor": _corridor}
"""Kinds of scene by name: each draws a list of surfaces from a numpy Generator."""


def _nearness(surface: Surface) -> float:
    """Return a key that sorts surfaces roughly from front to back, so that hidden ones are skipped early."""
    if isinstance(surface, Sphere):
        return float(surface.centre[2] - surface.radius)
    return float((surface.corner + (surface.edge_x + surface.edge_y) / 2)[2])
