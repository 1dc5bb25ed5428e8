"""Publishers and subscriptions of the topics in ``fossa_ros.messages.topics``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.exceptions import InvalidTopicNameException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_topic_name import validate_topic_name

from fossa_ros.core.errors import InputError
from fossa_ros.messages.topics import Topic
from fossa_ros.ros.conversions import message_class
from fossa_ros.ros.qos import PROFILES


def check_topic_name(name: str, where: str) -> None:
    """Raise InputError if a topic cannot have a name; ``where`` says what the user gave it as."""
    try:
        validate_topic_name(name)
        validate_full_topic_name(expand_topic_name(name, "node", "/"))  # repeated slashes, and the length
    except InvalidTopicNameException as error:
        raise InputError(f"{where} cannot be '{name}': {' '.join(str(error).split())}") from error


def create_publisher(node: Node, topic: Topic) -> Publisher:
    """Create a publisher that publishes in every state of the node."""
    return node.create_publisher(message_class(topic.type), topic.name, PROFILES[topic.profile])


def create_lifecycle_publisher(node: LifecycleNode, topic: Topic, *, overridable: bool = False) -> LifecyclePublisher:
    """Create a publisher that is silent while the node is inactive.

    Args:
        node: the node.
        topic: of the table.
        overridable: whether parameters ``qos_overrides.*`` of the node can change its quality of service.
    """
    options = QoSOverridingOptions.with_default_policies() if overridable else None
    return node.create_lifecycle_publisher(
        message_class(topic.type), topic.name, PROFILES[topic.profile], qos_overriding_options=options
    )


def create_subscription(
    node: Node,
    topic: Topic,
    callback: Callable[..., Any],
    *,
    profile: QoSProfile | None = None,
    raw: bool = False,
) -> Subscription:
    """Create a subscription.

    Args:
        node: the node.
        topic: of the table.
        callback: receives the message, and optionally its info.
        profile: in place of the topic's own.
        raw: whether the callback receives serialized messages.
    """
    return node.create_subscription(
        message_class(topic.type), topic.name, callback, profile or PROFILES[topic.profile], raw=raw
    )
