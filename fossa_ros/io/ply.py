"""Point clouds as PLY files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fossa_ros.io.atomic import replacing

PLY_POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")])


def write_ply(path, cloud) -> int:
    """Write the known points of a cloud of POINT, row by row, as a binary PLY file; return their number.

    The file appears under its name only when it is complete.

    Raises:
        InputError: the file cannot be written.
    """
    known = cloud[np.isfinite(cloud["z"])]
    points = np.empty(known.size, PLY_POINT)
    for axis in "xyz":
        points[axis] = known[axis]
    packed = np.ascontiguousarray(known["rgb"]).view("<u4")
    for channel, shift in (("red", 16), ("green", 8), ("blue", 0)):
        points[channel] = (packed >> shift) & 0xFF
    kinds = {"<f4": "float", "|u1": "uchar"}
    properties = "".join(f"property {kinds[PLY_POINT[name].str]} {name}\n" for name in PLY_POINT.names)
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {known.size}\n{properties}end_header\n"
    with replacing(Path(path)) as partial:
        partial.write_bytes(header.encode("ascii") + points.tobytes())
    return known.size
