"""ROS 2 bags without ROS: read as far as they go, messages by the definitions that the bag itself holds.

A bag that was closed in order is read by its index. One that was not (a recorder that was killed, a copy that broke
off, a bad disk) is read from its beginning until the damage, and says how far that was.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

from fossa_ros.core.errors import InputError
from fossa_ros.io.installed import PACKAGE, share

try:
    from compression import zstd
except ImportError:  # before Python 3.14
    from backports import zstd

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
PIECE = 2**20  # bytes decompressed at a time
STORAGES = (".mcap", ".db3")
GiB = 2**30


def typestore():
    """Return the message definitions of ROS 2 Jazzy and of this package, for rosbags."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for file in sorted((share() / "msg").glob("*.msg")):
        store.register(get_types_from_msg(file.read_text(), f"{PACKAGE}/msg/{file.stem}"))
    return store


@dataclass(frozen=True)
class Recorded:
    """One message as it lies in the bag.

    Attributes:
        topic: its name.
        msgtype: its type, as bags spell it.
        recorded_ns: when it was recorded.
        raw: CDR.
    """

    topic: str
    msgtype: str
    recorded_ns: int
    raw: bytes


@dataclass
class _Contents:
    """What a bag holds, and where it broke."""

    types: dict[str, str] = field(default_factory=dict)  # by topic
    counts: Counter[str] = field(default_factory=Counter)
    begin_ns: int | None = None
    end_ns: int | None = None


