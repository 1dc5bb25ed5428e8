"""Capture in its own process, beside camera and lens: sends every sweep to depth_node."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from rclpy.lifecycle import LifecyclePublisher
from rclpy.subscription import Subscription

from fossa_ros.messages import topics
from fossa_ros.msg import SweepReport
from fossa_ros.parameters.node_config import SweepNodeConfig
from fossa_ros.pipeline.result import SweepResult, Verdict
from fossa_ros.ros.capture_component import CaptureComponent
from fossa_ros.ros.conversions import sweep_report
from fossa_ros.ros.diagnostics import Health, HealthPublisher, Part
from fossa_ros.ros.endpoints import create_lifecycle_publisher, create_subscription
from fossa_ros.ros.lifecycle import ManagedNode, run
from fossa_ros.ros.log_throttle import LogThrottle
from fossa_ros.ros.pending_reports import PendingReports
from fossa_ros.ros.stack_sender import StackSender
from fossa_ros.sweep import CapturedSweep

NO_SUBSCRIBER = "focus_stack has no subscriber; start and activate depth_node in the namespace of this node."


class SweepNode(ManagedNode):
    """Sweep the lens while active, and publish every complete sweep as ``focus_stack``.

    This node reports the sweeps that never reach depth_node; depth_node reports the others. This node subscribes to
    both kinds, for the service ``capture`` and for ``/diagnostics``.
    """

    NODE_NAME = "sweep_node"

    def __init__(self, **kwargs: Any):
        super().__init__(self.NODE_NAME, SweepNodeConfig, **kwargs)
        self._diagnostics = HealthPublisher(self, tuple(Part), self._tick)
        self._capture = CaptureComponent(self, self._diagnostics)
        self._stacks = StackSender(self, self._on_replaced)
        self._pending = PendingReports()
        self._reports: LifecyclePublisher | None = None
        self._report_subscription: Subscription | None = None
        self._log_throttle = LogThrottle()

    def prepare(self, config: SweepNodeConfig) -> None:
        self._capture.prepare(config, self._on_sweep)

    def configure(self, config: SweepNodeConfig) -> None:
        lens = self._capture.configure(config)
        self._stacks.configure()
        self._reports = create_lifecycle_publisher(self, topics.SWEEP)
        self._diagnostics.health = Health(lens)

    def check_live(self, config: SweepNodeConfig) -> None:
        self._capture.check_live(config)

    def apply_live(self, config: SweepNodeConfig) -> None:
        self._capture.apply_live(config)

    def activate(self) -> None:
        self._report_subscription = create_subscription(self, topics.SWEEP, self._on_report)
        self._stacks.activate()
        self._capture.activate()

    def halt(self) -> None:
        self._capture.halt()
        self._stacks.deactivate()

    def deactivate(self) -> None:
        self._capture.deactivate()
        self._stacks.deactivate()
        if self._report_subscription is not None:
            self.destroy_subscription(self._report_subscription)
            self._report_subscription = None
        self._pending.clear()
        self._capture.fail_requests("The node was deactivated.")

    def close_devices(self) -> None:
        self._capture.close_lens()

    def cleanup(self) -> None:
        self._capture.cleanup()
        self._stacks.cleanup()
        if self._reports is not None:
            self.destroy_lifecycle_publisher(self._reports)
            self._reports = None
        self._diagnostics.health = None

    def _on_sweep(self, sweep: CapturedSweep) -> None:
        """Send a sweep or report why not, on the capture's thread."""
        if sweep.stack is None:
            self._report(sweep, Verdict.INCOMPLETE, sweep.reason)
        elif not self._stacks.has_subscribers:
            self._report(sweep, Verdict.FAILED, NO_SUBSCRIBER)
        else:
            self._pending.add(sweep)
            self._stacks.submit(sweep)

    def _on_replaced(self, sweep: CapturedSweep) -> None:
        """Report a sweep that a newer one replaced before it was sent, on the capture's thread."""
        self._report(sweep, Verdict.SUPERSEDED, "A newer sweep was ready before it was sent.")

    def _report(self, sweep: CapturedSweep, verdict: Verdict, reason: str) -> None:
        self._reports.publish(sweep_report(SweepResult(sweep, verdict, reason)))

    def _on_report(self, report: SweepReport) -> None:
        """Handle a report of this node or of depth_node, on the executor's thread."""
        for lost in self._pending.on_report(report):
            self._reports.publish(lost)
        self._diagnostics.health.on_report(report)
        self._capture.on_report(report)
        if report.verdict in (Verdict.INCOMPLETE, Verdict.FAILED) and (
            message := self._log_throttle.apply(f"Sweep {report.sweep} {report.verdict}: {report.reason}")
        ):
            self.get_logger().warning(message)

    def _tick(self, health: Health) -> None:
        self._capture.tick(health)
        if self._report_subscription is not None and not self._stacks.has_subscribers:
            for lost in self._pending.clear():  # depth_node is gone and will not report them
                self._reports.publish(lost)


main = partial(run, SweepNode)

if __name__ == "__main__":
    sys.exit(main())
