"""Point clouds as PLY files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.io.atomic import replacing

_FIELDS = {"x": "<f4", "y": "<f4", "z": "<f4", "red": "u1", "green": "u1", "blue": "u1"}
_PLY_TYPES = {"<f4": "float", "u1": "uchar"}
_POINT = np.dtype(list(_FIELDS.items()))
_END = b"end_header\n"


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
    points = np.empty(known.size, _POINT)
    for axis in "xyz":
        points[axis] = known[axis]
    packed = np.ascontiguousarray(known["rgb"]).view("<u4")
    for channel, shift in (("red", 16), ("green", 8), ("blue", 0)):
        points[channel] = (packed >> shift) & 0xFF
    with replacing(Path(path)) as partial:
        partial.write_bytes(_header(known.size) + points.tobytes())
    return len(points)


def read_ply(path: str | Path) -> np.ndarray:
    """Return the points that ``write_ply`` wrote, (N,) with the fields x, y, z (m) and red, green, blue (uint8).

    Raises:
        InputError: the file is missing, or another program wrote it.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a cloud of this package.") from error
    count = len(content[content.find(_END) + len(_END) :]) // _POINT.itemsize
    header = _header(count)
    if not content.startswith(header) or len(content) != len(header) + count * _POINT.itemsize:
        raise InputError(f"{path} is not a cloud that this package wrote, or is cut off; write it again.")
    return np.frombuffer(content, _POINT, offset=len(header))


def _header(count: int) -> bytes:
    properties = "".join(f"property {_PLY_TYPES[kind]} {name}\n" for name, kind in _FIELDS.items())
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {count}\n{properties}"
    return header.encode("ascii") + _END
