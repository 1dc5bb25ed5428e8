"""Read an mcap file by its index, or as far as it goes where it has none.

A recorder that was killed, an incomplete copy or a full disk leave a file without an index. Its chunks are then found
one after another from the beginning.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, McapRecord, Message, Schema, Statistics
from mcap.stream_reader import StreamReader, get_chunk_data_stream
from mcap.summary import Summary

from fossa_ros.messages.recorded import Contents, Damage, Definition, RecordedMessage, by_time, in_words

MAGIC = b"\x89MCAP0\r\n"
LARGEST = 2**30  # bytes of a record
RUN = 2**20  # bytes of messages outside chunks that are read at a time
HEAD = struct.Struct("<BQ")  # of a record: its kind and its length
READ = (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE, Opcode.CHUNK)
TYPE_HASH = "topic_type_hash"  # in the metadata of a channel


@dataclass(frozen=True)
class _Block:
    """Adjacent records with messages: a chunk, or messages outside chunks.

    Attributes:
        start, end: bytes from the beginning of the file.
        begin_ns, end_ns: times of the first and the last message.
        channels: those with messages; empty where that is not known.
    """

    start: int
    end: int
    begin_ns: int
    end_ns: int
    channels: frozenset[int] = frozenset()


class McapFile:
    """An mcap file.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path):
        self.contents = Contents()
        self.damage: list[Damage] = []
        self._path = path
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._counts: Counter[int] = Counter()  # messages of each channel
        self._blocks: list[_Block] = []
        with path.open("rb") as stream:
            summary = None
            with suppress(Exception):  # anything may be at the end of an incomplete file
                summary = SeekingReader(stream, record_size_limit=LARGEST).get_summary()
            if summary is None or summary.statistics is None or not self._index(summary, summary.statistics):
                self._scan(stream)
        for key, channel in self._channels.items():
            schema = self._schemas.get(channel.schema_id)
            definition = Definition() if schema is None else _definition(schema, channel)
            name = "" if schema is None else schema.name
            self.contents.add_topic(channel.topic, name, channel.message_encoding, definition)
            if self._type_of(channel) == self.contents.types.get(channel.topic):
                self.contents.counts[channel.topic] += self._counts[key]

    def messages(self, topics: set[str]) -> Iterator[RecordedMessage]:
        """Yield the messages of some topics by time of recording."""
        types = self.contents.types
        wanted = {
            key: (channel.topic, types[channel.topic])
            for key, channel in self._channels.items()
            if channel.topic in topics and self._type_of(channel) == types.get(channel.topic)
        }
        blocks = [block for block in self._blocks if not block.channels or block.channels & wanted.keys()]
        missing = sum(self.contents.counts[topic] for topic in {topic for topic, _ in wanted.values()})
        with self._path.open("rb") as stream:
            for message in by_time([(block.begin_ns, self._read(stream, block, wanted)) for block in blocks]):
                missing -= 1
                yield message
        if missing > 0 and not self.damage and self.contents.begin_ns is not None:
            why = f"{missing} fewer messages than its index counts"
            self._add_damage(Damage(why, self.contents.begin_ns, self.contents.end_ns))

    def _type_of(self, channel: Channel) -> str:
        """Return the type of the messages of a channel; empty where they cannot be read."""
        schema = self._schemas.get(channel.schema_id)
        return schema.name if schema is not None and channel.message_encoding == "cdr" else ""

    def _read(self, stream: BinaryIO, block: _Block, wanted: dict[int, tuple[str, str]]) -> Iterator[RecordedMessage]:
        found: list[RecordedMessage] = []
        try:
            for _, _, record in _records(stream, block.start, block.end):
                for inner in _unpacked(record):
                    if isinstance(inner, Message) and inner.channel_id in wanted:
                        found.append(RecordedMessage(*wanted[inner.channel_id], inner.log_time, inner.data))
        except Exception as error:  # the bytes may be anything
            begin_ns = found[-1].recorded_ns if found else block.begin_ns
            self._add_damage(Damage(in_words(error), begin_ns, block.end_ns))
        yield from sorted(found, key=lambda message: message.recorded_ns)

    def _add_damage(self, damage: Damage) -> None:
        if damage not in self.damage:
            self.damage.append(damage)

    def _index(self, summary: Summary, statistics: Statistics) -> bool:
        """Take topics and chunks from the summary at the end of the file; return whether it is complete."""
        channels, chunks = summary.channels, summary.chunk_indexes
        if len(channels) < statistics.channel_count or len(chunks) != statistics.chunk_count:
            return False
        if any(channel.schema_id and channel.schema_id not in summary.schemas for channel in channels.values()):
            return False
        if statistics.message_count and not chunks:
            return False
        self._schemas, self._channels = summary.schemas, channels
        self._blocks = [
            _Block(
                chunk.chunk_start_offset,
                chunk.chunk_start_offset + chunk.chunk_length,
                chunk.message_start_time,
                chunk.message_end_time,
                frozenset(chunk.message_index_offsets),
            )
            for chunk in chunks
        ]
        self._counts.update(statistics.channel_message_counts)
        if statistics.message_count:
            self.contents.add_span(statistics.message_start_time, statistics.message_end_time)
        return True

    def _scan(self, stream: BinaryIO) -> None:
        """Find topics, chunks and messages from the beginning of the file on."""
        try:
            for start, end, record in _records(stream, len(MAGIC), None):
                times: list[int] = []
                try:
                    for inner in _unpacked(record):
                        self._note(inner, times)
                except Exception as error:  # in this chunk only: the length of its record is outside it
                    end_ns = record.message_end_time if isinstance(record, Chunk) else None
                    self._add_damage(Damage(in_words(error), max(times, default=self.contents.end_ns or 0), end_ns))
                if times:
                    self.contents.add_span(min(times), max(times))
                    self._add_block(_Block(start, end, min(times), max(times)))
        except Exception as error:  # the bytes may be anything
            self._add_damage(Damage(in_words(error), self.contents.end_ns or 0))

    def _note(self, record: McapRecord, times: list[int]) -> None:
        match record:
            case Schema():
                self._schemas[record.id] = record
            case Channel():
                self._channels[record.id] = record
            case Message() if record.channel_id in self._channels:
                self._counts[record.channel_id] += 1
                times.append(record.log_time)

    def _add_block(self, block: _Block) -> None:
        """Add a block, to the last one if the two are adjacent and short."""
        last = self._blocks[-1] if self._blocks else None
        if last is not None and last.end == block.start and block.end - last.start <= RUN:
            times = min(last.begin_ns, block.begin_ns), max(last.end_ns, block.end_ns)
            self._blocks[-1] = _Block(last.start, block.end, *times)
        else:
            self._blocks.append(block)


