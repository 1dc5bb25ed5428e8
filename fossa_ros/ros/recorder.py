"""Listen to a run: write its bag, and hold its depths against the rig's truth."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_srvs.srv import Trigger

from fossa_ros.core.geometry import POINT
from fossa_ros.messages.bags import typestore
from fossa_ros.messages.fields import nanoseconds
from fossa_ros.msg import FocusStack, LensState, SweepReport
from fossa_ros.ros import qos
from fossa_ros.ros.sim_rig_node import RENDERING

# The planes of every sweep are in the bag as focus_stack, so that depth can be estimated again from it; the stream of
# images between them, mostly taken while the lens settles, would be larger still.
BAG_TOPICS = {
    "sweep": (SweepReport, qos.REPORTS),
    "focus_stack": (FocusStack, qos.REPORTS),
    "depth/image": (Image, qos.RESULTS),
    "depth/camera_info": (CameraInfo, qos.RESULTS),
    "all_in_focus/image": (Image, qos.RESULTS),
    "confidence/image": (Image, qos.RESULTS),
    "lens/state": (LensState, qos.LENS_STATES),
    "truth/depth": (Image, qos.LATCHED),
}
# What a node sees, in place of what it makes: with lens/state, sweeps can be taken again from it.
RAW_TOPICS = {
    "image": (Image, qos.FRAMES),
    "camera_info": (CameraInfo, qos.FRAMES),
    **{topic: BAG_TOPICS[topic] for topic in ("lens/state", "truth/depth")},
}


def message_type(kind: type) -> str:
    """Return the name of a message class as bags spell it."""
    package, folder = kind.__module__.split(".")[:2]
    return f"{package}/{folder}/{kind.__name__}"


@dataclass
class Run:
    """What was heard so far. Depths are (H, W) float32 metres."""

    reports: list[SweepReport] = field(default_factory=list)
    depths: dict[int, np.ndarray] = field(default_factory=dict)  # by stamp
    truths: list[tuple[int, np.ndarray]] = field(default_factory=list)  # each holds until the next
    all_in_focus: np.ndarray | None = None
    confidence: np.ndarray | None = None
    stack: FocusStack | None = None
    cloud: np.ndarray | None = None
    rendered: float = 0.0  # share of the rig's scene

    def begin(self) -> None:
        """Forget the sweeps so far: what counts starts now."""
        self.reports, self.depths = [], {}

    def accepted(self) -> list[SweepReport]:
        """Return the reports of the sweeps that gave depth."""
        return [report for report in self.reports if report.accepted]

    def reasons(self) -> Counter[str]:
        """Count the sweeps that gave none, by verdict."""
        return Counter(report.verdict for report in self.reports if not report.accepted)

    def truth_at(self, stamp_ns: int) -> np.ndarray | None:
        """Return the true depth that held at a stamp."""
        index = bisect_right(self.truths, stamp_ns, key=lambda entry: entry[0])
        return self.truths[index - 1][1] if index else None

    def scored(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Pair depth maps with their truth where it is known: where the rig's camera stood still."""
        pairs = [(depth, self.truth_at(stamp)) for stamp, depth in sorted(self.depths.items())]
        return [(depth, truth) for depth, truth in pairs if truth is not None and np.isfinite(truth).any()]


class Recorder(Node):
    """Subscribe to everything of a run, on a thread of its own; a context manager.

    Args:
        bag: folder of the bag to write; must not exist.
        raw: whether to write every frame and lens state, not what the node makes of them.
    """

    def __init__(self, bag: Path, raw: bool = False):
        super().__init__("recorder")
        self.run = Run()
        self._raw = raw
        self._writer = Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP)
        if not raw:  # compressing every frame would cost more time than there is
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._types = typestore()
        self._bumps = self.create_client(Trigger, "bump")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self._thread = threading.Thread(target=self._executor.spin, name="recorder", daemon=True)

    def __enter__(self) -> Recorder:
        self._writer.open()
        written = RAW_TOPICS if self._raw else BAG_TOPICS
        connections = {
            topic: self._writer.add_connection(
                self.resolve_topic_name(topic), message_type(kind), typestore=self._types
            )
            for topic, (kind, _) in written.items()
        }
        for topic, (kind, profile) in (BAG_TOPICS | written).items():
            # The second parameter makes rclpy tell when the message arrived, which a busy recorder notices too late.
            def on_message(data: bytes, info: dict, topic=topic, kind=kind):
                if topic in connections:
                    self._writer.write(connections[topic], info["received_timestamp"], data)
                if topic in BAG_TOPICS:
                    self._note(topic, deserialize_message(data, kind))

            self.create_subscription(kind, topic, on_message, profile, raw=True)
        self.create_subscription(PointCloud2, "points", lambda message: self._note("points", message), qos.RESULTS)
        self.create_subscription(
            DiagnosticArray, "/diagnostics", lambda message: self._note("diagnostics", message), qos.RESULTS
        )
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._executor.shutdown()
        self._thread.join()
        self._writer.close()
        self.destroy_node()

    def bump(self) -> None:
        """Knock the rig's camera."""
        self._bumps.call_async(Trigger.Request())

    def _note(self, topic: str, message) -> None:
        run = self.run
        match topic:
            case "sweep":
                run.reports.append(message)
            case "focus_stack":
                run.stack = message
            case "depth/image":
                run.depths[nanoseconds(message.header.stamp)] = _array(message, np.float32)
            case "truth/depth":
                run.truths.append((nanoseconds(message.header.stamp), _array(message, np.float32)))
            case "all_in_focus/image":
                run.all_in_focus = _array(message, np.uint8)
            case "confidence/image":
                run.confidence = _array(message, np.float32)
            case "points":
                run.cloud = np.frombuffer(message.data, POINT).reshape(message.height, message.width)
            case "diagnostics":
                for status in message.status:
                    for value in status.values:
                        if value.key == RENDERING:
                            run.rendered = float(value.value)


def _array(message: Image, dtype) -> np.ndarray:
    pixels = np.frombuffer(message.data, dtype)
    shape = (message.height, message.width) if message.encoding == "32FC1" else (message.height, message.width, -1)
    return pixels.reshape(shape)
