"""Read ROS 2 bags without ROS, damaged ones as far as possible."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from fossa_ros.core.errors import InputError
from fossa_ros.messages.bag_files import bag_folder, decompressed, open_files
from fossa_ros.messages.definitions import Definitions
from fossa_ros.messages.recorded import Contents, Damage, RecordedMessage, StorageFile, by_time, in_words


class BagReader:
    """Read one bag: a folder, its ``metadata.yaml``, or a file of its storage; a context manager.

    Attributes:
        types: type of each topic that can be read.
        unread: of each other topic, in what form its messages are.
        counts: number of messages of each topic; of a damaged bag, of those that can be read.
        begin_ns, end_ns: when the first and the last message were recorded; 0 where there is none.

    Raises:
        InputError: there is nothing that can be read as a bag.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self._stack = contextlib.ExitStack()
        self._files: list[StorageFile] = []
        self._faults: list[str] = []  # of whole files
        self._refused: Counter[str] = Counter()  # messages that do not match their definition, by topic
        self._refusal = ""

    def __enter__(self) -> BagReader:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def size(self) -> int:
        """Bytes on disk."""
        path = bag_folder(self.path)
        files = path.rglob("*") if path.is_dir() else [path]
        return sum(file.stat().st_size for file in files if file.is_file())

    @property
    def damage(self) -> str:
        """What of the bag cannot be read, and why; empty where all can. Final once ``messages`` has ended."""
        parts = [f"incomplete: {', '.join(self._faults)}"] if self._faults else []
        damages = [damage for file in self._files for damage in file.damage]
        if damages:
            parts.append(f"damaged ({damages[0].why}): {self._lost(damages)}")
        if self._refused:
            counts = ", ".join(f"{count} on {topic}" for topic, count in self._refused.items())
            parts.append(f"damaged ({self._refusal}): messages that cannot be read: {counts}")
        return "; ".join(parts)

    def messages(self, topics: Collection[str]) -> Iterator[RecordedMessage]:
        """Yield the messages of some topics by time of recording, without those that cannot be read."""
        wanted = set(topics)
        for message in by_time([(file.contents.begin_ns or 0, file.messages(wanted)) for file in self._files]):
            try:
                message = replace(message, raw=decompressed(message.raw))
            except ValueError as error:
                self.refuse(message, error)
            else:
                yield message

    def read(self, message: RecordedMessage) -> Any:
        """Return a message deserialized, by the definition in the bag.

        Raises:
            InputError: the bytes do not match the definition, or there is none.
        """
        try:
            return self._definitions.deserialize(message.raw, message.msgtype)
        except InputError as error:
            raise InputError(f"{self.path}: {error}.") from error
        except Exception as error:  # the bytes may be anything
            raise InputError(
                f"{self.path}: a message on {message.topic} does not match the definition of {message.msgtype} "
                f"({error}); the bag is damaged."
            ) from error

    def refuse(self, message: RecordedMessage, error: Exception) -> None:
        """Count a message that cannot be used, in ``damage``."""
        self._refusal = self._refusal or in_words(error.__cause__ if isinstance(error.__cause__, Exception) else error)
        self._refused[message.topic] += 1

    def require(self, topic: str, *msgtypes: str) -> None:
        """Raise InputError unless the bag has ``topic``, of one of ``msgtypes``."""
        if topic in self.unread and topic not in self.types:
            raise InputError(
                f"{self.path}: the messages on {topic} are {self.unread[topic]}; record the topic with ros2 bag record."
            )
        if topic not in self.types:
            raise InputError(f"{self.path} has no topic {topic}; it has {self.topics()}.")
        if self.types[topic] not in msgtypes:
            raise InputError(
                f"{self.path}: {topic} is of type {self.types[topic]}, not {' or '.join(msgtypes)}; name another topic."
            )

    def topics(self) -> str:
        """Return the names of all topics as text, with the form of those that cannot be read."""
        unread = [f"{name} ({form})" for name, form in sorted(self.unread.items()) if name not in self.types]
        return ", ".join([*sorted(self.types), *unread]) or "none"

    def _open(self) -> None:
        self._files, self._faults = open_files(self.path, self._stack)
        contents = Contents()
        for file in self._files:
            contents.add(file.contents)
        self.types, self.unread, self.counts = contents.types, contents.unread, contents.counts
        self.begin_ns, self.end_ns = contents.begin_ns or 0, contents.end_ns or 0
        self._definitions = Definitions(contents.definitions)
        if not self.types and not self.unread and self.damage:
            raise InputError(f"{self.path} cannot be read as a bag ({self.damage}); give the folder of a ROS 2 bag.")

    def _lost(self, damages: list[Damage]) -> str:
        """Say what cannot be read, in seconds from the beginning of the bag."""
        begin = min(damage.begin_ns for damage in damages)
        ends = [self.end_ns if damage.end_ns is None else damage.end_ns for damage in damages]
        first, last = (
            (min(max(time_ns, self.begin_ns), self.end_ns) - self.begin_ns) / 1e9 for time_ns in (begin, max(ends))
        )
        if any(damage.end_ns is None for damage in damages) and begin >= self.end_ns:
            return f"only the first {first:.1f} s can be read"
        places = f"in {len(damages)} places " if len(damages) > 1 else ""
        return f"messages {places}from {first:.1f} s to {last:.1f} s cannot be read"
