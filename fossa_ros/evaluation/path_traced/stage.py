"""A space that a view looks into, and things put into it at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fossa_ros.evaluation.path_traced import patterns as p
from fossa_ros.evaluation.path_traced.scenes import BOWL, CUP, VASE, scaled
from fossa_ros.evaluation.path_traced.world import World

PATTERNS = (*p.RICH, p.cobbles, p.gravel, p.dots, p.stripes, p.checks, p.litter)


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


def furnish(w: World, stage: Stage, count: int, size: float) -> None:
    """Put things where the view sees them; ``size`` is that at distance 1.

    Boxes, balls, turned things, poles, rows of poles, steps and boards.
    """
    for _ in range(count):
        x, y = place(w, stage)
        on = stage.ground(x, y)
        if w.rng.random() < 0.2:
            on += w.rng.uniform(0, 0.3) * y  # in the air
        s = size * y * w.rng.uniform(0.4, 1.6)
        turn, material = w.rng.uniform(0, 90), skin(w, stage.bare, 1)
        draw = w.rng.random()
        if draw < 0.4:
            w.standing(x, y, s * w.rng.uniform(0.4, 1.8, 3), material, turn, on=on)
        elif draw < 0.55:
            w.ball((x, y, on + 0.5 * s), 0.5 * s, material)
        elif draw < 0.75:
            w.turned((x, y, on), scaled((CUP, VASE, BOWL)[w.rng.integers(3)], 0.4 * s), material)
        elif draw < 0.85:
            lean, radius = 0.3 * s * w.rng.standard_normal(2), s * w.rng.uniform(0.01, 0.12)
            w.rod((x, y, on - 0.1), (x + lean[0], y + lean[1], on + s * w.rng.uniform(2, 9)), radius, material)
        elif draw < 0.89:
            _railing(w, (x, y, on), s, material)
        elif draw < 0.92:
            _steps(w, (x, y, on), s, material)
        else:
            w.card(
                (x, y, on + s), s * w.rng.uniform(0.6, 2.2, 2), material, turn=turn - 45, lean=w.rng.uniform(-15, 15)
            )


def _railing(w: World, foot, size: float, material) -> None:
    """Put a row of thin poles between two bars, along any direction."""
    angle = np.radians(w.rng.uniform(-50, 50))
    step = size * w.rng.uniform(0.15, 0.5) * np.array([np.cos(angle), np.sin(angle), 0.0])
    height, radius = [0, 0, size * w.rng.uniform(0.8, 3)], size * w.rng.uniform(0.01, 0.04)
    feet = [np.asarray(foot) + number * step for number in range(w.rng.integers(5, 13))]
    for start in feet:
        w.rod(start, start + height, radius, material)
    for share in (0.1, 1.0):
        raised = np.multiply(share, height)
        w.rod(feet[0] + raised, feet[-1] + raised, 1.3 * radius, material)


def _steps(w: World, foot, size: float, material) -> None:
    """Put steps that rise away from the view."""
    turn = w.rng.uniform(-35, 35)
    tread, rise, width = size * w.rng.uniform(0.25, 0.5), size * w.rng.uniform(0.15, 0.35), size * w.rng.uniform(1.5, 5)
    away = tread * np.array([-np.sin(np.radians(turn)), np.cos(np.radians(turn))])
    for number in range(w.rng.integers(3, 8)):
        x, y = foot[:2] + number * away
        w.standing(x, y, (width, 1.1 * tread, (number + 1) * rise), material, turn, on=foot[2])


def place(w: World, stage: Stage) -> tuple[float, float]:
    """Draw a place in the view: evenly in half the cases in distance, in half in disparity."""
    low, high = stage.near, 0.95 * stage.far
    y = w.rng.uniform(low, high) if w.rng.random() < 0.5 else 1.0 / w.rng.uniform(1.0 / high, 1.0 / low)
    return w.rng.uniform(-0.9, 0.9) * stage.half * y, y


def skin(w: World, bare: float, repeat: float):
    """Make a material, of one colour in the share ``bare`` of the cases."""
    pattern = p.flat if w.rng.random() < bare else w.any(*PATTERNS)
    make = w.matte if w.rng.random() < 0.75 else w.glossy
    return make(pattern, repeat * w.rng.uniform(0.4, 1.6))
