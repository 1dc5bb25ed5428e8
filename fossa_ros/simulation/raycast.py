"""Ray casting of textured rectangles and spheres: one pinhole view with its depth.

World and camera frames are optical: x right, y down, z forward, metres. Pixel centres are at integer
coordinates. Depth is z along the optical axis, not the length of the ray.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from fossa_ros.simulation.motion_path import Pose

NEAR = 0.02
"""Metres: what is closer to the pinhole is invisible."""
WHITE = np.full((1, 1, 3), 255, np.uint8)


@dataclass(frozen=True)
class Pinhole:
    """A pinhole view: ``width`` x ``height`` pixels, focal length ``fx`` and principal point in pixels."""

    width: int
    height: int
    fx: float
    cx: float
    cy: float

    @property
    def K(self) -> np.ndarray:
        """(3, 3) float64 intrinsic matrix."""
        return np.array([[self.fx, 0, self.cx], [0, self.fx, self.cy], [0, 0, 1.0]])


@dataclass(frozen=True, eq=False)
class Rectangle:
    """A textured parallelogram: ``corner + s edge_x + t edge_y`` with s, t in 0..1.

    Attributes:
        corner: (3,) metres, the texture's upper left corner.
        edge_x: (3,) metres, along the texture's rows.
        edge_y: (3,) metres, down the texture's columns.
        texture: (h, w, 3) uint8 sRGB.
        one_sided: whether it is visible only from the side from which x points right and y down (the outside of a box).
    """

    corner: np.ndarray
    edge_x: np.ndarray
    edge_y: np.ndarray
    texture: np.ndarray
    one_sided: bool = False

    def moved(self, pose: Pose) -> Rectangle:
        """Return the rectangle moved by ``pose``."""
        turn = pose.rotation
        return replace(
            self,
            corner=turn @ self.corner + pose.translation,
            edge_x=turn @ self.edge_x,
            edge_y=turn @ self.edge_y,
        )

    def silhouette(self) -> Rectangle:
        """Return the same shape in white."""
        return replace(self, texture=WHITE)

    def cast(self, view: Pinhole, pose: Pose, inverse_depth: np.ndarray, image: np.ndarray | None) -> None:
        """Draw into ``image`` and ``inverse_depth`` where this surface is nearer than those drawn before.

        With p = corner + s edge_x + t edge_y = z d and M = [edge_x edge_y corner], all in the camera's frame,
        (s, t, 1) / z = M^-1 d: one homography gives the texture coordinates, its last row the inverse depth.
        """
        turn = pose.rotation.T
        edges = turn @ np.stack([self.edge_x, self.edge_y, self.corner - pose.translation], axis=1)
        determinant = np.linalg.det(edges)
        if abs(determinant) < 1e-12 or (self.one_sided and determinant < 0):
            return  # seen edge-on, or from behind
        polygon = _in_front(edges @ np.array([[0, 1, 1, 0], [0, 0, 1, 1], [1, 1, 1, 1.0]]))
        if polygon.shape[1] < 3:
            return
        x = view.fx * polygon[0] / polygon[2] + view.cx
        y = view.fx * polygon[1] / polygon[2] + view.cy
        left, right, top = _row_spans(x, y, view.height)
        if not len(left):
            return
        x0 = int(np.clip(np.ceil(left.min()), 0, view.width))
        x1 = int(np.clip(np.ceil(right.max()), 0, view.width))
        if x1 <= x0:
            return
        window = np.s_[top : top + len(left), x0:x1]
        columns = np.arange(x0, x1)
        homography = np.linalg.inv(view.K @ edges)
        a, b, c = homography[2]
        rows = np.arange(top, top + len(left))
        nearness = np.add.outer((b * rows + c), a * columns).astype(inverse_depth.dtype)
        seen = nearness > inverse_depth[window]
        seen &= columns >= left[:, None]
        seen &= columns < right[:, None]
        if not seen.any():
            return
        mask = seen.view(np.uint8)
        cv2.copyTo(nearness, mask, inverse_depth[window])
        if image is None:
            return
        height, width = self.texture.shape[:2]
        to_texels = np.array([[width, 0, -0.5], [0, height, -0.5], [0, 0, 1.0]])
        to_window = np.array([[1, 0, x0], [0, 1, top], [0, 0, 1.0]])
        painted = cv2.warpPerspective(
            self.texture,
            to_texels @ homography @ to_window,
            (x1 - x0, len(left)),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        cv2.copyTo(painted, mask, image[window])


@dataclass(frozen=True, eq=False)
class Sphere:
    """A textured, shaded sphere.

    Attributes:
        centre: (3,) metres.
        radius: metres.
        texture: (h, w, 3) uint8 sRGB, longitude along x and latitude down y, poles on the world's y axis.
        light: (3,) unit vector towards the light; None for no shading.
    """

    centre: np.ndarray
    radius: float
    texture: np.ndarray
    light: np.ndarray | None = None

    def moved(self, pose: Pose) -> Sphere:
        """Return the sphere moved by ``pose``; its texture is not rotated."""
        return replace(self, centre=pose.rotation @ self.centre + pose.translation)

    def silhouette(self) -> Sphere:
        """Return the same shape in white, unshaded."""
        return replace(self, texture=WHITE, light=None)

    def cast(self, view: Pinhole, pose: Pose, inverse_depth: np.ndarray, image: np.ndarray | None) -> None:
        """Draw into ``image`` and ``inverse_depth`` where this surface is nearer than those drawn before."""
        centre = pose.rotation.T @ (self.centre - pose.translation)
        if centre[2] - self.radius < NEAR:
            return
        x0, x1 = _sphere_extent(centre[0], centre[2], self.radius, view.fx, view.cx, view.width)
        y0, y1 = _sphere_extent(centre[1], centre[2], self.radius, view.fx, view.cy, view.height)
        if x1 <= x0 or y1 <= y0:
            return
        window = np.s_[y0:y1, x0:x1]
        dx = (np.arange(x0, x1) - view.cx) / view.fx
        dy = ((np.arange(y0, y1) - view.cy) / view.fx)[:, None]
        squared = dx * dx + dy * dy + 1
        along = dx * centre[0] + dy * centre[1] + centre[2]
        discriminant = along * along - squared * (centre @ centre - self.radius**2)
        hit = discriminant > 0
        depth = (along - np.sqrt(np.where(hit, discriminant, 0))) / squared
        nearness = (1 / depth).astype(inverse_depth.dtype)
        seen = hit & (nearness > inverse_depth[window])
        if not seen.any():
            return
        mask = seen.view(np.uint8)
        cv2.copyTo(nearness, mask, inverse_depth[window])
        if image is None:
            return
        ray = np.stack(np.broadcast_arrays(dx, dy, 1.0), axis=-1)
        normal = ((depth[..., None] * ray - centre) / self.radius) @ pose.rotation.T
        height, width = self.texture.shape[:2]
        longitude = (np.arctan2(normal[..., 0], -normal[..., 2]) / (2 * np.pi) + 0.5) * width - 0.5
        latitude = (np.arcsin(np.clip(normal[..., 1], -1, 1)) / np.pi + 0.5) * height - 0.5
        painted = cv2.remap(
            self.texture,
            longitude.astype(np.float32),
            latitude.astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )
        if self.light is not None:
            shade = 0.45 + 0.55 * np.clip(normal @ self.light, 0, 1)
            painted = np.rint(painted * shade[..., None]).astype(np.uint8)
        cv2.copyTo(painted, mask, image[window])


Surface = Rectangle | Sphere


def cast_view(surfaces: tuple[Surface, ...], view: Pinhole, pose: Pose) -> np.ndarray:
    """Render one pinhole view: (H, W, 3) uint8 sRGB at pixel centres, black where nothing is hit."""
    image = np.zeros((view.height, view.width, 3), np.uint8)
    inverse_depth = np.zeros((view.height, view.width), np.float32)
    for surface in surfaces:
        surface.cast(view, pose, inverse_depth, image)
    return image


def cast_depth(surfaces: tuple[Surface, ...], view: Pinhole, pose: Pose) -> np.ndarray:
    """Return (H, W) float32 depth along the axis in metres at pixel centres, NaN where nothing is hit."""
    inverse_depth = np.zeros((view.height, view.width), np.float64)
    for surface in surfaces:
        surface.cast(view, pose, inverse_depth, None)
    with np.errstate(divide="ignore"):
        return np.where(inverse_depth > 0, 1 / inverse_depth, np.nan).astype(np.float32)


def _in_front(corners: np.ndarray) -> np.ndarray:
    """Clip a convex polygon, (3, n) points in the camera's frame, to z >= NEAR."""
    kept = []
    for index in range(corners.shape[1]):
        here, following = corners[:, index], corners[:, (index + 1) % corners.shape[1]]
        if here[2] >= NEAR:
            kept.append(here)
        if (here[2] >= NEAR) != (following[2] >= NEAR):
            fraction = (NEAR - here[2]) / (following[2] - here[2])
            kept.append(here + fraction * (following - here))
    return np.stack(kept, axis=1) if kept else np.empty((3, 0))


