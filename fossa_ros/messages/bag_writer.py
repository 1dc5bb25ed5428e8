"""Write ROS 2 bags without ROS: messages from their fields, or as they were received."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys.store import Typestore

from fossa_ros.messages.definitions import typestore


class BagWriter:
    """Write a new bag; a context manager that closes the bag in order, whatever ends the block.

    Args:
        path: folder of the bag; must not exist.
        storage: mcap, which is the default of ROS 2, or sqlite3.
        compression: by chunk (mcap), message or file (sqlite3), with zstd; none by default.
    """

    def __init__(
        self,
        path: Path,
        *,
        storage: StoragePlugin = StoragePlugin.MCAP,
        compression: CompressionMode = CompressionMode.NONE,
    ):
        self._writer = Writer(path, version=9, storage_plugin=storage)
        self._writer.set_compression(compression, CompressionFormat.ZSTD)
        self._store = typestore()
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> BagWriter:
        self._writer.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add_topic(self, name: str, msgtype: str) -> None:
        """Announce a topic, with its type as ``PACKAGE/msg/NAME``, before the first message on it."""
        self._connections[name] = self._writer.add_connection(name, msgtype, typestore=self._store)

    def write(self, name: str, recorded_ns: int, fields: Mapping[str, Any]) -> None:
        """Write a message; ``fields`` holds all of its fields as ``fossa_ros.messages.fields`` makes them."""
        msgtype = self._connections[name].msgtype
        message = build_message(self._store, msgtype, fields)
        self.write_serialized(name, recorded_ns, self._store.serialize_cdr(message, msgtype))

    def write_serialized(self, name: str, recorded_ns: int, data: bytes | memoryview) -> None:
        """Write a message that is CDR already."""
        self._writer.write(self._connections[name], recorded_ns, data)


def build_message(store: Typestore, msgtype: str, fields: Mapping[str, Any]) -> Any:
    """Return a message of rosbags; nested messages are given as mappings, or as messages."""
    values = {}
    for name, (_, details) in store.fielddefs[msgtype][1]:
        value = fields[name]
        if isinstance(value, Mapping):
            value = build_message(store, details, value)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            value = [build_message(store, details[0][1], entry) for entry in value]
        values[name] = value
    return store.types[msgtype](**values)
