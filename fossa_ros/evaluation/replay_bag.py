"""The bag that a replay writes: the messages that the node would have published, with the stamps it would have used."""

from __future__ import annotations

from pathlib import Path

from rosbags.rosbag2 import CompressionMode

from fossa_ros.messages import topics
from fossa_ros.messages.bag_writer import BagWriter
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.pipeline.result_format import ResultFormat
from fossa_ros.pipeline.result_messages import result_messages

WRITTEN = tuple(topic for topic in topics.RESULTS if topic not in (topics.MOTION_DEBUG, *topics.COMPRESSED_RESULTS))


class ResultBag:
    """Write results to a new bag (mcap); a context manager that closes the bag in order, whatever ends the block.

    Args:
        path: folder of the bag; must not exist.
        namespace: of its topics, empty or "/NAME".
        results: how they are written.
        compress: chunk by chunk with zstd.
    """

    def __init__(self, path: Path, namespace: str, results: ResultFormat, compress: bool = False):
        self._writer = BagWriter(path, compression=CompressionMode.STORAGE if compress else CompressionMode.NONE)
        self._namespace = namespace
        self._format = results

    def __enter__(self) -> ResultBag:
        self._writer.__enter__()
        for topic in WRITTEN:
            self._writer.add_topic(f"{self._namespace}/{topic.name}", topic.type)
        return self

    def __exit__(self, *exception: object) -> None:
        self._writer.__exit__(*exception)

    def write(self, result: SweepResult, recorded_ns: int) -> None:
        """Write the messages of a result as if they had been published at ``recorded_ns``."""
        for topic, fields in result_messages(result, self._format):
            if topic in WRITTEN:
                self._writer.write(f"{self._namespace}/{topic.name}", recorded_ns, fields())
