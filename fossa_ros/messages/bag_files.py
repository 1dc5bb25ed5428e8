"""The files of a bag: which belong to it, and of what kind each is, by its content."""

from __future__ import annotations

import contextlib
import re
import tempfile
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from fossa_ros.core.errors import InputError
from fossa_ros.io.documents import load_yaml
from fossa_ros.messages import mcap_file, sqlite_file
from fossa_ros.messages.mcap_file import McapFile
from fossa_ros.messages.recorded import StorageFile
from fossa_ros.messages.sqlite_file import SqliteFile

try:
    from compression import zstd
except ImportError:  # before Python 3.14
    from backports import zstd

STORAGES = (".mcap", ".db3")  # file name extensions
ENDINGS = (*STORAGES, *(f"{kind}{more}" for kind in STORAGES for more in (".zstd", ".zst", ".active")))
METADATA = "metadata.yaml"
LARGEST_METADATA = 64_000_000  # bytes; a bag may have thousands of files
ROS1_MAGIC = b"#ROSBAG V"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
CHUNK = 2**14  # bytes decompressed or copied at a time: what is lost where they are damaged
SHARED = 0.5  # of the time of a file: more than the parts of one recording have in common


def decompressed(raw: bytes | memoryview) -> bytes | memoryview:
    """Return a message that may be compressed by itself, which CDR never looks like; raises ValueError."""
    if raw[:4] != ZSTD_MAGIC:
        return raw
    try:
        return bytes(zstd.decompress(raw))
    except zstd.ZstdError as error:
        raise ValueError(f"it cannot be decompressed ({error})") from error


def bag_folder(path: Path) -> Path:
    """Return the path of a bag: the folder for a ``metadata.yaml`` in it, otherwise ``path``."""
    return path.parent if path.name == METADATA else path


def bag_name(path: Path) -> str:
    """Return the name of a bag without the endings of its file."""
    path = bag_folder(path.resolve())
    ending = next((ending for ending in sorted(ENDINGS, key=len, reverse=True) if path.name.endswith(ending)), "")
    return path.name if path.is_dir() else path.name.removesuffix(ending)


def is_storage(file: Path) -> bool:
    """Return whether a file has the name of a bag's storage."""
    return file.name.endswith(ENDINGS) and not file.name.startswith(".") and file.is_file()


def natural(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts names by the numbers in them: 2 before 10."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def open_files(path: Path, stack: contextlib.ExitStack) -> tuple[list[StorageFile], list[str]]:
    """Open the files of a bag, kept until ``stack`` closes.

    Args:
        path: a folder, with ``metadata.yaml`` or without, that file, or one file of storage.
        stack: closes what is opened.

    Returns:
        The files, and a clause for each that belongs to the bag but is missing or cannot be read.

    Raises:
        InputError: there is nothing that can be read as a bag.
    """
    folder = bag_folder(path)
    if not folder.exists():
        raise InputError(f"{path} cannot be read as a bag (no such file); give the folder of a ROS 2 bag.")
    if not folder.is_dir():
        return [_open(folder, stack)], []
    try:
        present = _present(folder)
        listed = _listed(folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}); change its permissions.") from error
    faults = _missing(listed, present)
    files: dict[Path, StorageFile] = {}
    failure = None
    for file in present:
        try:
            files[file] = _open(file, stack)
        except InputError as error:
            failure = failure or error
            faults.append(f"{file.name} {'cannot be read' if file.stat().st_size else 'is empty'}")
    if failure is not None and not files:
        raise failure
    if not files:
        raise InputError(_nothing(folder))
    if not listed:
        _check_one_recording(folder, files)
    return list(files.values()), faults


def _present(folder: Path) -> list[Path]:
    """Return the files of storage in a folder, without those of which the compressed or uncompressed one is there too.

    A recorder that was killed while it compressed a file leaves both, the compressed one incomplete.
    """
    files = sorted((file for file in folder.iterdir() if is_storage(file)), key=natural)
    names = {file.name for file in files}
    return [file for file in files if file.suffix not in (".zstd", ".zst") or file.stem not in names]


def _missing(listed: list[Path], present: list[Path]) -> list[str]:
    """Return a clause for each listed file that is missing; none where all files were given other names."""
    missing = [
        file
        for file in listed
        if not any(other.name.startswith(file.name) or file.name.startswith(other.name) for other in present)
    ]
    return [] if len(missing) == len(listed) <= len(present) else [f"{file.name} is missing" for file in missing]


