"""Files that appear whole or not at all: written beside their place, then renamed into it."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from fossa_ros.core.errors import InputError


@contextmanager
def replacing(path):
    """Give a name beside ``path`` to write to, and rename that file to ``path`` when the block ends well.

    Whatever stops the block (an error, Ctrl-C), ``path`` keeps what it had and the partial file is removed.

    Raises:
        InputError: the file cannot be written or renamed.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({_reason(error)}); give another place.") from error
    finally:
        with suppress(OSError):
            partial.unlink()


@contextmanager
def replacing_files(folder, outdated=()):
    """Give an empty folder to write files to, and move them into ``folder`` when the block ends well.

    ``folder`` is made where it is missing. Files named in ``outdated`` that the block did not write are
    removed, so that the folder never mixes two runs; others are left alone. Whatever stops the block (an
    error, Ctrl-C), ``folder`` is as it was before.

    Raises:
        InputError: the folder or a file cannot be made.
    """
    folder = Path(folder)
    made = [p for p in (folder, *folder.parents) if not p.exists()]
    partial = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
        yield partial
        files = sorted(partial.iterdir())
        for file in files:
            target = folder / file.name
            if file.is_dir() and target.is_dir():  # a bag is a folder of its own
                shutil.rmtree(target)
            os.replace(file, target)
        for name in set(outdated) - {file.name for file in files}:
            (folder / name).unlink(missing_ok=True)
        made = []
    except OSError as error:
        raise InputError(
            f"The output folder {folder} cannot be written ({_reason(error)}); give another one."
        ) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
        for empty in made:
            with suppress(OSError):
                empty.rmdir()


def check_writable(folder):
    """Refuse a folder that cannot be written or made, before the work whose result belongs there.

    Raises:
        InputError: the folder, or the nearest one above it that exists, is no folder or not writable.
    """
    folder = Path(folder).absolute()
    nearest = next(p for p in (folder, *folder.parents) if p.exists())
    if not nearest.is_dir():
        raise InputError(f"The output folder {folder} cannot be made: {nearest} is a file; give another one.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"The output folder {folder} cannot be written (no permission); give another one.")


def _reason(error):
    return (error.strerror or str(error)).lower()
