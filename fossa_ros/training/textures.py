"""A bank of procedural textures, in plain PyTorch: natural spectra, dead leaves, regular patterns, print, bare walls.

They are not those of :mod:`fossa_ros.simulation`, so that its scenes stay scenes the network has never seen.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Dice:
    """Random numbers; all but noise are drawn on the CPU, so that a seed gives the same scene on every device."""

    def __init__(self, *seed: int):
        mixed = 0
        for part in seed:  # a linear congruence, so that neighbouring seeds share nothing
            mixed = (mixed * 6364136223846793005 + 1442695040888963407 + part) % 2**63
        self.generator = torch.Generator().manual_seed(mixed)
        self._seed = mixed
        self._on_device: dict[str, torch.Generator] = {}

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Draw a number evenly."""
        return low + (high - low) * torch.rand((), generator=self.generator).item()

    def log_uniform(self, low: float, high: float) -> float:
        """Draw a number evenly in its logarithm."""
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def integer(self, low: int, high: int) -> int:
        """Draw an integer, both ends included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def chance(self, probability: float) -> bool:
        """Say yes with a probability."""
        return self.uniform() < probability

    def choice(self, options):
        """Draw one of a sequence."""
        return options[self.integer(0, len(options) - 1)]

    def rand(self, *shape: int) -> Tensor:
        """Draw (shape) float32 in 0..1."""
        return torch.rand(shape, generator=self.generator)

    def randn(self, *shape: int) -> Tensor:
        """Draw (shape) float32 of the normal distribution."""
        return torch.randn(shape, generator=self.generator)

    def noise(self, *shape: int, device: torch.device | str) -> Tensor:
        """Draw (shape) float32 of the normal distribution on a device: there is too much of it to send."""
        name = str(device)
        if name not in self._on_device:
            self._on_device[name] = torch.Generator(device).manual_seed(self._seed)
        return torch.randn(shape, generator=self._on_device[name], device=device)

    def permutation(self, count: int) -> Tensor:
        """Draw an order of ``count`` things."""
        return torch.randperm(count, generator=self.generator)


def texture_bank(dice: Dice, count: int, side: int, device: torch.device | str = "cpu") -> Tensor:
    """Return (count, 3, side, side) float32 textures of linear reflectance, around 0.02..0.95."""
    painters = (spectral, spectral, spectral, leaves, leaves, leaves, patterned, patterned, printed, bare)
    return torch.stack([painters[i % len(painters)](dice, side, device).clamp(0.02, 0.95) for i in range(count)])


def noise(dice: Dice, channels: int, side: int, slope: float, device: torch.device | str) -> Tensor:
    """Return (channels, side, side) noise of zero mean and unit deviation whose amplitude falls as 1 / f^slope."""
    fy = torch.fft.fftfreq(side, device=device)[:, None]
    fx = torch.fft.rfftfreq(side, device=device)[None]
    amplitude = (fx.square() + fy.square()).sqrt().clamp_min(1 / side) ** -slope
    amplitude[0, 0] = 0
    white = torch.fft.rfft2(dice.randn(channels, side, side).to(device))
    field = torch.fft.irfft2(white * amplitude, s=(side, side))
    return field / field.std((1, 2), keepdim=True)


def colours(dice: Dice, count: int, device: torch.device | str) -> Tensor:
    """Return (count, 3) reflectances: mostly muted, some strong."""
    value = 0.9 * dice.rand(count, 1) ** 1.5 + 0.04
    tint = 1 + (dice.rand(count, 1) ** 2) * (2 * dice.rand(count, 3) - 1)
    return (value * tint).clamp(0.02, 0.95).to(device)


def spectral(dice: Dice, side: int, device) -> Tensor:
    """Blend two colours by noise of a natural spectrum, hardened now and then to blotches with edges."""
    a, b = colours(dice, 2, device)[:, :, None, None]
    field = noise(dice, 1, side, dice.uniform(0.5, 2.0), device)
    hardness = dice.choice((0.5, 0.5, 1.0, 4.0, 15.0))
    blend = torch.sigmoid(hardness * (field - dice.uniform(-0.7, 0.7)))
    hue = 0.03 * dice.uniform() * noise(dice, 3, side, dice.uniform(0.3, 1.8), device)
    return a + (b - a) * blend + hue


def leaves(dice: Dice, side: int, device) -> Tensor:
    """Cover the plane with overlapping discs and boxes of all sizes: the dead-leaves model of natural images."""
    axis = torch.arange(side, device=device, dtype=torch.float32)
    y, x = axis[:, None], axis[None]
    image = colours(dice, 1, device)[0][:, None, None].expand(3, side, side)
    count = 280
    paint = colours(dice, count, device) * 0.7 + 0.3 * colours(dice, 1, device)
    smallest = dice.log_uniform(2, 8)
    # Radii by the inverse square law that makes the model scale-invariant; large ones first, so small ones show.
    radii = (smallest / (1 - dice.rand(count) * (1 - (smallest / (side / 5)) ** 1.0))).sort(descending=True).values
    places = side * dice.rand(count, 2)
    turns, stretches, boxes = math.pi * dice.rand(count), 0.25 + 0.75 * dice.rand(count), dice.rand(count) < 0.4
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
    grain = 1 + dice.uniform(0, 0.25) * noise(dice, 1, side, dice.uniform(0.2, 1.5), device)
    return image * grain


def patterned(dice: Dice, side: int, device) -> Tensor:
    """Repeat stripes, a grid, checks or dots, a little warped and worn."""
    axis = torch.arange(side, device=device, dtype=torch.float32)
    turn, period = dice.uniform(0, math.pi), dice.log_uniform(4, 70)
    warp = dice.choice((0.0, 0.0, 0.6)) * noise(dice, 2, side, 2.5, device)
    u = (math.cos(turn) * axis[None] + math.sin(turn) * axis[:, None]) / period + warp[0]
    v = (math.cos(turn) * axis[:, None] - math.sin(turn) * axis[None]) / (period * dice.uniform(0.5, 2)) + warp[1]
    sharpness = period / math.pi  # an edge about a pixel wide
    wave_u, wave_v = torch.sin(2 * math.pi * u), torch.sin(2 * math.pi * v)
    kind = dice.integer(0, 3)
    field = (wave_u, wave_u * wave_v, torch.maximum(wave_u, wave_v) - 0.9, wave_u + wave_v - 0.8)[kind]
    blend = torch.sigmoid(min(sharpness, 12.0) * field)[None]
    a, b = colours(dice, 2, device)[:, :, None, None]
    wear = 1 + dice.uniform(0, 0.2) * noise(dice, 1, side, dice.uniform(0.3, 1.5), device)
    return (a + (b - a) * blend) * wear


def printed(dice: Dice, side: int, device) -> Tensor:
    """Lay out lines of small marks, as a page, a label or a circuit board has."""
    pitch, mark = dice.integer(5, 16), dice.integer(1, 4)
    rows, columns = -(-side // pitch), -(-side // mark)
    ink = (dice.rand(rows, 3, columns) < dice.uniform(0.3, 0.6)).float()
    line = torch.zeros(rows, pitch, columns)
    top = max(1, pitch // 4)
    for stroke in range(3):
        first = top + stroke * max(1, (pitch - top) // 4)
        line[:, first : first + max(1, (pitch - top) // 5)] = ink[:, stroke : stroke + 1]
    words = (dice.rand(rows, 1, -(-columns // 12)) < 0.8).float().repeat_interleave(12, 2)[..., :columns]
    field = (line * words).flatten(0, 1)[:side].repeat_interleave(mark, 1)[:, :side].to(device)
    a, b = colours(dice, 2, device)[:, :, None, None]
    image = a + (b - a) * field[None]
    return image if dice.chance(0.5) else image.transpose(1, 2)


def bare(dice: Dice, side: int, device) -> Tensor:
    """Paint a wall with next to no texture, or a gradient over it."""
    a, b = colours(dice, 2, device)[:, :, None, None]
    slow = torch.sigmoid(dice.uniform(0.2, 1.0) * noise(dice, 1, side, 3.0, device))
    mottle = 1 + dice.choice((0.0, 0.004, 0.015)) * noise(dice, 1, side, dice.uniform(0.0, 1.0), device)
    return (a + dice.uniform(0, 0.4) * (b - a) * slow) * mottle
