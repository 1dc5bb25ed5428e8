"""Random rooms with furniture, ray-traced once: perspective, shading, shadows and contact, which cut-outs do not have.

Every object is traced on its own as well, so that it is complete where a nearer one hides it. Units are those of the
room: the camera looks from the origin along +z, x to the right, y down; one unit is the distance of the far wall.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fossa_ros.training.random_source import RandomSource
from fossa_ros.training.surfaces import Surfaces

BARE = 0.35  # share of the surfaces of a single colour: walls, table tops, cupboards
NEVER = 1e6  # distance along a ray that meets nothing
MAX_OBJECTS = 12
KINDS = ("box", "box", "box", "sphere", "cylinder", "cylinder", "pole", "board")
SHADOW_STEP = 4  # px between the points at which the shadow is computed; its edge is soft


@dataclass(frozen=True)
class Solid:
    """A convex solid in its own frame: a box, an ellipsoid or an upright cylinder of half extents ``half``."""

    kind: str
    centre: Tensor  # (3,)
    turn: Tensor  # (3, 3), rows are the solid's axes
    half: Tensor  # (3,)

    def meet(self, origin: Tensor, ray: Tensor) -> Tensor:
        """Return (...) distances along (..., 3) rays from ``origin`` to the first point on the outside, or NEVER."""
        o = ((origin - self.centre) @ self.turn.T) / self.half
        d = (ray @ self.turn.T) / self.half
        if self.kind == "box":
            return slabs(o, d)
        if self.kind == "sphere":
            return quadric(o, d)
        side, caps = quadric(o[..., (0, 2)], d[..., (0, 2)], both=True), slabs(o[..., 1:2], d[..., 1:2], both=True)
        near, far = torch.maximum(side[0], caps[0]), torch.minimum(side[1], caps[1])
        return torch.where((near < far) & (near > 1e-4), near, NEVER)

    def normal(self, point: Tensor) -> Tensor:
        """Return the (..., 3) outward unit normals at (..., 3) points of the surface."""
        p = ((point - self.centre) @ self.turn.T) / self.half
        if self.kind == "sphere":
            n = p / self.half
        elif self.kind == "box":
            n = F.one_hot(p.abs().argmax(-1), 3) * p.sign()
        else:
            on_side = (p[..., (0, 2)].norm(dim=-1) - 1).abs() < (p[..., 1].abs() - 1).abs()
            round_part = torch.stack([p[..., 0], torch.zeros_like(p[..., 1]), p[..., 2]], -1) / self.half
            flat = torch.stack([torch.zeros_like(p[..., 1]), p[..., 1].sign(), torch.zeros_like(p[..., 1])], -1)
            n = torch.where(on_side[..., None], round_part, flat)
        return F.normalize(n @ self.turn, dim=-1)


def slabs(o: Tensor, d: Tensor, *, both: bool = False):
    """Intersect rays with the cube of half side 1 (Kay and Kajiya 1986); ``both`` returns entry and exit."""
    safe = torch.where(d.abs() < 1e-9, torch.full_like(d, 1e-9), d)
    a, b = (-1 - o) / safe, (1 - o) / safe
    near, far = torch.minimum(a, b).amax(-1), torch.maximum(a, b).amin(-1)
    return (near, far) if both else torch.where((near < far) & (near > 1e-4), near, NEVER)


def quadric(o: Tensor, d: Tensor, *, both: bool = False):
    """Intersect rays with the unit sphere (or circle, with two coordinates); ``both`` returns entry and exit."""
    a, b, c = (d * d).sum(-1).clamp_min(1e-12), (o * d).sum(-1), (o * o).sum(-1) - 1
    under = b * b - a * c
    root = under.clamp_min(0).sqrt()
    near, far = (-b - root) / a, (-b + root) / a
    near = torch.where(under > 0, near, NEVER)
    if both:
        return near, torch.where(under > 0, far, -NEVER)
    return torch.where(near > 1e-4, near, NEVER)


def make_room(rng: RandomSource, bank: Tensor, side: int, nearest: float, farthest: float) -> Surfaces:
    """Return a gray (S, 1, side, side) room with its far wall at ``farthest`` m and objects from ``nearest`` m on.

    Args:
        rng: random numbers.
        bank: (T, 3, S, S) textures of linear reflectance.
        side: px, with the renderer's margin.
        nearest, farthest: metres.
    """
    focal = rng.uniform(0.5, 1.6) * 640 * max(1.0, side / 640)
    axis = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
    place = (2 * rng.rand(2) - 1) * torch.tensor([180.0, 110.0])  # the crop's middle in the image (px)
    x, y = torch.meshgrid((axis + place[0]) / focal, (axis + place[1]) / focal, indexing="xy")
    ray = torch.stack([x, y, torch.ones_like(x)], -1)  # z is 1: distance along the ray is depth
    level = rotation(rng.uniform(-0.5, 0.25), rng.uniform(-0.7, 0.7), rng.uniform(-0.12, 0.12))
    near = nearest / farthest
    floor, ceiling = rng.log_uniform(0.12, 0.6), rng.uniform(0.3, 1.0)
    left, right = rng.uniform(0.25, 1.2), rng.uniform(0.25, 1.2)
    room = torch.tensor([[-left, -ceiling, -1.0], [right, floor, 1.0]])
    origin = torch.zeros(3)
    solids = [make_solid(rng, level, focal, side, place, near, floor) for _ in range(rng.integer(2, MAX_OBJECTS))]
    light = torch.tensor([rng.uniform(-left, right), -ceiling * rng.uniform(0.3, 0.95), rng.uniform(-0.3, 0.8)])
    ambient, power = rng.uniform(0.25, 0.8), rng.uniform(0.3, 1.2)

    wall, face = inside(origin, ray @ level.T, room)
    surfaces = [(wall, None), *((s.meet(origin, ray @ level.T), s) for s in solids)]
    layers = []
    for distance, solid in surfaces:
        hit = distance < (NEVER if solid is None else wall)  # nothing is seen through the walls
        if not hit.any() or (solid is not None and hit.float().mean() < 2e-4):
            continue
        if solid is not None:
            distance = torch.where(hit, distance, distance[hit].mean())  # beyond the outline: for the soft edge
        point = (ray * distance[..., None]) @ level.T
        normal = face_normal(face) if solid is None else solid.normal(point)
        shade = light_of(point, normal, light, ambient, power) * shadow(point, light, solids, solid)
        if solid is None:
            reflectance = torch.zeros(side, side)
            for index in face.unique().tolist():
                flat = [c for c in range(3) if c != index // 2]
                here = paint_plane(rng, bank, point[..., flat], distance, focal)
                reflectance = torch.where(face == index, here, reflectance)
        else:
            flat = solid_coordinates(solid, point)
            reflectance = paint_plane(rng, bank, flat, distance, focal)
        cover = hit.float() if solid is None else soft_edge(hit)
        layers.append((float(distance[hit].mean()), reflectance * shade, cover, 1 / (distance * farthest)))
    back, *front = layers
    front.sort(key=lambda layer: -layer[0])
    _, colours, covers, powers = zip(back, *front, strict=True)
    return Surfaces(
        torch.stack(colours)[:, None].clamp(0.002, 30),
        torch.stack(covers),
        torch.stack(powers).clamp_max(1.5 / nearest),
    )


def rotation(pitch: float, yaw: float, roll: float) -> Tensor:
    """Return the (3, 3) rotation from the camera to the room."""
    (cp, sp), (cy, sy), (cr, sr) = ((math.cos(a), math.sin(a)) for a in (pitch, yaw, roll))
    about_x = torch.tensor([[1.0, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = torch.tensor([[cy, 0, sy], [0, 1.0, 0], [-sy, 0, cy]])
    about_z = torch.tensor([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1.0]])
    return about_y @ about_x @ about_z


def make_solid(rng, level: Tensor, focal: float, side: int, place: Tensor, near: float, floor: float) -> Solid:
    """Return a solid that the crop shows, at a depth between ``near`` and 1, standing on the floor in most cases."""
    depth = 1 / (1 + rng.uniform() ** rng.choice((1.0, 1.6)) * (1 / near - 1))
    at = torch.stack([*((torch.rand(2, generator=rng.generator) - 0.5) * side + place) / focal, torch.ones(())]) * depth
    kind = rng.choice(KINDS)
    reach = depth * side / focal  # what the crop shows at this depth
    half = reach * torch.tensor([rng.log_uniform(0.04, 0.35) for _ in range(3)])
    if kind == "pole":
        half = torch.tensor([1.0, 0, 1.0]) * depth * rng.log_uniform(1, 8) / focal + torch.tensor([0, reach, 0])
    if kind == "board":
        half[rng.choice((0, 2))] *= 0.03
    centre = level @ at
    if rng.chance(0.7) and kind != "pole" and floor - float(centre[1]) > 0.02 * depth:
        half[1] = 0.5 * (floor - centre[1]).clamp_max(2 * float(half[1]) * 2)
        centre[1] = floor - half[1]
    turn = rotation(0.0, rng.uniform(-math.pi, math.pi), 0.0).T
    if rng.chance(0.25):
        turn = rotation(*(rng.uniform(-math.pi, math.pi) for _ in range(3)))
    half[2] = half[2].clamp_max(max(float(centre.norm()) - near * 0.7, 0.02 * depth))
    return Solid({"pole": "cylinder", "board": "box"}.get(kind, kind), centre, turn, half.clamp_min(1e-4))


def inside(origin: Tensor, ray: Tensor, room: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distance to the walls of a box around ``origin``, and the number of the wall (2 axis + side)."""
    safe = torch.where(ray.abs() < 1e-9, torch.full_like(ray, 1e-9), ray)
    limits = torch.where(safe > 0, room[1], room[0])
    distance, axis = ((limits - origin) / safe).min(-1)
    positive = safe.gather(-1, axis[..., None])[..., 0] > 0
    return distance, 2 * axis + positive


