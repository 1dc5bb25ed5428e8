"""Publish the results of sweeps: only what has subscribers is computed."""

from __future__ import annotations

from rclpy.lifecycle import LifecycleNode

from fossa_ros.messages import topics
from fossa_ros.msg import SweepReport
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.pipeline.result_format import ResultFormat
from fossa_ros.pipeline.result_messages import result_messages
from fossa_ros.ros.conversions import build_message, message_class
from fossa_ros.ros.endpoints import create_lifecycle_publisher


class Outputs:
    """The publishers of a node's results.

    Args:
        node: the node.
        results: how they are written.

    Attributes:
        format: the same; may be replaced at any time, from any thread.
    """

    def __init__(self, node: LifecycleNode, results: ResultFormat):
        self._node = node
        self.format = results
        self._publishers = {
            topic: create_lifecycle_publisher(node, topic, overridable=True) for topic in topics.RESULTS
        }

    def close(self) -> None:
        """Destroy the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers = {}

    def publish(self, result: SweepResult) -> SweepReport:
        """Publish a result and return its report, which is published last: a report means that the depth is out."""
        report = None
        for topic, fields in result_messages(result, self.format):
            publisher = self._publishers[topic]
            if topic is topics.SWEEP or publisher.get_subscription_count():
                report = build_message(message_class(topic.type), fields())
                publisher.publish(report)
        return report
