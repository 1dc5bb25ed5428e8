"""The bag that a replay writes: what the node would have published, under the stamps that it would have given."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from fossa_ros.core.geometry import coloured_cloud
from fossa_ros.core.stack import DepthMap
from fossa_ros.messages.bags import typestore
from fossa_ros.messages.fields import (
    cloud_fields,
    depth_fields,
    image_fields,
    stamp_fields,
)
from fossa_ros.pipeline.report import report_fields, report_stamp_ns
from fossa_ros.pipeline.result import SweepResult

TOPICS = {
    "depth/image": "sensor_msgs/msg/Image",
    "depth/camera_info": "sensor_msgs/msg/CameraInfo",
    "all_in_focus/image": "sensor_msgs/msg/Image",
    "confidence/image": "sensor_msgs/msg/Image",
    "points": "sensor_msgs/msg/PointCloud2",
    "sweep": "fossa_ros/msg/SweepReport",
}


class ResultBag:
    """Write results to a new bag (mcap); a context manager that closes it in order whatever ends the block.

    Args:
        path: folder of the bag; must not exist.
        namespace: of its topics, empty or "/NAME".
        depth_encoding: of ``depth/image``.
        compress: chunk by chunk with zstd.
    """

    def __init__(self, path: Path, namespace: str, depth_encoding: str, compress: bool = False):
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        if compress:
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._namespace = namespace
        self._depth_encoding = depth_encoding
        self._store = typestore()
        self._last_ns = 0

    def __enter__(self) -> ResultBag:
        self._writer.open()
        self._connections = {
            topic: self._writer.add_connection(f"{self._namespace}/{topic}", kind, typestore=self._store)
            for topic, kind in TOPICS.items()
        }
        return self

    def __exit__(self, *_) -> None:
        self._writer.close()

    def write(self, result: SweepResult, recorded_ns: int) -> None:
        """Write what came of a sweep, as if it had been published at ``recorded_ns``."""
        self._last_ns = max(self._last_ns, recorded_ns)
        info = result.sweep.camera_info
        frame_id = "" if info is None else info.header.frame_id
        if result.depth is not None:
            self._write_depth(result.depth, info, self._header(result.depth.stamp_ns, frame_id))
        fields = report_fields(result)
        fields["focus_distances"] = np.array(fields["focus_distances"], np.float64)
        fields["drop_counts"] = np.array(fields["drop_counts"], np.uint32)
        fields["stamps"] = [self._stamp(stamp) for stamp in fields["stamps"]]
        self._write("sweep", header=self._header(report_stamp_ns(result), frame_id), **fields)

    def _write_depth(self, depth: DepthMap, info, header) -> None:
        self._write("depth/image", header=header, **depth_fields(depth.depth, self._depth_encoding))
        self._put("depth/camera_info", dataclasses.replace(info, header=header))
        self._write("all_in_focus/image", header=header, **image_fields(depth.all_in_focus, "rgb8"))
        self._write("confidence/image", header=header, **image_fields(depth.confidence, "32FC1"))
        cloud = cloud_fields(coloured_cloud(depth.depth, depth.K, depth.all_in_focus))
        cloud["fields"] = [self._store.types["sensor_msgs/msg/PointField"](**field) for field in cloud["fields"]]
        self._write("points", header=header, **cloud)

    def _write(self, topic: str, **fields: Any) -> None:
        self._put(topic, self._store.types[TOPICS[topic]](**fields))

    def _put(self, topic: str, message) -> None:
        self._writer.write(self._connections[topic], self._last_ns, self._store.serialize_cdr(message, TOPICS[topic]))

    def _stamp(self, stamp_ns: int):
        return self._store.types["builtin_interfaces/msg/Time"](**stamp_fields(stamp_ns))

    def _header(self, stamp_ns: int, frame_id: str):
        return self._store.types["std_msgs/msg/Header"](stamp=self._stamp(stamp_ns), frame_id=frame_id)
