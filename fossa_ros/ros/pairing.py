"""Pair each image with the calibration that was published with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from fossa_ros.ros import qos
from fossa_ros.stamp_pairs import QUEUE, StampPairs

FEW = 4  # messages that say nothing yet: discovery finds one topic before the other
TOPICS = {"image": Image, "camera_info": CameraInfo}


class CameraSubscription:
    """Subscribe to ``image`` and ``camera_info`` and call ``on_pair(image, info)`` for each pair of one stamp.

    The subscription asks for reliable delivery; ``follow_offer`` gives that up where the camera does not offer it.
    """

    def __init__(self, node: LifecycleNode, on_pair: Callable[[Image, CameraInfo], None]):
        self._node = node
        self._on_pair = on_pair
        self._subscriptions = []
        self._counts = [0, 0, 0]  # images, infos and pairs since last asked
        self._subscribe(qos.FRAMES)

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def fault(self) -> str:
        """Return why no pair came since the last call although something did; empty where all is well."""
        (images, infos, pairs), self._counts = self._counts, [0, 0, 0]
        if pairs or images + infos < FEW:
            return ""
        image, info = (self._node.resolve_topic_name(topic) for topic in TOPICS)
        if not infos:
            return f"images arrive on {image} but nothing on {info}: let the camera publish it, or remap camera_info"
        if not images:
            return f"{info} arrives but no images on {image}: check the camera, or remap image"
        return f"no image on {image} has the stamp of a message on {info}: let one driver publish both"

    def follow_offer(self) -> None:
        """Subscribe best-effort if a camera publishes so: a reliable subscriber would never hear from it."""
        if self._qos is qos.FRAMES_BEST_EFFORT:
            return
        for topic in TOPICS:
            offers = self._node.get_publishers_info_by_topic(self._node.resolve_topic_name(topic))
            if any(offer.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for offer in offers):
                self._node.get_logger().warning(
                    f"The camera publishes '{topic}' best-effort, so frames may be lost on the way; "
                    "set its QoS to reliable if the driver allows it."
                )
                self.close()
                self._subscribe(qos.FRAMES_BEST_EFFORT)
                return

    def _subscribe(self, profile: QoSProfile) -> None:
        self._qos = profile
        try:
            from message_filters import Subscriber, TimeSynchronizer
        except ImportError:  # it comes with a ROS distribution
            pairs = StampPairs(self._pair)

            def take(topic: int, message) -> None:
                self._count(topic)
                pairs.add(topic, message)

            self._subscriptions = [
                self._node.create_subscription(kind, name, partial(take, index), profile)
                for index, (name, kind) in enumerate(TOPICS.items())
            ]
        else:
            filters = [Subscriber(self._node, kind, name, qos_profile=profile) for name, kind in TOPICS.items()]
            for index, filter_ in enumerate(filters):
                filter_.registerCallback(lambda message, index=index: self._count(index))
            synchroniser = TimeSynchronizer(filters, QUEUE)
            synchroniser.registerCallback(self._pair)
            self._subscriptions = [filter_.sub for filter_ in filters]

    def _pair(self, image: Image, info: CameraInfo) -> None:
        self._count(2)
        self._on_pair(image, info)

    def _count(self, what: int) -> None:
        self._counts[what] += 1
