"""Procedural textures for the surfaces of simulated scenes.

Every painter takes ``(rng, height, width, texel)`` with the size in texels and ``texel`` in metres, so that features
have a size in the world, and returns an (height, width, 3) uint8 sRGB image.
"""

from __future__ import annotations

import colorsys

import cv2
import numpy as np


def fractal(rng, height, width, largest, stretch=(1.0, 1.0), finest=2.0, roughness=0.7):
    """Return (height, width) float32 noise of zero mean and unit deviation.

    It has octaves from features of ``largest`` texels down to ``finest``; ``stretch`` lengthens them in (y, x). The
    amplitude decreases by the factor ``roughness`` per octave: values near 1 give much fine detail.
    """
    feature, amplitude, total = float(max(largest, finest)), 1.0, None
    while feature >= finest:  # every octave on the grid that it needs, so that only the last resize is large
        rows = max(2, int(height / (feature * stretch[0])) + 2)
        columns = max(2, int(width / (feature * stretch[1])) + 2)
        octave = np.float32(amplitude) * rng.standard_normal((rows, columns), dtype=np.float32)
        if total is not None:
            octave += cv2.resize(total, (columns, rows), interpolation=cv2.INTER_CUBIC)
        total = octave
        feature, amplitude = feature / 2, amplitude * roughness
    total = cv2.resize(total, (width, height), interpolation=cv2.INTER_CUBIC)
    total -= total.mean()
    return total / max(float(total.std()), 1e-6)


def colour(rng, saturation=(0.1, 0.7), value=(0.35, 0.9), hue=(0.0, 1.0)):
    """Draw a colour as (3,) float32 in 0..255."""
    hsv = rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value)
    return 255 * np.array(colorsys.hsv_to_rgb(*hsv), np.float32)


