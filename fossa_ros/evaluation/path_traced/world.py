"""Scenes of Mitsuba, built from shapes, materials and lights. z is up, lengths are metres."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.path_traced import patterns

try:
    import mitsuba as mi
except ModuleNotFoundError as error:
    raise InputError("Path-traced scenes need the Python package mitsuba; install fossa-ros[validation].") from error

if mi.variant() is None:
    mi.set_variant("scalar_rgb")  # the variant that needs neither LLVM nor a GPU

Frame = mi.ScalarTransform4f


class World:
    """A scene under construction.

    Attributes:
        rng: numpy Generator of all random choices.
        scene: the dictionary for ``mitsuba.load_dict``.
    """

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.scene: dict = {"type": "scene"}

    def add(self, item) -> None:
        """Add a shape or an emitter, a dictionary or an object of Mitsuba."""
        self.scene[f"item_{len(self.scene)}"] = item

    def any(self, *choices):
        """Draw one of ``choices``."""
        return choices[self.rng.integers(len(choices))]

    def log_uniform(self, low: float, high: float) -> float:
        """Draw a number whose logarithm is uniformly distributed."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def matte(self, pattern: Callable | None = None, repeat=1.0) -> mi.BSDF:
        """Make a diffuse material, painted ``repeat`` times along u and v, by default with a random rich pattern."""
        return _both_sides({"type": "diffuse", "reflectance": self._painted(pattern, repeat)})

    def glossy(self, pattern: Callable | None = None, repeat=1.0, roughness=0.12) -> mi.BSDF:
        """Make a varnished material: a highlight over a pattern."""
        painted = self._painted(pattern, repeat)
        return _both_sides({"type": "roughplastic", "diffuse_reflectance": painted, "alpha": roughness})

    def metal(self, kind="Al", roughness=0.15) -> mi.BSDF:
        """Make a conductor, by the name of its material in Mitsuba."""
        return _both_sides({"type": "roughconductor", "material": kind, "alpha": roughness})

    def box(self, centre, size, material, turn=0.0, tilt=0.0) -> None:
        """Add a box of ``size``, rotated about z, then tilted about x, by degrees."""
        pose = Frame().translate(_floats(centre)).rotate([0, 0, 1], float(turn)).rotate([1, 0, 0], float(tilt))
        self.add({"type": "cube", "to_world": pose.scale([float(s) / 2 for s in size]), "bsdf": material})

    def standing(self, x, y, size, material, turn=0.0, on=0.0) -> float:
        """Put a box on height ``on``; return the height of its top."""
        self.box((x, y, on + size[2] / 2), size, material, turn)
        return on + size[2]

    def card(self, centre, size, material, turn=0.0, lean=0.0) -> None:
        """Add an upright rectangle (width, height) facing -y, rotated about z and leaned about x by degrees."""
        pose = Frame().translate(_floats(centre)).rotate([0, 0, 1], float(turn)).rotate([1, 0, 0], 90 + lean)
        self.add({"type": "rectangle", "to_world": pose.scale([size[0] / 2, size[1] / 2, 1]), "bsdf": material})

    def floor(self, material, x=(-10, 10), y=(-1, 20), height=0.0) -> None:
        """Add a level rectangle."""
        pose = Frame().translate([sum(x) / 2, sum(y) / 2, height])
        half = [(x[1] - x[0]) / 2, (y[1] - y[0]) / 2, 1]
        self.add({"type": "rectangle", "to_world": pose.scale(half), "bsdf": material})

    def ball(self, centre, radius, material) -> None:
        """Add a sphere in a random orientation, so that the poles of the pattern may be anywhere."""
        axis = self.rng.standard_normal(3)
        axis /= np.linalg.norm(axis)
        pose = Frame().translate(_floats(centre)).rotate(_floats(axis), self.rng.uniform(0, 360))
        self.add({"type": "sphere", "to_world": pose.scale(float(radius)), "bsdf": material})

    def rod(self, start, end, radius, material) -> None:
        """Add a cylinder without caps: a pole, a wire, a leg of a table."""
        rod = {"type": "cylinder", "p0": _floats(start), "p1": _floats(end), "radius": float(radius)}
        self.add(rod | {"bsdf": material})

    def wire(self, start, end, sag, radius, material, pieces=14) -> None:
        """Hang a wire between two points: a parabola of rods."""
        t = np.linspace(0, 1, pieces + 1)[:, None]
        points = np.asarray(start) * (1 - t) + np.asarray(end) * t - 4 * sag * t * (1 - t) * [0, 0, 1]
        for a, b in zip(points[:-1].tolist(), points[1:].tolist(), strict=True):
            self.rod(a, b, radius, material)

    def turned(self, foot, profile, material, around=48) -> None:
        """Add a surface of revolution: ``profile`` is (radius, height) pairs above ``foot``, a vase or a cup."""
        profile = np.asarray(profile, dtype=np.float64)
        angle = np.linspace(0, 2 * np.pi, around + 1)
        r, h = profile[:, :1], profile[:, 1:]
        points = np.stack([r * np.cos(angle), r * np.sin(angle), np.broadcast_to(h, (len(h), around + 1))], axis=-1)
        self.sheet(points + np.asarray(foot), material)

    def sheet(self, points, material) -> None:
        """Add the surface through a (rows, columns, 3) grid of points; u runs along the columns."""
        rows, columns, _ = points.shape
        corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
        faces = np.stack([corner, corner + 1, corner + columns, corner + 1, corner + columns + 1, corner + columns], -1)
        v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
        properties = mi.Properties()
        properties["bsdf"] = material
        mesh = mi.Mesh("sheet", rows * columns, 2 * len(corner), has_vertex_texcoords=True, props=properties)
        parameters = mi.traverse(mesh)
        parameters["vertex_positions"] = np.ascontiguousarray(points, np.float32).ravel()
        parameters["vertex_texcoords"] = np.stack([u, v], -1).astype(np.float32).ravel()
        parameters["faces"] = faces.astype(np.uint32).ravel()
        parameters.update()
        self.add(mesh)

    def sky(self, radiance=0.6, tint=(1.0, 1.0, 1.0)) -> None:
        """Add uniform light from all directions; it is the background of the scene."""
        light = {"type": "rgb", "value": [radiance * t for t in tint]}
        self.add({"type": "constant", "radiance": light})

    def sun(self, direction, irradiance=2.0) -> None:
        """Add parallel light along ``direction``, with hard shadows."""
        light = {"type": "rgb", "value": [irradiance, 0.95 * irradiance, 0.85 * irradiance]}
        self.add({"type": "directional", "direction": list(direction), "irradiance": light})

    def lamp(self, centre, size, radiance=8.0, target=None) -> None:
        """Add a square area light that shines downwards, or at ``target``."""
        centre = _floats(centre)
        target = [centre[0], centre[1], centre[2] - 1] if target is None else list(target)
        pose = Frame().look_at(origin=centre, target=target, up=[0.01, 1, 0.02]).scale(size / 2)
        light = {"type": "area", "radiance": {"type": "rgb", "value": radiance}}
        self.add({"type": "rectangle", "to_world": pose, "emitter": light})

    def _painted(self, pattern, repeat):
        pattern = pattern or self.any(*patterns.RICH)
        u, v = repeat if isinstance(repeat, tuple) else (repeat, repeat)
        return {
            "type": "bitmap",
            "bitmap": mi.Bitmap(pattern(self.rng)),
            "to_uv": Frame().scale([u, v, 1]),
        }


def _both_sides(material):
    return mi.load_dict({"type": "twosided", "material": material})


def _floats(vector):
    return [float(v) for v in vector]
