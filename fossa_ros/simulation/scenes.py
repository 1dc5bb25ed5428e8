"""Scenes: textured rooms, tables, cards and corridors, drawn by seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from fossa_ros.simulation import textures
from fossa_ros.simulation.motion_path import Path, rotation_matrix, rotation_vector, still
from fossa_ros.simulation.raycast import Rectangle, Sphere, Surface

TEXELS_PER_RADIAN = 900.0
"""Texture resolution seen from the origin: about 1.5 texels a pixel for cameras of fx = 600 px."""
LARGEST_TEXTURE = 2048
LIGHT = np.array([0.4, -0.8, -0.45])  # towards the lamp: from above, the right and behind the camera


@dataclass(frozen=True)
class Mover:
    """An object that moves: its surfaces at rest, carried by a path."""

    surfaces: tuple[Surface, ...]
    path: Path = still

    def at(self, time: float) -> tuple[Surface, ...]:
        """Return the surfaces where they are at ``time`` (s)."""
        pose = self.path(time)
        return tuple(surface.moved(pose) for surface in self.surfaces)


@dataclass(frozen=True)
class Scene:
    """A world in the frame of the camera's first pose (x right, y down, z forward, metres).

    Attributes:
        surfaces: what stands still.
        mover: one object that moves, None for none.
        name: what it is, for reports.
    """

    surfaces: tuple[Surface, ...]
    mover: Mover | None = None
    name: str = ""

    def at(self, time: float) -> tuple[Surface, ...]:
        """Return every surface where it is at ``time`` (s)."""
        return self.surfaces if self.mover is None else self.surfaces + self.mover.at(time)

    def with_mover(self, mover: Mover | None) -> Scene:
        """Return the same scene with another moving object."""
        return replace(self, mover=mover)


def make_scene(seed: int, kind: str | None = None) -> Scene:
    """Draw a scene; the same seed gives the same scene.

    Args:
        seed: any non-negative integer.
        kind: one of KINDS; by default they take turns with the seed.
    """
    names = list(KINDS)
    kind = kind or names[seed % len(names)]
    surfaces = KINDS[kind](np.random.default_rng(seed))
    return Scene(tuple(sorted(surfaces, key=_nearness)), name=f"{kind} {seed}")


def card_mover(
    seed: int = 0, centre=(0.0, 0.0, 1.2), size=(0.35, 0.45), path: Path = still, turn=(0.0, 0.0, 0.0)
) -> Mover:
    """Draw a textured card that moves along ``path``, facing the camera unless turned by ``turn`` (rad)."""
    rng = np.random.default_rng(seed)
    return Mover((card(rng, np.asarray(centre, float), size, textures.OBJECTS, turn),), path)


def card(rng, centre, size, painters, turn=(0.0, 0.0, 0.0), one_sided=False) -> Rectangle:
    """Return a textured rectangle of ``size`` (width, height; m) about ``centre``; ``turn`` in radians."""
    rotation = rotation_matrix(turn)
    edge_x, edge_y = rotation[:, 0] * size[0], rotation[:, 1] * size[1]
    corner = np.asarray(centre, float) - edge_x / 2 - edge_y / 2
    return rectangle(rng, corner, edge_x, edge_y, painters, one_sided)


def rectangle(rng, corner, edge_x, edge_y, painters, one_sided=False) -> Rectangle:
    """Return a rectangle painted by one of ``painters``, as finely as its nearest part needs, and shaded."""
    size = np.array([np.linalg.norm(edge_x), np.linalg.norm(edge_y)])
    seen_from = _nearest_depth(corner, edge_x, edge_y)
    texel = max(seen_from / TEXELS_PER_RADIAN, size.max() / LARGEST_TEXTURE)
    width, height = np.maximum(np.ceil(size / texel).astype(int), 4)
    painter: Callable = painters[rng.integers(len(painters))]
    texture = painter(rng, int(height), int(width), texel)
    texture = textures.quantised(texture * _shading(rng, edge_x, edge_y, int(height), int(width)))
    corner, edge_x, edge_y = (np.asarray(vector, float) for vector in (corner, edge_x, edge_y))
    return Rectangle(corner, edge_x, edge_y, texture, one_sided)


def box(rng, centre, size, painters, turn=(0.0, 0.0, 0.0)) -> list[Rectangle]:
    """Return the six faces of a box of ``size`` (x, y, z; m) that can be seen from outside."""
    rotation, (width, height, depth) = rotation_matrix(turn), size
    x, y, z = rotation[:, 0] * width, rotation[:, 1] * height, rotation[:, 2] * depth
    painter = (painters[rng.integers(len(painters))],)
    faces = [
        (-x - y - z, x, y),  # front
        (x - y + z, -x, y),  # back
        (-x - y + z, -z, y),  # left
        (x - y - z, z, y),  # right
        (-x - y + z, x, -z),  # top
        (-x + y - z, x, z),  # bottom
    ]
    centre = np.asarray(centre, float)
    return [rectangle(rng, centre + c / 2, ex, ey, painter, one_sided=True) for c, ex, ey in faces]


def ball(rng, centre, radius, painters=textures.OBJECTS) -> Sphere:
    """Return a textured, shaded sphere."""
    centre = np.asarray(centre, float)
    texel = max(centre[2] - radius, 0.3) / TEXELS_PER_RADIAN
    height = int(np.clip(np.pi * radius / texel, 16, LARGEST_TEXTURE // 2))
    painter = painters[rng.integers(len(painters))]
    texture = painter(rng, height, 2 * height, np.pi * radius / height)
    return Sphere(centre, radius, texture, LIGHT / np.linalg.norm(LIGHT))


def room(rng, half_width, floor, ceiling, far, painters, turn=(0.0, 0.0, 0.0)) -> list[Rectangle]:
    """Return floor, ceiling, side walls and far wall around the camera, turned about it.

    ``painters`` are those of the floor, the walls and the far wall; the box reaches 0.5 m behind the camera.
    """
    rotation, near = rotation_matrix(turn), -0.5
    wide, deep, tall = (2 * half_width, 0, 0), (0, 0, far - near), (0, floor + ceiling, 0)
    floors, walls, backs = painters
    sides = [
        ((-half_width, floor, near), wide, deep, floors),
        ((-half_width, -ceiling, near), wide, deep, textures.WEAK),
        ((-half_width, -ceiling, near), deep, tall, walls),
        ((half_width, -ceiling, near), deep, tall, walls),
        ((-half_width, -ceiling, far), wide, tall, backs),
    ]
    return [rectangle(rng, rotation @ c, rotation @ x, rotation @ y, painter) for c, x, y, painter in sides]


def _living_room(rng) -> list[Surface]:
    """A room with furniture, pictures, balls and a pole, 0.7 to 6 m."""
    turn = np.array([rng.uniform(0.02, 0.15), rng.uniform(-0.35, 0.35), 0])
    tilt = rotation_matrix(turn)
    floor, far, half = rng.uniform(0.7, 1.2), rng.uniform(3.5, 5.2), rng.uniform(1.6, 2.4)
    things = room(rng, half, floor, 1.5, far, (textures.FLOORS, textures.WALLS, textures.WALLS), turn)
    for _ in range(rng.integers(2, 5)):  # pictures on the far wall
        size = rng.uniform(0.4, 1.0, 2)
        place = tilt @ [rng.uniform(-half, half) * 0.7, rng.uniform(-0.9, 0.3), far - 0.03]
        things.append(card(rng, place, size, textures.OBJECTS, turn))
    for _ in range(rng.integers(5, 9)):  # furniture
        size = rng.uniform([0.2, 0.2, 0.2], [0.7, 1.0, 0.6])
        z = rng.uniform(1.3, far - 0.5)
        place = np.array([rng.uniform(-0.5, 0.5) * z, floor - size[1] / 2, z])
        spin = tilt @ rotation_matrix([0, rng.uniform(-0.8, 0.8), 0])
        things += box(rng, tilt @ place, size, textures.OBJECTS, rotation_vector(spin))
        if rng.random() < 0.5:  # something stands on it
            radius = rng.uniform(0.07, 0.16)
            things.append(ball(rng, tilt @ (place - [0, size[1] / 2 + radius, 0]), radius))
    z = rng.uniform(0.9, 1.6)
    pole = np.array([rng.choice([-1, 1]) * rng.uniform(0.15, 0.4) * z, (floor - 1.5) / 2, z])
    things += box(rng, tilt @ pole, (0.04, floor + 1.5, 0.04), (textures.fabric, textures.granite), turn)
    near = np.array([rng.uniform(-0.25, 0.25), rng.uniform(-0.1, 0.3), rng.uniform(0.7, 1.1)])
    things.append(ball(rng, near, rng.uniform(0.05, 0.12)))
    return things


def _table(rng) -> list[Surface]:
    """A table top with small things from 0.3 m, a wall behind."""
    pitch = rng.uniform(0.25, 0.5)
    turn = np.array([pitch, rng.uniform(-0.2, 0.2), 0])
    tilt = rotation_matrix(turn)
    far, top = rng.uniform(2.0, 4.0), rng.uniform(0.24, 0.34)
    things = room(rng, 2.2, 1.1, 1.8, far, (textures.FLOORS, textures.WALLS, textures.WALLS), turn)
    table = np.array([-0.8, top, 0.25]), np.array([1.6, 0, 0]), np.array([0, 0, 1.1])
    tops = (textures.planks, textures.granite, textures.fabric)
    things.append(rectangle(rng, *(tilt @ vector for vector in table), tops))
    for _ in range(rng.integers(7, 12)):
        z = rng.uniform(0.5, 1.2)
        x = rng.uniform(-0.5, 0.5) * z
        draw = rng.random()
        if draw < 0.5:
            size = rng.uniform([0.05, 0.04, 0.05], [0.16, 0.22, 0.14])
            spin = tilt @ rotation_matrix([0, rng.uniform(-1.2, 1.2), 0])
            things += box(rng, tilt @ [x, top - size[1] / 2, z], size, textures.OBJECTS, rotation_vector(spin))
        elif draw < 0.8:
            radius = rng.uniform(0.03, 0.08)
            things.append(ball(rng, tilt @ [x, top - radius, z], radius))
        else:  # a rod
            height = rng.uniform(0.15, 0.4)
            things += box(rng, tilt @ [x, top - height / 2, z], (0.012, height, 0.012), textures.OBJECTS, turn)
    z = rng.uniform(0.34, 0.48)
    hanging = (rng.choice([-1, 1]) * rng.uniform(0.3, 0.45) * z, rng.uniform(-0.3, 0.1) * z, z)
    things.append(card(rng, hanging, (0.12, 0.16), textures.OBJECTS, rng.uniform(-0.4, 0.4, 3)))
    return things


def _cards(rng) -> list[Surface]:
    """Tilted cards at all distances before a tilted wall."""
    far = rng.uniform(3.5, 5.0)
    turn = rng.uniform([-0.15, -0.4, -0.1], [0.15, 0.4, 0.1])
    things = [card(rng, (0, 0, far), (12, 9), textures.WALLS, turn)]
    for power in rng.uniform(1 / (far - 1.2), 1 / 0.35, 16):
        z = 1 / power
        place = (rng.uniform(-0.55, 0.55) * z, rng.uniform(-0.42, 0.42) * z, z)
        size = np.minimum(rng.uniform(0.12, 0.35, 2) * z, 0.9)
        painters = textures.WEAK if rng.random() < 0.08 else textures.OBJECTS
        things.append(card(rng, place, size, painters, rng.uniform(-0.7, 0.7, 3)))
    return things


def _corridor(rng) -> list[Surface]:
    """A long corridor with a fence of thin bars, boxes along the walls and a hanging sign."""
    turn = np.array([rng.uniform(-0.05, 0.1), rng.uniform(-0.2, 0.2), 0])
    tilt = rotation_matrix(turn)
    floor, half, far = rng.uniform(0.6, 1.0), rng.uniform(0.9, 1.3), rng.uniform(5.0, 6.0)
    things = room(rng, half, floor, 1.3, far, (textures.FLOORS, textures.WALLS, textures.OBJECTS), turn)
    z, side = rng.uniform(0.8, 1.5), rng.choice([-1, 1])
    for index in range(rng.integers(4, 8)):  # a fence on one side
        place = np.array([side * (0.55 - 0.11 * index) * z, (floor - 0.5) / 2, z])
        things += box(rng, tilt @ place, (0.025, floor + 0.5, 0.025), (textures.fabric, textures.marble), turn)
    rail = np.array([side * 0.35 * z, -0.25 * z, z - 0.03])
    things += box(rng, tilt @ rail, (0.7 * z, 0.03, 0.02), (textures.planks,), turn)
    for z in np.linspace(1.4, far - 0.6, rng.integers(4, 7)):
        size = rng.uniform([0.2, 0.3, 0.2], [0.5, 0.9, 0.5])
        place = np.array([rng.choice([-1, 1]) * (half - size[0] / 2 - 0.02), floor - size[1] / 2, z])
        things += box(rng, tilt @ place, size, textures.OBJECTS, turn)
    sign = tilt @ [rng.uniform(-0.3, 0.3), -0.5, rng.uniform(2.0, 3.5)]
    things.append(card(rng, sign, (0.6, 0.3), (textures.poster,), turn))
    near = tilt @ [-side * 0.25, rng.uniform(0.05, 0.3), rng.uniform(0.6, 1.2)]
    things.append(ball(rng, near, rng.uniform(0.06, 0.1)))
    return things


KINDS: dict[str, Callable] = {"room": _living_room, "table": _table, "cards": _cards, "corridor": _corridor}
"""Kinds of scene by name: each draws a list of surfaces from a numpy Generator."""


def _nearest_depth(corner, edge_x, edge_y) -> float:
    """Return the least distance (m) from the origin to a grid of points on a rectangle, at least 0.3."""
    s, t = np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 9))
    points = np.asarray(corner) + s[..., None] * np.asarray(edge_x) + t[..., None] * np.asarray(edge_y)
    ahead = points[points[..., 2] > 0.2]
    return 0.3 if len(ahead) == 0 else max(0.3, float(np.linalg.norm(ahead, axis=-1).min()))


def _shading(rng, edge_x, edge_y, height, width) -> np.ndarray:
    """Return (height, width, 1) float32 brightness: a lamp on the camera's side, a soft gradient."""
    normal = np.cross(edge_x, edge_y)
    normal = -normal * np.sign(normal[2] or 1.0) / np.linalg.norm(normal)
    lit = 0.62 + 0.38 * abs(float(normal @ LIGHT)) / np.linalg.norm(LIGHT)
    along, down = rng.uniform(-0.12, 0.12, 2)
    gradient = 1 + along * np.linspace(-1, 1, width)[None, :] + down * np.linspace(-1, 1, height)[:, None]
    return (lit * gradient).astype(np.float32)[..., None]


def _nearness(surface: Surface) -> float:
    """Order surfaces roughly front to back, so that hidden ones are skipped early."""
    if isinstance(surface, Sphere):
        return float(surface.centre[2] - surface.radius)
    return float((surface.corner + (surface.edge_x + surface.edge_y) / 2)[2])
