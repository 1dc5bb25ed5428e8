"""Endless scenes: surfaces of random layout, shape, texture and distance."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from fossa_ros.training.surfaces import Surfaces
from fossa_ros.training.textures import Dice

NEAREST, FARTHEST = 0.15, 20.0  # m
DEEPEST = 12.0  # the farthest surface of a scene over the nearest
BARE = 0.12  # share of the surfaces without a grain of their own, where depth can only come from around them
MOST_OBJECTS = 7
PLAIN = 0.15  # share of the surfaces that are painted in one colour, as walls and furniture are
STANDING = 0.4  # share of the objects that touch the ground at their foot, which tells how far away a plain one is
CROWDING = (1.0, 1.6, 2.5)  # exponents of objects' places in dioptres: most things are nearer the background


class Grid:
    """Pixel coordinates of a crop, centred."""

    def __init__(self, side: int, device: torch.device | str):
        axis = torch.arange(side, device=device, dtype=torch.float32) - (side - 1) / 2
        self.side, self.device, self.x, self.y = side, device, axis[None], axis[:, None]


def make_scene(dice: Dice, bank: Tensor, side: int) -> Surfaces:
    """Return a scene on a (side, side) grid painted from a bank of textures, on the bank's device."""
    grid = Grid(side, bank.device)
    near = dice.log_uniform(NEAREST, FARTHEST / 3)
    far = min(near * dice.log_uniform(1.4, DEEPEST), FARTHEST)
    nearest, farthest = 1 / near, 1 / far
    power, colour = background(dice, bank, grid, farthest, nearest)
    colours, covers, powers = [colour], [torch.ones(side, side, device=grid.device)], [power]
    behind = power
    count = dice.integer(0, MOST_OBJECTS)
    levels = sorted(dice.uniform() ** dice.choice(CROWDING) for _ in range(count))
    for level in levels:
        cover, bulge = dice.choice(SHAPES)(dice, grid)
        hides = cover >= 0.5
        place = farthest + level * (nearest - farthest)
        if dice.chance(STANDING):
            place = torch.where(hides, behind, 0.0).amax()  # the nearest ground; the host need not wait to know it
        plane = place + slant(dice, grid, 0.12 * (nearest - farthest))
        plane = plane + dice.choice((0.0, 0.1, 0.25)) * (nearest - farthest) * bulge
        # An object stands in front of what it hides; where it would not, it touches.
        plane = torch.maximum(plane, behind + 0.002 * nearest).clamp_max(1.3 * nearest)
        colours.append(paint(dice, bank, grid))
        covers.append(cover)
        powers.append(plane)
        behind = torch.where(hides, plane, behind)
    return Surfaces(torch.stack(colours), torch.stack(covers), torch.stack(powers))


def slant(dice: Dice, grid: Grid, most: float) -> Tensor:
    """Return the dioptres of a plane through zero: they change linearly over the image."""
    turn, rise = dice.uniform(0, 2 * math.pi), most * dice.uniform(0, 1) * 2 / grid.side
    return rise * (math.cos(turn) * grid.x + math.sin(turn) * grid.y)


def background(dice: Dice, bank: Tensor, grid: Grid, farthest: float, nearest: float) -> tuple[Tensor, Tensor]:
    """Return dioptres and colour of what closes the scene: a wall, a floor that comes near, a corner, or hills."""
    span = nearest - farthest
    power = farthest + 0.1 * span * dice.uniform() + slant(dice, grid, 0.2 * span)
    colour = paint(dice, bank, grid)
    for _ in range(dice.choice((0, 1, 1, 2))):  # seen from inside a room, the nearest of its planes is seen
        turn = dice.choice((0.5 * math.pi, dice.uniform(0, 2 * math.pi)))
        along = (math.cos(turn) * grid.x + math.sin(turn) * grid.y) / (grid.side / 2)
        other = farthest + span * (dice.uniform(-0.8, 0.1) + dice.uniform(0.2, 1.0) * along)
        colour = torch.where(other > power, paint(dice, bank, grid), colour)
        power = torch.maximum(power, other)
    if dice.chance(0.15):
        power = power + dice.uniform(0.02, 0.2) * span * smooth(dice, grid, dice.integer(3, 6))
    return power.clamp(0.7 * farthest, 1.2 * nearest), colour


