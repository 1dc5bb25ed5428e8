"""Record a run of the simulated rig: write its bag, and keep what is needed to compare its depth with the truth."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.task import Future
from rosbags.rosbag2 import CompressionMode
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import Trigger

from fossa_ros.core.geometry import POINT
from fossa_ros.messages import topics
from fossa_ros.messages.bag_writer import BagWriter
from fossa_ros.messages.fields import depth_from_message, nanoseconds
from fossa_ros.messages.images import rgb_from_message
from fossa_ros.messages.topics import Topic
from fossa_ros.msg import FocusStack, SweepReport
from fossa_ros.ros import qos
from fossa_ros.ros.conversions import message_class
from fossa_ros.ros.endpoints import create_subscription
from fossa_ros.ros.lifecycle_client import LifecycleClient
from fossa_ros.ros.sim_rig_node import RENDERING

# focus_stack holds the planes of every sweep, so that depth can be estimated again from the bag. The images between
# them, mostly taken while the lens settles, would be larger still.
BAG_TOPICS = (
    topics.SWEEP,
    topics.FOCUS_STACK,
    topics.DEPTH,
    topics.DEPTH_CAMERA_INFO,
    topics.ALL_IN_FOCUS,
    topics.CONFIDENCE,
    topics.LENS_STATE,
    topics.TRUE_DEPTH,
)
# The node's inputs in place of its results: with lens/state, sweeps can be assembled again from them.
RAW_TOPICS = (topics.IMAGE, topics.CAMERA_INFO, topics.LENS_STATE, topics.TRUE_DEPTH)


@dataclass
class Run:
    """The messages of a run so far. Depths are (H, W) float32 metres."""

    reports: list[SweepReport] = field(default_factory=list)
    depths: dict[int, np.ndarray] = field(default_factory=dict)  # by stamp
    truths: list[tuple[int, np.ndarray]] = field(default_factory=list)  # by stamp; each holds until the next
    all_in_focus: np.ndarray | None = None  # (H, W, 3) uint8 RGB
    confidence: np.ndarray | None = None  # (H, W) float32
    stack: FocusStack | None = None
    cloud: np.ndarray | None = None  # (H, W) of POINT
    rendered: float = 0.0  # share of the rig's scene
    knocks: int = 0  # that the rig has confirmed

    def restart(self) -> None:
        """Drop the sweeps so far: the figures of the run count from now."""
        self.reports, self.depths = [], {}

    def accepted(self) -> list[SweepReport]:
        """Return the reports of the sweeps with depth."""
        return [report for report in self.reports if report.accepted]

    def verdicts(self) -> Counter[str]:
        """Count the sweeps without depth by verdict."""
        return Counter(report.verdict for report in self.reports if not report.accepted)

    def truth_at(self, stamp_ns: int) -> np.ndarray | None:
        """Return the true depth at a stamp; None before the first."""
        index = bisect_right(self.truths, stamp_ns, key=lambda entry: entry[0])
        return self.truths[index - 1][1] if index else None

    def scored(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return pairs of depth and truth, of the sweeps during which the rig's camera stood still."""
        pairs = [(depth, self.truth_at(stamp)) for stamp, depth in sorted(self.depths.items())]
        return [(depth, truth) for depth, truth in pairs if truth is not None and np.isfinite(truth).any()]

    def add(self, topic: Topic, message: Any) -> None:
        """Keep a message."""
        if topic is topics.SWEEP:
            self.reports.append(message)
        elif topic is topics.FOCUS_STACK:
            self.stack = message
        elif topic is topics.DEPTH:
            self.depths[nanoseconds(message.header.stamp)] = depth_from_message(message)
        elif topic is topics.TRUE_DEPTH:
            self.truths.append((nanoseconds(message.header.stamp), depth_from_message(message)))
        elif topic is topics.ALL_IN_FOCUS:
            self.all_in_focus = rgb_from_message(message)
        elif topic is topics.CONFIDENCE:
            self.confidence = np.frombuffer(message.data, np.float32).reshape(message.height, message.width)


class Recorder(Node):
    """Subscribe to the topics of a run on its own thread; a context manager.

    Args:
        bag: folder of the bag to write; must not exist.
        raw: whether to write every frame and lens state in place of the node's results.

    Attributes:
        run: the messages so far.
        fossa_node: activates the node.
    """

    def __init__(self, bag: Path, raw: bool = False):
        super().__init__("recorder")
        self.run = Run()
        self._written = RAW_TOPICS if raw else BAG_TOPICS
        # There is no time to compress every frame.
        self._writer = BagWriter(bag, compression=CompressionMode.NONE if raw else CompressionMode.STORAGE)
        self._bumps = self.create_client(Trigger, "bump")
        self.fossa_node = LifecycleClient(self, "fossa_node")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self._thread = threading.Thread(target=self._executor.spin, name="recorder", daemon=True)

    def __enter__(self) -> Recorder:
        self._writer.__enter__()
        for topic in self._written:
            self._writer.add_topic(self.resolve_topic_name(topic.name), topic.type)
        for topic in dict.fromkeys((*BAG_TOPICS, *self._written)):
            self._subscribe(topic)
        create_subscription(self, topics.POINTS, self._on_points)
        create_subscription(self, topics.DIAGNOSTICS, self._on_diagnostics)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._executor.shutdown()
        self._thread.join()
        self._writer.__exit__(*exception)
        self.destroy_node()

    def can_bump(self) -> bool:
        """Return whether the rig's knocks have been discovered; a request before that is lost."""
        return self._bumps.service_is_ready()

    def bump(self) -> None:
        """Request a knock of the rig's camera; ``run.knocks`` counts it once the rig has answered."""
        self._bumps.call_async(Trigger.Request()).add_done_callback(self._on_bumped)

    def _on_bumped(self, answer: Future) -> None:
        self.run.knocks += answer.result().success

    def _subscribe(self, topic: Topic) -> None:
        kind, name = message_class(topic.type), self.resolve_topic_name(topic.name)

        # rclpy passes the time of arrival to a callback with two parameters; a busy recorder runs much later.
        def on_message(data: bytes, info: dict[str, Any]) -> None:
            if topic in self._written:
                self._writer.write_serialized(name, info["received_timestamp"], data)
            if topic in BAG_TOPICS:
                self.run.add(topic, deserialize_message(data, kind))

        profile = qos.REPORTS if topic is topics.FOCUS_STACK else None  # every stack, also while a chunk is compressed
        create_subscription(self, topic, on_message, profile=profile, raw=True)

    def _on_points(self, message: PointCloud2) -> None:
        self.run.cloud = np.frombuffer(message.data, POINT).reshape(message.height, message.width)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            for value in status.values:
                if value.key == RENDERING:
                    self.run.rendered = float(value.value)
