"""Scenes drawn at random, from which the weights of the combined estimator are learnt.

They share shapes and patterns with the scenes of the validation set, and no layout: how surfaces hide each other,
touch and shade, and how much of them is bare, is what the procedural stacks of training lack.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fossa_ros.evaluation.path_traced import patterns as p
from fossa_ros.evaluation.path_traced.outdoors import BLUE, plant, terrain
from fossa_ros.evaluation.path_traced.render import View
from fossa_ros.evaluation.path_traced.scenes import BOWL, CUP, VASE, lens, scaled
from fossa_ros.evaluation.path_traced.world import World

PATTERNS = (*p.RICH, p.cobbles, p.gravel, p.dots, p.stripes, p.checks, p.litter)
F_NUMBER = 1.4
BLUR = (1.5, 9.0)  # px: radius in the nearest plane of the farthest surface, log-uniform
WIDEST = 0.08  # m; the widest aperture
PLANES = (3, 4, 5, 5, 6, 7, 9)


@dataclass(frozen=True)
class Stage:
    """The space that objects are put into, in metres.

    Attributes:
        near, far: distances along the view.
        half: half the width of the view at a distance of 1.
        ground: height of the ground at (x, y).
        bare: share of the objects without a pattern.
    """

    near: float
    far: float
    half: float
    ground: Callable[[float, float], float]
    bare: float


def random_scene(w: World) -> View:
    """Fill a world with a room, a table or open ground, and return its view."""
    draw = w.rng.random()
    if draw < 0.6:
        return _room(w)
    return _table(w) if draw < 0.8 else _open_ground(w)


def _room(w: World) -> View:
    far = float(np.exp(w.rng.uniform(np.log(1.8), np.log(12))))
    near, bare, fx = far * w.rng.uniform(0.1, 0.3), w.rng.uniform(0.2, 0.8), w.rng.uniform(240, 340)
    scale, half = far / 4.5, 160 / fx
    width, height = 2 * half * far * w.rng.uniform(0.35, 1.5), far * w.rng.uniform(0.3, 0.8)  # halls and low rooms too
    w.floor(_skin(w, 0.3, 6), (-width, width), (-1, far + 1))
    w.card((0, far, height / 2), (3 * width, 2 * height), _skin(w, bare, 4), turn=w.rng.uniform(-20, 20))
    for side in (-1, 1):
        if w.rng.random() < 0.6:
            turn = 90 + w.rng.uniform(-8, 8)
            w.card((side * width / 2, far / 2, height / 2), (1.6 * far, 2 * height), _skin(w, bare, 4), turn=turn)
    if w.rng.random() < 0.6:
        w.floor(_skin(w, 0.7, 3), (-width, width), (-1, far + 1), height=height)
    for _ in range(w.rng.integers(0, 4)):
        at = (w.rng.uniform(-0.4, 0.4) * width, far * w.rng.uniform(0.93, 0.97), height * w.rng.uniform(0.35, 0.7))
        w.card(at, w.rng.uniform(0.2, 0.8, 2) * scale, _skin(w, 0.1, 1), turn=w.rng.uniform(-8, 8))
    stage = Stage(near, far, half, lambda x, y: 0.0, bare)
    _furnish(w, stage, w.rng.integers(4, 14), 0.16)
    w.sky(w.rng.uniform(0.15, 0.5))
    w.lamp((w.rng.uniform(-0.3, 0.3) * width, far * w.rng.uniform(0.0, 0.5), 0.97 * height), 0.1 * far, 50)
    eye = 0.5 * height * w.rng.uniform(0.5, 1.3)
    return _view(w, stage, eye, fx)


def _table(w: World) -> View:
    far, fx = w.rng.uniform(0.6, 2.4), w.rng.uniform(250, 330)
    stage = Stage(far * w.rng.uniform(0.15, 0.35), far, 160 / fx, lambda x, y: 0.0, w.rng.uniform(0.1, 0.6))
    edge = far * w.rng.uniform(0.7, 1.2)
    w.box((0, edge / 2, -0.05), (4 * far, edge, 0.1), _skin(w, 0.3, 3))
    w.card((0, 1.1 * far, 0), (6 * far, 4 * far), _skin(w, 0.5, 4), turn=w.rng.uniform(-25, 25))
    _furnish(w, stage, w.rng.integers(5, 18), 0.14)
    w.sky(w.rng.uniform(0.2, 0.6))
    w.lamp((w.rng.uniform(-1, 1) * far, 0.3 * far, 1.6 * far), 0.5 * far, 12, target=(0, 0.6 * far, 0))
    return _view(w, stage, far * w.rng.uniform(0.15, 0.45), fx)


def _open_ground(w: World) -> View:
    far, fx = float(np.exp(w.rng.uniform(np.log(5), np.log(18)))), w.rng.uniform(270, 340)
    ground = terrain(w, -1, 1.2 * far, far, 0.01 * far, _skin(w, 0.0, 8))
    stage = Stage(far * w.rng.uniform(0.08, 0.2), far, 160 / fx, ground, w.rng.uniform(0.0, 0.4))
    _furnish(w, stage, w.rng.integers(5, 14), 0.2)
    for _ in range(w.rng.integers(0, 5)):
        x, y = _place(w, stage)
        plant(w, (x, y, ground(x, y)), 0.25 * y, 14, w.matte(w.any(p.grass, p.litter, p.camouflage)))
    if w.rng.random() < 0.7:
        w.card((0, 1.05 * far, 0.2 * far), (3 * far, 0.5 * far), _skin(w, 0.2, 4), turn=w.rng.uniform(-15, 15))
    w.sky(w.rng.uniform(0.5, 0.8), BLUE)
    w.sun((w.rng.uniform(-0.7, 0.7), w.rng.uniform(0.2, 0.9), -0.8), w.rng.uniform(1, 2.5))
    return _view(w, stage, w.rng.uniform(0.5, 1.5), fx)


def _furnish(w: World, stage: Stage, count: int, size: float) -> None:
    """Put boxes, balls, turned things, poles and boards where the view sees them; ``size`` is that at distance 1."""
    for _ in range(count):
        x, y = _place(w, stage)
        on = stage.ground(x, y)
        if w.rng.random() < 0.2:
            on += w.rng.uniform(0, 0.3) * y  # in the air
        s = size * y * w.rng.uniform(0.4, 1.6)
        turn, skin = w.rng.uniform(0, 90), _skin(w, stage.bare, 1)
        draw = w.rng.random()
        if draw < 0.4:
            w.standing(x, y, s * w.rng.uniform(0.4, 1.8, 3), skin, turn, on=on)
        elif draw < 0.55:
            w.ball((x, y, on + 0.5 * s), 0.5 * s, skin)
        elif draw < 0.75:
            w.turned((x, y, on), scaled((CUP, VASE, BOWL)[w.rng.integers(3)], 0.4 * s), skin)
        elif draw < 0.88:
            lean, radius = 0.3 * s * w.rng.standard_normal(2), s * w.rng.uniform(0.01, 0.12)
            w.rod((x, y, on - 0.1), (x + lean[0], y + lean[1], on + s * w.rng.uniform(2, 9)), radius, skin)
        else:
            w.card((x, y, on + s), s * w.rng.uniform(0.6, 2.2, 2), skin, turn=turn - 45, lean=w.rng.uniform(-15, 15))


def _place(w: World, stage: Stage) -> tuple[float, float]:
    """Draw a place in the view: evenly in half the cases in distance, in half in disparity."""
    low, high = stage.near, 0.95 * stage.far
    y = w.rng.uniform(low, high) if w.rng.random() < 0.5 else 1.0 / w.rng.uniform(1.0 / high, 1.0 / low)
    return w.rng.uniform(-0.9, 0.9) * stage.half * y, y


def _skin(w: World, bare: float, repeat: float):
    """Make a material, of one colour in the share ``bare`` of the cases."""
    pattern = p.flat if w.rng.random() < bare else w.any(*PATTERNS)
    make = w.matte if w.rng.random() < 0.75 else w.glossy
    return make(pattern, repeat * w.rng.uniform(0.4, 1.6))


def _view(w: World, stage: Stage, eye: float, fx: float) -> View:
    span = 1.0 / stage.near - 1.0 / stage.far
    radius = float(np.exp(w.rng.uniform(*np.log(BLUR))))
    aperture = min(2.0 * radius / (fx * span), WIDEST)
    target = (w.rng.uniform(-0.1, 0.1) * stage.far, stage.far, eye - w.rng.uniform(-0.05, 0.25) * stage.far)
    return View((0, 0, eye), target, lens(fx, F_NUMBER * aperture, F_NUMBER), int(w.rng.choice(PLANES)))
