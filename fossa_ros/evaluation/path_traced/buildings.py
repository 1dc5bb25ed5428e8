"""Scenes first rendered for a report: kitchen, attic, platform, garage, market, workshop and playground."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fossa_ros.evaluation.path_traced import patterns as p
from fossa_ros.evaluation.path_traced.outdoors import BLUE, plant, terrain
from fossa_ros.evaluation.path_traced.render import View
from fossa_ros.evaluation.path_traced.scenes import BOWL, CUP, VASE, lens, scaled
from fossa_ros.evaluation.path_traced.world import World


def kitchen(w: World) -> View:
    """A worktop along the wall under plain cupboards, with bottles and bowls, 0.5 to 3 m."""
    w.floor(w.matte(p.checks, 4), (-3, 3), (-1, 4))
    w.card((0, 2.6, 1.3), (6, 2.8), w.matte(p.mosaic, 5))
    w.card((1.9, 1, 1.3), (6, 2.8), w.matte(p.flat), turn=90)
    front = w.matte(p.flat)
    for x in np.arange(-2.1, 1.9, 0.6):
        w.standing(x, 2.3, (0.585, 0.55, 0.86), front)
        w.rod((x + 0.2, 2.0, 0.72), (x + 0.2, 2.0, 0.5), 0.008, w.metal())
        if x < -0.4 or x > 0.7:
            w.box((x, 2.42, 1.75), (0.585, 0.33, 0.65), front)
    w.box((0, 2.28, 0.89), (5, 0.62, 0.04), w.glossy(p.terrazzo, (4, 1)))
    w.box((-0.45, 0.95, 0.88), (1.2, 0.6, 0.05), w.glossy(p.end_grain, 2), turn=-12)
    for x, y, size in ((-0.75, 0.85, 0.05), (-0.3, 0.75, 0.045), (-0.15, 1.05, 0.06)):
        w.turned((x, y, 0.905), scaled(w.any(CUP, VASE), size), w.glossy(w.any(p.flat, p.arcs)))
    w.turned((-0.5, 1.0, 0.905), scaled(BOWL, 0.12), w.matte(p.flat))
    for angle in (0.3, 2.4, 4.4):
        w.ball((-0.5 + 0.05 * np.cos(angle), 1.0 + 0.05 * np.sin(angle), 0.99), 0.045, w.matte(p.corroded))
    for x, height in ((0.15, 0.3), (0.28, 0.24), (0.5, 0.33), (1.2, 0.2)):
        w.rod((x, 2.2, 0.91), (x, 2.2, 0.91 + height), 0.036, w.glossy(w.any(p.flat, p.stripes, p.scribbles)))
    w.rod((-0.35, 1.0, 1.55), (-0.35, 1.0, 2.6), 0.004, w.metal("Cu"))
    w.turned((-0.35, 1.0, 1.45), scaled([(1.3, 0.0), (0.5, 0.7), (0.1, 0.9)], 0.12), w.matte(p.flat))
    w.sky(0.35)
    w.lamp((0.3, 1.2, 2.5), 0.8, 9)
    return View((0.1, 0, 1.35), (0.0, 1.6, 1.08), lens(270, 0.028, 1.4), 6)


def attic(w: World) -> View:
    """Beams and boxes under two plain slanted ceilings, 0.8 to 7 m."""
    w.floor(w.matte(p.end_grain, (3, 8)), (-3, 3), (-1, 7.5))
    w.card((0, 7.2, 1.5), (6, 3.2), w.matte(p.flat), turn=-3)
    w.card((0.4, 7.1, 1.1), (0.7, 0.9), w.matte(p.mosaic), turn=-3)
    for side in (-1, 1):
        run, rise = 2.4, 2.4
        for y in np.arange(0.6, 7, 1.2):
            w.rod((side * run, y, 0.1), (side * 0.05, y, rise), 0.06, w.matte(p.end_grain, (1, 6)))
        rows = np.linspace(0, 1, 2)[:, None, None]
        along = np.linspace(-1, 7.5, 2)[None, :, None]
        roof = rows * [side * 0.0, 0, rise + 0.1] + (1 - rows) * [side * run * 1.05, 0, 0] + along * [0, 1, 0]
        w.sheet(roof, w.matte(p.flat))
    w.rod((0, -1, 1.95), (0, 7.2, 1.95), 0.08, w.matte(p.end_grain, (1, 12)))
    for x, y, size in ((-0.8, 2.2, 0.5), (-0.9, 3.4, 0.7), (0.9, 2.8, 0.45), (0.6, 4.9, 0.8), (-0.5, 5.6, 0.5)):
        top = w.standing(x, y, (size, 0.8 * size, 0.7 * size), w.matte(w.any(p.flat, p.bits, p.camouflage)), 15 * x)
        w.standing(x + 0.03, y, (0.6 * size, 0.5 * size, 0.4 * size), w.matte(w.any(p.flat, p.stripes)), 9, on=top)
    w.turned((0.35, 1.3, 0), scaled(VASE, 0.13), w.glossy(p.flat))
    w.rod((-0.35, 1.0, 0), (-0.3, 1.1, 1.7), 0.012, w.metal())
    w.ball((0.1, 3.6, 0.2), 0.2, w.matte(p.checks, 2))
    w.sky(0.3)
    w.lamp((0.3, 2.0, 1.85), 0.3, 40)
    w.lamp((-0.2, 5.5, 1.85), 0.3, 40)
    return View((0.05, 0, 1.25), (0, 4, 0.95), lens(290, 0.045, 1.4), 5)


def platform(w: World) -> View:
    """A railway platform: columns under a plain roof on the left, tracks on the right, 1.2 to 18 m."""
    w.floor(w.matte(p.gravel, 9), (-8, 12), (-1, 24), height=-0.9)
    w.box((-2.2, 11, -0.45), (4.4, 26, 0.9), w.matte(p.cobbles, (2, 12)))
    w.box((-0.35, 11, 0.005), (0.3, 26, 0.02), w.matte(p.flat))
    for x in (1.0, 2.4):
        w.box((x, 11, -0.82), (0.08, 26, 0.14), w.metal())
    for y in np.arange(1.5, 22, 0.7):
        w.box((1.7, y, -0.88), (2.3, 0.25, 0.12), w.matte(p.corroded, (3, 1)))
    for y in (2.6, 5.4, 8.2, 11.0, 13.8):
        w.rod((-1.5, y, 0), (-1.5, y, 3.0), 0.09, w.matte(p.flat))
        w.rod((-1.5, y, 2.4), (-0.7, y, 3.0), 0.04, w.metal())
    w.box((-2.4, 9, 3.08), (4.0, 16, 0.12), w.matte(p.flat))
    w.card((-4.3, 10, 1.5), (24, 3), w.matte(p.herringbone, (12, 2)), turn=90)
    for y in (3.9, 9.5):
        w.box((-2.3, y, 0.45), (0.5, 1.8, 0.06), w.matte(p.end_grain, (1, 3)))
        w.box((-2.55, y, 0.8), (0.05, 1.8, 0.35), w.matte(p.end_grain, (1, 3)))
        for end in (-0.8, 0.8):
            w.standing(-2.3, y + end, (0.4, 0.06, 0.42), w.metal())
    w.card((-1.0, 6.8, 2.2), (0.9, 0.45), w.matte(p.scribbles), turn=4)
    w.standing(-0.8, 1.9, (0.32, 0.22, 0.6), w.matte(p.flat), turn=24)
    w.rod((-0.75, 1.9, 0.6), (-0.75, 1.9, 1.0), 0.01, w.metal())
    w.box((4.8, 16, 0.9), (2.8, 14, 3.2), w.glossy(p.stripes, (6, 1)))
    w.card((3, 22, 2), (26, 7), w.matte(p.camouflage, 4))
    w.sky(0.7, BLUE)
    w.sun((-0.7, 0.5, -0.8), 2.0)
    return View((-0.4, 0, 1.5), (-0.2, 8, 1.0), lens(310, 0.06, 1.4), 6)


def garage(w: World) -> View:
    """A car from behind between plain walls, a shelf with boxes beside it, 0.9 to 7 m."""
    w.floor(w.matte(p.corroded, (2, 4)), (-3.2, 3.2), (-1, 7.2))
    w.card((0, 7.0, 1.3), (6.4, 2.8), w.matte(p.flat), turn=2)
    for side in (-1, 1):
        w.card((side * 2.9, 3, 1.3), (9, 2.8), w.matte(p.flat), turn=90)
    w.card((0, 3, 2.6), (6.4, 9), w.matte(p.flat), lean=90)
    paint = w.glossy(p.flat)
    w.box((0.5, 4.4, 0.62), (1.75, 4.0, 0.6), paint)
    w.box((0.5, 4.6, 1.15), (1.5, 2.2, 0.5), paint)
    w.card((0.5, 3.49, 1.17), (1.3, 0.38), w.metal())
    for x in (-0.2, 1.2):
        w.card((x, 2.39, 0.75), (0.25, 0.14), w.matte(p.dots))
        w.rod((x - 0.1, 2.9, 0.32), (x + 0.12, 2.9, 0.32), 0.31, w.matte(p.litter))
    w.card((0.5, 2.38, 0.62), (0.5, 0.11), w.matte(p.scribbles, (2, 1)))
    for x, y in ((-2.7, 1.6), (-2.7, 4.6), (-2.2, 1.6), (-2.2, 4.6)):
        w.standing(x, y, (0.04, 0.04, 2.0), w.metal())
    for height in (0.4, 0.95, 1.5, 2.0):
        w.box((-2.45, 3.1, height), (0.52, 3.1, 0.03), w.matte(p.end_grain, (1, 6)))
        for y in np.arange(1.9, 4.5, 0.55):
            size = w.rng.uniform(0.6, 1, 3) * (0.42, 0.45, 0.42)
            w.standing(-2.42, y, size, w.matte(w.any(p.flat, p.bits, p.stripes, p.mosaic)), on=height + 0.015)
    w.rod((2.6, 2.2, 0), (2.8, 2.2, 1.9), 0.02, w.matte(p.end_grain, (1, 5)))
    w.standing(2.4, 3.4, (0.6, 0.7, 0.9), w.matte(p.camouflage), 12)
    w.turned((-1.3, 1.5, 0), scaled(BOWL, 0.2), w.matte(p.flat))
    w.ball((-1.25, 2.6, 0.13), 0.13, w.matte(p.checks, 2))
    w.sky(0.35)
    w.lamp((0.2, 2.2, 2.5), 0.8, 14)
    w.lamp((0.2, 5.6, 2.5), 0.8, 14)
    return View((-0.5, 0, 1.45), (-0.2, 4, 0.85), lens(280, 0.05, 1.4), 5)


def market(w: World) -> View:
    """Two rows of stalls with crates of fruit under plain awnings, 1 to 14 m."""
    w.floor(w.matte(p.cobbles, (5, 9)), (-7, 7), (-1, 20))
    for side in (-1, 1):
        for y in (2.2, 5.2, 8.2, 11.2):
            x = 1.9 * side + w.rng.uniform(-0.15, 0.15)
            w.box((x, y, 0.75), (1.5, 2.0, 0.08), w.matte(p.end_grain, (1, 4)))
            w.card((x - 0.75 * side, y, 0.37), (2.0, 0.72), w.matte(w.any(p.flat, p.stripes), (4, 1)), turn=90)
            w.card((x, y, 2.25), (1.9, 2.3), w.matte(w.any(p.flat, p.stripes), (3, 1)), lean=90 - 8)
            for corner in (-1, 1):
                w.rod((x - 0.8 * side, y + 0.95 * corner, 0), (x - 0.8 * side, y + 0.95 * corner, 2.2), 0.02, w.metal())
            for row in np.arange(-0.7, 0.8, 0.5):
                top = w.standing(x - 0.3 * side, y + row, (0.6, 0.42, 0.16), w.matte(p.end_grain), on=0.79)
                skin = w.matte(w.any(p.flat, p.corroded, p.arcs))
                for place in w.rng.uniform(-0.2, 0.2, (7, 2)) * (1.2, 0.8):
                    w.ball((x - 0.3 * side + place[0], y + row + place[1], top + 0.03), 0.065, skin)
    w.standing(0.5, 3.1, (0.4, 0.3, 0.45), w.matte(p.flat), 20)
    w.rod((-0.5, 4.4, 0), (-0.5, 4.4, 1.7), 0.05, w.matte(p.camouflage))
    w.ball((-0.5, 4.4, 1.85), 0.16, w.matte(p.flat))
    w.wire((-2.5, 3.0, 2.6), (2.5, 3.4, 2.6), 0.25, 0.006, w.matte(p.flat))
    for x in (-1.4, -0.6, 0.3, 1.2):
        w.ball((x, 3.2, 2.33), 0.07, w.glossy(p.flat))
    w.card((0, 17, 3.5), (22, 9), w.matte(p.herringbone, (6, 3)))
    for x in (-4.5, -1.5, 1.5, 4.5):
        w.card((x, 16.9, 3.6), (1.1, 1.7), w.matte(p.flat))
    w.sky(0.65, BLUE)
    w.sun((0.5, 0.6, -0.9), 1.8)
    return View((0.1, 0, 1.55), (0.0, 6, 1.05), lens(300, 0.055, 1.4), 6)


def workshop(w: World) -> View:
    """A bench before a wall of hanging tools, a lamp on an arm, and bare plaster, 0.6 to 4 m."""
    w.floor(w.matte(p.gravel, 3), (-3, 3), (-1, 5))
    w.card((0, 3.6, 1.4), (7, 3), w.matte(p.flat), turn=6)
    w.card((-2.1, 1.5, 1.4), (6, 3), w.matte(p.flat), turn=85)
    w.box((0.2, 2.9, 0.86), (2.6, 0.7, 0.08), w.matte(p.end_grain, (2, 1)), turn=6)
    for x, y in ((-0.95, 2.5), (1.35, 2.75), (-1.0, 3.05), (1.3, 3.3)):
        w.standing(x, y, (0.09, 0.09, 0.82), w.matte(p.flat), 6)
    w.box((0.15, 3.5, 1.62), (1.9, 0.03, 0.8), w.matte(p.dots, (6, 3)), turn=6)
    for x in np.linspace(-0.65, 0.95, 9):
        y, z, length = 3.43 + 0.1 * x, w.rng.uniform(1.55, 1.9), w.rng.uniform(0.15, 0.4)
        w.rod((x, y, z), (x + w.rng.normal(0, 0.02), y, z - length), w.rng.uniform(0.006, 0.02), w.metal())
        w.box((x, y, z), (w.rng.uniform(0.04, 0.12), 0.04, 0.06), w.matte(w.any(p.flat, p.corroded)))
    w.standing(-0.45, 2.75, (0.3, 0.2, 0.22), w.glossy(p.flat), 25, on=0.9)
    w.standing(0.85, 2.8, (0.42, 0.3, 0.18), w.matte(p.bits), -12, on=0.9)
    for x, y in ((0.15, 2.65), (0.3, 2.72), (0.24, 2.9)):
        w.turned((x, y, 0.9), scaled(CUP, w.rng.uniform(0.05, 0.09)), w.glossy(w.any(p.flat, p.stripes)))
    w.rod((-0.75, 2.9, 0.9), (-0.85, 2.75, 1.35), 0.012, w.metal())
    w.rod((-0.85, 2.75, 1.35), (-0.4, 2.5, 1.55), 0.012, w.metal())
    w.turned((-0.4, 2.5, 1.45), scaled([(1.2, 0.0), (0.6, 0.6), (0.2, 1.0)], 0.1), w.matte(p.flat))
    w.rod((0.4, 0.95, 0), (0.45, 1.0, 1.9), 0.02, w.matte(p.end_grain, (1, 10)))
    w.standing(-0.55, 1.3, (0.5, 0.4, 0.7), w.matte(p.flat), 35)
    w.ball((-0.5, 1.3, 0.79), 0.09, w.matte(p.mosaic))
    w.sky(0.3)
    w.lamp((0.4, 1.4, 2.9), 0.7, 11)
    return View((0, 0, 1.4), (0.05, 2.4, 1.18), lens(280, 0.03, 1.4), 6)


def playground(w: World) -> View:
    """A climbing frame, swings and a slide on sand before trees and houses, 2 to 16 m."""
    height = terrain(w, -1, 18, 12, 0.1, w.matte(p.gravel, (9, 12)))
    bars, size = w.matte(p.flat), 0.8
    for i in range(4):
        for j in range(3):
            x, y = -1.9 + size * i, 4.2 + size * j
            w.rod((x, y, -0.1), (x, y, 2.0), 0.025, bars)
    for z in (0.7, 1.35, 2.0):
        for i in range(4):
            w.rod((-1.9 + size * i, 4.2, z), (-1.9 + size * i, 4.2 + 2 * size, z), 0.025, bars)
        for j in range(3):
            w.rod((-1.9, 4.2 + size * j, z), (-1.9 + 3 * size, 4.2 + size * j, z), 0.025, bars)
    for x in (1.5, 3.7):
        w.rod((x - 0.5, 6.5, -0.1), (x, 6.5, 2.3), 0.05, w.matte(p.corroded, (1, 6)))
        w.rod((x + 0.5, 6.5, -0.1), (x, 6.5, 2.3), 0.05, w.matte(p.corroded, (1, 6)))
    w.rod((1.5, 6.5, 2.3), (3.7, 6.5, 2.3), 0.05, w.matte(p.corroded, (1, 6)))
    for x in (2.1, 3.1):
        for end in (-0.2, 0.2):
            w.rod((x + end, 6.5, 2.3), (x + end, 6.2, 0.5), 0.008, w.metal())
        w.box((x, 6.2, 0.5), (0.45, 0.2, 0.03), w.matte(p.flat))
    w.box((0.9, 3.1, 0.75), (0.5, 1.9, 0.03), w.glossy(p.flat), turn=-30, tilt=-32)
    w.ball((-0.35, 2.3, height(-0.35, 2.3) + 0.14), 0.15, w.matte(p.stripes))
    w.standing(-1.0, 2.9, (1.1, 0.35, 0.4), w.matte(p.end_grain, (3, 1)), 20)
    for x, y in ((-4.2, 9.5), (0.3, 11.0), (4.8, 10.0)):
        w.rod((x, y, -0.2), (x + w.rng.normal(0, 0.2), y, 4.5), 0.16, w.matte(p.corroded, (1, 3)))
        for _ in range(3):
            plant(w, (x + w.rng.normal(0, 0.5), y, w.rng.uniform(1.9, 2.8)), 1.3, 14, w.matte(p.litter))
    for x, turn, pattern in ((-5.5, 8, p.flat), (1.0, -4, p.herringbone), (7.5, 10, p.flat)):
        w.box((x, 16, 2), (6, 2.5, 5), w.matte(pattern, 3), turn)
    w.sky(0.65, BLUE)
    w.sun((-0.5, 0.6, -0.8), 2.0)
    return View((0, 0, 1.3), (0.1, 6, 1.05), lens(310, 0.05, 1.3), 6)


BUILDINGS: tuple[Callable[[World], View], ...] = (kitchen, attic, platform, garage, market, workshop, playground)