def _check_one_recording(folder: Path, files: dict[Path, StorageFile]) -> None:
    """Raise InputError if two files hold the same topics of the same time: they are not parts of one recording."""
    parts = [
        (each.contents.begin_ns, each.contents.end_ns, set(each.contents.counts), file.name)
        for file, each in files.items()
        if each.contents.begin_ns is not None and each.contents.end_ns is not None
    ]
    parts.sort(key=itemgetter(0))
    for index, (begin, end, topics, name) in enumerate(parts):
        for other_begin, other_end, other_topics, other in parts[index + 1 :]:
            if other_begin >= end:
                break
            shared_ns = min(end, other_end) - other_begin
            if topics & other_topics and shared_ns > SHARED * min(end - begin, other_end - other_begin):
                raise InputError(
                    f"{name} and {other} in {folder} are recordings of the same topics at the same time; give one "
                    "file, or put each into a folder of its own."
                )


def _listed(folder: Path) -> list[Path]:
    """Return the files that ``metadata.yaml`` lists; none where it does not exist or makes no sense."""
    if not (folder / METADATA).is_file():
        return []
    with contextlib.suppress(InputError, AttributeError, KeyError, TypeError):
        content = load_yaml(folder / METADATA, "delete it", LARGEST_METADATA)
        names = content["rosbag2_bagfile_information"]["relative_file_paths"]
        return [folder / Path(name).name for name in names]
    return []


def _open(file: Path, stack: contextlib.ExitStack) -> StorageFile:
    try:
        with file.open("rb") as stream:
            head = stream.read(len(sqlite_file.MAGIC))
        if head.startswith(ZSTD_MAGIC):
            file = _decompress(file, stack)
            with file.open("rb") as stream:
                head = stream.read(len(sqlite_file.MAGIC))
        if head.startswith(mcap_file.MAGIC):
            return McapFile(file)
        if head == sqlite_file.MAGIC or (not head and _has_log(file)):
            return SqliteFile(_with_log(file, stack))
    except OSError as error:
        raise InputError(f"{file} cannot be read as a bag ({error.strerror or error}); correct that.") from error
    if head.startswith(ROS1_MAGIC):
        raise InputError(ros1_sentence(file))
    what = "it is neither mcap nor SQLite" if head else "the file is empty"
    raise InputError(f"{file} cannot be read as a bag ({what}); give the folder or a file of a ROS 2 bag.")


def ros1_sentence(bag: Path) -> str:
    """Say how to convert a bag of ROS 1."""
    command = f"rosbags-convert --src {bag} --dst {bag.with_suffix('')} --dst-typestore ros2_jazzy"
    return f"{bag} is a bag of ROS 1; convert it with '{command}' and give the result."


def _nothing(folder: Path) -> str:
    """Say why a folder is not a bag."""
    bags = sorted(folder.glob("*.bag"), key=natural)
    if bags:
        return ros1_sentence(bags[0])
    return (
        f"{folder} cannot be read as a bag (it has no file that ends in {' or '.join(STORAGES)}); give the folder or a "
        "file of a ROS 2 bag."
    )


def _log_of(file: Path) -> Path:
    """Return the write-ahead log of an SQLite database."""
    return file.with_name(f"{file.name}-wal")


def _has_log(file: Path) -> bool:
    """Return whether the write-ahead log of a database is not empty."""
    log = _log_of(file)
    return log.is_file() and log.stat().st_size > 0


def _with_log(file: Path, stack: contextlib.ExitStack) -> Path:
    """Return ``file``, or a copy kept until ``stack`` closes where it is a database with a write-ahead log.

    A recorder that was killed leaves its last messages, or all of them, in the log. SQLite writes to the database when
    it reads the log; the bag must stay as it is. The index of the log (-shm) is not copied: SQLite makes it anew.
    """
    if not _has_log(file):
        return file
    folder = _temporary(stack)
    for source in (file, _log_of(file)):
        _copied(source, folder / source.name)
    return folder / file.name


def _decompress(file: Path, stack: contextlib.ExitStack) -> Path:
    """Return a decompressed copy of a file, as much as can be decompressed, kept until ``stack`` closes."""
    target = _temporary(stack) / file.stem
    with file.open("rb") as source, target.open("wb") as sink:
        decompressor = zstd.ZstdDecompressor()
        while chunk := source.read(CHUNK):
            while chunk:
                if decompressor.eof:  # the file may consist of several frames
                    decompressor = zstd.ZstdDecompressor()
                try:
                    data = decompressor.decompress(chunk)
                except zstd.ZstdError:  # the end of the copy shows the damage
                    return target
                _write(sink, data)
                chunk = decompressor.unused_data if decompressor.eof else b""
    return target


def _copied(source: Path, target: Path) -> None:
    with source.open("rb") as stream, target.open("wb") as sink:
        while chunk := stream.read(CHUNK):
            _write(sink, chunk)


def _write(sink: BinaryIO, data: bytes) -> None:
    try:
        sink.write(data)
    except OSError as error:
        raise InputError(
            f"The bag does not fit into {tempfile.gettempdir()} ({error.strerror}); free space there, or set TMPDIR "
            "to a folder on another disk."
        ) from error


def _temporary(stack: contextlib.ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fossa-bag-")))
