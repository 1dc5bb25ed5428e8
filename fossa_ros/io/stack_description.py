"""stack.json: which images make a focus stack, where each was focused, and what is known of the lens."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fossa_ros.core.errors import InputError

DESCRIPTION = "stack.json"
_MAX_BYTES = 10_000_000


@dataclass(frozen=True, eq=False)
class StackDescription:
    """The contents of a ``stack.json``, checked; lengths in metres whatever the file's unit.

    Attributes:
        frames: image file and focus distance (m) of every plane.
        reference: index of the plane whose viewpoint counts, None for the default.
        K: (3, 3) float64 intrinsic matrix at the images' upright size, None where not given.
        f_number: focal length over aperture diameter, None where not given.
        focal_length: metres, None where not given.
        ground_truth: ``.npy`` file of true depth, None where not given.
    """

    frames: tuple[tuple[Path, float], ...]
    reference: int | None = None
    K: np.ndarray | None = None
    f_number: float | None = None
    focal_length: float | None = None
    ground_truth: Path | None = None


def read_description(path) -> StackDescription:
    """Read and check the ``stack.json`` at ``path``; keys that docs/stack-files.md does not list are notes.

    Raises:
        InputError: the file is missing, no JSON, lacks something, or names a file outside its folder.
    """
    path = Path(path)
    content = _load(path)
    frames = content.get("frames")
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise InputError(f'{path} has no list "frames" of {{"file": ..., "focus_distance_m": ...}}; add it.')
    focal_length_mm = _number(path, content, "focal_length_mm")
    reference = _number(path, content, "reference")
    if reference is not None and not float(reference).is_integer():
        raise InputError(f'{path}: "reference" must be the number of a frame, from 0; correct it.')
    truth = content.get("ground_truth")
    return StackDescription(
        frames=tuple((file_inside(path, frame.get("file")), _focus_distance(path, frame)) for frame in frames),
        reference=None if reference is None else int(reference),
        K=_matrix(path, content),
        f_number=_number(path, content, "f_number"),
        focal_length=None if focal_length_mm is None else 1e-3 * focal_length_mm,
        ground_truth=None if truth is None else file_inside(path, truth),
    )


def write_description(description, path) -> None:
    """Write ``description`` as JSON; the files it names must lie in the folder of ``path``."""
    content = {
        "frames": [
            {"file": file.name, "focus_distance_m": distance if math.isfinite(distance) else "infinity"}
            for file, distance in description.frames
        ],
        "reference": description.reference,
        "K": None if description.K is None else description.K.tolist(),
        "f_number": description.f_number,
        "focal_length_mm": None if description.focal_length is None else 1e3 * description.focal_length,
        "ground_truth": None if description.ground_truth is None else description.ground_truth.name,
    }
    Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _load(path):
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise InputError(f"{path} is larger than {_MAX_BYTES // 1_000_000} MB; it should only list images.")
        content = json.loads(text.decode("utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path.parent} has no {path.name}; write one (docs/stack-files.md).") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); check the file.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}); correct it.") from error
    if not isinstance(content, dict):
        raise InputError(f'{path} must be a JSON object with "frames"; correct it.')
    return content


def file_inside(path, name):
    """Return the file ``name`` of the folder of ``path``, wherever links lead, or refuse it."""
    if not isinstance(name, str) or not name:
        raise InputError(f"{path} needs a file name where it has {name!r}; correct it.")
    folder = path.parent.resolve()
    try:
        file = (folder / name).resolve()
    except (ValueError, OSError, RuntimeError):  # a NUL, or a ring of links
        file = None
    if file is None or not file.is_relative_to(folder):
        raise InputError(f"{path} names {name!r}, which is outside its folder; move the file there.")
    if not file.is_file():
        raise InputError(f"{path} names {name!r}, which its folder does not have; correct the name.")
    return file


def _focus_distance(path, frame):
    value = frame.get("focus_distance_m")
    if value == "infinity":
        return math.inf
    if value is None:
        raise InputError(f'{path} gives no "focus_distance_m" for {frame.get("file")!r}; add it in metres.')
    return _number(path, frame, "focus_distance_m")


def _number(path, content, key):
    value = content.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e300 or value != value:
        raise InputError(f'{path}: "{key}" must be a number, not {value!r:.40}; correct it.')
    return float(value)


def _matrix(path, content):
    value = content.get("K")
    if value is None:
        return None
    try:
        K = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        K = np.empty(0)
    if K.shape != (3, 3):
        raise InputError(f'{path}: "K" must be three rows of three numbers; correct it.')
    return K