def _unpacked(record: McapRecord) -> Iterator[McapRecord]:
    """Yield the records of a chunk, or the record itself; raises anything where a chunk is damaged."""
    if not isinstance(record, Chunk):
        yield record
        return
    stream, length = get_chunk_data_stream(record, validate_crc=True)
    for _, _, inner in _records(BytesIO(stream.read(length)), 0, length):
        yield inner


def _records(stream: BinaryIO, start: int, end: int | None) -> Iterator[tuple[int, int, McapRecord]]:
    """Yield the records that are read, each with its first byte and the one after its last, chunks as a whole.

    Raises:
        EOFError: the file ends within a record or without a footer.
        ValueError: there is no record.
    """
    size = stream.seek(0, 2)
    while end is None or start < end:
        stream.seek(start)
        head = stream.read(HEAD.size)
        if len(head) < HEAD.size:
            raise EOFError("the file is incomplete")
        kind, length = HEAD.unpack(head)
        after = start + HEAD.size + length
        if kind == 0:
            raise ValueError(f"no record begins at byte {start}")
        if after > size:
            raise EOFError("the file is incomplete")
        if kind == Opcode.FOOTER:
            return
        if kind in READ:
            stream.seek(start)
            reader = StreamReader(stream, skip_magic=True, emit_chunks=True, record_size_limit=LARGEST)
            yield start, after, next(iter(reader.records))
        start = after


def _definition(schema: Schema, channel: Channel) -> Definition:
    text = schema.data.decode(errors="replace")
    return Definition(schema.encoding, text, channel.metadata.get(TYPE_HASH, ""))
