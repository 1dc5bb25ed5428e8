"""Pairs of an image and its calibration, and why there are none."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from fossa_ros.messages.fields import nanoseconds
from fossa_ros.messages.stamp_pairs import QUEUE, StampPairs

FEW = 4  # messages, which are no evidence yet: discovery finds one topic before the other


class CameraPairs:
    """Pair the images and the calibrations of a camera by their stamps. Not thread-safe.

    Args:
        on_pair: receives each image and its calibration.
        image, camera_info: names of the topics, for ``fault``.
    """

    def __init__(self, on_pair: Callable[[Any, Any], None], image: str, camera_info: str):
        self._on_pair = on_pair
        self._names = image, camera_info
        self._pairs = StampPairs(self._on_stamp_pair)
        self._counts = [0, 0, 0]  # images, calibrations and pairs since the last call of fault
        self._stamps: tuple[deque[int], deque[int]] = (deque(maxlen=QUEUE), deque(maxlen=QUEUE))

    @property
    def images(self) -> int:
        """Number of images since the last call of ``fault``."""
        return self._counts[0]

    def add_image(self, message: Any) -> None:
        """Add an image, raw or compressed."""
        self._add(0, message)

    def add_info(self, message: Any) -> None:
        """Add a ``sensor_msgs/CameraInfo``."""
        self._add(1, message)

    def fault(self, few: int = FEW) -> str:
        """Return why few pairs, or none, were made since the last call although ``few`` messages arrived, else ''."""
        (images, infos, pairs), self._counts = self._counts, [0, 0, 0]
        image, info = self._names
        if pairs and images > 2 * pairs + few:
            return (
                f"only {pairs} of {images} images on {image} have a message of their stamp on {info}: let the driver "
                "publish one with each image"
            )
        if pairs or images + infos < few:
            return ""
        if not images and not infos:
            return f"nothing arrives on {image} and {info}: check the camera, or remap image and camera_info"
        if not infos:
            return f"images arrive on {image} but nothing on {info}: let the camera publish it, or remap camera_info"
        if not images:
            return f"{info} arrives but no images on {image}: check the camera, or remap image"
        for name, stamps in zip(self._names, self._stamps, strict=True):
            if not any(stamps):
                return f"the stamps of {name} are zero: let the camera's driver set them"
        apart = min(abs(one - other) for one in self._stamps[0] for other in self._stamps[1])
        return (
            f"no image on {image} has the stamp of a message on {info}, the nearest are {apart / 1e6:.3f} ms apart: "
            "let one driver publish both"
        )

    def _add(self, topic: int, message: Any) -> None:
        self._counts[topic] += 1
        self._stamps[topic].append(nanoseconds(message.header.stamp))
        self._pairs.add(topic, message)

    def _on_stamp_pair(self, image: Any, info: Any) -> None:
        self._counts[2] += 1
        self._on_pair(image, info)
