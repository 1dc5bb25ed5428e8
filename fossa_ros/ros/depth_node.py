"""Depth in its own process: of the focus stacks that sweep_node sends, or that a bag holds."""

from __future__ import annotations

import math
import sys
import time
from functools import partial
from typing import Any

from rclpy.subscription import Subscription

from fossa_ros.messages import topics
from fossa_ros.messages.fields import captured_sweep
from fossa_ros.msg import FocusStack, SweepReport
from fossa_ros.parameters.node_config import DepthNodeConfig
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.ros.depth_component import DepthComponent
from fossa_ros.ros.diagnostics import Health, HealthPublisher, Part
from fossa_ros.ros.endpoints import create_subscription
from fossa_ros.ros.lifecycle import ManagedNode, run

REST_S = 3.0  # without a focus stack, after which the node counts as at rest


class DepthNode(ManagedNode):
    """Publish the depth of every focus stack that passes the motion check."""

    NODE_NAME = "depth_node"

    def __init__(self, **kwargs: Any):
        super().__init__(self.NODE_NAME, DepthNodeConfig, **kwargs)
        self._diagnostics = HealthPublisher(self, (Part.SWEEP, Part.DEPTH), self._tick)
        self._depth = DepthComponent(self)
        self._stacks: Subscription | None = None
        self._last_stack = -math.inf  # monotonic seconds

    def prepare(self, config: DepthNodeConfig) -> None:
        self._depth.prepare(config)

    def configure(self, config: DepthNodeConfig) -> None:
        estimator = self._depth.configure(config, self._on_published)
        self._diagnostics.health = Health(estimator=estimator)

    def apply_live(self, config: DepthNodeConfig) -> None:
        self._depth.apply_live(config)

    def activate(self) -> None:
        self._depth.activate()
        self._diagnostics.health.on_activated()
        self._stacks = create_subscription(self, topics.FOCUS_STACK, self._on_stack)

    def halt(self) -> None:
        self._depth.deactivate()

    def deactivate(self) -> None:
        if self._stacks is not None:
            self.destroy_subscription(self._stacks)
            self._stacks = None
        self._depth.deactivate()

    def cleanup(self) -> None:
        self._depth.cleanup()
        self._diagnostics.health = None

    def _on_stack(self, message: FocusStack) -> None:
        """Queue a sweep, on the executor's thread; one that cannot be used is reported as incomplete."""
        self._last_stack = time.monotonic()
        self._depth.submit(captured_sweep(message))

    def _on_published(self, result: SweepResult, report: SweepReport) -> None:
        self._diagnostics.health.on_result(result)

    def _tick(self, health: Health) -> None:
        self._depth.tick(health)
        resting = time.monotonic() - self._last_stack > REST_S  # sweep_node reports why
        if health.resting and not resting:
            health.on_activated()
        health.resting = resting


main = partial(run, DepthNode)

if __name__ == "__main__":
    sys.exit(main())
