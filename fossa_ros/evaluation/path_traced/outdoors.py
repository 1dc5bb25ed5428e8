"""The scenes of the validation set under the sky, up to 20 m; the sky itself has no depth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fossa_ros.evaluation.path_traced import patterns as p
from fossa_ros.evaluation.path_traced.render import View
from fossa_ros.evaluation.path_traced.scenes import VASE, lens, scaled
from fossa_ros.evaluation.path_traced.world import World

BLUE = (0.75, 0.88, 1.1)


def terrain(w: World, near, far, width, relief, material):
    """Add hills and return the height at (x, y) as a function."""
    waves = [(w.rng.uniform(0.3, 1.6, 2), w.rng.uniform(0, 6.3), w.rng.uniform(0.3, 1)) for _ in range(6)]

    def height(x, y):
        return relief * sum(a * np.sin(k[0] * x + k[1] * y + phase) for k, phase, a in waves) / 3

    y, x = np.meshgrid(np.linspace(near, far, 160), np.linspace(-width, width, 120), indexing="ij")
    w.sheet(np.stack([x, y, height(x, y)], axis=-1), material)
    return height


def leaf(w: World, base, direction, length, width, material) -> None:
    """Add one bent blade from ``base`` along ``direction``."""
    t = np.linspace(0, 1, 7)[:, None]
    direction = np.asarray(direction) / np.linalg.norm(direction)
    side = np.cross(direction, (0, 0, 1.0))
    side /= np.linalg.norm(side)
    spine = np.asarray(base) + length * (t * direction - 0.35 * t**2 * np.array([0, 0, 1.0]))
    half = 0.5 * width * np.sin(np.pi * np.clip(t * 0.96 + 0.04, 0, 1)) * side
    w.sheet(np.stack([spine - half, spine + half], axis=1), material)


def plant(w: World, foot, size, blades, material) -> None:
    """Add a bunch of blades."""
    for _ in range(blades):
        direction = np.append(w.rng.normal(0, 0.5, 2), w.rng.uniform(0.5, 1.2))
        leaf(w, foot, direction, size * w.rng.uniform(0.6, 1.1), 0.16 * size, material)


def avenue(w: World) -> View:
    """Trunks along a track up to houses 19 m away."""
    height = terrain(w, -1, 22, 14, 0.12, w.matte(p.litter, (8, 9)))
    bark = w.matte(p.corroded, (1, 3))
    for k, y in enumerate((2.4, 3.6, 5.0, 6.8, 9.0, 11.5, 14.5)):
        for side in (-1, 1):
            x = side * w.rng.uniform(0.9, 1.5) * (1 + 0.05 * y)
            foot = height(x, y) - 0.1
            w.rod((x, y, foot), (x + w.rng.normal(0, 0.15), y, foot + 5), w.rng.uniform(0.08, 0.2), bark)
            branch = np.array([x, y, foot + 1.6 + 0.1 * k])
            w.rod(branch, branch + w.rng.normal(0, 0.7, 3) + (0, 0, 0.6), 0.035, bark)
    for x, turn, pattern in ((-5, 12, p.mosaic), (2.5, -5, p.stripes), (9, 8, p.cobbles)):
        w.box((x, 21, 2), (6.5, 4, 5), w.matte(pattern, 2), turn)
    w.standing(0.5, 4.2, (0.5, 0.4, 0.6), w.matte(p.bits), 30, on=height(0.5, 4.2) - 0.05)
    plant(w, (-0.3, 2.3, height(-0.3, 2.3)), 1.1, 16, w.matte(p.grass))
    w.sky(0.7, BLUE)
    w.sun((0.5, 0.4, -0.8), 2.2)
    return View((0, 0, 1.35), (0, 8, 1.2), lens(330, 0.05, 1.2), 7)


def garden(w: World) -> View:
    """Plants with many blades from 0.5 m on, stones and a fence, up to 8 m."""
    height = terrain(w, -1, 9, 6, 0.08, w.matte(p.grass, (6, 8)))
    greens = [w.matte(p.grass, (1, 2)), w.matte(p.litter), w.matte(p.camouflage)]
    for y in (0.6, 0.8, 1.1, 1.5, 1.8, 2.4, 3.0, 3.8):
        x = w.rng.uniform(-0.42, 0.42) * y
        plant(w, (x, y, height(x, y)), w.rng.uniform(0.6, 0.95), 18, w.any(*greens))
    for y in (1.0, 1.7, 2.6, 3.4, 4.6):
        x, r = w.rng.uniform(-0.5, 0.5) * y, w.rng.uniform(0.08, 0.2)
        w.ball((x, y, height(x, y) + 0.4 * r), r, w.matte(w.any(p.terrazzo, p.cobbles), 1))
    slats = [w.matte(pattern) for pattern in (p.stripes, p.corroded, p.corroded)]
    for x in np.arange(-5, 5, 0.42):
        w.standing(x, 6.5, (0.13, 0.03, 1.25), w.any(*slats))
    for z in (0.4, 0.95):
        w.box((0, 6.53, z), (10, 0.04, 0.09), w.matte(p.corroded, (12, 1)))
    w.card((0, 8.5, 1), (14, 2.6), w.matte(p.camouflage, 3))
    w.turned((0.65, 2.2, height(0.65, 2.2)), scaled(VASE, 0.12), w.glossy(p.arcs, 2))
    w.sky(0.7, BLUE)
    w.sun((-0.4, 0.6, -0.7), 2.0)
    return View((0, 0, 0.75), (0, 3, 0.55), lens(290, 0.035, 1.4), 7)


def courtyard(w: World) -> View:
    """Steps that rise to a colonnade, slanted everywhere, 1.2 to 16 m."""
    w.floor(w.matte(p.mosaic, (8, 5)), (-6, 6), (-1, 6))
    stones = [w.matte(pattern, (6, 1)) for pattern in (p.cobbles, p.terrazzo, p.gravel)]
    for k in range(9):
        w.standing(0, 5.5 + 0.45 * k, (6, 0.5, 0.17 * (k + 1)), w.any(*stones))
    column = w.matte(p.terrazzo, (1, 3))
    for x in np.linspace(-3.6, 3.6, 7):
        w.rod((x, 10.2, 1.4), (x, 10.2, 4.2), 0.2, column)
    w.box((0, 10.2, 4.4), (9, 0.7, 0.5), w.matte(p.arcs, (6, 1)))
    w.card((0, 15, 3), (24, 7), w.matte(p.cobbles, (6, 2)))
    w.box((-3.5, 4.5, 0.4), (2.4, 5.5, 0.8), w.matte(p.cobbles, 2), turn=4)
    w.box((3.3, 5.0, 1.0), (1.4, 6, 2.0), w.matte(p.herringbone, 4), turn=-6)
    w.turned((-0.65, 1.9, 0), scaled(VASE, 0.2), w.matte(p.corroded, 2))
    w.turned((0.7, 2.8, 0), scaled(VASE, 0.28), w.glossy(p.mosaic, 2))
    w.ball((0.1, 4.0, 0.3), 0.3, w.matte(p.terrazzo, 2))
    w.sky(0.8, BLUE)
    w.sun((0.6, 0.5, -0.9), 2.0)
    return View((0, 0, 1.45), (0, 8, 1.25), lens(320, 0.05, 1.4), 5)


OUTDOORS: tuple[Callable[[World], View], ...] = (avenue, garden, courtyard)