def smooth(dice: Dice, grid: Grid, cells: int) -> Tensor:
    """Return smooth (H, W) noise of about ``cells`` hills across, around -1..1."""
    coarse = dice.randn(1, 1, cells, cells).to(grid.device)
    return F.interpolate(coarse, (grid.side, grid.side), mode="bicubic", align_corners=True)[0, 0]


def paint(dice: Dice, bank: Tensor, grid: Grid) -> Tensor:
    """Return (3, H, W) linear radiance: a texture turned, scaled, tinted, lit unevenly, now and then with glints."""
    colour = lookup(dice, bank[dice.integer(0, len(bank) - 1)], grid, dice.log_uniform(0.6, 2.0))
    mean = colour.mean((1, 2), keepdim=True)
    plain = dice.chance(PLAIN)
    contrast = dice.log_uniform(0.003, 0.1) if plain else dice.choice((1.0, 1.0, 1.0, dice.log_uniform(0.2, 1.0)))
    tint = (dice.log_uniform(0.4, 1.6) * (0.8 + 0.4 * dice.rand(3, 1, 1))).to(grid.device)
    colour = (mean + contrast * (colour - mean)) * tint
    if not (plain or dice.chance(BARE)):
        colour = colour * (1 + dice.log_uniform(0.03, 0.25) * grain(dice, bank, grid))
    if dice.chance(0.6):
        colour = colour * (1 + slant(dice, grid, 0.6))
    if dice.chance(0.15):
        colour = colour * (1 + 0.5 * smooth(dice, grid, dice.integer(3, 6))).clamp(0.2, 2)
    if dice.chance(0.12):
        colour = colour + glints(dice, grid)
    return colour.clamp(0.002, 30)


def lookup(dice: Dice, texture: Tensor, grid: Grid, scale: float) -> Tensor:
    """Return (C, H, W) of a (C, S, S) texture turned, stretched and moved, ``scale`` texels a pixel."""
    turn, stretch = dice.uniform(0, 2 * math.pi), dice.choice((1.0, 1.0, dice.uniform(0.4, 1.0)))
    c, s = math.cos(turn) * scale * 2 / texture.shape[1], math.sin(turn) * scale * 2 / texture.shape[1]
    u = c * grid.x - stretch * s * grid.y + dice.uniform(-1, 1)
    v = s * grid.x + stretch * c * grid.y + dice.uniform(-1, 1)
    where = torch.stack([u, v], -1)[None]
    return F.grid_sample(texture[None], where, mode="bilinear", padding_mode="reflection", align_corners=False)[0]


def grain(dice: Dice, bank: Tensor, grid: Grid) -> Tensor:
    """Return (1, H, W) fine structure of deviation 1: the high frequencies of a texture of the bank."""
    texture = lookup(dice, bank[dice.integer(0, len(bank) - 1)], grid, dice.log_uniform(0.5, 1.2)).mean(0, keepdim=True)
    fine = texture - F.avg_pool2d(texture, 9, stride=1, padding=4, count_include_pad=False)
    return (fine / fine.std().clamp_min(1e-3)).clamp(-3, 3)


def glints(dice: Dice, grid: Grid) -> Tensor:
    """Return specular highlights: a few small spots many times brighter than white, which blur to discs."""
    glow = torch.zeros(grid.side, grid.side, device=grid.device)
    for _ in range(dice.integer(1, 8)):
        x, y = ((dice.uniform() - 0.5) * grid.side for _ in range(2))
        radius, level = dice.log_uniform(0.6, 4.0), dice.log_uniform(1, 25)
        glow = glow + level * torch.exp(-((grid.x - x).square() + (grid.y - y).square()) / radius**2)
    return glow[None]


# Shapes: each gives cover in 0..1, its edge a pixel wide, and how much it bulges towards the camera, in 0..1.


def turned(dice: Dice, grid: Grid, spread: float = 0.5) -> tuple[Tensor, Tensor]:
    """Return coordinates of a frame at a random place and angle."""
    x, y = (spread * (2 * dice.uniform() - 1) * grid.side for _ in range(2))
    turn = dice.choice((0.0, dice.uniform(0, math.pi), dice.uniform(0, math.pi)))
    dx, dy = grid.x - x, grid.y - y
    return math.cos(turn) * dx + math.sin(turn) * dy, math.cos(turn) * dy - math.sin(turn) * dx


