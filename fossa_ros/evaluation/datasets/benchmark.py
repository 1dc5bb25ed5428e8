"""What every set offers, and what their loaders share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.protocol import Sample, Setting
from fossa_ros.io.checked_arrays import read_npy

LARGEST_IMAGE = 1 << 26  # px


class Benchmark(Protocol):
    """A set of images with depth.

    Attributes:
        title: its name for people.
        protocol: how its stacks are taken for the published figures.
        in_disparity: whether errors are those of ``disparity(depth)`` and not of depth.
        names: of the images, in order.
    """

    title: str
    protocol: Setting
    in_disparity: bool
    names: Sequence[str]

    def check(self, setting: Setting) -> None:
        """Raise InputError where the set cannot be taken like that, or data that it takes is missing."""
        ...

    def sample(self, index: int, setting: Setting) -> Sample | None:
        """Read or render a stack; None where this image cannot be taken like that while others can."""
        ...

    def disparity(self, depth: np.ndarray) -> np.ndarray:
        """Return the disparity in pixels of depth in metres; called only where ``in_disparity``."""
        ...


def locate(folder: Path, marker: str, below: Sequence[str], source: str) -> Path:
    """Return the folder that holds ``marker``: the one given, or one of those ``below`` it.

    Raises:
        InputError: neither does; ``source`` says where it is to be had.
    """
    for place in (folder, *(folder / name for name in below)):
        if (place / marker).exists():
            return place
    raise InputError(f"{folder} has no {marker}; give the folder of {source}.")


def require(files: Sequence[Path], source: str) -> None:
    """Refuse data of which files are missing.

    Raises:
        InputError: the first missing one, and how many.
    """
    missing = [file for file in files if not file.is_file()]
    if missing:
        more = f" and {len(missing) - 1} more files are" if len(missing) > 1 else " is"
        raise InputError(f"{missing[0]}{more} missing; unpack {source} again.")


def inside(folder: Path, name: object, described_by: Path) -> Path:
    """Return the file ``name`` below ``folder``, as a list in a file tells it; it may begin with a slash.

    Raises:
        InputError: no name, or one that leads out of the folder.
    """
    if not isinstance(name, str) or not name.strip("/") or ".." in Path(name).parts:
        raise InputError(f"{described_by} names no file of the set but {name!r}; get it again.")
    return folder / name.lstrip("/")


def read_depth(path: Path) -> np.ndarray:
    """Return the (H, W) float32 array of an ``.npy`` of depths in metres."""

    def check(shape, dtype):
        if len(shape) != 2 or dtype.kind not in "fiu" or not 0 < math.prod(shape) <= LARGEST_IMAGE:
            raise InputError(f"{path} is no (H, W) depth but {shape} {dtype}; get it again.")

    return read_npy(path, check).astype(np.float32)


def within(depth: np.ndarray, nearest: float, farthest: float) -> np.ndarray:
    """Return (H, W) depth with NaN for what is unknown or outside the range, whose ends belong to it."""
    with np.errstate(invalid="ignore"):
        return np.where((depth >= nearest) & (depth <= farthest), depth, np.float32(np.nan)).astype(np.float32)


def checked_K(K: object, path: Path) -> np.ndarray:
    """Return a (3, 3) float64 intrinsic matrix.

    Raises:
        InputError: it is none.
    """
    try:
        K = np.array(K, dtype=np.float64)
    except (TypeError, ValueError):
        K = np.empty(0)
    if K.shape != (3, 3) or not np.isfinite(K).all():
        raise InputError(f"{path} has no 3x3 intrinsic matrix; get it again.")
    return K
