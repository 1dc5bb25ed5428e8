"""Procedural textures in plain PyTorch: natural spectra, dead leaves, regular patterns, print, bare walls.

They share nothing with ``fossa_ros.simulation``, whose scenes are used for testing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fossa_ros.training.random_source import RandomSource


def texture_bank(rng: RandomSource, count: int, side: int, device: torch.device | str = "cpu") -> Tensor:
    """Return (count, 3, side, side) float32 textures of linear reflectance in 0.02..0.95."""
    painters = (spectral, spectral, spectral, leaves, leaves, leaves, patterned, patterned, printed, bare)
    return torch.stack([painters[i % len(painters)](rng, side, device).clamp(0.02, 0.95) for i in range(count)])


def noise(rng: RandomSource, channels: int, side: int, slope: float, device: torch.device | str) -> Tensor:
    """Return (channels, side, side) noise with zero mean, unit deviation and an amplitude spectrum of 1 / f^slope."""
    fy = torch.fft.fftfreq(side, device=device)[:, None]
    fx = torch.fft.rfftfreq(side, device=device)[None]
    amplitude = (fx.square() + fy.square()).sqrt().clamp_min(1 / side) ** -slope
    amplitude[0, 0] = 0
    white = torch.fft.rfft2(rng.randn(channels, side, side).to(device))
    field = torch.fft.irfft2(white * amplitude, s=(side, side))
    return field / field.std((1, 2), keepdim=True)


def colours(rng: RandomSource, count: int, device: torch.device | str) -> Tensor:
    """Return (count, 3) reflectances, mostly of low saturation."""
    value = 0.9 * rng.rand(count, 1) ** 1.5 + 0.04
    tint = 1 + (rng.rand(count, 1) ** 2) * (2 * rng.rand(count, 3) - 1)
    return (value * tint).clamp(0.02, 0.95).to(device)


def spectral(rng: RandomSource, side: int, device) -> Tensor:
    """Blend two colours by noise with a natural spectrum, sometimes hardened to patches with edges."""
    a, b = colours(rng, 2, device)[:, :, None, None]
    field = noise(rng, 1, side, rng.uniform(0.5, 2.0), device)
    hardness = rng.choice((0.5, 0.5, 1.0, 4.0, 15.0))
    blend = torch.sigmoid(hardness * (field - rng.uniform(-0.7, 0.7)))
    hue = 0.03 * rng.uniform() * noise(rng, 3, side, rng.uniform(0.3, 1.8), device)
    return a + (b - a) * blend + hue


def leaves(rng: RandomSource, side: int, device) -> Tensor:
    """Paint overlapping discs and boxes of all sizes: the dead-leaves model of natural images."""
    axis = torch.arange(side, device=device, dtype=torch.float32)
    y, x = axis[:, None], axis[None]
    image = colours(rng, 1, device)[0][:, None, None].expand(3, side, side)
    count = 280
    paint = colours(rng, count, device) * 0.7 + 0.3 * colours(rng, 1, device)
    smallest = rng.log_uniform(2, 8)
    # Radii by the inverse square law of the scale-invariant model; large ones first, so that small ones stay visible.
    radii = (smallest / (1 - rng.rand(count) * (1 - (smallest / (side / 5)) ** 1.0))).sort(descending=True).values
    places = side * rng.rand(count, 2)
    turns, stretches, boxes = math.pi * rng.rand(count), 0.25 + 0.75 * rng.rand(count), rng.rand(count) < 0.4
    rows = zip(paint, radii.tolist(), places.tolist(), turns.tolist(), stretches.tolist(), boxes.tolist(), strict=True)
    for shade, radius, (cx, cy), turn, stretch, box in rows:
        reach = radius * 1.45 + 1
        top, bottom = max(0, int(cy - reach)), min(side, int(cy + reach) + 1)
        left, right = max(0, int(cx - reach)), min(side, int(cx + reach) + 1)
        if top >= bottom or left >= right:
            continue
        dx, dy = x[:, left:right] - cx, y[top:bottom] - cy
        u = (math.cos(turn) * dx + math.sin(turn) * dy).abs()
        v = (math.cos(turn) * dy - math.sin(turn) * dx).abs() / stretch
        distance = torch.maximum(u, v) if box else (u.square() + v.square()).sqrt()
        cover = (radius - distance + 0.5).clamp(0, 1)
        if not image.is_contiguous():
            image = image.contiguous()
        patch = image[:, top:bottom, left:right]
        patch.add_(cover * (shade[:, None, None] - patch))
    grain = 1 + rng.uniform(0, 0.25) * noise(rng, 1, side, rng.uniform(0.2, 1.5), device)
    return image * grain


def patterned(rng: RandomSource, side: int, device) -> Tensor:
    """Repeat stripes, a grid, checks or dots, slightly distorted and worn."""
    axis = torch.arange(side, device=device, dtype=torch.float32)
    turn, period = rng.uniform(0, math.pi), rng.log_uniform(4, 70)
    warp = rng.choice((0.0, 0.0, 0.6)) * noise(rng, 2, side, 2.5, device)
    u = (math.cos(turn) * axis[None] + math.sin(turn) * axis[:, None]) / period + warp[0]
    v = (math.cos(turn) * axis[:, None] - math.sin(turn) * axis[None]) / (period * rng.uniform(0.5, 2)) + warp[1]
    sharpness = period / math.pi  # an edge about a pixel wide
    wave_u, wave_v = torch.sin(2 * math.pi * u), torch.sin(2 * math.pi * v)
    kind = rng.integer(0, 3)
    field = (wave_u, wave_u * wave_v, torch.maximum(wave_u, wave_v) - 0.9, wave_u + wave_v - 0.8)[kind]
    blend = torch.sigmoid(min(sharpness, 12.0) * field)[None]
    a, b = colours(rng, 2, device)[:, :, None, None]
    wear = 1 + rng.uniform(0, 0.2) * noise(rng, 1, side, rng.uniform(0.3, 1.5), device)
    return (a + (b - a) * blend) * wear


def printed(rng: RandomSource, side: int, device) -> Tensor:
    """Arrange lines of small marks, as on a page, a label or a circuit board."""
    pitch, mark = rng.integer(5, 16), rng.integer(1, 4)
    rows, columns = -(-side // pitch), -(-side // mark)
    ink = (rng.rand(rows, 3, columns) < rng.uniform(0.3, 0.6)).float()
    line = torch.zeros(rows, pitch, columns)
    top = max(1, pitch // 4)
    for stroke in range(3):
        first = top + stroke * max(1, (pitch - top) // 4)
        line[:, first : first + max(1, (pitch - top) // 5)] = ink[:, stroke : stroke + 1]
    words = (rng.rand(rows, 1, -(-columns // 12)) < 0.8).float().repeat_interleave(12, 2)[..., :columns]
    field = (line * words).flatten(0, 1)[:side].repeat_interleave(mark, 1)[:, :side].to(device)
    a, b = colours(rng, 2, device)[:, :, None, None]
    image = a + (b - a) * field[None]
    return image if rng.chance(0.5) else image.transpose(1, 2)


def bare(rng: RandomSource, side: int, device) -> Tensor:
    """Paint a wall with hardly any texture, or with a gradient."""
    a, b = colours(rng, 2, device)[:, :, None, None]
    slow = torch.sigmoid(rng.uniform(0.2, 1.0) * noise(rng, 1, side, 3.0, device))
    mottle = 1 + rng.choice((0.0, 0.004, 0.015)) * noise(rng, 1, side, rng.uniform(0.0, 1.0), device)
    return (a + rng.uniform(0, 0.4) * (b - a) * slow) * mottle
