"""Scenes drawn at random, which the lens-aware network is trained on.

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
BLUR = (1.2, 9.0)  # px: radius in the nearest plane of the farthest surface, log-uniform
SIZES = (0.6, 1.0)  # scale of the images, log-uniform; the blur of a small one is as many pixels as that of a large one
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
        eye: height of the camera.
        fx: focal length in pixels of an image of 320 px.
    """

    near: float
    far: float
    half: float
    ground: Callable[[float, float], float]
    bare: float
    eye: float
    fx: float


def random_views(
    w: World, count: int, blur: tuple[float, float] = BLUR, sizes: tuple[float, float] = SIZES
) -> list[View]:
    """Fill a world with a room, a table or open ground, and return views of it.

    The first is from the front, the others from beside it and nearer, each with its own aperture and planes. All have
    the same size.

    Args:
        w: an empty world.
        count: number of views.
        blur, sizes: ranges that blur and size are drawn from, see ``BLUR`` and ``SIZES``.
    """
    draw = w.rng.random()
    build = _room if draw < 0.6 else _table if draw < 0.8 else _open_ground
    stage = build(w)
    size = float(np.exp(w.rng.uniform(*np.log(sizes))))
    return [_view(w, stage, number > 0, size, blur) for number in range(count)]


def _room(w: World) -> Stage:
    far = float(np.exp(w.rng.uniform(np.log(1.8), np.log(12))))
    near, bare, fx = far * w.rng.uniform(0.1, 0.3), w.rng.uniform(0.2, 0.8), w.rng.uniform(240, 340)
    scale, half = far / 4.5, 160 / fx
    # Corridors, halls and low rooms too.
    width, height = 2 * half * far * np.exp(w.rng.uniform(*np.log((0.2, 1.5)))), far * w.rng.uniform(0.18, 0.75)
    w.floor(_skin(w, 0.3, 6), (-width, width), (-1, far + 1))
    w.card((0, far, height / 2), (3 * width, 2 * height), _skin(w, bare, 4), turn=w.rng.uniform(-20, 20))
    for side in (-1, 1):
        if w.rng.random() < 0.7:
            turn = 90 + w.rng.uniform(-8, 8) * min(1, width / far)
            w.card((side * width / 2, far / 2, height / 2), (1.6 * far, 2 * height), _skin(w, bare, 4), turn=turn)
    if w.rng.random() < 0.7:
        w.floor(_skin(w, 0.7, 3), (-width, width), (-1, far + 1), height=height)
    for _ in range(w.rng.integers(0, 4)):
        at = (w.rng.uniform(-0.4, 0.4) * width, far * w.rng.uniform(0.93, 0.97), height * w.rng.uniform(0.35, 0.7))
        w.card(at, w.rng.uniform(0.2, 0.8, 2) * scale, _skin(w, 0.1, 1), turn=w.rng.uniform(-8, 8))
    eye = 0.5 * height * w.rng.uniform(0.5, 1.5)
    stage = Stage(near, far, half, lambda x, y: 0.0, bare, eye, fx)
    _furnish(w, stage, w.rng.integers(5, 18), 0.16)
    w.sky(w.rng.uniform(0.15, 0.5))
    w.lamp((w.rng.uniform(-0.3, 0.3) * width, far * w.rng.uniform(0.0, 0.5), 0.97 * height), 0.1 * far, 50)
    return stage


def _table(w: World) -> Stage:
    far, fx = w.rng.uniform(0.6, 2.4), w.rng.uniform(250, 330)
    near, bare, eye = far * w.rng.uniform(0.15, 0.35), w.rng.uniform(0.1, 0.6), far * w.rng.uniform(0.15, 0.45)
    stage = Stage(near, far, 160 / fx, lambda x, y: 0.0, bare, eye, fx)
    edge = far * w.rng.uniform(0.7, 1.2)
    w.box((0, edge / 2, -0.05), (4 * far, edge, 0.1), _skin(w, 0.3, 3))
    w.card((0, 1.1 * far, 0), (6 * far, 4 * far), _skin(w, 0.5, 4), turn=w.rng.uniform(-25, 25))
    _furnish(w, stage, w.rng.integers(5, 18), 0.14)
    w.sky(w.rng.uniform(0.2, 0.6))
    w.lamp((w.rng.uniform(-1, 1) * far, 0.3 * far, 1.6 * far), 0.5 * far, 12, target=(0, 0.6 * far, 0))
    return stage


