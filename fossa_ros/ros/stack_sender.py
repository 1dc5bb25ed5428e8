"""Send focus stacks as messages, on a thread of its own."""

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
    """Publish ``focus_stack`` while somebody subscribes to it.

    The capture never waits for it: one stack is being sent and at most one waits, which a newer one replaces.

    Args:
        node: whose publisher it is.
        on_replaced: receives the sweep that gave way to a newer one.
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
        """Begin to send."""
        self._stage.start()

    def deactivate(self) -> None:
        """Finish what is being sent, and end."""
        left = self._stage.stop()
        if left is not None:
            self._on_replaced(left)

    def cleanup(self) -> None:
        """Destroy the publisher."""
        if self._publisher is not None:
            self._node.destroy_lifecycle_publisher(self._publisher)
            self._publisher = None

    @property
    def wanted(self) -> bool:
        """Whether somebody subscribes."""
        return self._publisher is not None and self._publisher.get_subscription_count() > 0

    def submit(self, sweep: CapturedSweep) -> None:
        """Queue a complete sweep; others, and those that nobody wants, are ignored."""
        if sweep.stack is None or not self.wanted:
            return
        replaced = self._stage.submit(sweep)
        if replaced is not None:
            self._on_replaced(replaced)

    def _send(self, sweep: CapturedSweep) -> None:
        self._publisher.publish(focus_stack_message(sweep))
