"""Tileable patterns of path-traced surfaces, different from the textures of the simulator by design.

No network was trained on them: noise comes from a spectrum instead of octaves, and most patterns are cells, glyphs and
scattered strokes. Every painter takes a numpy Generator and returns a (SIZE, SIZE, 3) uint8 sRGB image whose opposite
edges match.
"""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from scipy.spatial import cKDTree

SIZE = 512


def spectral(rng, slope):
    """Return (SIZE, SIZE) noise of zero mean and unit deviation whose amplitude falls as frequency^-slope."""
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None])
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIZE, SIZE))) / frequency**slope)
    return noise / noise.std()


def paint(rng, saturation=(0.1, 0.8), value=(0.2, 0.9), hue=None):
    """Draw a colour, (3,) in 0..255; most hues are between red and yellow, as in rooms."""
    hue = 0.08 + 0.5 * rng.uniform(-1, 1) ** 3 if hue is None else rng.uniform(*hue)
    return 255.0 * np.array(colorsys.hsv_to_rgb(hue % 1.0, rng.uniform(*saturation), rng.uniform(*value)))


def flat(rng):
    """Paint one colour, without any texture for depth from defocus."""
    return np.full((SIZE, SIZE, 3), paint(rng, (0.02, 0.35), (0.6, 0.85)), np.uint8)


def cobbles(rng):
    """Paint rounded stones between dark joints."""
    gap, stone = _cells(rng, 90)
    return _shaded(paint(rng, (0.05, 0.3), (0.4, 0.7)), 0.25 * stone + 0.15 * spectral(rng, 0.8), dark=gap < 0.012)


def gravel(rng):
    """Paint small stones of many colours."""
    gap, stone = _cells(rng, 2200)
    colours = np.array([paint(rng, (0.02, 0.25), (0.25, 0.9)) for _ in range(16)])
    image = colours[(stone * 7919).astype(int) % 16]
    return _rounded(image * np.clip(0.35 + gap / 0.012, 0.35, 1.0)[..., None])


def terrazzo(rng):
    """Paint coloured chips in cement."""
    gap, stone = _cells(rng, 700)
    chips = np.array([paint(rng) for _ in range(12)])
    image = np.where(
        ((stone * 97).astype(int) % 3 == 0)[..., None] & (gap > 0.006)[..., None],
        chips[(stone * 7919).astype(int) % 12],
        paint(rng, (0.02, 0.15), (0.6, 0.85)),
    )
    return _rounded(image * (1 + 0.04 * spectral(rng, 0.3))[..., None])


def camouflage(rng):
    """Paint patches of four colours."""
    levels = np.digitize(spectral(rng, 1.7), (-0.7, 0.0, 0.7))
    return _rounded(np.array([paint(rng, (0.1, 0.6), (0.15, 0.8)) for _ in range(4)])[levels])


def corroded(rng):
    """Paint rust on paint: two colours mixed by noise of all scales."""
    weight = 1 / (1 + np.exp(-2.5 * spectral(rng, 1.1)))[..., None]
    rust = paint(rng, (0.5, 0.8), (0.2, 0.5), (0.02, 0.08))
    image = rust * weight + paint(rng, (0.1, 0.5), (0.5, 0.9)) * (1 - weight)
    return _rounded(image * (1 + 0.08 * spectral(rng, 0.2))[..., None])


