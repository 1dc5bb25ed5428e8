"""A cache of rendered arrays on disk, so that a scene is rendered only once.

The files are in ``$XDG_CACHE_HOME/fossa_ros/renders`` (``~/.cache/fossa_ros/renders`` by default) and may be deleted at
any time. A file belongs to one description of what was rendered and to one version of the code that renders: after a
change of either it is no longer used, and it is removed when the folder grows beyond LIMIT_BYTES.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from fossa_ros.core import optics, srgb
from fossa_ros.core.errors import InputError
from fossa_ros.io.atomic import replacing

LIMIT_BYTES = 2**29
"""Largest size of all files together; the scene of the default rig takes 27 MiB."""


def cache_folder() -> Path:
    """Return the folder of the cache, which may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "fossa_ros", "renders")


def cached(description: str, render: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the result of ``render``, from the cache if possible.

    Args:
        description: everything that the result depends on, except the code.
        render: makes the arrays; called if they are not in the cache or their file is damaged.

    If the cache cannot be written, the next call renders again.
    """
    file = cache_folder() / f"{hashlib.sha256(f'{_code_version()} {description}'.encode()).hexdigest()}.npz"
    arrays = _read(file)
    if arrays is None:
        arrays = render()
        with suppress(OSError, InputError):
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as partial, partial.open("wb") as output:
                np.savez(output, **arrays)
            _remove_oldest(file.parent)
    return arrays


def _read(file: Path) -> dict[str, np.ndarray] | None:
    """Return the arrays of a file; None if there is none or its checksums are wrong."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
        os.utime(file)  # the least recently used files are removed
    except (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile):
        return None
    return arrays


def _remove_oldest(folder: Path) -> None:
    """Remove the least recently used files, until the others fit into LIMIT_BYTES."""
    files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime, reverse=True)
    total = 0
    for file in files:
        total += file.stat().st_size
        if total > LIMIT_BYTES:
            file.unlink()


def _code_version() -> str:
    """Return a hash of the modules and libraries that the renders depend on."""
    sources = [*sorted(Path(__file__).parent.glob("*.py")), Path(optics.__file__), Path(srgb.__file__)]
    code = hashlib.sha256(f"numpy {np.__version__}, OpenCV {cv2.__version__}".encode())
    for source in sources:
        code.update(source.read_bytes())
    return code.hexdigest()