def face_normal(face: Tensor) -> Tensor:
    """Return the normal of a wall that points into the room."""
    return F.one_hot(face // 2, 3).float() * torch.where(face % 2 == 1, -1.0, 1.0)[..., None]


def light_of(point: Tensor, normal: Tensor, light: Tensor, ambient: float, power: float) -> Tensor:
    """Return the irradiance of a point light and its surroundings (Lambert)."""
    to = light - point
    distance = to.norm(dim=-1).clamp_min(0.05)
    facing = ((to * normal).sum(-1) / distance).clamp_min(0)
    sky = 0.85 - 0.15 * normal[..., 1]  # the ceiling is brighter than the floor
    return ambient * sky + power * facing / (0.3 + distance.square())


def shadow(point: Tensor, light: Tensor, solids: list[Solid], own: Solid | None) -> Tensor:
    """Return 0.4..1: how much of the light reaches (H, W, 3) points; computed on a coarse grid, so its edge is soft."""
    coarse = point[::SHADOW_STEP, ::SHADOW_STEP]
    ray = light - coarse
    lit = torch.ones(coarse.shape[:2])
    for solid in solids:
        if solid is not own:
            lit = torch.where(solid.meet(coarse, ray) < 1.0, 0.4, lit)
    return F.interpolate(lit[None, None], point.shape[:2], mode="bicubic", align_corners=True)[0, 0].clamp(0.35, 1.05)


def solid_coordinates(solid: Solid, point: Tensor) -> Tensor:
    """Return (..., 2) coordinates on the surface, in units of the room."""
    p = (point - solid.centre) @ solid.turn.T
    if solid.kind == "box":
        axis = (p / solid.half).abs().argmax(-1)
        pairs = torch.stack([p[..., (1, 2)], p[..., (0, 2)], p[..., (0, 1)]], -2)
        return pairs.gather(-2, axis[..., None, None].expand(*axis.shape, 1, 2))[..., 0, :]
    angle = torch.atan2(p[..., 0], p[..., 2])
    return torch.stack([angle * solid.half[(0, 2),].mean(), p[..., 1]], -1)


def paint_plane(rng: RandomSource, bank: Tensor, place: Tensor, distance: Tensor, focal: float) -> Tensor:
    """Return (H, W) reflectance of a texture that lies on the surface with (H, W, 2) coordinates ``place``."""
    texture = bank[rng.integer(0, len(bank) - 1)].mean(0)[None, None]
    scale = rng.log_uniform(0.5, 2.0) * 2 / texture.shape[-1] * focal / float(distance.median())
    where = (place * scale + (2 * rng.rand(2) - 1))[None]
    # Triangle wave: the texture continues without a seam, however far.
    where = ((where + 1) % 4 - 2).abs() - 1
    value = F.grid_sample(texture, where, mode="bilinear", padding_mode="border", align_corners=False)[0, 0]
    mean = value.mean()
    if rng.chance(BARE):
        value = mean + rng.choice((0.0, 0.0, 0.004, 0.015, 0.05)) * (value - mean)
    else:
        value = mean + rng.choice((1.0, 1.0, rng.log_uniform(0.1, 1.0))) * (value - mean)
    return value * rng.log_uniform(0.5, 1.6)


def soft_edge(hit: Tensor) -> Tensor:
    """Return the coverage of an outline, antialiased over about a pixel."""
    return F.avg_pool2d(hit.float()[None, None], 3, stride=1, padding=1)[0, 0].mul(1.5).sub(0.25).clamp(0, 1)