def quantised(image):
    """Round to uint8."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def tinted(base, *modulations):
    """Paint one colour, brightened by factors 1 + modulation."""
    factor = np.ones_like(modulations[0])
    for modulation in modulations:
        factor = factor * (1 + modulation)
    return factor[..., None] * base


def plaster(rng, height, width, texel):
    """Paint a wall with hardly any texture: a few grey levels of contrast."""
    mottle = 0.012 * fractal(rng, height, width, 0.4 / texel, finest=2)
    return quantised(tinted(colour(rng, (0.03, 0.2), (0.6, 0.85)), mottle))


def stucco(rng, height, width, texel):
    """Paint a rough wall with strong fine grain."""
    base = colour(rng, (0.05, 0.4), (0.45, 0.75))
    grain = fractal(rng, height, width, 0.05 / texel, roughness=0.95)
    return quantised(tinted(base, 0.12 * grain, 0.08 * fractal(rng, height, width, 0.6 / texel)))


def marble(rng, height, width, texel):
    """Paint two colours blended by veined noise."""
    veins = np.abs(fractal(rng, height, width, 0.25 / texel, roughness=0.75))
    weight = np.clip(veins, 0, 1)[..., None]
    dark, bright = colour(rng, (0.05, 0.4), (0.15, 0.45)), colour(rng, (0.05, 0.35), (0.6, 0.95))
    blend = dark * (1 - weight) + bright * weight
    return quantised(blend * (1 + 0.06 * fractal(rng, height, width, 6, roughness=1))[..., None])


def granite(rng, height, width, texel):
    """Paint speckles of three colours."""
    coarse = fractal(rng, height, width, 0.012 / texel, roughness=0.9)
    fine = fractal(rng, height, width, 0.006 / texel, roughness=0.9)
    image = np.empty((height, width, 3), np.float32)
    image[:] = colour(rng, (0.05, 0.3), (0.45, 0.65))
    image[coarse > 0.9] = colour(rng, (0.05, 0.3), (0.75, 0.95))
    image[fine > 1.1] = colour(rng, (0.05, 0.3), (0.1, 0.25))
    image = cv2.GaussianBlur(image, (0, 0), 0.7)
    return quantised(image * (1 + 0.1 * fractal(rng, height, width, 0.5 / texel))[..., None])


def tiled(rng, height, width, tile_height, tile_width, joint, shift):
    """Return per-texel variation (one draw a tile) and the mask of joints; rows shift by ``shift`` tiles."""
    y, x = np.arange(height), np.arange(width)
    row = (y // tile_height).astype(int)
    along = x[None, :] + (row * shift * tile_width)[:, None]
    column = (along // tile_width).astype(int)
    draws = rng.standard_normal((row.max() + 1, column.max() + 1)).astype(np.float32)
    joints = ((y % tile_height) < joint)[:, None] | ((along % tile_width) < joint)
    return draws[row[:, None], column], joints


def bricks(rng, height, width, texel):
    """Paint courses of bricks with mortar between them."""
    size = rng.uniform(0.06, 0.09) / texel
    variation, joints = tiled(rng, height, width, size, 3 * size, max(1.5, 0.012 / texel), 0.5)
    image = tinted(
        colour(rng, (0.35, 0.65), (0.45, 0.7), hue=(0.0, 0.08)),
        0.14 * variation,
        0.13 * fractal(rng, height, width, 0.04 / texel, roughness=0.9),
    )
    mortar = colour(rng, (0.0, 0.15), (0.6, 0.8))
    image[joints] = tinted(mortar, 0.08 * fractal(rng, height, width, 4, roughness=1))[joints]
    return quantised(cv2.GaussianBlur(image, (0, 0), 0.6))


def tiles(rng, height, width, texel):
    """Paint square tiles with joints."""
    size = rng.uniform(0.12, 0.3) / texel
    variation, joints = tiled(rng, height, width, size, size, max(1.5, 0.008 / texel), 0.0)
    image = tinted(
        colour(rng, (0.03, 0.25), (0.5, 0.85)),
        0.1 * variation,
        0.09 * fractal(rng, height, width, 0.08 / texel, roughness=0.85),
    )
    image[joints] = colour(rng, (0.0, 0.2), (0.2, 0.4))
    return quantised(cv2.GaussianBlur(image, (0, 0), 0.6))


def planks(rng, height, width, texel):
    """Paint wooden boards, their grain along x."""
    size = rng.uniform(0.08, 0.16) / texel
    variation, joints = tiled(rng, height, width, size, 9 * size, max(1.2, 0.004 / texel), 0.37)
    grain = fractal(rng, height, width, 0.03 / texel, stretch=(0.5, 10), roughness=0.85)
    pores = fractal(rng, height, width, 0.01 / texel, stretch=(0.6, 4), roughness=1)
    image = tinted(
        colour(rng, (0.35, 0.65), (0.45, 0.75), hue=(0.05, 0.11)), 0.1 * variation, 0.12 * grain, 0.08 * pores
    )
    image[joints] *= 0.35
    return quantised(image)


def fabric(rng, height, width, texel):
    """Paint a woven cloth with a coarse check."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    thread = max(4.0, 0.008 / texel)
    weave = np.sin(2 * np.pi * x / thread) * np.sin(2 * np.pi * y / thread)
    check = np.sign(np.sin(2 * np.pi * x * texel / 0.11)) + np.sign(np.sin(2 * np.pi * y * texel / 0.11))
    noise = fractal(rng, height, width, 0.02 / texel, roughness=0.95)
    return quantised(tinted(colour(rng, (0.15, 0.55), (0.4, 0.75)), 0.12 * weave, 0.14 * check, 0.1 * noise))


