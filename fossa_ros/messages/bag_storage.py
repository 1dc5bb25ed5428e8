"""The storage of a bag: read by its index, or from the beginning where there is none.

A bag that was closed in order has an index. One that was not (the recorder was killed, a copy is incomplete, a disk
failed) is read from the beginning of each file until the bytes no longer make sense.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

from fossa_ros.core.errors import InputError
from fossa_ros.messages.definitions import typestore

try:
    from compression import zstd
except ImportError:  # before Python 3.14
    from backports import zstd

STORAGES = (".mcap", ".db3")  # file name extensions
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
CHUNK = 2**20  # bytes decompressed at a time
GiB = 2**30


@dataclass(frozen=True)
class RecordedMessage:
    """One message of a bag, serialized.

    Attributes:
        topic: its name.
        msgtype: its type, ``PACKAGE/msg/NAME``.
        recorded_ns: time of recording.
        raw: CDR.
    """

    topic: str
    msgtype: str
    recorded_ns: int
    raw: bytes | memoryview


@dataclass
class BagContents:
    """Topics, number of messages and time span of a bag."""

    types: dict[str, str] = field(default_factory=dict)  # by topic
    counts: Counter[str] = field(default_factory=Counter)  # by topic
    begin_ns: int | None = None
    end_ns: int | None = None


class IndexedBag:
    """A bag that was closed in order; raises whatever rosbags raises where it was not."""

    def __init__(self, path: Path, stack: contextlib.ExitStack):
        if any(_has_log(file) for file in _files(path)):  # rosbags would leave out what is in it
            raise InputError("its recorder did not close the database")
        self._reader = stack.enter_context(AnyReader([path], default_typestore=typestore()))
        self.typestore = self._reader.typestore
        self.contents = BagContents()
        for connection in self._reader.connections:
            self.contents.types[connection.topic] = connection.msgtype
            self.contents.counts[connection.topic] += connection.msgcount
        if self.contents.counts.total():
            self.contents.begin_ns, self.contents.end_ns = self._reader.start_time, self._reader.end_time - 1

    def messages(self, topics: set[str]) -> Iterator[RecordedMessage]:
        """Yield the messages of some topics in the order of recording."""
        requested = [connection for connection in self._reader.connections if connection.topic in topics]
        for connection, recorded_ns, raw in self._reader.messages(requested) if requested else ():
            yield RecordedMessage(connection.topic, connection.msgtype, recorded_ns, raw)


class SequentialBag:
    """A bag without an index: each of its storage files is read from the beginning until the first error.

    Attributes:
        typestore: the definitions that the bag holds; those of ROS 2 Jazzy where it holds none.
        contents: of what can be read.
        error: why reading ended; None where every file could be read to its end.
    """

    def __init__(self, path: Path, stack: contextlib.ExitStack):
        self.typestore = typestore()
        self.contents = BagContents()
        self.error: Exception | None = None
        self._files = []
        for file in _files(path):
            if file.suffix == ".zstd" and file.with_suffix("").suffix in STORAGES:
                file, error = _decompress(file, stack)
                self.error = self.error or error
            if file.suffix in STORAGES:
                self._files.append(_with_log(file, stack))
        self._scan()
        if self._definitions:
            self.typestore = get_typestore(Stores.EMPTY)
        for definition in self._definitions.items():
            with contextlib.suppress(Exception):  # a damaged definition: reading its messages reports it
                self._register(*definition)

    def messages(self, topics: set[str] | None) -> Iterator[RecordedMessage]:
        """Yield the messages of some topics, None for all of them, in the order of writing."""
        self._definitions: dict[str, tuple[str, str]] = {}
        for file in self._files:
            read = self._read_mcap if file.suffix == ".mcap" else self._read_sqlite
            for message in read(file):
                if topics is None or message.topic in topics:
                    raw = message.raw
                    if raw[:4] == ZSTD_MAGIC:  # each message is compressed by itself
                        raw = zstd.decompress(raw)
                    yield RecordedMessage(message.topic, message.msgtype, message.recorded_ns, raw)

    def _scan(self) -> None:
        contents = self.contents
        scan = self.messages(None)
        while True:
            try:
                message = next(scan, None)
            except Exception as error:  # the bytes may be anything
                self.error = self.error or error
                return
            if message is None:
                return
            contents.types[message.topic] = message.msgtype
            contents.counts[message.topic] += 1
            contents.begin_ns = min(contents.begin_ns or message.recorded_ns, message.recorded_ns)
            contents.end_ns = max(contents.end_ns or 0, message.recorded_ns)

    def _register(self, name: str, definition: tuple[str, str]) -> None:
        encoding, text = definition
        self.typestore.register(get_types_from_msg(text, name) if encoding == "ros2msg" else get_types_from_idl(text))

    def _read_mcap(self, file: Path) -> Iterator[RecordedMessage]:
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        with file.open("rb") as stream:
            for record in StreamReader(stream, validate_crcs=True, record_size_limit=GiB).records:
                match record:
                    case Schema():
                        schemas[record.id] = record
                        self._definitions[record.name] = record.encoding, record.data.decode()
                    case Channel():
                        channels[record.id] = record
                    case Message():
                        channel = channels[record.channel_id]
                        msgtype = schemas[channel.schema_id].name
                        yield RecordedMessage(channel.topic, msgtype, record.log_time, record.data)

    def _read_sqlite(self, file: Path) -> Iterator[RecordedMessage]:
        # Immutable: no lock and no other file is made beside the bag. SQLite then ignores the write-ahead log.
        options = "" if _has_log(file) else "?mode=ro&immutable=1"
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}{options}", uri=True)) as database:
            # Otherwise SQLite refuses a file that is shorter than its first page states.
            database.execute("PRAGMA writable_schema = ON")
            topics = {key: (name, kind) for key, name, kind in database.execute("SELECT id, name, type FROM topics")}
            with contextlib.suppress(sqlite3.OperationalError):  # older bags have no definitions
                for name, encoding, text in database.execute(
                    "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
                ):
                    self._definitions[name] = encoding, text
            # By rowid, in the order of writing: the index by time may be the damaged part.
            for key, recorded_ns, raw in database.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY id"):
                yield RecordedMessage(*topics[key], recorded_ns, raw)


def _files(path: Path) -> list[Path]:
    """Return the files of a bag, a folder or one file, by name."""
    return sorted(path.iterdir()) if path.is_dir() else [path]


def _log_of(file: Path) -> Path:
    """Return the write-ahead log of an SQLite database."""
    return file.with_name(f"{file.name}-wal")


def _has_log(file: Path) -> bool:
    """Return whether ``file`` is a database whose write-ahead log is not empty."""
    log = _log_of(file)
    return file.suffix == ".db3" and log.is_file() and log.stat().st_size > 0


def _with_log(file: Path, stack: contextlib.ExitStack) -> Path:
    """Return ``file``, or a copy kept until ``stack`` closes where it is a database with a write-ahead log.

    A recorder that was killed leaves its last messages, or all of them, in the log. SQLite writes to the database when
    it reads the log; the bag must stay as it is. The index of the log (-shm) is not copied: SQLite makes it anew.
    """
    if not _has_log(file):
        return file
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fossa-bag-")))
    for source in (file, _log_of(file)):
        shutil.copyfile(source, folder / source.name)
    return folder / file.name


def _decompress(file: Path, stack: contextlib.ExitStack) -> tuple[Path, Exception | None]:
    """Decompress a file as far as possible; return the result, kept until ``stack`` closes, and the error if any."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fossa-bag-"))
    target = Path(folder, file.stem)
    decompressor = zstd.ZstdDecompressor()
    with file.open("rb") as source, target.open("wb") as sink:
        while not decompressor.eof:
            chunk = source.read(CHUNK)
            if not chunk:
                return target, EOFError("the compressed file is incomplete")
            try:
                sink.write(decompressor.decompress(chunk))
            except zstd.ZstdError as error:
                return target, error
    return target, None
