"""Atomic writes: files are written under a temporary name beside their place and renamed when complete."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from fossa_ros.core.errors import InputError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to, and rename it to ``path`` when the block succeeds.

    Its folder is created if it is missing. Of a link, the file that it leads to is replaced. If the block fails (an
    error, Ctrl-C), ``path`` is unchanged, and the partial file and a folder that was created are removed.

    Raises:
        InputError: the file cannot be written or renamed.
    """
    path = Path(path)
    _check_regular(path)
    path = _led_to(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    made = [p for p in path.parents if not p.exists()]
    try:
        if made:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
        made = []
    except OSError as error:
        raise InputError(f"{path} cannot be written ({_reason(error)}); give another path.") from error
    finally:
        with suppress(OSError):
            partial.unlink()
        for empty in made:
            with suppress(OSError):
                empty.rmdir()


def write_together(texts: Mapping[Path, str]) -> None:
    """Write several texts as UTF-8: all of them, or none where one cannot be written.

    All are written under temporary names before the first is renamed, so that a full disk leaves everything as it was.
    They are renamed in their order: the last one is never there without the others.

    Raises:
        InputError: one cannot be written or renamed.
    """
    with ExitStack() as stack:
        for path, text in reversed(list(texts.items())):  # the stack renames in the reverse of this order
            stack.enter_context(replacing(path)).write_text(text, encoding="utf-8")


@contextmanager
def replacing_files(folder: str | Path, outdated: Collection[str] = ()) -> Iterator[Path]:
    """Yield an empty folder to write files to, and move them into ``folder`` when the block succeeds.

    ``folder`` is created if it is missing. Files named in ``outdated`` that the block did not write are removed, so
    that the folder never mixes two runs; other files stay. If the block fails (an error, Ctrl-C), ``folder`` is
    unchanged.

    Raises:
        InputError: the folder or a file cannot be written.
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
            if file.is_dir() and target.is_dir():  # a bag is a folder
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


def check_writable(folder: str | Path) -> None:
    """Check that a folder can be written or created, before the work whose results go there.

    Raises:
        InputError: the folder, or its nearest existing parent, is a file or not writable.
    """
    folder = Path(folder).absolute()
    nearest = next(p for p in (folder, *folder.parents) if p.exists())
    if not nearest.is_dir():
        raise InputError(f"The output folder {folder} cannot be created: {nearest} is a file; give another one.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"The output folder {folder} cannot be written (no permission); give another one.")


def check_replaceable(folder: Path, names: Iterable[str], sign: str, run: str) -> None:
    """Check, before the work, that folders which ``replacing_files`` would replace are of an earlier run.

    Args:
        folder: of the results.
        names: of the folders in it that will be written.
        sign: file that every run leaves beside them.
        run: what wrote them, for the sentence.

    Raises:
        InputError: one of them is no folder, or ``sign`` is not beside it.
    """
    for path in (folder / name for name in names):
        owned = path.is_dir() and not path.is_symlink() and (folder / sign).is_file()
        if os.path.lexists(path) and not owned:
            raise InputError(f"{path} is of no earlier {run} and would be replaced; give another folder with --out.")


def check_files(files: Iterable[Path]) -> None:
    """Check that files can be written or replaced, before the work whose results they hold.

    Raises:
        InputError: one is a folder, or its folder cannot be written.
    """
    for file in files:
        if file.is_dir():
            raise InputError(f"{file} cannot be written: it is a folder; give another path.")
        _check_regular(file)
        check_writable(_led_to(file).absolute().parent)


def _led_to(path: Path) -> Path:
    """Return the file that a link leads to, the path itself where it is no link."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _check_regular(path: Path) -> None:
    """Refuse a folder's own path, and a device or a pipe, which renaming would replace for all programs."""
    if not path.name:
        raise InputError(f"'{path}' is a folder; give the path of a file.")
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{path} cannot be replaced: it is a device or a pipe, not a file; give another path.")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
