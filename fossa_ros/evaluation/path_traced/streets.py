"""Streets, and screens in front of any space: facades, awnings and wires, and two depths in one neighbourhood."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fossa_ros.evaluation.path_traced import patterns as p
from fossa_ros.evaluation.path_traced.outdoors import BLUE, leaf
from fossa_ros.evaluation.path_traced.stage import Stage, furnish, place, skin
from fossa_ros.evaluation.path_traced.world import World


def street(w: World) -> Stage:
    """Build a street between facades, which step forward and back, up to a wall or the sky."""
    far, fx = w.log_uniform(4, 18), w.rng.uniform(250, 340)
    near, bare, eye = far * w.rng.uniform(0.08, 0.2), w.rng.uniform(0.1, 0.7), w.rng.uniform(0.6, 1.8)
    stage = Stage(near, far, 160 / fx, lambda x, y: 0.0, bare, eye, fx)
    half = far * w.rng.uniform(0.1, 0.35)
    w.floor(skin(w, 0.2, 8), (-3 * far, 3 * far), (-1, 1.3 * far))
    for side in (-1, 1):
        if w.rng.random() < 0.85:
            _facades(w, stage, side, half)
    if w.rng.random() < 0.75:
        wall = (w.rng.uniform(1, 6) * half, w.rng.uniform(0.15, 1.0) * far)
        w.card((w.rng.uniform(-0.5, 0.5) * half, far, wall[1] / 2), wall, skin(w, bare, 4), turn=w.rng.uniform(-20, 20))
    for _ in range(w.rng.integers(0, 5)):
        _wire(w, stage, half)
    furnish(w, stage, w.rng.integers(3, 12), 0.16)
    w.sky(w.rng.uniform(0.4, 0.8), BLUE)
    w.sun((w.rng.uniform(-0.7, 0.7), w.rng.uniform(-0.3, 0.9), -0.8), w.rng.uniform(0.5, 2.5))
    return stage


def _facades(w: World, stage: Stage, side: int, half: float) -> None:
    """Put houses, stalls or wagons along one side, some of them with an awning."""
    y, low = w.rng.uniform(-0.1, 0.2) * stage.far, w.rng.random() < 0.3
    while y < stage.far:
        length, deep = stage.far * w.rng.uniform(0.08, 0.5), half * w.rng.uniform(0.5, 1.5)
        height = stage.eye * (w.rng.uniform(0.4, 1.2) if low else w.rng.uniform(1.5, 5))
        x = side * (half * w.rng.uniform(0.9, 1.4) + deep / 2)
        w.standing(x, y + length / 2, (deep, length, height), skin(w, stage.bare, 3), w.rng.normal(0, 2))
        if w.rng.random() < 0.35:
            _awning(w, stage, x - side * deep / 2, -side * half, (y, y + length))
        y += length * w.rng.uniform(1.0, 1.4)


def _awning(w: World, stage: Stage, wall: float, towards: float, along: tuple[float, float]) -> None:
    """Put an awning on two posts at a wall, from one y to the other, which reaches ``towards`` the street in part."""
    (start, end), under = along, stage.eye * w.rng.uniform(1.15, 1.9)
    reach = towards * w.rng.uniform(0.2, 0.8)
    middle, tilt = (wall + reach / 2, (start + end) / 2, under), w.rng.uniform(-10, 10)
    w.box(middle, (abs(reach), end - start, 0.02), skin(w, stage.bare, 2), tilt=tilt)
    for share in (0.05, 0.95):
        foot = wall + 0.95 * reach, start + share * (end - start)
        w.rod((*foot, 0), (*foot, under), stage.eye * w.rng.uniform(0.01, 0.05), skin(w, stage.bare, 1))


def _wire(w: World, stage: Stage, half: float) -> None:
    """Hang a wire across the street, or along it."""
    x, y = place(w, stage)
    high = stage.eye * w.rng.uniform(0.9, 2.5)
    start = np.array([-half, y, high])
    end = np.array([half, y * w.rng.uniform(0.8, 1.25), high * w.rng.uniform(0.8, 1.2)])
    if w.rng.random() < 0.3:
        start[0] = end[0] = x
        end[1] = stage.far
    w.wire(start, end, high * w.rng.uniform(0.02, 0.2), y * w.rng.uniform(0.001, 0.006), skin(w, 0.5, 1), pieces=8)


def screen(w: World, stage: Stage) -> Stage:
    """Put bars, a lattice or twigs in front of the whole space, and return the space that begins there."""
    y = stage.near * w.rng.uniform(0.35, 0.9)
    wide, high = 3.2 * stage.half * y, 2.6 * stage.half * y
    gap = wide * w.rng.uniform(0.05, 0.25)
    radius, angle = gap * w.rng.uniform(0.02, 0.15), np.radians(w.rng.uniform(0, 180))
    draw, lean, material = w.rng.random(), w.rng.uniform(-0.3, 0.3), skin(w, 0.4, 3)
    if draw < 0.3:
        _twigs(w, (0.0, y, stage.eye), wide, material)
        return replace(stage, near=0.7 * y)
    directions = [angle] if draw < 0.55 else [angle, angle + np.radians(w.rng.uniform(50, 130))]
    reach = 0.5 * (wide + high)
    for direction in directions:
        along, across = _on_screen(direction, lean), _on_screen(direction + np.pi / 2, lean)
        for offset in np.arange(-reach, reach, gap) + w.rng.uniform(0, gap):
            middle = np.array([0.0, y, stage.eye]) + offset * across
            w.rod(middle - reach * along, middle + reach * along, radius, material)
    return replace(stage, near=y)


def _on_screen(direction: float, lean: float) -> np.ndarray:
    """Return the unit vector of an angle in the plane x, z, of which x recedes by ``lean``."""
    along = np.array([np.cos(direction), lean * np.cos(direction), np.sin(direction)])
    return along / np.linalg.norm(along)


def _twigs(w: World, middle, wide: float, material) -> None:
    """Let twigs with leaves hang into the view from its borders, at about one distance."""
    flat = np.array([1.0, 0.3, 1.0])
    green = w.matte(w.any(p.grass, p.litter, p.camouflage, p.flat))
    for _ in range(w.rng.integers(2, 7)):
        angle = w.rng.uniform(0, 2 * np.pi)
        start = np.asarray(middle) + 0.55 * wide * np.array([np.cos(angle), w.rng.uniform(-0.1, 0.1), np.sin(angle)])
        end = np.asarray(middle) + wide * w.rng.uniform(-0.25, 0.25, 3) * flat
        w.rod(start, end, wide * w.rng.uniform(0.002, 0.012), material)
        for share in w.rng.uniform(0.2, 1.0, w.rng.integers(2, 9)):
            base = start + share * (end - start)
            leaf(
                w,
                base,
                flat * w.rng.normal(0, 1, 3),
                wide * w.rng.uniform(0.05, 0.2),
                wide * w.rng.uniform(0.01, 0.06),
                green,
            )
