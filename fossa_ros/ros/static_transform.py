"""The static transform from the robot to the camera's optical frame, for robots whose description lacks it."""

from __future__ import annotations

from importlib.util import find_spec

from fossa_ros.core.errors import InputError
from fossa_ros.messages import topics
from fossa_ros.parameters.capture_config import TransformConfig
from fossa_ros.ros.conversions import build_message, message_class
from fossa_ros.ros.endpoints import create_publisher
from fossa_ros.ros.lifecycle import ManagedNode


class StaticTransform:
    """Publish the transform on ``/tf_static``, latched, once the frame of the camera is known.

    Args:
        node: the node.
        config: group ``tf``, with ``publish`` set.

    Raises:
        InputError: the message is not installed.
    """

    def __init__(self, node: ManagedNode, config: TransformConfig):
        package = topics.TF_STATIC.type.partition("/")[0]
        if find_spec(package) is None:
            raise InputError(
                f"tf.publish needs the package {package}, which is not installed; install it (ros-jazzy-tf2-msgs), or "
                "set tf.publish to false."
            )
        self._node = node
        self._config = config
        self._publisher = create_publisher(node, topics.TF_STATIC)
        self._frame_id = ""

    def publish(self, frame_id: str) -> None:
        """Publish the transform to ``frame_id``, unless that was done; called with every frame."""
        if frame_id == self._frame_id:
            return
        self._frame_id, parent = frame_id, self._config.parent
        if frame_id in ("", parent):
            self._node.get_logger().warning(
                f"No transform is published: the frame of the images is '{frame_id}' and tf.parent '{parent}'; set "
                "camera.frame_id to the camera's optical frame."
            )
            return
        (x, y, z), rotation = self._config.translation, self._config.rotation
        transform = {
            "header": {"stamp": self._node.get_clock().now().to_msg(), "frame_id": parent},
            "child_frame_id": frame_id,
            "transform": {
                "translation": {"x": x, "y": y, "z": z},
                "rotation": dict(zip("xyzw", rotation, strict=True)),
            },
        }
        kind = message_class(topics.TF_STATIC.type)
        self._publisher.publish(build_message(kind, {"transforms": [transform]}))

    def close(self) -> None:
        """Withdraw the transform from who subscribes from now on."""
        self._node.destroy_publisher(self._publisher)
