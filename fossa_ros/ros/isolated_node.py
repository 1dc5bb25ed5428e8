"""A node with its own context and thread, in a process that may use ROS already."""

from __future__ import annotations

import threading

import rclpy
from rclpy.executors import SingleThreadedExecutor

from fossa_ros.ros import environment

SPIN_S = 0.1


class IsolatedNode:
    """A node with its own context; its callbacks run on its own thread once it is started.

    Args:
        name: of the node.

    Attributes:
        node: the node.
        context: its context.
    """

    def __init__(self, name: str):
        environment.complete()
        self.context = rclpy.Context()
        rclpy.init(args=[], context=self.context)  # without the remappings of this process
        self.node = rclpy.create_node(name, context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, name=f"node {name}", daemon=True)

    @property
    def is_open(self) -> bool:
        """Whether ``close`` has not been called."""
        return not self._closing.is_set()

    def start(self) -> None:
        """Start to run callbacks."""
        self._thread.start()

    def close(self) -> None:
        """Destroy the node; a second call does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()

    def _spin(self) -> None:
        while not self._closing.is_set():
            self._executor.spin_once(timeout_sec=SPIN_S)