class BagReader:
    """Read one bag: a folder, or a file of its storage; a context manager.

    Attributes:
        types: type of each topic.
        counts: messages of each topic, of a damaged bag those that can be read.
        begin_ns, end_ns: when the first and the last message were recorded; 0 where there is none.
        damage: why not all of the bag was read, and how far it was; empty where it was. Known at the latest when
            ``messages`` has ended.

    Raises:
        InputError: nothing there that can be read as a bag.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.damage = ""
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> BagReader:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()

    @property
    def size(self) -> int:
        """Bytes on disk."""
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(file.stat().st_size for file in files if file.is_file())

    def messages(self, topics: Collection[str]) -> Iterator[Recorded]:
        """Yield the messages of some topics in the order of their recording, until the end or the damage."""
        source = self._source.messages(set(topics))
        last_ns = self.begin_ns
        while True:
            try:
                message = next(source, None)
            except Exception as error:  # whatever a reader raises on bytes that make no sense
                self.damage = self._told(last_ns, error)
                return
            if message is None:
                return
            last_ns = message.recorded_ns
            yield message

    def read(self, message: Recorded) -> Any:
        """Return the fields of a message.

        Raises:
            InputError: the bytes do not fit the definition.
        """
        try:
            return self._source.typestore.deserialize_cdr(message.raw, message.msgtype)
        except Exception as error:  # the bytes may be anything
            raise InputError(
                f"{self.path}: a message of {message.topic} does not fit its definition {message.msgtype} ({error}); "
                "the bag is damaged."
            ) from error

    def break_off(self, message: Recorded, error: Exception) -> None:
        """Note that reading ended at a message that cannot be used."""
        self.damage = self._told(message.recorded_ns, error)

    def require(self, topic: str, *msgtypes: str) -> None:
        """Raise InputError unless the bag has ``topic``, of one of ``msgtypes``."""
        if topic not in self.types:
            raise InputError(f"{self.path} has no topic {topic}; it has {', '.join(sorted(self.types)) or 'none'}.")
        if self.types[topic] not in msgtypes:
            raise InputError(
                f"{self.path}: {topic} is of {self.types[topic]}, not of {' or '.join(msgtypes)}; name another topic."
            )

    def _open(self) -> None:
        if not self.path.exists():
            raise InputError(f"{self.path} cannot be read as a bag (no such file); give the folder of a ROS 2 bag.")
        complaint = None
        try:
            self._source: _Indexed | _Sequential = _Indexed(self.path, self._stack)
        except Exception as error:  # a damaged bag makes its reader raise whatever the bytes lead to
            complaint = error
            self._source = _Sequential(self.path, self._stack)
        contents = self._source.contents
        self.types, self.counts = contents.types, contents.counts
        self.begin_ns, self.end_ns = contents.begin_ns or 0, contents.end_ns or 0
        if not complaint:
            return
        if not self.types:
            raise InputError(
                f"{self.path} cannot be read as a bag ({_brief(complaint)}); give the folder of a ROS 2 bag."
            ) from complaint
        if isinstance(self._source, _Sequential) and self._source.broken is not None:
            self.damage = self._told(self.end_ns, self._source.broken)

    def _told(self, last_ns: int, error: Exception) -> str:
        seconds = max(last_ns - self.begin_ns, 0) / 1e9
        return f"damaged ({_brief(error)}): read as far as it goes, the first {seconds:.1f} s"


class _Indexed:
    """A bag that was closed in order."""

    def __init__(self, path: Path, stack: contextlib.ExitStack):
        self._reader = stack.enter_context(AnyReader([path], default_typestore=typestore()))
        self.typestore = self._reader.typestore
        self.contents = _Contents()
        for connection in self._reader.connections:
            self.contents.types[connection.topic] = connection.msgtype
            self.contents.counts[connection.topic] += connection.msgcount
        if self.contents.counts.total():
            self.contents.begin_ns, self.contents.end_ns = self._reader.start_time, self._reader.end_time - 1

    def messages(self, topics: set[str]) -> Iterator[Recorded]:
        wanted = [connection for connection in self._reader.connections if connection.topic in topics]
        for connection, recorded_ns, raw in self._reader.messages(wanted) if wanted else ():
            yield Recorded(connection.topic, connection.msgtype, recorded_ns, raw)


class _Sequential:
    """A bag without its index: its storage files from their beginnings, until one breaks."""

    def __init__(self, path: Path, stack: contextlib.ExitStack):
        self.typestore = typestore()
        self.contents = contents = _Contents()
        self.broken: Exception | None = None
        self._files = []
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            if file.suffix == ".zstd" and file.with_suffix("").suffix in STORAGES:
                file, broken = _decompressed(file, stack)
                self.broken = self.broken or broken
            if file.suffix in STORAGES:
                self._files.append(file)
        scan = self.messages(None)
        while True:
            try:
                message = next(scan, None)
            except Exception as error:  # the bytes may be anything
                self.broken = self.broken or error
                break
            if message is None:
                break
            contents.types[message.topic] = message.msgtype
            contents.counts[message.topic] += 1
            contents.begin_ns = min(contents.begin_ns or message.recorded_ns, message.recorded_ns)
            contents.end_ns = max(contents.end_ns or 0, message.recorded_ns)
        if self._definitions:
            self.typestore = get_typestore(Stores.EMPTY)
        for definition in self._definitions.items():
            with contextlib.suppress(Exception):  # a damaged one: its messages say so
                self._register(*definition)

    def messages(self, topics: set[str] | None) -> Iterator[Recorded]:
        """Yield the messages of some topics, None for all of them."""
        self._definitions: dict[str, tuple[str, str]] = {}
        for file in self._files:
            read = self._mcap if file.suffix == ".mcap" else self._sqlite
            for message in read(file):
                if topics is None or message.topic in topics:
                    raw = message.raw
                    if raw[:4] == ZSTD_MAGIC:  # compressed one by one
                        message = Recorded(message.topic, message.msgtype, message.recorded_ns, zstd.decompress(raw))
                    yield message

    def _register(self, name: str, definition: tuple[str, str]) -> None:
        encoding, text = definition
        self.typestore.register(get_types_from_msg(text, name) if encoding == "ros2msg" else get_types_from_idl(text))

    def _mcap(self, file: Path) -> Iterator[Recorded]:
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
                        yield Recorded(channel.topic, schemas[channel.schema_id].name, record.log_time, record.data)

    def _sqlite(self, file: Path) -> Iterator[Recorded]:
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as database:
            # Without this, SQLite refuses a file that is shorter than its first page says.
            database.execute("PRAGMA writable_schema = ON")
            topics = {key: (name, kind) for key, name, kind in database.execute("SELECT id, name, type FROM topics")}
            with contextlib.suppress(sqlite3.OperationalError):  # older bags have no definitions
                for name, encoding, text in database.execute(
                    "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
                ):
                    self._definitions[name] = encoding, text
            # By rowid, in the order of writing: the index by time may be what is lost.
            for key, recorded_ns, raw in database.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY id"):
                yield Recorded(*topics[key], recorded_ns, raw)


def _decompressed(file: Path, stack: contextlib.ExitStack) -> tuple[Path, Exception | None]:
    """Decompress a file as far as it goes; return where it is until ``stack`` closes, and why it broke off."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fossa-bag-"))
    target = Path(folder, file.stem)
    decompressor, broken = zstd.ZstdDecompressor(), None
    with file.open("rb") as source, target.open("wb") as sink:
        while not decompressor.eof:
            piece = source.read(PIECE)
            if not piece:
                broken = EOFError("the compressed file breaks off")
                break
            try:
                sink.write(decompressor.decompress(piece))
            except zstd.ZstdError as error:
                broken = error
                break
    return target, broken


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
