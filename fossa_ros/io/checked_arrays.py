"""NumPy files from strangers: the header is judged before anything is allocated, and nothing is unpickled."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fossa_ros.core.errors import InputError

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_BROKEN = (
    *(ValueError, EOFError, OSError, RuntimeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)


def read_npy(path, check) -> np.ndarray:
    """Read an ``.npy`` file, unless ``check(shape, dtype)`` raises InputError because that is not wanted.

    Raises:
        InputError: no such array in the file, or one of Python objects, or one that ``check`` refuses.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the file.") from error
    return _read(lambda: open(path, "rb"), size, str(path), check)


class Npz:
    """The arrays of an open ``.npz`` file, by name."""

    def __init__(self, archive, path):
        self._archive = archive
        self._path = path

    def __contains__(self, name):
        return f"{name}.npy" in self._archive.namelist()

    def names(self) -> list[str]:
        """Return the names of the files in it, as they are stored."""
        return self._archive.namelist()

    def read(self, name, check) -> np.ndarray:
        """Read the array ``name``, as ``read_npy`` does."""
        if name not in self:
            raise InputError(f"{self._path} has no array '{name}'; add it (docs/stack-files.md lists them).")
        size = self._archive.getinfo(f"{name}.npy").file_size
        return _read(lambda: self._archive.open(f"{name}.npy"), size, f"{self._path}: '{name}'", check)


@contextmanager
def open_npz(path):
    """Give the Npz at ``path`` for the length of the block.

    Raises:
        InputError: the file cannot be read or is no ``.npz``.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError):
        raise InputError(f"{path} is not an .npz file; write it with numpy.savez.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); check the file.") from error
    with archive:
        yield Npz(archive, path)


def _read(opener, size, label, check):
    try:
        with opener() as stream:
            version = np.lib.format.read_magic(stream)
            if version not in _HEADERS:
                raise ValueError(f"npy version {version}")
            shape, _, dtype = _HEADERS[version](stream)
        if not dtype.hasobject:
            check(shape, dtype)
            if math.prod(shape) * dtype.itemsize > size:
                raise EOFError("shorter than its header says")
            with opener() as stream:
                return np.lib.format.read_array(stream, allow_pickle=False)
    except _BROKEN as error:
        raise InputError(f"{label} is damaged or cut short; write the file again.") from error
    raise InputError(f"{label} holds Python objects, which are never loaded; save plain numbers.")
