"""The indoor scenes of the validation set: each fills a world and returns its view.

The camera looks along +y, z is up. Lenses are fast, and longer for farther scenes, so that the largest blur disc of a
scene is about 4 to 17 px wide in an image of 320 px.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fossa_ros.evaluation.path_traced import patterns as p
from fossa_ros.evaluation.path_traced.render import View
from fossa_ros.evaluation.path_traced.world import World
from fossa_ros.simulation.camera import SimulatedCamera

CUP = [(0.0, 0.0), (0.7, 0.0), (0.8, 0.1), (0.9, 1.0), (1.0, 2.2), (0.92, 2.2), (0.8, 0.3), (0.0, 0.2)]
VASE = [(0.5, 0.0), (0.9, 0.6), (1.0, 1.2), (0.7, 2.2), (0.35, 2.9), (0.4, 3.3), (0.55, 3.5)]
BOWL = [(0.4, 0.0), (0.8, 0.25), (1.1, 0.6), (1.25, 1.0), (1.18, 1.0), (0.7, 0.3), (0.0, 0.15)]


def lens(fx, focal_length, f_number) -> SimulatedCamera:
    """Return a 320x240 camera."""
    return SimulatedCamera(width=320, height=240, fx=fx, focal_length=focal_length, f_number=f_number)


def scaled(profile, size):
    """Scale a profile of unit radius to ``size`` metres."""
    return [(r * size, h * size) for r, h in profile]


def table(w: World, top, y, depth, material, width=2.0) -> None:
    """Put a table whose top is at height ``top``, from ``y`` on."""
    w.box((0, y + depth / 2, top - 0.02), (width, depth, 0.04), material)
    for x in (-0.95 * width / 2, 0.95 * width / 2):
        for at in (y + 0.06, y + depth - 0.06):
            w.rod((x, at, 0), (x, at, top - 0.04), 0.025, w.metal())


def living_room(w: World) -> View:
    """A sofa, a low table, a floor lamp and pictures, 0.8 to 4.5 m."""
    w.floor(w.matte(p.herringbone, 9), (-4, 4), (-1, 5))
    w.card((0, 4.6, 1.3), (8, 2.6), w.matte(p.flat))
    w.card((-2.3, 2, 1.3), (7, 2.6), w.matte(p.stripes, 3), turn=90)
    w.card((0.9, 4.57, 1.6), (0.9, 0.6), w.matte())
    w.card((-0.4, 4.57, 1.7), (0.5, 0.7), w.matte(p.scribbles))
    cloth = w.matte(p.herringbone, 5)
    w.standing(0.4, 4.0, (1.9, 0.8, 0.42), cloth)
    w.box((0.4, 4.35, 0.6), (1.9, 0.2, 0.7), cloth, tilt=-8)
    for x in (-0.6, 1.4):
        w.standing(x, 3.95, (0.2, 0.85, 0.6), cloth)
    w.box((0.1, 3.95, 0.6), (0.42, 0.16, 0.42), w.matte(p.dots, 1), turn=20, tilt=-25)
    w.standing(-0.1, 2.4, (1.0, 0.55, 0.05), w.glossy(p.end_grain, 1), turn=8, on=0.36)
    for x in (-0.5, 0.3):
        w.standing(x, 2.4, (0.05, 0.5, 0.36), w.matte(p.flat), turn=8)
    w.turned((0.1, 2.4, 0.41), scaled(BOWL, 0.12), w.glossy(p.arcs))
    w.standing(-0.35, 2.35, (0.24, 0.17, 0.03), w.matte(p.bits), turn=30, on=0.41)
    w.rod((-1.4, 3.6, 0), (-1.4, 3.6, 1.5), 0.015, w.metal("Cu"))
    w.turned((-1.4, 3.6, 1.4), [(0.25, 0), (0.13, 0.3)], w.matte(p.flat))
    w.standing(0.95, 1.5, (0.4, 0.4, 0.45), w.matte(p.camouflage), turn=35)
    w.turned((0.95, 1.5, 0.45), scaled(VASE, 0.09), w.glossy(p.mosaic))
    w.rod((-0.42, 0.95, 0), (-0.42, 0.95, 1.6), 0.012, w.matte(p.bits, (1, 14)))
    w.sky(0.35)
    w.lamp((0.5, 2, 3.2), 1.5, 9)
    return View((0, 0, 1.15), (0.05, 3, 0.75), lens(270, 0.05, 1.4), 7)


def breakfast(w: World) -> View:
    """A table with cups, a bowl of balls and boxes, 0.4 to 2.5 m."""
    table(w, 0.75, 0.2, 1.1, w.matte(p.end_grain, 2))
    w.card((0, 2.6, 1.2), (6, 2.6), w.matte(p.mosaic, 4))
    w.floor(w.matte(p.terrazzo, 6), (-3, 3), (-1, 3))
    w.turned((-0.18, 0.62, 0.75), scaled(CUP, 0.045), w.glossy(p.stripes, (2, 1)))
    w.turned((0.12, 0.5, 0.75), scaled(CUP, 0.04), w.glossy(p.scribbles))
    w.turned((0.05, 0.85, 0.75), scaled(BOWL, 0.12), w.glossy(p.flat))
    for k in range(7):
        angle = 2 * np.pi * k / 6
        reach = 0.07 if k < 6 else 0.0
        at = (0.05 + reach * np.cos(angle), 0.85 + reach * np.sin(angle), 0.83 + 0.05 * (k == 6))
        w.ball(at, 0.038, w.matte(w.any(p.corroded, p.camouflage, p.dots), 2))
    w.standing(-0.32, 1.05, (0.19, 0.07, 0.28), w.matte(p.scribbles), turn=-15, on=0.75)
    w.standing(0.36, 1.1, (0.15, 0.06, 0.24), w.matte(p.camouflage), turn=25, on=0.75)
    w.turned((0.28, 0.72, 0.75), scaled(VASE, 0.045), w.glossy(p.arcs, 2))
    for k in range(3):
        w.rod((-0.3 + 0.02 * k, 0.4, 0.756), (-0.2 + 0.03 * k, 0.75, 0.756), 0.004, w.metal("Al", 0.1))
    w.standing(-0.05, 0.42, (0.13, 0.09, 0.012), w.matte(p.bits), turn=12, on=0.75)
    w.sky(0.4)
    w.lamp((-0.8, 0.6, 2.6), 0.9, 14, target=(0, 0.8, 0.75))
    return View((0, 0, 1.08), (0.02, 0.85, 0.82), lens(290, 0.025, 1.4), 5)


def workbench(w: World) -> View:
    """Small parts close by: 0.2 to 0.9 m."""
    w.floor(w.matte(p.corroded, 2), (-1.2, 1.2), (-0.1, 0.9))
    w.card((0, 0.92, 0.3), (2.4, 0.7), w.matte(p.herringbone, 5))
    for _ in range(26):
        y = 0.2 + 0.6 * w.rng.random() ** 1.3
        x, turn = w.rng.uniform(-0.5, 0.5) * (0.12 + y), w.rng.uniform(0, 90)
        draw = w.rng.integers(4)
        if draw == 0:
            w.standing(x, y, w.rng.uniform(0.012, 0.06, 3), w.matte(repeat=0.5), turn)
        elif draw == 1:
            r = w.rng.uniform(0.006, 0.022)
            w.ball((x, y, r), r, w.glossy(w.any(p.mosaic, p.camouflage, p.dots), 2))
        elif draw == 2:
            a, r = np.radians(turn), w.rng.uniform(0.002, 0.005)
            end = (x + 0.12 * np.cos(a), y + 0.12 * np.sin(a), r)
            w.rod((x, y, r), end, r, w.matte(p.stripes, (2, 8)))
        else:
            w.turned((x, y, 0), scaled(w.any(CUP, VASE), w.rng.uniform(0.01, 0.018)), w.glossy(repeat=1))
    w.sky(0.5)
    w.lamp((0.4, 0.2, 1.0), 0.4, 10, target=(0, 0.4, 0))
    return View((0, 0, 0.2), (0, 0.42, 0.035), lens(310, 0.025, 1.4), 9)


def masts(w: World) -> View:
    """Poles and sagging wires before a wall, 0.6 to 4 m: things a few pixels wide."""
    w.card((0, 4.2, 1.3), (9, 4.5), w.matte(p.cobbles, 4))
    w.floor(w.matte(p.gravel, 5), (-4, 4), (-1, 4.3))
    for k, y in enumerate((0.75, 1.0, 1.35, 1.7, 2.1, 2.5, 3.0, 3.5)):
        x = (-1) ** k * w.rng.uniform(0.1, 0.42) * y
        w.rod((x, y, 0), (x + w.rng.uniform(-0.1, 0.1), y, 2.4), w.rng.uniform(0.006, 0.02),
              w.any(w.matte(p.stripes, (1, 30)), w.matte(p.bits, (1, 16)), w.metal(), w.matte(p.flat)))  # fmt: skip
    for y, height, radius in ((0.8, 1.3, 0.0022), (1.2, 1.1, 0.003), (1.8, 1.5, 0.005), (2.6, 0.9, 0.006)):
        rise = w.rng.uniform(-0.2, 0.2)
        w.wire((-0.8 * y, y, height), (0.8 * y, y + 0.3, height + rise), 0.12 * y, radius, w.matte(p.flat))
    w.turned((-0.5, 2.2, 0), scaled(VASE, 0.16), w.glossy(p.arcs, 2))
    w.sky(0.6)
    w.sun((0.4, 0.8, -0.7), 1.5)
    return View((0, 0, 1.1), (0, 3, 1.05), lens(280, 0.035, 1.4), 7)


def bare_office(w: World) -> View:
    """Plain walls and boxes of one colour; only edges, a few pictures and shading show distance, 0.9 to 4.5 m."""
    w.floor(w.matte(p.gravel, 6), (-4, 4), (-1, 5))
    w.card((0.5, 4.6, 1.3), (8, 2.8), w.matte(p.flat), turn=-6)
    w.card((2.0, 2.3, 1.3), (7, 2.8), w.matte(p.flat), turn=80)
    w.card((-0.9, 4.3, 1.45), (0.8, 0.5), w.matte(p.scribbles), turn=-6)
    w.card((1.92, 3.0, 1.4), (0.5, 0.6), w.matte(p.camouflage), turn=80)
    for x, y, size, turn in (
        (-0.9, 3.4, (1.4, 0.7, 0.72), 10), (0.8, 3.5, (0.5, 0.5, 1.3), -20), (-0.35, 1.9, (0.45, 0.45, 0.5), 40),
        (0.75, 1.6, (0.4, 0.3, 0.85), -35), (-0.75, 1.1, (0.3, 0.3, 0.8), 15),
    ):  # fmt: skip
        w.standing(x, y, size, w.matte(p.flat), turn)
    w.box((-0.9, 3.3, 0.95), (0.5, 0.03, 0.34), w.glossy(p.bits))
    w.standing(-0.4, 3.4, (0.25, 0.2, 0.2), w.matte(p.bits), 25, on=0.72)
    w.ball((-0.35, 1.9, 0.62), 0.12, w.matte(p.flat))
    w.turned((0.75, 1.6, 0.85), scaled(CUP, 0.06), w.glossy(p.flat))
    w.turned((-0.75, 1.1, 0.8), scaled(BOWL, 0.09), w.glossy(p.dots, (4, 1)))
    w.sky(0.3)
    w.lamp((-0.5, 2.2, 3.0), 1.2, 10)
    return View((0, 0, 1.2), (0.1, 3, 0.85), lens(260, 0.05, 1.8), 5)


def warehouse(w: World) -> View:
    """Shelves of equal boxes over a chequered floor, 1 to 9 m: patterns that repeat."""
    w.floor(w.matte(p.checks, (3, 5)), (-2.4, 2.4), (-1, 9.5))
    w.card((0, 9, 1.8), (6, 4), w.matte(p.stripes, 2))
    face = w.matte(p.bits, 1)
    for side in (-1, 1):
        for y in np.arange(1.6, 8.5, 0.62):
            for level in (0.02, 0.68, 1.34):
                w.standing(side * 1.25, y, (0.5, 0.5, 0.48), face if level else w.matte(p.dots), on=level)
        for level in (0.6, 1.26, 1.9):
            w.box((side * 1.25, 5, level), (0.6, 7.2, 0.05), w.matte(p.flat))
        for y in np.arange(1.25, 8.7, 1.24):
            w.rod((side * 0.95, y, 0), (side * 0.95, y, 2.2), 0.025, w.matte(p.stripes, (1, 12)))
    w.standing(0.3, 3.2, (0.6, 0.6, 0.5), w.matte(p.checks), turn=30)
    w.standing(-0.35, 1.7, (0.3, 0.3, 0.7), w.matte(p.dots), turn=15)
    w.sky(0.6)
    w.lamp((0, 3.5, 3.4), 1.6, 9)
    return View((0.05, 0, 1.35), (0, 4, 0.95), lens(300, 0.05, 1.4), 7)


def polished(w: World) -> View:
    """Metal and lacquer on a table, 0.4 to 2 m: highlights and mirror images lie at other distances."""
    table(w, 0.7, 0.2, 1.2, w.glossy(p.end_grain, 2, 0.08))
    w.card((0, 2.1, 1.2), (5, 2.6), w.matte(p.arcs, 3))
    w.floor(w.matte(p.cobbles, 3), (-3, 3), (-1, 2.2))
    for x, y, r, kind, rough in (
        (-0.2, 0.6, 0.07, "Al", 0.03), (0.16, 0.55, 0.05, "Au", 0.15), (0.05, 0.95, 0.1, "Cu", 0.08),
        (-0.38, 1.05, 0.12, "Al", 0.25), (0.42, 1.15, 0.13, "Cr", 0.04),
    ):  # fmt: skip
        w.ball((x, y, 0.7 + r), r, w.metal(kind, rough))
    w.turned((0.3, 0.75, 0.7), scaled(VASE, 0.05), w.glossy(p.flat, 1, 0.05))
    w.turned((-0.03, 0.45, 0.7), scaled(CUP, 0.032), w.metal("Al", 0.2))
    w.standing(-0.12, 1.2, (0.16, 0.16, 0.3), w.glossy(p.corroded, 1, 0.08), turn=35, on=0.7)
    w.standing(0.14, 1.3, (0.1, 0.1, 0.42), w.glossy(p.mosaic, 1, 0.08), turn=10, on=0.7)
    w.sky(0.4)
    w.lamp((-0.9, 0.5, 2.3), 0.7, 12, target=(0, 0.8, 0.7))
    w.lamp((1.1, 1.3, 2.3), 0.4, 14, target=(0, 0.8, 0.7))
    return View((0, 0, 1.02), (0.02, 0.85, 0.78), lens(290, 0.025, 1.8), 5)


def corridor(w: World) -> View:
    """Columns and doors along a long hall, 1 to 14 m."""
    w.floor(w.glossy(p.terrazzo, (3, 14), 0.15), (-1.6, 1.6), (-1, 14.5))
    w.floor(w.matte(p.flat), (-1.6, 1.6), (-1, 14.5), height=2.7)
    w.card((0, 14, 1.35), (3.4, 2.8), w.matte(p.scribbles, 1))
    for side in (-1, 1):
        w.card((side * 1.6, 7, 1.35), (16, 2.7), w.matte(p.cobbles if side < 0 else p.mosaic, (6, 1)), turn=90)
        for y in (2.2, 4.0, 5.8, 7.6, 9.4, 11.2):
            w.rod((side * 1.3, y, 0), (side * 1.3, y, 2.7), 0.11, w.matte(repeat=(1, 3)))
    for y in (1.5, 3.1, 6.7, 8.5):
        w.card((-1.58, y, 1.0), (0.8, 2.0), w.glossy(w.any(p.camouflage, p.stripes)), turn=90)
    w.standing(0.5, 3.0, (0.4, 0.4, 0.55), w.matte(p.bits), turn=25)
    w.standing(-0.45, 5.5, (0.5, 0.5, 1.2), w.matte(p.camouflage), turn=-15)
    w.turned((0.45, 1.35, 0), scaled(VASE, 0.26), w.glossy(p.arcs, 2))
    for y in (2.5, 6.0, 10.0):
        w.lamp((0, y, 2.65), 0.9, 7)
    w.sky(0.25)
    return View((-0.1, 0, 1.35), (0.1, 6, 1.0), lens(300, 0.05, 1.4), 7)


def fence(w: World) -> View:
    """A mesh of wires 0.6 m away, and a yard behind it up to 5 m: two depths in one neighbourhood."""
    w.card((0, 5, 1.5), (10, 5), w.matte(p.camouflage, 3))
    w.floor(w.matte(p.litter, 4), (-5, 5), (-1, 5.2))
    wire = w.matte(p.bits, (1, 40))
    for k in np.arange(-9, 10):
        w.rod((0.075 * k - 0.8, 0.62, 0.4), (0.075 * k + 0.8, 0.78, 2.0), 0.0032, wire)
        w.rod((0.075 * k + 0.8, 0.62, 0.4), (0.075 * k - 0.8, 0.78, 2.0), 0.0032, wire)
    w.rod((-0.3, 0.7, 0), (-0.3, 0.7, 2), 0.018, w.matte(p.corroded, (1, 6)))
    for x, y, r in ((0.5, 2.2, 0.3), (-0.6, 3.0, 0.4), (0.1, 1.6, 0.18), (1.2, 3.8, 0.5)):
        w.ball((x, y, r), r, w.matte(w.any(p.mosaic, p.arcs, p.cobbles), 2))
    w.standing(-0.45, 1.8, (0.4, 0.4, 0.9), w.matte(p.terrazzo), turn=30)
    w.standing(0.6, 3.2, (0.5, 0.5, 1.7), w.matte(p.arcs), turn=-20)
    w.sky(0.6)
    w.sun((-0.5, 0.7, -0.8), 1.8)
    return View((0, 0, 1.15), (0, 3, 0.95), lens(300, 0.035, 1.4), 5)


def loose_shapes(w: World) -> View:
    """Balls, boxes, rods and vases at all distances in front of a slanted wall, 0.35 to 3 m."""
    w.card((0, 3.0, 1), (9, 7), w.matte(p.gravel, 5), turn=25)
    for power in np.linspace(1 / 2.4, 1 / 0.4, 22):
        y = 1 / power
        x, z = w.rng.uniform(-0.5, 0.5) * y, 1 + w.rng.uniform(-0.36, 0.36) * y
        size, turn = w.rng.uniform(0.06, 0.14) * y, w.rng.uniform(0, 360)
        draw = w.rng.integers(4)
        if draw == 0:
            w.ball((x, y, z), 0.6 * size, w.matte(repeat=2))
        elif draw == 1:
            w.box((x, y, z), w.rng.uniform(0.5, 1.5, 3) * size, w.matte(repeat=1), turn, turn / 2)
        elif draw == 2:
            tip = w.rng.standard_normal(3) * size
            w.rod((x, y, z), (x + tip[0], y + tip[1], z + tip[2]), 0.15 * size, w.matte(repeat=(1, 4)))
        else:
            w.turned((x, y, z - size), scaled(VASE, 0.5 * size), w.glossy(repeat=2))
    w.sky(0.7)
    w.lamp((1, 0, 3), 0.8, 8, target=(0, 1, 1))
    return View((0, 0, 1), (0, 1, 1), lens(280, 0.016, 1.2), 9)


def stairwell(w: World) -> View:
    """Steps that rise between bare walls, with a banister in front, 0.7 to 6 m."""
    w.floor(w.matte(p.terrazzo, 4), (-3, 3), (-1, 2.2))
    for k in range(12):
        w.standing(0.25, 2.2 + 0.3 * k, (1.7, 0.34, 0.16 * (k + 1)), w.matte(p.end_grain if k % 3 else p.flat, 1))
    w.card((0, 6.2, 2), (6, 5), w.matte(p.flat), turn=4)
    w.card((1.15, 3, 2), (8, 5), w.matte(p.flat), turn=90)
    w.card((-1.7, 3, 2), (8, 5), w.matte(p.corroded, 2), turn=90)
    w.card((1.12, 2.9, 1.9), (0.6, 0.8), w.matte(p.camouflage), turn=90)
    w.card((-0.3, 6.15, 2.9), (0.8, 0.6), w.matte(p.bits), turn=4)
    for k in range(9):
        y = 0.75 + 0.5 * k
        w.rod((-0.55, y, 0), (-0.55, y, 1.0 + max(0.0, 0.53 * (y - 2.2))), 0.012, w.metal())
    w.rod((-0.55, 0.7, 1.0), (-0.55, 2.2, 1.0), 0.02, w.glossy(p.end_grain, (1, 6)))
    w.rod((-0.55, 2.2, 1.0), (-0.55, 5.6, 2.8), 0.02, w.glossy(p.end_grain, (1, 9)))
    w.turned((0.6, 1.4, 0), scaled(VASE, 0.17), w.glossy(p.flat))
    w.standing(-1.2, 2.6, (0.5, 0.4, 0.9), w.matte(p.flat), 12)
    w.sky(0.35)
    w.lamp((0.2, 2.5, 4.2), 1.0, 14)
    return View((-0.1, 0, 1.45), (0.05, 3, 1.3), lens(270, 0.04, 1.4), 6)


def bookcase(w: World) -> View:
    """Books and small things on boards close by, many of one colour, 0.35 to 1.4 m."""
    w.card((0, 1.4, 0.3), (4, 2.4), w.matte(p.flat))
    for z in (-0.22, 0.12, 0.46):
        w.box((0, 0.95, z - 0.012), (2.0, 0.5, 0.024), w.glossy(p.end_grain, 2))
        x = -0.85
        while x < 0.8:
            width, height = w.rng.uniform(0.02, 0.06), w.rng.uniform(0.16, 0.28)
            if w.rng.random() < 0.8:
                y = 0.75 + w.rng.uniform(0, 0.12)
                skin = w.matte(w.any(p.flat, p.flat, p.scribbles, p.bits, p.camouflage, p.stripes), 1)
                w.box((x, y + 0.09, z + height / 2), (width, 0.18, height), skin, turn=w.rng.uniform(-4, 4))
            x += width + 0.006
    w.ball((0.3, 0.62, 0.18), 0.06, w.glossy(p.mosaic))
    w.turned((-0.28, 0.55, 0.12), scaled(VASE, 0.05), w.glossy(p.flat))
    w.turned((0.1, 0.5, -0.22), scaled(BOWL, 0.07), w.matte(p.arcs))
    w.rod((-0.2, 0.37, -0.6), (-0.16, 0.37, 0.9), 0.006, w.matte(p.bits, (1, 20)))
    w.sky(0.5)
    w.lamp((-0.6, 0.1, 1.4), 0.5, 14, target=(0, 0.9, 0.1))
    return View((0, 0, 0.2), (0.02, 0.9, 0.12), lens(280, 0.02, 1.4), 5)


INDOORS: tuple[Callable[[World], View], ...] = (
    living_room, breakfast, workbench, masts, bare_office, warehouse, polished, corridor, fence, loose_shapes,
)  # fmt: skip
# Numbered after the outdoor ones, so that a seed gives the earlier scenes the surfaces that it always did.
FURTHER: tuple[Callable[[World], View], ...] = (stairwell, bookcase)
