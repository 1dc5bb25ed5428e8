"""Pair each image with the calibration that was published with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from fossa_ros.messages import topics
from fossa_ros.messages.stamp_pairs import StampPairs
from fossa_ros.ros import qos

FEW = 4  # messages that say nothing yet: discovery finds one topic before the other


class CameraSubscription:
    """Subscribe to ``image`` and ``camera_info`` and call ``on_pair(image, info)`` for each pair of one stamp.

    The subscription asks for reliable delivery; ``match_reliability`` gives that up where the camera does not offer it.

    Pairs are ``StampPairs``'s, also where message_filters is installed: its TimeSynchronizer makes the same pairs until
    time goes back, as when a bag begins anew, and then none while images without partner fill its queue.

    Args:
        node: whose subscriptions they are.
        on_pair: see above; called on the executor's thread.
        transport: of the images, as image_transport names them: raw or compressed. Compressed ones are on the
            image's topic, remapped or not, with "/compressed" after it.
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
        image, info = self._topics
        if not infos:
            return f"images arrive on {image} but nothing on {info}: let the camera publish it, or remap camera_info"
        if not images:
            return f"{info} arrives but no images on {image}: check the camera, or remap image"
        return f"no image on {image} has the stamp of a message on {info}: let one driver publish both"

    def match_reliability(self) -> None:
        """Subscribe best-effort if a camera publishes so: a reliable subscriber would never hear from it."""
        if self._qos is qos.FRAMES_BEST_EFFORT:
            return
        for topic in self._topics:
            offers = self._node.get_publishers_info_by_topic(topic)
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
        pairs = StampPairs(self._pair)

        def take(index: int, message) -> None:
            self._counts[index] += 1
            pairs.add(index, message)

        self._subscriptions = [
            self._node.create_subscription(kind, topic, partial(take, index), profile)
            for index, (topic, kind) in enumerate(self._topics.items())
        ]

    def _pair(self, image: Image | CompressedImage, info: CameraInfo) -> None:
        self._counts[2] += 1
        self._on_pair(image, info)
