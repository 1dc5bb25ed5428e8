"""Build textured and shaded cards, boxes, balls and rooms for scenes."""

from __future__ import annotations

import numpy as np

from fossa_ros.simulation import textures
from fossa_ros.simulation.motion_path import rotation_matrix
from fossa_ros.simulation.raycast import Rectangle, Sphere

DETAIL = 900.0
"""Texels per radian, seen from the origin: 1.5 per pixel for a camera with fx = 600 px."""
LARGEST_TEXTURE = 2048
LIGHT = np.array([0.4, -0.8, -0.45]) / np.linalg.norm([0.4, -0.8, -0.45])
"""Unit vector towards the lamp: above, to the right and behind the camera."""


class Builder:
    """Build surfaces whose textures are as fine as a camera at the origin needs.

    Args:
        rng: chooses the painters; every texture has its own generator, so that ``detail`` does not change the rest.
        detail: texels per radian seen from the origin.
    """

    def __init__(self, rng: np.random.Generator, detail: float = DETAIL):
        self.rng, self.detail = rng, detail

    def card(self, centre, size, painters, turn=(0.0, 0.0, 0.0), one_sided=False) -> Rectangle:
        """Return a textured rectangle of ``size`` (width, height; m) about ``centre``; ``turn`` in radians."""
        rotation = rotation_matrix(turn)
        edge_x, edge_y = rotation[:, 0] * size[0], rotation[:, 1] * size[1]
        corner = np.asarray(centre, float) - edge_x / 2 - edge_y / 2
        return self.rectangle(corner, edge_x, edge_y, painters, one_sided)

    def rectangle(self, corner, edge_x, edge_y, painters, one_sided=False) -> Rectangle:
        """Return a shaded rectangle, painted by one of ``painters`` as finely as its nearest part needs."""
        size = np.array([np.linalg.norm(edge_x), np.linalg.norm(edge_y)])
        seen_from = _nearest_depth(corner, edge_x, edge_y)
        texel = max(seen_from / self.detail, size.max() / LARGEST_TEXTURE)
        width, height = np.maximum(np.ceil(size / texel).astype(int), 4)
        shade = self._shading(edge_x, edge_y, int(height), int(width))
        texture = textures.quantised(self._painted(painters, int(height), int(width), texel) * shade)
        corner, edge_x, edge_y = (np.asarray(vector, float) for vector in (corner, edge_x, edge_y))
        return Rectangle(corner, edge_x, edge_y, texture, one_sided)

    def box(self, centre, size, painters, turn=(0.0, 0.0, 0.0)) -> list[Rectangle]:
        """Return the six faces of a box of ``size`` (x, y, z; m) that can be seen from outside."""
        rotation, (width, height, depth) = rotation_matrix(turn), size
        x, y, z = rotation[:, 0] * width, rotation[:, 1] * height, rotation[:, 2] * depth
        painter = (painters[self.rng.integers(len(painters))],)
        faces = [
            (-x - y - z, x, y),  # front
            (x - y + z, -x, y),  # back
            (-x - y + z, -z, y),  # left
            (x - y - z, z, y),  # right
            (-x - y + z, x, -z),  # top
            (-x + y - z, x, z),  # bottom
        ]
        centre = np.asarray(centre, float)
        return [self.rectangle(centre + c / 2, ex, ey, painter, one_sided=True) for c, ex, ey in faces]

    def ball(self, centre, radius, painters=textures.OBJECTS) -> Sphere:
        """Return a textured, shaded sphere."""
        centre = np.asarray(centre, float)
        texel = max(centre[2] - radius, 0.3) / self.detail
        height = int(np.clip(np.pi * radius / texel, 16, LARGEST_TEXTURE // 2))
        texture = self._painted(painters, height, 2 * height, np.pi * radius / height)
        return Sphere(centre, radius, texture, LIGHT)

    def room(self, half_width, floor, ceiling, far, painters, turn=(0.0, 0.0, 0.0)) -> list[Rectangle]:
        """Return floor, ceiling, side walls and far wall around the camera, turned about it.

        ``painters`` are those of the floor, the walls and the far wall; the box reaches 0.5 m behind the camera.
        """
        rotation, near = rotation_matrix(turn), -0.5
        wide, deep, tall = (2 * half_width, 0, 0), (0, 0, far - near), (0, floor + ceiling, 0)
        floors, walls, backs = painters
        sides = [
            ((-half_width, floor, near), wide, deep, floors),
            ((-half_width, -ceiling, near), wide, deep, textures.WEAK),
            ((-half_width, -ceiling, near), deep, tall, walls),
            ((half_width, -ceiling, near), deep, tall, walls),
            ((-half_width, -ceiling, far), wide, tall, backs),
        ]
        return [self.rectangle(rotation @ c, rotation @ x, rotation @ y, painter) for c, x, y, painter in sides]

    def _painted(self, painters, height: int, width: int, texel: float) -> np.ndarray:
        painter = painters[self.rng.integers(len(painters))]
        return painter(self.rng.spawn(1)[0], height, width, texel)

    def _shading(self, edge_x, edge_y, height, width) -> np.ndarray:
        """Return (height, width, 1) float32 brightness: a lamp on the side of the camera, and a soft gradient."""
        normal = np.cross(edge_x, edge_y)
        normal = -normal * np.sign(normal[2] or 1.0) / np.linalg.norm(normal)
        lit = 0.62 + 0.38 * abs(float(normal @ LIGHT))
        along, down = self.rng.uniform(-0.12, 0.12, 2)
        gradient = 1 + along * np.linspace(-1, 1, width)[None, :] + down * np.linspace(-1, 1, height)[:, None]
        return (lit * gradient).astype(np.float32)[..., None]


def _nearest_depth(corner, edge_x, edge_y) -> float:
    """Return the least distance (m) from the origin to a grid of points on a rectangle, at least 0.3."""
    s, t = np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 9))
    points = np.asarray(corner) + s[..., None] * np.asarray(edge_x) + t[..., None] * np.asarray(edge_y)
    ahead = points[points[..., 2] > 0.2]
    return 0.3 if len(ahead) == 0 else max(0.3, float(np.linalg.norm(ahead, axis=-1).min()))