def _open_ground(w: World) -> Stage:
    far, fx = float(np.exp(w.rng.uniform(np.log(5), np.log(18)))), w.rng.uniform(270, 340)
    ground = terrain(w, -1, 1.2 * far, far, 0.01 * far, _skin(w, 0.0, 8))
    near, bare, eye = far * w.rng.uniform(0.08, 0.2), w.rng.uniform(0.0, 0.4), w.rng.uniform(0.5, 1.5)
    stage = Stage(near, far, 160 / fx, ground, bare, eye, fx)
    _furnish(w, stage, w.rng.integers(5, 14), 0.2)
    for _ in range(w.rng.integers(0, 5)):
        x, y = _place(w, stage)
        plant(w, (x, y, ground(x, y)), 0.25 * y, 14, w.matte(w.any(p.grass, p.litter, p.camouflage)))
    if w.rng.random() < 0.7:
        w.card((0, 1.05 * far, 0.2 * far), (3 * far, 0.5 * far), _skin(w, 0.2, 4), turn=w.rng.uniform(-15, 15))
    w.sky(w.rng.uniform(0.5, 0.8), BLUE)
    w.sun((w.rng.uniform(-0.7, 0.7), w.rng.uniform(0.2, 0.9), -0.8), w.rng.uniform(1, 2.5))
    return stage


def _furnish(w: World, stage: Stage, count: int, size: float) -> None:
    """Put things where the view sees them; ``size`` is that at distance 1.

    Boxes, balls, turned things, poles, rows of poles, steps and boards.
    """
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
        elif draw < 0.85:
            lean, radius = 0.3 * s * w.rng.standard_normal(2), s * w.rng.uniform(0.01, 0.12)
            w.rod((x, y, on - 0.1), (x + lean[0], y + lean[1], on + s * w.rng.uniform(2, 9)), radius, skin)
        elif draw < 0.89:
            _railing(w, (x, y, on), s, skin)
        elif draw < 0.92:
            _steps(w, (x, y, on), s, skin)
        else:
            w.card((x, y, on + s), s * w.rng.uniform(0.6, 2.2, 2), skin, turn=turn - 45, lean=w.rng.uniform(-15, 15))


def _railing(w: World, foot, size: float, skin) -> None:
    """Put a row of thin poles between two bars, along any direction."""
    angle = np.radians(w.rng.uniform(-50, 50))
    step = size * w.rng.uniform(0.15, 0.5) * np.array([np.cos(angle), np.sin(angle), 0.0])
    height, radius = [0, 0, size * w.rng.uniform(0.8, 3)], size * w.rng.uniform(0.01, 0.04)
    feet = [np.asarray(foot) + number * step for number in range(w.rng.integers(5, 13))]
    for place in feet:
        w.rod(place, place + height, radius, skin)
    for share in (0.1, 1.0):
        raised = np.multiply(share, height)
        w.rod(feet[0] + raised, feet[-1] + raised, 1.3 * radius, skin)


def _steps(w: World, foot, size: float, skin) -> None:
    """Put steps that rise away from the view."""
    turn = w.rng.uniform(-35, 35)
    tread, rise, width = size * w.rng.uniform(0.25, 0.5), size * w.rng.uniform(0.15, 0.35), size * w.rng.uniform(1.5, 5)
    away = tread * np.array([-np.sin(np.radians(turn)), np.cos(np.radians(turn))])
    for number in range(w.rng.integers(3, 8)):
        x, y = foot[:2] + number * away
        w.standing(x, y, (width, 1.1 * tread, (number + 1) * rise), skin, turn, on=foot[2])


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


def _view(w: World, stage: Stage, moved: bool, size: float, blur: tuple[float, float]) -> View:
    aside, ahead = w.rng.uniform(-1, 1), w.rng.uniform(0.0, 0.4)
    origin = (aside * stage.half * stage.near, ahead * stage.near, stage.eye) if moved else (0.0, 0.0, stage.eye)
    fx = size * stage.fx
    span = 1.0 / (stage.near - origin[1]) - 1.0 / (stage.far - origin[1])
    radius = float(np.exp(w.rng.uniform(*np.log(blur))))
    aperture = min(2.0 * radius / (fx * span), WIDEST)
    turn = 0.35 * stage.half if moved else 0.1
    target = (w.rng.uniform(-turn, turn) * stage.far, stage.far, stage.eye - w.rng.uniform(-0.05, 0.25) * stage.far)
    view = View(origin, target, lens(stage.fx, F_NUMBER * aperture, F_NUMBER), int(w.rng.choice(PLANES)))
    return view.resized(size)
