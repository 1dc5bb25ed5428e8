"""Random scenes: surfaces of random layout, shape, texture and distance."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from fossa_ros.training.random_source import RandomSource
from fossa_ros.training.surfaces import Surfaces

NEAREST, FARTHEST = 0.15, 20.0  # m
MAX_DEPTH_RATIO = 12.0  # of the farthest to the nearest surface of a scene
BARE = 0.12  # share of the surfaces without grain, whose depth has to be inferred from their surroundings
MAX_OBJECTS = 7
PLAIN = 0.15  # share of the surfaces with a single colour, like walls and furniture
STANDING = 0.4  # share of the objects that stand on the ground, from which a plain object's depth can be inferred
CROWDING = (1.0, 1.6, 2.5)  # exponents of the objects' positions in dioptres: most are near the background


class Grid:
    """Pixel coordinates of a crop, centred."""

    def __init__(self, side: int, device: torch.device | str):
        axis = torch.arange(side, device=device, dtype=torch.float32) - (side - 1) / 2
        self.side, self.device, self.x, self.y = side, device, axis[None], axis[:, None]


def make_scene(rng: RandomSource, bank: Tensor, side: int) -> Surfaces:
    """Return a scene on a (side, side) grid with textures from a (T, 3, S, S) bank, on the bank's device."""
    grid = Grid(side, bank.device)
    near = rng.log_uniform(NEAREST, FARTHEST / 3)
    far = min(near * rng.log_uniform(1.4, MAX_DEPTH_RATIO), FARTHEST)
    nearest, farthest = 1 / near, 1 / far
    power, colour = background(rng, bank, grid, farthest, nearest)
    colours, covers, powers = [colour], [torch.ones(side, side, device=grid.device)], [power]
    behind = power
    count = rng.integer(0, MAX_OBJECTS)
    levels = sorted(rng.uniform() ** rng.choice(CROWDING) for _ in range(count))
    for level in levels:
        cover, bulge = rng.choice(SHAPES)(rng, grid)
        hides = cover >= 0.5
        place = farthest + level * (nearest - farthest)
        if rng.chance(STANDING):
            place = torch.where(hides, behind, 0.0).amax()  # the nearest ground; stays on the device
        plane = place + slant(rng, grid, 0.12 * (nearest - farthest))
        plane = plane + rng.choice((0.0, 0.1, 0.25)) * (nearest - farthest) * bulge
        # An object is in front of the surfaces it hides, or touches them.
        plane = torch.maximum(plane, behind + 0.002 * nearest).clamp_max(1.3 * nearest)
        colours.append(paint(rng, bank, grid))
        covers.append(cover)
        powers.append(plane)
        behind = torch.where(hides, plane, behind)
    return Surfaces(torch.stack(colours), torch.stack(covers), torch.stack(powers))


def slant(rng: RandomSource, grid: Grid, most: float) -> Tensor:
    """Return the (H, W) dioptres of a slanted plane through zero, which are linear in the image."""
    turn, rise = rng.uniform(0, 2 * math.pi), most * rng.uniform(0, 1) * 2 / grid.side
    return rise * (math.cos(turn) * grid.x + math.sin(turn) * grid.y)


def background(rng: RandomSource, bank: Tensor, grid: Grid, farthest: float, nearest: float) -> tuple[Tensor, Tensor]:
    """Return dioptres and colour of the background: a wall, a floor, a corner, or hills."""
    span = nearest - farthest
    power = farthest + 0.1 * span * rng.uniform() + slant(rng, grid, 0.2 * span)
    colour = paint(rng, bank, grid)
    for _ in range(rng.choice((0, 1, 1, 2))):  # inside a room the nearest plane is visible
        turn = rng.choice((0.5 * math.pi, rng.uniform(0, 2 * math.pi)))
        along = (math.cos(turn) * grid.x + math.sin(turn) * grid.y) / (grid.side / 2)
        other = farthest + span * (rng.uniform(-0.8, 0.1) + rng.uniform(0.2, 1.0) * along)
        colour = torch.where(other > power, paint(rng, bank, grid), colour)
        power = torch.maximum(power, other)
    if rng.chance(0.15):
        power = power + rng.uniform(0.02, 0.2) * span * smooth(rng, grid, rng.integer(3, 6))
    return power.clamp(0.7 * farthest, 1.2 * nearest), colour


