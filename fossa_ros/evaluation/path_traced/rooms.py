"""Scenes drawn at random, which the lens-aware network is trained on.

They share shapes and patterns with the scenes of the validation set, and no layout: how surfaces hide each other,
touch and shade, and how much of them is bare, is what the procedural stacks of training lack.
"""

from __future__ import annotations

from fossa_ros.evaluation.path_traced import patterns as p
from fossa_ros.evaluation.path_traced.outdoors import BLUE, plant, terrain
from fossa_ros.evaluation.path_traced.render import View
from fossa_ros.evaluation.path_traced.scenes import lens
from fossa_ros.evaluation.path_traced.stage import Stage, furnish, place, skin
from fossa_ros.evaluation.path_traced.streets import screen, street
from fossa_ros.evaluation.path_traced.world import World

F_NUMBER = 1.4
BLUR = (1.2, 9.0)  # px: radius in the nearest plane of the farthest surface, log-uniform
SIZES = (0.6, 1.0)  # scale of the images, log-uniform; the blur of a small one is as many pixels as that of a large one
WIDEST = 0.08  # m; the widest aperture, of a focal length that is at most a tenth of the nearest distance
PLANES = (3, 4, 5, 5, 6, 7, 9)


def random_views(
    w: World, count: int, blur: tuple[float, float] = BLUR, sizes: tuple[float, float] = SIZES
) -> list[View]:
    """Fill a world with a room, a table, open ground or a street, and return views of it.

    The first is from the front, the others from beside it and nearer, each with its own aperture and planes. All have
    the same size.

    Args:
        w: an empty world.
        count: number of views.
        blur, sizes: ranges that blur and size are drawn from, see ``BLUR`` and ``SIZES``.
    """
    draw = w.rng.random()
    build = _room if draw < 0.4 else _table if draw < 0.55 else _open_ground if draw < 0.7 else street
    stage = build(w)
    if w.rng.random() < 0.25:
        stage = screen(w, stage)
    size = w.log_uniform(*sizes)
    return [_view(w, stage, number > 0, size, blur) for number in range(count)]


def _room(w: World) -> Stage:
    far = w.log_uniform(1.8, 12)
    near, bare, fx = far * w.rng.uniform(0.1, 0.3), w.rng.uniform(0.2, 0.8), w.rng.uniform(240, 340)
    scale, half = far / 4.5, 160 / fx
    # Corridors, halls and low rooms too.
    width, height = 2 * half * far * w.log_uniform(0.2, 1.5), far * w.rng.uniform(0.18, 0.75)
    w.floor(skin(w, 0.3, 6), (-width, width), (-1, far + 1))
    w.card((0, far, height / 2), (3 * width, 2 * height), skin(w, bare, 4), turn=w.rng.uniform(-20, 20))
    for side in (-1, 1):
        if w.rng.random() < 0.7:
            turn = 90 + w.rng.uniform(-8, 8) * min(1, width / far)
            w.card((side * width / 2, far / 2, height / 2), (1.6 * far, 2 * height), skin(w, bare, 4), turn=turn)
    if w.rng.random() < 0.7:
        w.floor(skin(w, 0.7, 3), (-width, width), (-1, far + 1), height=height)
    for _ in range(w.rng.integers(0, 4)):
        at = (w.rng.uniform(-0.4, 0.4) * width, far * w.rng.uniform(0.93, 0.97), height * w.rng.uniform(0.35, 0.7))
        w.card(at, w.rng.uniform(0.2, 0.8, 2) * scale, skin(w, 0.1, 1), turn=w.rng.uniform(-8, 8))
    eye = 0.5 * height * w.rng.uniform(0.5, 1.5)
    stage = Stage(near, far, half, lambda x, y: 0.0, bare, eye, fx)
    furnish(w, stage, w.rng.integers(5, 18), 0.16)
    w.sky(w.rng.uniform(0.15, 0.5))
    w.lamp((w.rng.uniform(-0.3, 0.3) * width, far * w.rng.uniform(0.0, 0.5), 0.97 * height), 0.1 * far, 50)
    return stage


def _table(w: World) -> Stage:
    far, fx = w.rng.uniform(0.6, 2.4), w.rng.uniform(250, 330)
    near, bare, eye = far * w.rng.uniform(0.15, 0.35), w.rng.uniform(0.1, 0.6), far * w.rng.uniform(0.15, 0.45)
    stage = Stage(near, far, 160 / fx, lambda x, y: 0.0, bare, eye, fx)
    edge = far * w.rng.uniform(0.7, 1.2)
    w.box((0, edge / 2, -0.05), (4 * far, edge, 0.1), skin(w, 0.3, 3))
    w.card((0, 1.1 * far, 0), (6 * far, 4 * far), skin(w, 0.5, 4), turn=w.rng.uniform(-25, 25))
    furnish(w, stage, w.rng.integers(5, 18), 0.14)
    w.sky(w.rng.uniform(0.2, 0.6))
    w.lamp((w.rng.uniform(-1, 1) * far, 0.3 * far, 1.6 * far), 0.5 * far, 12, target=(0, 0.6 * far, 0))
    return stage


def _open_ground(w: World) -> Stage:
    far, fx = w.log_uniform(5, 18), w.rng.uniform(270, 340)
    ground = terrain(w, -1, 1.2 * far, far, 0.01 * far, skin(w, 0.0, 8))
    near, bare, eye = far * w.rng.uniform(0.08, 0.2), w.rng.uniform(0.0, 0.4), w.rng.uniform(0.5, 1.5)
    stage = Stage(near, far, 160 / fx, ground, bare, eye, fx)
    furnish(w, stage, w.rng.integers(5, 14), 0.2)
    for _ in range(w.rng.integers(0, 5)):
        x, y = place(w, stage)
        plant(w, (x, y, ground(x, y)), 0.25 * y, 14, w.matte(w.any(p.grass, p.litter, p.camouflage)))
    if w.rng.random() < 0.7:
        w.card((0, 1.05 * far, 0.2 * far), (3 * far, 0.5 * far), skin(w, 0.2, 4), turn=w.rng.uniform(-15, 15))
    w.sky(w.rng.uniform(0.5, 0.8), BLUE)
    w.sun((w.rng.uniform(-0.7, 0.7), w.rng.uniform(0.2, 0.9), -0.8), w.rng.uniform(1, 2.5))
    return stage


def _view(w: World, stage: Stage, moved: bool, size: float, blur: tuple[float, float]) -> View:
    aside, ahead = w.rng.uniform(-1, 1), w.rng.uniform(0.0, 0.4)
    origin = (aside * stage.half * stage.near, ahead * stage.near, stage.eye) if moved else (0.0, 0.0, stage.eye)
    fx, nearest = size * stage.fx, stage.near - origin[1]
    span = 1.0 / nearest - 1.0 / (stage.far - origin[1])
    radius = w.log_uniform(*blur)
    aperture = min(2.0 * radius / (fx * span), WIDEST, 0.1 * nearest / F_NUMBER)
    turn = 0.35 * stage.half if moved else 0.1
    target = (w.rng.uniform(-turn, turn) * stage.far, stage.far, stage.eye - w.rng.uniform(-0.05, 0.25) * stage.far)
    view = View(origin, target, lens(stage.fx, F_NUMBER * aperture, F_NUMBER), int(w.rng.choice(PLANES)))
    return view.resized(size)
