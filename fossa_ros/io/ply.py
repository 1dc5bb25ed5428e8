"""Point clouds as PLY files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fossa_ros.io.atomic import replacing

_FIELDS = {"x": "<f4", "y": "<f4", "z": "<f4", "red": "u1", "green": "u1", "blue": "u1"}
_PLY_TYPES = {"<f4": "float", "u1": "uchar"}


def write_ply(path: str | Path, cloud: np.ndarray) -> int:
    """Write the known points of an organised cloud as a binary PLY file, atomically.

    Args:
        path: of the file.
        cloud: (H, W) of ``fossa_ros.core.geometry.POINT``; points whose z is not finite are left out.

    Returns:
        The number of points.

    Raises:
        InputError: the file cannot be written.
    """
    known = cloud[np.isfinite(cloud["z"])]
    points = np.empty(known.size, list(_FIELDS.items()))
    for axis in "xyz":
        points[axis] = known[axis]
    packed = np.ascontiguousarray(known["rgb"]).view("<u4")
    for channel, shift in (("red", 16), ("green", 8), ("blue", 0)):
        points[channel] = (packed >> shift) & 0xFF
    properties = "".join(f"property {_PLY_TYPES[kind]} {name}\n" for name, kind in _FIELDS.items())
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {known.size}\n{properties}end_header\n"
    with replacing(Path(path)) as partial:
        partial.write_bytes(header.encode("ascii") + points.tobytes())
    return len(points)
