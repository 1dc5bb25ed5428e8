"""Read ROS 2 bags without ROS, damaged ones as far as possible."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from fossa_ros.core.errors import InputError
from fossa_ros.messages.bag_storage import IndexedBag, RecordedMessage, SequentialBag


class BagReader:
    """Read one bag: a folder, or a file of its storage; a context manager.

    Attributes:
        types: type of each topic.
        counts: number of messages of each topic; of a damaged bag, of those that can be read.
        begin_ns, end_ns: when the first and the last message were recorded; 0 where there is none.
        damage: why the bag cannot be read to its end, and how far it can; empty where it can. Final once ``messages``
            has ended.

    Raises:
        InputError: there is nothing that can be read as a bag.
    """

    def __init__(self, path: Path | str):
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

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def size(self) -> int:
        """Bytes on disk."""
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(file.stat().st_size for file in files if file.is_file())

    def messages(self, topics: Collection[str]) -> Iterator[RecordedMessage]:
        """Yield the messages of some topics in the order of recording, until the end or the damage."""
        source = self._storage.messages(set(topics))
        last_ns = self.begin_ns
        while True:
            try:
                message = next(source, None)
            except Exception as error:  # readers raise anything on bytes that make no sense
                self._set_damage(last_ns, error)
                return
            if message is None:
                return
            last_ns = message.recorded_ns
            yield message

    def read(self, message: RecordedMessage) -> Any:
        """Return a message deserialized, by the definition in the bag.

        Raises:
            InputError: the bytes do not match the definition.
        """
        try:
            return self._storage.typestore.deserialize_cdr(message.raw, message.msgtype)
        except Exception as error:  # the bytes may be anything
            raise InputError(
                f"{self.path}: a message on {message.topic} does not match the definition of {message.msgtype} "
                f"({error}); the bag is damaged."
            ) from error

    def mark_damaged(self, message: RecordedMessage, error: Exception) -> None:
        """Note that reading ends at a message that cannot be used."""
        self._set_damage(message.recorded_ns, error)

    def require(self, topic: str, *msgtypes: str) -> None:
        """Raise InputError unless the bag has ``topic``, of one of ``msgtypes``."""
        if topic not in self.types:
            raise InputError(f"{self.path} has no topic {topic}; it has {', '.join(sorted(self.types)) or 'none'}.")
        if self.types[topic] not in msgtypes:
            raise InputError(
                f"{self.path}: {topic} is of type {self.types[topic]}, not {' or '.join(msgtypes)}; name another topic."
            )

    def _open(self) -> None:
        if not self.path.exists():
            raise InputError(f"{self.path} cannot be read as a bag (no such file); give the folder of a ROS 2 bag.")
        failure = None
        try:
            self._storage: IndexedBag | SequentialBag = IndexedBag(self.path, self._stack)
        except Exception as error:  # rosbags raises anything on a damaged bag
            failure = error
            self._storage = SequentialBag(self.path, self._stack)
        contents = self._storage.contents
        self.types, self.counts = contents.types, contents.counts
        self.begin_ns, self.end_ns = contents.begin_ns or 0, contents.end_ns or 0
        if failure is None:
            return
        if not self.types:
            raise InputError(
                f"{self.path} cannot be read as a bag ({_brief(failure)}); give the folder of a ROS 2 bag."
            ) from failure
        if isinstance(self._storage, SequentialBag) and self._storage.error is not None:
            self._set_damage(self.end_ns, self._storage.error)

    def _set_damage(self, last_ns: int, error: Exception) -> None:
        seconds = max(last_ns - self.begin_ns, 0) / 1e9
        self.damage = f"damaged ({_brief(error)}): only the first {seconds:.1f} s can be read"


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
