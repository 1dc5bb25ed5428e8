"""Read the file of a camera's calibration, in the layout of ``camera_calibration_parsers``."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.io.documents import Finite, convert, load_yaml
from fossa_ros.messages.camera_info import CameraCalibration

_ADVICE = "give the YAML file that camera_calibration writes"
_LARGEST = 100_000  # px of a side
_NO_ROI = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)


@dataclass(frozen=True)
class _Matrix:
    data: list[Finite]

    def values(self, count: int) -> np.ndarray:
        if len(self.data) != count:
            raise ValueError(f"must hold {count} numbers, not {len(self.data)}")
        return np.array(self.data, np.float64)


@dataclass(frozen=True)
class _File:
    image_width: int
    image_height: int
    camera_matrix: _Matrix
    distortion_model: str = "plumb_bob"
    distortion_coefficients: _Matrix = field(default_factory=lambda: _Matrix([0.0] * 5))
    rectification_matrix: _Matrix = field(default_factory=lambda: _Matrix([1.0, 0, 0, 0, 1, 0, 0, 0, 1]))
    projection_matrix: _Matrix | None = None


def camera_info_fields(url: str) -> dict[str, Any]:
    """Return the fields, without header, of the camera_info that a file describes.

    Args:
        url: path of the file, or ``file://`` and the path, as drivers take it for camera_info_url.

    Raises:
        InputError: the file is missing, not YAML, or an entry cannot be used, or no camera has such entries.
    """
    path = _path(url)
    found = convert(load_yaml(path, _ADVICE), _File, path)
    if not (1 <= found.image_width <= _LARGEST and 1 <= found.image_height <= _LARGEST):
        raise InputError(f"{path}: image_width and image_height must be within 1 .. {_LARGEST} px; correct them.")
    entry = "camera_matrix"
    try:
        K = found.camera_matrix.values(9)
        entry = "rectification_matrix"
        R = found.rectification_matrix.values(9)
        entry = "projection_matrix"
        given = found.projection_matrix
        P = np.hstack([K.reshape(3, 3), np.zeros((3, 1))]).ravel() if given is None else given.values(12)
    except ValueError as error:
        raise InputError(f"{path}: {entry} {error}; correct it.") from error
    fields = {
        "height": found.image_height,
        "width": found.image_width,
        "distortion_model": found.distortion_model,
        "d": found.distortion_coefficients.data,
        "k": K,
        "r": R,
        "p": P,
        "binning_x": 0,
        "binning_y": 0,
    }
    try:  # each frame would say it too, but then a node has begun
        CameraCalibration.of(SimpleNamespace(**fields, roi=_NO_ROI)).model((found.image_height, found.image_width))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return fields


def _path(url: str) -> str:
    """Return the path in ``camera.info_url``; raises InputError if it is a URL of something else than a file here."""
    scheme, separator, rest = url.partition(":")
    if not separator or "/" in scheme:
        return url
    host, slash, path = rest.removeprefix("//").partition("/")
    if scheme != "file" or not rest.startswith("/") or (rest.startswith("//") and host not in ("", "localhost")):
        raise InputError(f"camera.info_url must be a path or file:///PATH, not '{url}'; correct it.")
    return unquote(slash + path if rest.startswith("//") else rest)
