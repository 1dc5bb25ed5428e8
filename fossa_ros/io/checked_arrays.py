"""NumPy files of unknown origin: shape and type are checked before memory is allocated, and nothing is unpickled."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fossa_ros.core.errors import InputError

Check = Callable[[tuple[int, ...], np.dtype[Any]], None]
"""Raises InputError for a shape and dtype that the caller cannot use."""

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_DAMAGE = (
    *(ValueError, KeyError, TypeError, OverflowError, EOFError, OSError, RuntimeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)


def read_npy(path: str | Path, check: Check) -> np.ndarray:
    """Read an ``.npy`` file whose shape and dtype pass ``check``.

    Raises:
        InputError: the file is missing, damaged, holds Python objects, or ``check`` refuses it.
    """
    with _damage(path):
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # maps no more than the file holds
        if not isinstance(array, np.ndarray):
            raise ValueError("an .npz file")
    check(array.shape, array.dtype)
    return np.array(array)


class Npz:
    """The arrays of an open ``.npz`` file, by name."""

    def __init__(self, archive: zipfile.ZipFile, path: str | Path):
        self._archive = archive
        self._path = path

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._archive.namelist()

    def names(self) -> list[str]:
        """Return the names of the files in it, as they are stored."""
        return self._archive.namelist()

    def read(self, name: str, check: Check) -> np.ndarray:
        """Read the array ``name``, as ``read_npy`` reads a file."""
        if name not in self:
            raise InputError(f"{self._path} has no array '{name}'; add it (docs/stack-files.md lists them).")
        member = f"{name}.npy"
        with _damage(f"{self._path}: '{name}'"):
            # numpy maps no member of a zip file, and allocates what its header claims.
            with self._archive.open(member) as stream:
                shape, _, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
            if dtype.hasobject:
                raise ValueError("Python objects")
            check(shape, dtype)
            if math.prod(shape) * dtype.itemsize > self._archive.getinfo(member).file_size:
                raise EOFError("shorter than its header says")
            with self._archive.open(member) as stream:
                return np.lib.format.read_array(stream, allow_pickle=False)


@contextmanager
def open_npz(path: str | Path) -> Iterator[Npz]:
    """Give the Npz at ``path`` for the length of the block.

    Raises:
        InputError: the file cannot be read or is not an ``.npz``.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError):
        raise InputError(f"{path} is not an .npz file; write it with numpy.savez.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); check the file.") from error
    with archive:
        yield Npz(archive, path)


@contextmanager
def _damage(label: str | Path) -> Iterator[None]:
    """Turn what numpy and zipfile raise for a damaged array into a sentence that begins with ``label``."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{label} does not exist; check the file.") from error
    except _DAMAGE as error:
        raise InputError(
            f"{label} is damaged or cut short, or holds Python objects, which are never loaded; save plain numbers."
        ) from error
