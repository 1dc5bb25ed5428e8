"""What a bag holds: messages, the topics they are on, and what of it cannot be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import merge
from operator import itemgetter
from typing import Protocol

CDR = "cdr"  # the only encoding of messages that is read


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


@dataclass(frozen=True)
class Definition:
    """A message definition as a bag holds it.

    Attributes:
        encoding: ``ros2msg`` or ``ros2idl``; empty for none.
        text: with the definitions of nested messages.
        type_hash: ``RIHS01_...``; empty where the bag has none, as before ROS 2 Iron.
    """

    encoding: str = ""
    text: str = ""
    type_hash: str = ""


@dataclass
class Contents:
    """Topics, number of messages and time span of a bag, or of one of its files.

    Attributes:
        types: type of each topic that can be read.
        unread: of each other topic, in what form its messages are.
        counts: number of messages of each topic.
        definitions: of each message type.
        begin_ns, end_ns: times of the first and the last message; None where there is none.
    """

    types: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    definitions: dict[str, Definition] = field(default_factory=dict)
    begin_ns: int | None = None
    end_ns: int | None = None

    def add_topic(self, topic: str, msgtype: str, encoding: str, definition: Definition) -> None:
        """Add a topic with the type and the encoding of its messages; one without a type cannot be read."""
        if encoding != CDR or not msgtype:
            self.unread[topic] = f"{encoding or 'without encoding'}, not {CDR}" if encoding != CDR else "without a type"
            return
        self.types.setdefault(topic, msgtype)
        if msgtype not in self.definitions or not self.definitions[msgtype].text.strip():
            self.definitions[msgtype] = definition

    def add_span(self, begin_ns: int | None, end_ns: int | None) -> None:
        """Widen the time span."""
        if begin_ns is not None and end_ns is not None:
            self.begin_ns = begin_ns if self.begin_ns is None else min(self.begin_ns, begin_ns)
            self.end_ns = end_ns if self.end_ns is None else max(self.end_ns, end_ns)

    def add(self, other: Contents) -> None:
        """Add the contents of another file of the bag."""
        for topic, msgtype in other.types.items():
            self.add_topic(topic, msgtype, CDR, other.definitions[msgtype])
        self.unread = other.unread | self.unread
        self.counts += other.counts
        self.add_span(other.begin_ns, other.end_ns)


@dataclass(frozen=True)
class Damage:
    """A part of a file that cannot be read.

    Attributes:
        why: in words.
        begin_ns: time of recording from which messages are missing.
        end_ns: until which; None for all that follows in the file.
    """

    why: str
    begin_ns: int
    end_ns: int | None = None


class StorageFile(Protocol):
    """A file of a bag.

    Attributes:
        contents: of what can be read.
        damage: what cannot be read, as far as it is known.
    """

    contents: Contents
    damage: list[Damage]

    def messages(self, topics: set[str]) -> Iterator[RecordedMessage]:
        """Yield the messages of some topics by time of recording."""


def by_time(parts: list[tuple[int, Iterator[RecordedMessage]]]) -> Iterator[RecordedMessage]:
    """Merge parts of a bag by time of recording; a part is read from its beginning (ns) on, not earlier."""
    for _, message in merge(*(_from(*part) for part in parts), key=itemgetter(0)):
        if message is not None:
            yield message


def _from(begin_ns: int, messages: Iterator[RecordedMessage]) -> Iterator[tuple[int, RecordedMessage | None]]:
    yield begin_ns, None  # merge takes the first entry of each part at once
    for message in messages:
        yield message.recorded_ns, message


def in_words(error: Exception) -> str:
    """Return an exception of any library as a clause."""
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