def rounded(dice: Dice, grid: Grid) -> tuple[Tensor, Tensor]:
    """An ellipse or a box with round corners."""
    u, v = turned(dice, grid)
    a, b = (dice.log_uniform(0.03, 0.6) * grid.side for _ in range(2))
    n = dice.choice((2.0, 2.0, 4.0, 12.0))
    ratio = ((u / a).abs() ** n + (v / b).abs() ** n).clamp_min(1e-9) ** (1 / n)
    cover = ((1 - ratio) * min(a, b) + 0.5).clamp(0, 1)
    return cover, (1 - ratio.square()).clamp_min(0).sqrt()


def bar(dice: Dice, grid: Grid) -> tuple[Tensor, Tensor]:
    """A thin structure: a pole, a cable, an edge of a board."""
    u, v = turned(dice, grid, 0.4)
    half = dice.log_uniform(0.7, 9)
    bend = dice.choice((0.0, dice.uniform(-1, 1))) * u.square() / grid.side
    across = (v - bend).abs()
    length = dice.log_uniform(0.1, 1.5) * grid.side
    cover = (half - across + 0.5).clamp(0, 1) * (length - u.abs() + 0.5).clamp(0, 1)
    return cover, (1 - (across / half).square()).clamp_min(0).sqrt() * 0.3


def fence(dice: Dice, grid: Grid) -> tuple[Tensor, Tensor]:
    """Parallel bars, or a lattice of them."""
    u, v = turned(dice, grid)
    period = dice.log_uniform(9, 60)
    half = period * dice.uniform(0.08, 0.25)
    first = half - ((u / period) % 1 - 0.5).abs() * period
    second = half - ((v / period) % 1 - 0.5).abs() * period
    inside = first if dice.chance(0.5) else torch.maximum(first, second)
    reach = dice.uniform(0.2, 0.7) * grid.side
    return (inside + 0.5).clamp(0, 1) * (reach - torch.maximum(u.abs(), v.abs()) + 0.5).clamp(0, 1), torch.zeros_like(v)


def blob(dice: Dice, grid: Grid) -> tuple[Tensor, Tensor]:
    """An irregular outline, or many: foliage, cloth, a heap."""
    cells = dice.integer(4, 24)
    field = smooth(dice, grid, cells) - dice.uniform(-0.3, 1.0)
    x, y = ((dice.uniform() - 0.5) * grid.side for _ in range(2))
    reach = dice.uniform(0.15, 0.6) * grid.side
    field = field + 1.5 * (1 - ((grid.x - x).square() + (grid.y - y).square()) / reach**2).clamp(-2, 1)
    slope = (F.pad(field[:, 1:] - field[:, :-1], (0, 1)).abs() + 1e-3).clamp_min(0.02)
    cover = (field / slope + 0.5).clamp(0, 1)
    return cover, field.clamp(0, 1)


def polygon(dice: Dice, grid: Grid) -> tuple[Tensor, Tensor]:
    """A convex piece of board between three to six straight edges."""
    x, y = ((dice.uniform() - 0.5) * grid.side for _ in range(2))
    inside = None
    turn, edges = dice.uniform(0, 2 * math.pi), dice.integer(3, 6)
    size = dice.log_uniform(0.06, 0.5) * grid.side
    for edge in range(edges):
        angle = turn + 2 * math.pi * (edge + dice.uniform(-0.25, 0.25)) / edges
        distance = size * dice.uniform(0.5, 1.2) - (math.cos(angle) * (grid.x - x) + math.sin(angle) * (grid.y - y))
        inside = distance if inside is None else torch.minimum(inside, distance)
    return (inside + 0.5).clamp(0, 1), torch.zeros_like(inside)


SHAPES: tuple[Callable[[Dice, Grid], tuple[Tensor, Tensor]], ...] = (
    rounded,
    rounded,
    rounded,
    polygon,
    polygon,
    bar,
    bar,
    blob,
    blob,
    fence,
)
