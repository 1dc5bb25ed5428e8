"""The camera's topics: each image paired with its calibration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from fossa_ros.messages import topics
from fossa_ros.messages.stamp_pairs import StampPairs
from fossa_ros.parameters.thresholds import ERROR, OK, WARN
from fossa_ros.ros import qos

FEW = 4  # messages, which are no evidence yet: discovery finds one topic before the other


class CameraSubscription:
    """Subscribe to ``image`` and ``camera_info`` and pair messages of one stamp.

    The subscriptions are reliable at first; ``match_reliability`` changes them if the camera publishes best-effort.

    Pairs are made by ``StampPairs``, also where message_filters is installed: after time goes back, as when a bag
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
        self._on_pair = on_pair
        self._subscriptions: list[Subscription] = []
        self._counts = [0, 0, 0]  # images, calibrations and pairs since the last call of fault
        self._subscribe(qos.FRAMES)

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def fault(self) -> tuple[bytes, str]:
        """Return the level of /diagnostics and why no pair arrived since the last call; OK where one did.

        A camera that is there but silent is no fault here: the sweeps say that no frame arrived.
        """
        (images, infos, pairs), self._counts = self._counts, [0, 0, 0]
        image, info = self._topics
        if pairs:
            return OK, ""
        if not images and not self._node.count_publishers(image):
            return ERROR, f"no node publishes {image}: start the camera, or remap image"
        if images + infos < FEW:
            return OK, ""
        if not infos:
            reason = f"images arrive on {image} but nothing on {info}: let the camera publish it, or remap camera_info"
        elif not images:
            reason = f"{info} arrives but no images on {image}: check the camera, or remap image"
        else:
            reason = f"no image on {image} has the stamp of a message on {info}: let one driver publish both"
        return WARN, reason

    def match_reliability(self) -> None:
        """Subscribe best-effort if the camera publishes so: a reliable subscription would receive nothing from it."""
        if self._qos is qos.FRAMES_BEST_EFFORT:
            return
        for topic in self._topics:
            publishers = self._node.get_publishers_info_by_topic(topic)
            if any(each.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for each in publishers):
                self._node.get_logger().warning(
                    f"The camera publishes '{topic}' best-effort, so frames may be lost; set its QoS to reliable if "
                    "the driver allows it."
                )
                self.close()
                self._subscribe(qos.FRAMES_BEST_EFFORT)
                return

    def _subscribe(self, profile: QoSProfile) -> None:
        self._qos = profile
        pairs = StampPairs(self._on_stamp_pair)

        def on_message(index: int, message: Any) -> None:
            self._counts[index] += 1
            pairs.add(index, message)

        self._subscriptions = [
            self._node.create_subscription(kind, topic, partial(on_message, index), profile)
            for index, (topic, kind) in enumerate(self._topics.items())
        ]

    def _on_stamp_pair(self, image: Image | CompressedImage, info: CameraInfo) -> None:
        self._counts[2] += 1
        self._on_pair(image, info)
