"""The interface of a benchmark, and functions that the loaders share."""

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
        title: name for display.
        protocol: setting of the published figures.
        in_disparity: whether errors are those of ``disparity(depth)`` instead of depth.
        names: of the images, in order.
    """

    title: str
    protocol: Setting
    in_disparity: bool
    names: Sequence[str]

    def check(self, setting: Setting) -> None:
        """Raise InputError if the set does not have the setting, or data for it is missing."""
        ...

    def sample(self, index: int, setting: Setting) -> Sample | None:
        """Read or render a stack; None if this image, unlike others, does not have the setting."""
        ...

    def disparity(self, depth: np.ndarray) -> np.ndarray:
        """Return the disparity in pixels of depth in metres; called only if ``in_disparity``."""
        ...


def locate(folder: Path, marker: str, below: Sequence[str], source: str) -> Path:
    """Return the folder that holds ``marker``: ``folder``, or one of those ``below`` it.

    Raises:
        InputError: none of them does; the error names ``source``.
    """
    for place in (folder, *(folder / name for name in below)):
        if (place / marker).exists():
            return place
    raise InputError(f"{folder} has no {marker}; give the folder of {source}.")


def require(files: Sequence[Path], source: str) -> None:
    """Check that files exist.

    Raises:
        InputError: files are missing; names the first, and how many.
    """
    missing = [file for file in files if not file.is_file()]
    if missing:
        more = f" and {len(missing) - 1} more files are" if len(missing) > 1 else " is"
        raise InputError(f"{missing[0]}{more} missing; unpack {source} again.")


def inside(folder: Path, name: object, described_by: Path) -> Path:
    """Return the file ``name`` below ``folder``; the name, from the file ``described_by``, may begin with a slash.

    Raises:
        InputError: the name is missing, or leads out of the folder.
    """
    if not isinstance(name, str) or not name.strip("/") or ".." in Path(name).parts:
        raise InputError(f"{described_by} names no file of the set but {name!r}; get it again.")
    return folder / name.lstrip("/")


def read_depth(path: Path) -> np.ndarray:
    """Return the (H, W) float32 array of an ``.npy`` of depths in metres."""

    def check(shape, dtype):
        if len(shape) != 2 or dtype.kind not in "fiu" or not 0 < math.prod(shape) <= LARGEST_IMAGE:
            raise InputError(f"{path} must be (H, W) depth, not {shape} {dtype}; get it again.")

    return read_npy(path, check).astype(np.float32)


def within(depth: np.ndarray, nearest: float, farthest: float) -> np.ndarray:
    """Return (H, W) depth with NaN where it is unknown or outside the inclusive range."""
    with np.errstate(invalid="ignore"):
        return np.where((depth >= nearest) & (depth <= farthest), depth, np.float32(np.nan)).astype(np.float32)


def checked_K(K: object, path: Path) -> np.ndarray:
    """Return a (3, 3) float64 intrinsic matrix.

    Raises:
        InputError: ``K`` is not a finite 3x3 matrix.
    """
    try:
        K = np.array(K, dtype=np.float64)
    except (TypeError, ValueError):
        K = np.empty(0)
    if K.shape != (3, 3) or not np.isfinite(K).all():
        raise InputError(f"{path} has no 3x3 intrinsic matrix; get it again.")
    return K
