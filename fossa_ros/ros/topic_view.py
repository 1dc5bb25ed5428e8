"""Subscribe to the results of a node, for a viewer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from fossa_ros.messages.topics import Topic
from fossa_ros.ros.endpoints import check_topic_name, create_subscription
from fossa_ros.ros.isolated_node import IsolatedNode


class TopicView:
    """Pass on the messages of some topics of a node, on a thread of its own.

    Args:
        topics: of the table.
        namespace: of the node.
        on_message: receives a topic and a message.

    Raises:
        InputError: no node can have that namespace.
    """

    def __init__(self, topics: Iterable[Topic], namespace: str, on_message: Callable[[Topic, Any], None]):
        prefix = f"/{namespace.strip('/')}".rstrip("/")
        check_topic_name(prefix or "/fossa", "The namespace")
        self._own = IsolatedNode("fossa_view")
        try:
            for topic in topics:
                named = replace(topic, name=f"{prefix}/{topic.name}")
                create_subscription(self._own.node, named, partial(on_message, topic))
            self._own.start()
        except BaseException:
            self._own.close()
            raise

    def close(self) -> None:
        """Unsubscribe."""
        self._own.close()
