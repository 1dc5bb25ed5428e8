"""Send focus stacks as messages, on its own thread."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.lifecycle import LifecyclePublisher

from fossa_ros.messages import topics
from fossa_ros.pipeline.stage import Stage
from fossa_ros.ros.conversions import focus_stack_message
from fossa_ros.ros.endpoints import create_lifecycle_publisher
from fossa_ros.ros.lifecycle import ManagedNode
from fossa_ros.sweep import CapturedSweep


class StackSender:
    """Publish ``focus_stack`` while it has subscribers.

    The capture never waits: one stack is being sent and at most one waits, which a newer one replaces.

    Args:
        node: the node.
        on_replaced: receives a sweep that a newer one replaced.
    """

    def __init__(self, node: ManagedNode, on_replaced: Callable[[CapturedSweep], None] = lambda sweep: None):
        self._node = node
        self._on_replaced = on_replaced
        self._publisher: LifecyclePublisher | None = None
        self._stage = Stage("stack-sender", self._send)

    def configure(self) -> None:
        """Create the publisher."""
        self._publisher = create_lifecycle_publisher(self._node, topics.FOCUS_STACK, overridable=True)

    def activate(self) -> None:
        """Start the thread."""
        self._stage.start()

    def deactivate(self) -> None:
        """Finish the stack that is being sent, and stop the thread."""
        left = self._stage.stop()
        if left is not None:
            self._on_replaced(left)

    def cleanup(self) -> None:
        """Destroy the publisher."""
        if self._publisher is not None:
            self._node.destroy_lifecycle_publisher(self._publisher)
            self._publisher = None

    @property
    def has_subscribers(self) -> bool:
        """Whether a node subscribes to ``focus_stack``."""
        return self._publisher is not None and self._publisher.get_subscription_count() > 0

    def submit(self, sweep: CapturedSweep) -> None:
        """Queue a sweep; an incomplete one, or one without subscribers, is ignored."""
        if sweep.stack is None or not self.has_subscribers:
            return
        replaced = self._stage.submit(sweep)
        if replaced is not None:
            self._on_replaced(replaced)

    def _send(self, sweep: CapturedSweep) -> None:
        self._publisher.publish(focus_stack_message(sweep))
