"""A camera on a ROS topic, for calibrations."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image

from fossa_ros.core.errors import InputError
from fossa_ros.core.sample_range import SampleRange
from fossa_ros.messages import topics
from fossa_ros.messages.fields import nanoseconds
from fossa_ros.messages.images import rgb_from_message
from fossa_ros.ros import qos
from fossa_ros.ros.endpoints import check_topic_name
from fossa_ros.ros.isolated_node import IsolatedNode

POLL_S = 0.05
TYPE = topics.IMAGE.type


class TopicCamera:
    """Take frames whose exposure certainly started after a given time, judged by their stamps.

    Args:
        topic: of ``sensor_msgs/Image``, with stamps of this machine's clock.
        lead: seconds by which a stamp may be later than the start of exposure: the longest exposure, and the transfer
            where the driver stamps on arrival.
        patience: seconds to wait for the camera to be discovered, and for a frame.

    Raises:
        InputError: the topic cannot have that name, or no node publishes images on it.
    """

    def __init__(self, topic: str, lead: float = 0.1, patience: float = 5.0):
        self._topic, self._lead_ns, self._patience = "/" + topic.lstrip("/"), round(lead * 1e9), patience
        check_topic_name(self._topic, "The topic of images")
        self._range = SampleRange()
        self._changed = threading.Condition()
        self._newest: Image | None = None
        self._own = IsolatedNode("fossa_calibrate")
        try:
            profile = qos.FRAMES_BEST_EFFORT if self._best_effort() else qos.FRAMES
            self._own.node.create_subscription(Image, self._topic, self._on_image, profile)
            self._own.start()
        except BaseException:
            self._own.close()
            raise

    def frame_after(self, t_ns: int) -> np.ndarray:
        """Return the first frame, (H, W) uint8 grey, whose exposure certainly started at or after ``t_ns``."""
        target = t_ns + self._lead_ns
        self.wait((target - time.time_ns()) / 1e9)
        with self._changed:
            if not self._changed.wait_for(lambda: self._stamp() >= target, self._patience):
                raise InputError(self._timeout_reason(target))
            image = self._newest
        return cv2.cvtColor(rgb_from_message(image, self._range), cv2.COLOR_RGB2GRAY)

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(max(seconds, 0.0))

    def close(self) -> None:
        """Unsubscribe."""
        self._own.close()

    def _stamp(self) -> int:
        return -1 if self._newest is None else nanoseconds(self._newest.header.stamp)

    def _on_image(self, image: Image) -> None:
        with self._changed:
            self._newest = image
            self._changed.notify_all()

    def _timeout_reason(self, target: int) -> str:
        if self._newest is None:
            return f"No image arrived on {self._topic} within {self._patience:g} s; check that the camera runs."
        return (
            f"Images on {self._topic} are stamped {(target - self._stamp()) / 1e9:.2f} s before this machine's clock; "
            "synchronise the clocks, or check that the camera still runs."
        )

    def _best_effort(self) -> bool:
        """Wait for a publisher and say whether it is best-effort."""
        until = time.monotonic() + self._patience
        while not (publishers := self._own.node.get_publishers_info_by_topic(self._topic)):
            if time.monotonic() > until:
                images = [name for name, kinds in self._own.node.get_topic_names_and_types() if TYPE in kinds]
                raise InputError(
                    f"No node publishes {self._topic}; start the camera, or name one of: {', '.join(images) or 'none'}."
                )
            time.sleep(POLL_S)
        if kinds := {each.topic_type for each in publishers} - {TYPE}:
            raise InputError(f"{self._topic} is of type {', '.join(kinds)}, not {TYPE}; name another topic.")
        return any(each.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for each in publishers)