def _row_spans(x: np.ndarray, y: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return for each pixel row a convex polygon covers its [left, right) in x, and the first row.

    With half-open intervals, polygons that share an edge have neither gap nor overlap.
    """
    top, bottom = int(np.clip(np.ceil(y.min()), 0, height)), int(np.clip(np.ceil(y.max()), 0, height))
    rows = np.arange(top, bottom)[:, None]
    x_end, y_end = np.roll(x, -1), np.roll(y, -1)
    crosses = (rows >= np.minimum(y, y_end)) & (rows < np.maximum(y, y_end))
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = x + (rows - y) * ((x_end - x) / (y_end - y))
    left = np.where(crosses, crossing, np.inf).min(axis=1, initial=np.inf)
    right = np.where(crosses, crossing, -np.inf).max(axis=1, initial=-np.inf)
    return left, right, top


def _sphere_extent(offset, depth, radius, fx: float, centre: float, size: int) -> tuple[int, int]:
    """Return the [first, last) pixels that a sphere covers along one image axis, from its tangents."""
    middle, half = np.arctan2(offset, depth), np.arcsin(radius / np.hypot(offset, depth))
    low, high = centre + fx * np.tan(middle - half), centre + fx * np.tan(middle + half)
    return int(np.clip(np.ceil(low), 0, size)), int(np.clip(np.floor(high) + 1, 0, size))