def smooth(rng: RandomSource, grid: Grid, cells: int) -> Tensor:
    """Return smooth (H, W) noise with about ``cells`` hills per side, roughly in -1..1."""
    coarse = rng.randn(1, 1, cells, cells).to(grid.device)
    return F.interpolate(coarse, (grid.side, grid.side), mode="bicubic", align_corners=True)[0, 0]


def paint(rng: RandomSource, bank: Tensor, grid: Grid) -> Tensor:
    """Return (3, H, W) linear radiance: a rotated, scaled, tinted and unevenly lit texture, sometimes with glints."""
    colour = lookup(rng, bank[rng.integer(0, len(bank) - 1)], grid, rng.log_uniform(0.6, 2.0))
    mean = colour.mean((1, 2), keepdim=True)
    plain = rng.chance(PLAIN)
    contrast = rng.log_uniform(0.003, 0.1) if plain else rng.choice((1.0, 1.0, 1.0, rng.log_uniform(0.2, 1.0)))
    tint = (rng.log_uniform(0.4, 1.6) * (0.8 + 0.4 * rng.rand(3, 1, 1))).to(grid.device)
    colour = (mean + contrast * (colour - mean)) * tint
    if not (plain or rng.chance(BARE)):
        colour = colour * (1 + rng.log_uniform(0.03, 0.25) * grain(rng, bank, grid))
    if rng.chance(0.6):
        colour = colour * (1 + slant(rng, grid, 0.6))
    if rng.chance(0.15):
        colour = colour * (1 + 0.5 * smooth(rng, grid, rng.integer(3, 6))).clamp(0.2, 2)
    if rng.chance(0.12):
        colour = colour + glints(rng, grid)
    return colour.clamp(0.002, 30)


def lookup(rng: RandomSource, texture: Tensor, grid: Grid, scale: float) -> Tensor:
    """Return (C, H, W) of a (C, S, S) texture, rotated, stretched and shifted, with ``scale`` texels per pixel."""
    turn, stretch = rng.uniform(0, 2 * math.pi), rng.choice((1.0, 1.0, rng.uniform(0.4, 1.0)))
    c, s = math.cos(turn) * scale * 2 / texture.shape[1], math.sin(turn) * scale * 2 / texture.shape[1]
    u = c * grid.x - stretch * s * grid.y + rng.uniform(-1, 1)
    v = s * grid.x + stretch * c * grid.y + rng.uniform(-1, 1)
    where = torch.stack([u, v], -1)[None]
    return F.grid_sample(texture[None], where, mode="bilinear", padding_mode="reflection", align_corners=False)[0]


def grain(rng: RandomSource, bank: Tensor, grid: Grid) -> Tensor:
    """Return (1, H, W) fine structure of unit deviation: the high frequencies of a texture of the bank."""
    texture = lookup(rng, bank[rng.integer(0, len(bank) - 1)], grid, rng.log_uniform(0.5, 1.2)).mean(0, keepdim=True)
    fine = texture - F.avg_pool2d(texture, 9, stride=1, padding=4, count_include_pad=False)
    return (fine / fine.std().clamp_min(1e-3)).clamp(-3, 3)


def glints(rng: RandomSource, grid: Grid) -> Tensor:
    """Return (1, H, W) specular highlights: small spots many times brighter than white, which blur to discs."""
    glow = torch.zeros(grid.side, grid.side, device=grid.device)
    for _ in range(rng.integer(1, 8)):
        x, y = ((rng.uniform() - 0.5) * grid.side for _ in range(2))
        radius, level = rng.log_uniform(0.6, 4.0), rng.log_uniform(1, 25)
        glow = glow + level * torch.exp(-((grid.x - x).square() + (grid.y - y).square()) / radius**2)
    return glow[None]


# Shapes: each returns (H, W) coverage in 0..1, with an edge one pixel wide, and its bulge towards the camera in 0..1.


