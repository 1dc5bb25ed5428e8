"""The point cloud of a depth map, in the size and form that its readers want."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fossa_ros.core.geometry import coloured_cloud
from fossa_ros.core.parameter import check_ranges, parameter
from fossa_ros.core.stack import DepthMap


@dataclass(frozen=True)
class CloudConfig:
    """Group ``points``: which points are published, and how."""

    stride: int = parameter(
        1,
        "Every so many pixels, across and down, become a point; 2 gives a quarter of the bytes",
        minimum=1,
        maximum=64,
        live=True,
    )
    voxel: float = parameter(
        0.0,
        "Side of the cubes whose points become one, the mean of them; 0: none. The cloud is dense, then",
        unit="m",
        minimum=0.0,
        maximum=10.0,
        live=True,
    )
    min_confidence: float = parameter(
        0.0,
        "Points with a lower confidence are unknown, beyond what depth.min_confidence leaves out of depth",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    dense: bool = parameter(
        False,
        "Leave out unknown points, so that the cloud is a list; otherwise it is organised like the image, and they are "
        "NaN",
        live=True,
    )
    confidence: bool = parameter(False, "Give each point its confidence, as a field of that name", live=True)

    def __post_init__(self) -> None:
        check_ranges(self)


def cloud_of(depth: DepthMap, config: CloudConfig) -> np.ndarray:
    """Return the cloud of a depth map with intrinsics: (H, W) organised, or (1, N) dense.

    The points of a stride are those of its pixels, so that none lies between two surfaces; the points of a voxel
    become their mean.
    """
    assert depth.K is not None
    step = config.stride
    metres, confidence = depth.depth[::step, ::step], depth.confidence[::step, ::step]
    if config.min_confidence:
        metres = np.where(confidence >= config.min_confidence, metres, np.float32(np.nan))
    K = depth.K / np.array([[step], [step], [1.0]])  # pixel (u, v) of every step-th is (step u, step v) of all
    colour = depth.all_in_focus if step == 1 else np.ascontiguousarray(depth.all_in_focus[::step, ::step])
    cloud = coloured_cloud(metres, K, colour, confidence if config.confidence else None)
    if not (config.dense or config.voxel):
        return cloud
    points = cloud.ravel().compress(np.isfinite(cloud["z"]).ravel())  # seven times as fast as an index
    return (_merged(points, config.voxel) if config.voxel else points)[None]


def _merged(points: np.ndarray, side: float) -> np.ndarray:
    """Return the mean of the points (N,) in each cube of ``side`` metres, its colour included, cube by cube."""
    if not points.size:
        return points
    cubes = np.stack([np.floor(points[axis].astype(np.float64) / side).astype(np.int64) for axis in "xyz"])
    cubes -= cubes.min(axis=1, keepdims=True)
    sizes = [int(size) + 1 for size in cubes.max(axis=1)]
    if sizes[0] * sizes[1] * sizes[2] > np.iinfo(np.int64).max:  # a far point and small cubes: count the used ones
        for axis in cubes:
            axis[:] = np.unique(axis, return_inverse=True)[1]
        sizes = [int(size) + 1 for size in cubes.max(axis=1)]
    _, cube = np.unique((cubes[0] * sizes[1] + cubes[1]) * sizes[2] + cubes[2], return_inverse=True)
    count = np.bincount(cube)
    merged = np.empty(count.size, points.dtype)
    for name in points.dtype.names or ():
        if name != "rgb":
            merged[name] = np.bincount(cube, points[name]) / count
    packed = np.ascontiguousarray(points["rgb"]).view("<u4")
    colour = np.zeros(count.size, np.uint32)
    for shift in (0, 8, 16):
        mean = np.bincount(cube, packed >> shift & 0xFF) / count
        colour |= np.rint(mean).astype(np.uint32) << np.uint32(shift)
    merged["rgb"] = colour.view("<f4")
    return merged