def end_grain(rng):
    """Paint the rings of a sawn trunk."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    rings = np.sin(2 * np.pi * (18 * np.hypot(x, y) + 0.35 * spectral(rng, 1.8)))
    return _shaded(paint(rng, (0.3, 0.6), (0.5, 0.8), (0.05, 0.1)), 0.22 * rings + 0.08 * spectral(rng, 0.4))


def litter(rng):
    """Paint leaves on the ground."""
    image = np.full((SIZE, SIZE, 3), paint(rng, (0.2, 0.5), (0.15, 0.3), (0.05, 0.1)), np.uint8)
    t = np.linspace(0, 2 * np.pi, 24)
    for _ in range(900):
        length, turn = rng.uniform(9, 26), rng.uniform(0, 2 * np.pi)
        leaf = length * np.stack([np.cos(t), 0.35 * np.sin(t) ** 3]).T @ _turned(turn)
        _stamp(image, leaf, rng.uniform(0, SIZE, 2), paint(rng, (0.2, 0.8), (0.2, 0.85), (0.03, 0.3)))
    return image


def grass(rng):
    """Paint short strokes of one hue."""
    image = np.full((SIZE, SIZE, 3), 40, np.uint8)
    base = paint(rng, (0.4, 0.8), (0.5, 0.9), (0.18, 0.32))
    for _ in range(5000):
        blade = rng.uniform(6, 22) * np.array([[0, -1], [0.08, 0], [0, 1.0], [-0.08, 0]])
        turn = rng.normal(0, 0.5)
        _stamp(image, blade @ _turned(turn), rng.uniform(0, SIZE, 2), base * rng.uniform(0.3, 1.1))
    return image


def scribbles(rng):
    """Paint thin wandering lines on paper."""
    image = np.full((SIZE, SIZE, 3), paint(rng, (0.0, 0.15), (0.75, 0.95)), np.uint8)
    for _ in range(40):
        steps = np.cumsum(np.cumsum(rng.normal(0, 0.7, (160, 2)), axis=0) * 0.12 + rng.normal(0, 1.5, 2), axis=0)
        ink = paint(rng, (0.2, 0.9), (0.05, 0.5))
        start = rng.uniform(0, SIZE, 2)
        for shift in _wraps():
            line = np.rint(4 * (steps + start + shift)).astype(np.int32)
            cv2.polylines(image, [line], False, ink.tolist(), int(rng.integers(1, 4)), cv2.LINE_AA, shift=2)
    return image


def arcs(rng):
    """Paint Truchet tiles: quarter circles that join at random."""
    count, tile = 16, SIZE // 16
    y, x = np.mgrid[:tile, :tile] + 0.5
    band = np.minimum(np.abs(np.hypot(x, y) - tile / 2), np.abs(np.hypot(tile - x, tile - y) - tile / 2))
    one = np.clip(tile / 7 - band + 0.5, 0, 1)
    rows = [np.hstack([one if rng.random() < 0.5 else one[:, ::-1] for _ in range(count)]) for _ in range(count)]
    return _mixed(rng, np.vstack(rows))


def mosaic(rng):
    """Paint small squares of many colours."""
    colours = np.array([paint(rng) for _ in range(9)])
    image = colours[rng.integers(0, 9, (32, 32))] * rng.uniform(0.8, 1.1, (32, 32, 1))
    image = np.kron(image, np.ones((SIZE // 32, SIZE // 32, 1)))
    image[:: SIZE // 32] = image[:, :: SIZE // 32] = 90
    return _rounded(image)


def bits(rng):
    """Paint random black and white squares, like a printed code."""
    return _mixed(rng, np.kron(rng.integers(0, 2, (32, 32)), np.ones((16, 16))))


def herringbone(rng):
    """Paint a zigzag weave."""
    y, x = np.mgrid[:SIZE, :SIZE]
    zigzag = np.abs((x % 64) - 32) + y
    weave = (zigzag % 16 < 8).astype(float)
    return _shaded(paint(rng, (0.1, 0.6), (0.4, 0.8)), 0.5 * (weave - 0.5) + 0.12 * spectral(rng, 0.2))


def checks(rng):
    """Paint a chessboard: repeats exactly."""
    y, x = np.mgrid[:SIZE, :SIZE] // (SIZE // 8)
    return _mixed(rng, (x + y) % 2)


def stripes(rng):
    """Paint upright stripes: repeats exactly, and has no detail along them."""
    return _mixed(rng, np.broadcast_to((np.arange(SIZE) // (SIZE // 16)) % 2, (SIZE, SIZE)))


def dots(rng):
    """Paint a grid of dots: repeats exactly."""
    y, x = np.mgrid[:SIZE, :SIZE] % (SIZE // 8) - SIZE / 16
    return _mixed(rng, np.clip(SIZE / 26 - np.hypot(x, y), 0, 1))


RICH = (terrazzo, corroded, camouflage, scribbles, arcs, mosaic, bits, herringbone, end_grain)


def _cells(rng, count):
    """Return the gap to the second nearest of ``count`` points, and a number in 0..1 that identifies the nearest."""
    points = rng.random((count, 2))
    grid = np.stack(np.mgrid[:SIZE, :SIZE], axis=-1).reshape(-1, 2) / SIZE
    distance, nearest = cKDTree(points, boxsize=1.0).query(grid, k=2)
    gap = (distance[:, 1] - distance[:, 0]).reshape(SIZE, SIZE)
    return gap, rng.random(count)[nearest[:, 0]].reshape(SIZE, SIZE)


def _turned(angle):
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _wraps():
    return [np.array([i, j]) * SIZE for i in (-1, 0, 1) for j in (-1, 0, 1)]


def _stamp(image, outline, place, colour):
    reach = np.abs(outline).max()
    for shift in _wraps():
        middle = place + shift
        if (middle > -reach).all() and (middle < SIZE + reach).all():
            points = np.rint(16 * (outline + middle)).astype(np.int32)
            cv2.fillPoly(image, [points], colour.tolist(), cv2.LINE_AA, shift=4)


def _shaded(base, modulation, dark=None):
    image = base * (1 + modulation)[..., None]
    if dark is not None:
        image[dark] *= 0.3
    return _rounded(image)


def _mixed(rng, weight):
    weight = np.asarray(weight, dtype=np.float64)[..., None]
    return _rounded(paint(rng, (0.1, 0.9), (0.08, 0.4)) * weight + paint(rng, (0.05, 0.6), (0.6, 0.95)) * (1 - weight))


def _rounded(image):
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