def local_frame(rng: RandomSource, grid: Grid, spread: float = 0.5) -> tuple[Tensor, Tensor]:
    """Return the (H, W) coordinates of a frame at a random position and angle."""
    x, y = (spread * (2 * rng.uniform() - 1) * grid.side for _ in range(2))
    turn = rng.choice((0.0, rng.uniform(0, math.pi), rng.uniform(0, math.pi)))
    dx, dy = grid.x - x, grid.y - y
    return math.cos(turn) * dx + math.sin(turn) * dy, math.cos(turn) * dy - math.sin(turn) * dx


def rounded(rng: RandomSource, grid: Grid) -> tuple[Tensor, Tensor]:
    """An ellipse or a box with round corners."""
    u, v = local_frame(rng, grid)
    a, b = (rng.log_uniform(0.03, 0.6) * grid.side for _ in range(2))
    n = rng.choice((2.0, 2.0, 4.0, 12.0))
    ratio = ((u / a).abs() ** n + (v / b).abs() ** n).clamp_min(1e-9) ** (1 / n)
    cover = ((1 - ratio) * min(a, b) + 0.5).clamp(0, 1)
    return cover, (1 - ratio.square()).clamp_min(0).sqrt()


def bar(rng: RandomSource, grid: Grid) -> tuple[Tensor, Tensor]:
    """A thin structure: a pole, a cable, an edge of a board."""
    u, v = local_frame(rng, grid, 0.4)
    half = rng.log_uniform(0.7, 9)
    bend = rng.choice((0.0, rng.uniform(-1, 1))) * u.square() / grid.side
    across = (v - bend).abs()
    length = rng.log_uniform(0.1, 1.5) * grid.side
    cover = (half - across + 0.5).clamp(0, 1) * (length - u.abs() + 0.5).clamp(0, 1)
    return cover, (1 - (across / half).square()).clamp_min(0).sqrt() * 0.3


def fence(rng: RandomSource, grid: Grid) -> tuple[Tensor, Tensor]:
    """Parallel bars, or a lattice of them."""
    u, v = local_frame(rng, grid)
    period = rng.log_uniform(9, 60)
    half = period * rng.uniform(0.08, 0.25)
    first = half - ((u / period) % 1 - 0.5).abs() * period
    second = half - ((v / period) % 1 - 0.5).abs() * period
    inside = first if rng.chance(0.5) else torch.maximum(first, second)
    reach = rng.uniform(0.2, 0.7) * grid.side
    return (inside + 0.5).clamp(0, 1) * (reach - torch.maximum(u.abs(), v.abs()) + 0.5).clamp(0, 1), torch.zeros_like(v)


def blob(rng: RandomSource, grid: Grid) -> tuple[Tensor, Tensor]:
    """An irregular outline, or many: foliage, cloth, a heap."""
    cells = rng.integer(4, 24)
    field = smooth(rng, grid, cells) - rng.uniform(-0.3, 1.0)
    x, y = ((rng.uniform() - 0.5) * grid.side for _ in range(2))
    reach = rng.uniform(0.15, 0.6) * grid.side
    field = field + 1.5 * (1 - ((grid.x - x).square() + (grid.y - y).square()) / reach**2).clamp(-2, 1)
    slope = (F.pad(field[:, 1:] - field[:, :-1], (0, 1)).abs() + 1e-3).clamp_min(0.02)
    cover = (field / slope + 0.5).clamp(0, 1)
    return cover, field.clamp(0, 1)


def polygon(rng: RandomSource, grid: Grid) -> tuple[Tensor, Tensor]:
    """A convex piece of board between three to six straight edges."""
    x, y = ((rng.uniform() - 0.5) * grid.side for _ in range(2))
    inside = None
    turn, edges = rng.uniform(0, 2 * math.pi), rng.integer(3, 6)
    size = rng.log_uniform(0.06, 0.5) * grid.side
    for edge in range(edges):
        angle = turn + 2 * math.pi * (edge + rng.uniform(-0.25, 0.25)) / edges
        distance = size * rng.uniform(0.5, 1.2) - (math.cos(angle) * (grid.x - x) + math.sin(angle) * (grid.y - y))
        inside = distance if inside is None else torch.minimum(inside, distance)
    return (inside + 0.5).clamp(0, 1), torch.zeros_like(inside)


SHAPES: tuple[Callable[[RandomSource, Grid], tuple[Tensor, Tensor]], ...] = (
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
