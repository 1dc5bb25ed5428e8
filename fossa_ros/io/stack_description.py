"""stack.json: which images make a focus stack, where each was focused, and what is known of the lens."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from fossa_ros.core.errors import InputError
from fossa_ros.io.documents import Finite, convert, load_json

DESCRIPTION = "stack.json"
INFINITY = "infinity"
LARGEST = 10_000_000  # bytes


@dataclass(frozen=True, eq=False)
class StackDescription:
    """The contents of a ``stack.json``, checked, with lengths in metres.

    Attributes:
        frames: image file and focus distance (m) of every plane.
        reference: index of the plane whose viewpoint counts, None for the default.
        K: (3, 3) float64 intrinsic matrix at the images' upright size, None where not given.
        f_number: focal length over aperture diameter, None where not given.
        focal_length: metres, None where not given.
        ground_truth: ``.npy`` file of true depth, None where not given.
        distortion: coefficients of the lens's distortion; empty for rectified images.
        distortion_model: of the coefficients, empty where not given.
        P: (3, 3) or (3, 4) matrix of the rectified view, None where not given.
        R: (3, 3) rotation to the rectified view, None where not given.
    """

    frames: tuple[tuple[Path, float], ...]
    reference: int | None = None
    K: npt.NDArray[np.float64] | None = None
    f_number: float | None = None
    focal_length: float | None = None
    ground_truth: Path | None = None
    distortion: tuple[float, ...] = ()
    distortion_model: str = ""
    P: npt.NDArray[np.float64] | None = None
    R: npt.NDArray[np.float64] | None = None


_Row = tuple[Finite, Finite, Finite]


class _Frame(msgspec.Struct):
    """An entry of ``frames``."""

    file: str
    focus_distance_m: Finite | str

    def __post_init__(self) -> None:
        if isinstance(self.focus_distance_m, str) and self.focus_distance_m != INFINITY:
            raise ValueError(f'focus_distance_m must be a number or "{INFINITY}", not {self.focus_distance_m!r:.40}')


class _File(msgspec.Struct):
    """The layout of the file, as docs/stack-files.md lists it."""

    frames: list[_Frame]
    reference: int | Finite | None = None
    K: tuple[_Row, _Row, _Row] | None = None
    f_number: Finite | None = None
    focal_length_mm: Finite | None = None
    ground_truth: str | None = None
    distortion: list[Finite] | None = None
    distortion_model: str | None = None
    P: list[list[Finite]] | None = None
    R: tuple[_Row, _Row, _Row] | None = None

    def __post_init__(self) -> None:
        if self.reference is not None and self.reference % 1:
            raise ValueError(f"reference must be the number of a frame, from 0, not {self.reference}")
        if self.P is not None and [len(row) for row in self.P] not in ([3] * 3, [4] * 3):
            raise ValueError(f"P must be three rows of three or four numbers, not {self.P!r:.40}")


def read_description(path: str | Path) -> StackDescription:
    """Read and check the ``stack.json`` at ``path``; keys that docs/stack-files.md does not list are ignored.

    Raises:
        InputError: the file is missing, not JSON, lacks an entry, or names a file outside its folder.
    """
    path = Path(path)
    file = convert(load_json(path, "write one as docs/stack-files.md describes", LARGEST), _File, path)
    return StackDescription(
        frames=tuple((file_inside(path, frame.file), float(frame.focus_distance_m)) for frame in file.frames),
        reference=None if file.reference is None else int(file.reference),
        K=None if file.K is None else np.array(file.K, dtype=np.float64),
        f_number=file.f_number,
        focal_length=None if file.focal_length_mm is None else 1e-3 * file.focal_length_mm,
        ground_truth=None if file.ground_truth is None else file_inside(path, file.ground_truth),
        distortion=tuple(file.distortion or ()),
        distortion_model=file.distortion_model or "",
        P=None if file.P is None else np.array(file.P, dtype=np.float64),
        R=None if file.R is None else np.array(file.R, dtype=np.float64),
    )


def write_description(description: StackDescription, path: str | Path) -> None:
    """Write ``description`` as JSON; the files it names must lie in the folder of ``path``."""
    content = _File(
        frames=[_Frame(file.name, s if math.isfinite(s) else INFINITY) for file, s in description.frames],
        reference=description.reference,
        K=None if description.K is None else description.K.tolist(),
        f_number=description.f_number,
        focal_length_mm=None if description.focal_length is None else 1e3 * description.focal_length,
        ground_truth=None if description.ground_truth is None else description.ground_truth.name,
        distortion=list(description.distortion) or None,
        distortion_model=description.distortion_model or None,
        P=None if description.P is None else description.P.tolist(),
        R=None if description.R is None else description.R.tolist(),
    )
    Path(path).write_text(json.dumps(msgspec.to_builtins(content), indent=1) + "\n", encoding="utf-8")


def file_inside(path: Path, name: str) -> Path:
    """Return the file ``name`` in the folder of ``path``, links resolved.

    Raises:
        InputError: there is no such file, or it lies outside the folder.
    """
    folder = path.parent.resolve()
    try:
        file = (folder / name).resolve()
    except (ValueError, OSError, RuntimeError):  # a NUL, or a loop of links
        file = None
    if file is None or not file.is_relative_to(folder):
        raise InputError(f"{path} names {name!r}, which is outside its folder; move the file there.")
    if not file.is_file():
        raise InputError(f"{path} names {name!r}, which its folder does not have; correct the name.")
    return file
