"""The camera's topics: each image paired with its calibration."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from fossa_ros.messages import topics
from fossa_ros.messages.camera_pairs import CameraPairs
from fossa_ros.parameters.thresholds import ERROR, OK, WARN
from fossa_ros.ros import qos

DISCOVERY_S = 1.5  # until a camera that was there before is seen, on a busy machine
CROWDED = 3  # calls after which two publishers are no camera that was just started again


class CameraSubscription:
    """Subscribe to ``image`` and ``camera_info`` and pair messages of one stamp.

    The subscriptions are reliable at first; ``match_reliability`` changes them if the camera publishes best-effort.

    Pairs are made by ``CameraPairs``, also where message_filters is installed: after time goes back, as when a bag
    starts again, its TimeSynchronizer makes no pairs while images without a partner fill its queue.

    Args:
        node: the node.
        on_pair: receives each image and its calibration, on the executor's thread.
        transport: of the images, as image_transport names it: raw or compressed. Compressed images are on the topic of
            the raw images, remapped or not, with "/compressed" appended.
    """

    def __init__(
        self,
        node: LifecycleNode,
        on_pair: Callable[[Image | CompressedImage, CameraInfo], None],
        transport: str = "raw",
    ):
        image = node.resolve_topic_name(topics.IMAGE.name)
        self._topics = {
            image if transport == "raw" else f"{image}/{transport}": Image if transport == "raw" else CompressedImage,
            node.resolve_topic_name(topics.CAMERA_INFO.name): CameraInfo,
        }
        self._node = node
        self._pairs = CameraPairs(on_pair, *self._topics)
        self._subscriptions: list[Subscription] = []
        self._since_s = time.monotonic()
        self._crowded = 0  # calls in a row in which more than one node published images
        self._subscribe(qos.FRAMES)

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def fault(self) -> tuple[bytes, str]:
        """Return the level of /diagnostics and why few pairs, or none, arrived since the last call; OK where they did.

        A camera that is there but silent is no fault here: the sweeps say that no frame arrived.
        """
        images, reason = self._pairs.images, self._pairs.fault()
        image, _ = self._topics
        publishers = [f"{each.node_namespace.rstrip('/')}/{each.node_name}" for each in self._publishers(image)]
        self._crowded = self._crowded + 1 if len(publishers) > 1 else 0
        if self._crowded >= CROWDED:
            return WARN, f"{len(publishers)} nodes publish {image}, {', '.join(sorted(publishers))}: stop one, or remap"
        if not images and not publishers:
            if time.monotonic() - self._since_s < DISCOVERY_S:
                return OK, ""
            return ERROR, f"no node publishes {image}: start the camera, or remap image"
        return (WARN, reason) if reason else (OK, "")

    def _publishers(self, topic: str) -> list[TopicEndpointInfo]:
        return list(self._node.get_publishers_info_by_topic(topic))

    def match_reliability(self) -> None:
        """Subscribe best-effort if the camera publishes so: a reliable subscription would receive nothing from it."""
        if self._qos is qos.FRAMES_BEST_EFFORT:
            return
        for topic in self._topics:
            if any(each.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for each in self._publishers(topic)):
                self._node.get_logger().warning(
                    f"The camera publishes '{topic}' best-effort, so frames may be lost; set its QoS to reliable if "
                    "the driver allows it."
                )
                self.close()
                self._subscribe(qos.FRAMES_BEST_EFFORT)
                return

    def _subscribe(self, profile: QoSProfile) -> None:
        self._qos = profile
        receivers = self._pairs.add_image, self._pairs.add_info
        self._subscriptions = [
            self._node.create_subscription(kind, topic, receive, profile)
            for (topic, kind), receive in zip(self._topics.items(), receivers, strict=True)
        ]