def printed(rng, height, width, texel):
    """Paint paper with lines of text and a heading."""
    image = np.empty((height, width, 3), np.float32)
    image[:] = colour(rng, (0.0, 0.12), (0.8, 0.95))
    page = quantised(image)
    y = 0.0
    while y < height:
        heading = rng.random() < 0.12
        line = rng.uniform(0.03, 0.06) / texel if heading else rng.uniform(0.012, 0.02) / texel
        line = max(line, 9.0)
        y += 1.45 * line
        ink = colour(rng, (0.0, 0.9), (0.05, 0.3)).tolist()
        letters = "".join(rng.choice(list("abcdefghiklmnoprstuvwxyzABEGKMRST0123456789    "), size=400))
        start = int(rng.uniform(0.02, 0.08) * width)
        cv2.putText(
            page,
            letters,
            (start, int(y)),
            cv2.FONT_HERSHEY_SIMPLEX,
            line / 30,
            ink,
            max(1, int(line / 11)),
            cv2.LINE_AA,
        )
    return quantised(page * (1 + 0.035 * fractal(rng, height, width, 8, roughness=1))[..., None])


def poster(rng, height, width, texel):
    """Paint a picture: overlapping shapes, letters and grain."""
    sky = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    page = quantised(np.broadcast_to(colour(rng) * (1 - sky) + colour(rng) * sky, (height, width, 3)))
    for _ in range(int(rng.integers(25, 60))):
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        size = rng.lognormal(-2.6, 0.7) * min(height, width)
        paint, shape = colour(rng, (0.2, 0.95), (0.1, 1.0)).tolist(), rng.random()
        if shape < 0.4:
            axes = (int(size) + 1, int(size * rng.uniform(0.4, 1)) + 1)
            cv2.ellipse(page, centre, axes, rng.uniform(0, 180), 0, 360, paint, -1, cv2.LINE_AA)
        elif shape < 0.75:
            box = cv2.boxPoints((centre, (2 * size, 2 * size * rng.uniform(0.2, 1)), rng.uniform(0, 90)))
            cv2.fillConvexPoly(page, np.rint(box).astype(np.int32), paint, cv2.LINE_AA)
        else:
            word = "".join(rng.choice(list("ABCDEFGHKLMNOPRSTUVXYZ2345678"), size=4))
            cv2.putText(
                page,
                word,
                centre,
                cv2.FONT_HERSHEY_DUPLEX,
                size / 22,
                paint,
                max(1, int(size / 9)),
                cv2.LINE_AA,
            )
    return quantised(page * (1 + 0.06 * fractal(rng, height, width, 0.02 / texel, roughness=0.95))[..., None])


def books(rng, height, width, texel):
    """Paint shelves of book spines."""
    page = np.empty((height, width, 3), np.float32)
    page[:] = colour(rng, (0.3, 0.6), (0.2, 0.35), hue=(0.05, 0.1))
    shelf = 0.3 / texel
    for top in np.arange(0, height, shelf):
        x = 0.0
        bottom = int(top + 0.93 * shelf)
        while x < width:
            thick = max(3.0, rng.uniform(0.015, 0.05) / texel)
            upper = int(top + shelf * rng.uniform(0.08, 0.35))
            left, right = int(x), int(x + thick)
            page[upper:bottom, left:right] = colour(rng, (0.2, 0.8), (0.2, 0.85))
            for _ in range(int(rng.integers(1, 4))):
                band = int(rng.uniform(upper, bottom))
                tall = max(2, int(shelf * rng.uniform(0.01, 0.15)))
                page[band : min(band + tall, bottom), left + 1 : right - 1] = colour(rng, (0.0, 0.6), (0.3, 0.95))
            page[upper:bottom, left] *= 0.4
            x += thick
    page = cv2.GaussianBlur(page, (0, 0), 0.6)
    return quantised(page * (1 + 0.06 * fractal(rng, height, width, 0.03 / texel, roughness=0.95))[..., None])


# Painters for walls, floors and objects; WEAK is for regions that depth from defocus cannot measure.
WALLS = (stucco, bricks, books, planks, tiles)
FLOORS = (planks, tiles, granite, marble)
OBJECTS = (poster, printed, granite, fabric, marble, planks, stucco)
WEAK = (plaster,)
