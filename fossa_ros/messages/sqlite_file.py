"""Read a bag's SQLite database, a damaged one as far as it goes."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from fossa_ros.messages.recorded import CDR, Contents, Damage, Definition, RecordedMessage, in_words

MAGIC = b"SQLite format 3\x00"
HEAD = 100  # bytes of the header


class SqliteFile:
    """A database of rosbag2, of any of its versions.

    Args:
        path: of the file. Beside one that has a write-ahead log, SQLite writes.
    """

    def __init__(self, path: Path):
        self.contents = Contents()
        self.damage: list[Damage] = []
        # Immutable: no lock and no other file is made beside the bag. SQLite then ignores the write-ahead log.
        options = "" if path.with_name(f"{path.name}-wal").exists() else "?mode=ro&immutable=1"
        self._uri = f"{path.absolute().as_uri()}{options}"
        self._topics: dict[int, tuple[str, str]] = {}  # name and type of those that can be read
        self._order = "id"  # of writing
        try:
            with self._open() as database:
                self._read_topics(database)
                self._scan(database, whole=_is_cut(path))
        except Exception as error:  # the bytes may be anything
            self._order = "id"
            self.damage.append(Damage(in_words(error), self.contents.end_ns or 0))

    def messages(self, topics: set[str]) -> Iterator[RecordedMessage]:
        """Yield the messages of some topics by time of recording."""
        wanted = {key: entry for key, entry in self._topics.items() if entry[0] in topics}
        last_ns = self.contents.begin_ns or 0
        try:
            with self._open() as database:
                for key, recorded_ns, raw in database.execute(
                    f"SELECT topic_id, timestamp, data FROM messages ORDER BY {self._order}"
                ):
                    last_ns = recorded_ns
                    if key in wanted and isinstance(raw, bytes):
                        yield RecordedMessage(*wanted[key], recorded_ns, raw)
        except Exception as error:  # the bytes may be anything
            if not self.damage:
                self.damage.append(Damage(in_words(error), last_ns))

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self._uri, uri=True)) as database:
            # Otherwise SQLite refuses a file that is shorter than its first page states.
            database.execute("PRAGMA writable_schema = ON")
            yield database

    def _read_topics(self, database: sqlite3.Connection) -> None:
        hashes: dict[str, str] = {}
        definitions: dict[str, Definition] = {}
        with contextlib.suppress(sqlite3.OperationalError):  # not before ROS 2 Iron
            hashes.update(database.execute("SELECT type, type_description_hash FROM topics"))
        with contextlib.suppress(sqlite3.OperationalError):
            for name, encoding, text in database.execute(
                "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            ):
                definitions[name] = Definition(encoding, text, hashes.get(name, ""))
        for key, topic, msgtype, encoding in database.execute(
            "SELECT id, name, type, serialization_format FROM topics"
        ):
            definition = definitions.get(msgtype, Definition(type_hash=hashes.get(msgtype, "")))
            self.contents.add_topic(topic, msgtype, encoding, definition)
            if self.contents.types.get(topic) == msgtype and encoding == CDR:
                self._topics[key] = topic, msgtype

    def _scan(self, database: sqlite3.Connection, whole: bool) -> None:
        """Count the messages; ``whole``: those only whose data can be read."""
        columns = "topic_id, timestamp, data" if whole else "topic_id, timestamp"
        # By rowid, in the order of writing: the index by time may be the damaged part.
        for key, recorded_ns, *_ in database.execute(f"SELECT {columns} FROM messages ORDER BY id"):
            if self.contents.end_ns is not None and recorded_ns < self.contents.end_ns:
                self._order = "timestamp, id"
            self.contents.add_span(recorded_ns, recorded_ns)
            if key in self._topics:
                self.contents.counts[self._topics[key][0]] += 1


def _is_cut(path: Path) -> bool:
    """Return whether a file is shorter than the database that its header describes."""
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    page = int.from_bytes(head[16:18], "big")
    pages = int.from_bytes(head[28:32], "big")
    return path.stat().st_size < pages * (65536 if page == 1 else page)
