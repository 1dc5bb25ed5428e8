"""Lens, sweeps, motion check, depth and publishing in one process: the node to run on a robot."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from fossa_ros.msg import SweepReport
from fossa_ros.parameters.node_config import FossaNodeConfig
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.ros.capture_component import CaptureComponent
from fossa_ros.ros.depth_component import DepthComponent
from fossa_ros.ros.diagnostics import Health, HealthPublisher, Part
from fossa_ros.ros.lifecycle import ManagedNode, run
from fossa_ros.ros.stack_sender import StackSender
from fossa_ros.sweep import CapturedSweep


class FossaNode(ManagedNode):
    """Sweep the lens while active, and publish the depth of every sweep that passes the motion check.

    Capture and depth share the process, so that no image is serialized between them.
    """

    NODE_NAME = "fossa_node"

    def __init__(self, **kwargs: Any):
        super().__init__(self.NODE_NAME, FossaNodeConfig, **kwargs)
        self._diagnostics = HealthPublisher(self, tuple(Part), self._tick)
        self._capture = CaptureComponent(self, self._diagnostics)
        self._depth = DepthComponent(self)
        self._stacks = StackSender(self)

    def prepare(self, config: FossaNodeConfig) -> None:
        self._depth.prepare(config)
        self._capture.prepare(config, self._on_sweep, self._depth.add_plane, self._depth.warm_up)

    def configure(self, config: FossaNodeConfig) -> None:
        estimator = self._depth.configure(config, self._on_published)
        lens = self._capture.configure(config)
        self._stacks.configure()
        self._diagnostics.health = Health(lens, estimator)

    def check_live(self, config: FossaNodeConfig) -> None:
        self._capture.check_live(config)

    def apply_live(self, config: FossaNodeConfig) -> None:
        self._capture.apply_live(config)
        self._depth.apply_live(config)

    def activate(self) -> None:
        self._depth.activate()
        self._stacks.activate()
        self._capture.activate()

    def halt(self) -> None:
        self._capture.halt()
        self._stacks.deactivate()
        self._depth.deactivate()

    def deactivate(self) -> None:
        self._capture.deactivate()
        self._stacks.deactivate()
        self._depth.deactivate()
        self._capture.fail_requests("The node was deactivated.")

    def close_devices(self) -> None:
        self._capture.close_lens()

    def cleanup(self) -> None:
        self._capture.cleanup()
        self._stacks.cleanup()
        self._depth.cleanup()
        self._diagnostics.health = None

    def _on_sweep(self, sweep: CapturedSweep) -> None:
        """Pass on a sweep, on the capture's thread."""
        self._depth.submit(sweep)
        self._stacks.submit(sweep)

    def _on_published(self, result: SweepResult, report: SweepReport) -> None:
        """Count a result and answer calls of ``capture``, on a thread of the worker."""
        self._diagnostics.health.on_result(result)
        self._capture.on_report(report)

    def _tick(self, health: Health) -> None:
        self._capture.tick(health)
        self._depth.tick(health)


main = partial(run, FossaNode)

if __name__ == "__main__":
    sys.exit(main())
