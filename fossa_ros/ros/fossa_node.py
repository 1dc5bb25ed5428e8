"""Lens, sweep, motion check, depth and publishing in one process: the node to run on a robot."""

from __future__ import annotations

import sys
from functools import partial

from fossa_ros.msg import SweepReport
from fossa_ros.parameters import settings
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.ros.capture_half import CaptureHalf
from fossa_ros.ros.depth_half import DepthHalf
from fossa_ros.ros.diagnostics import Health, HealthWatch
from fossa_ros.ros.lifecycle import ManagedNode, run
from fossa_ros.ros.stack_sender import StackSender
from fossa_ros.sweep import CapturedSweep


class FossaNode(ManagedNode):
    """Sweep the lens while active, and publish the depth of every sweep that passes the motion check.

    Both halves in one process, so that no image is serialised between them.
    """

    def __init__(self, **kwargs):
        super().__init__("fossa_node", settings.FOSSA_NODE, **kwargs)
        self._watch = HealthWatch(self, self._tick)
        self._capture = CaptureHalf(self, self._watch)
        self._depth = DepthHalf(self)
        self._stacks = StackSender(self)

    def configure(self, values: dict) -> None:
        estimator = self._depth.configure(values, self._on_result)
        identity = self._capture.configure(values, self._on_sweep, self._depth.add_plane, self._depth.expect)
        self._stacks.configure()
        self._watch.health = Health(hardware_id=identity, estimator=estimator)

    def activate(self) -> None:
        self._depth.activate()
        self._stacks.activate()
        self._capture.activate()

    def deactivate(self) -> None:
        self._capture.deactivate()
        self._stacks.deactivate()
        self._depth.deactivate()
        self._capture.give_up("The node was deactivated.")

    def cleanup(self) -> None:
        self._capture.cleanup()
        self._stacks.cleanup()
        self._depth.cleanup()
        self._watch.health = None

    def _on_sweep(self, sweep: CapturedSweep) -> None:
        """Capture thread: the sweep has ended."""
        self._depth.submit(sweep)
        self._stacks.submit(sweep)

    def _on_result(self, result: SweepResult, report: SweepReport) -> None:
        """Worker thread: depth is out, or it is known why there is none."""
        self._watch.health.on_result(result)
        self._capture.answer(report)

    def _tick(self, health: Health) -> None:
        self._capture.tick(health)
        self._depth.tick(health)


main = partial(run, FossaNode)

if __name__ == "__main__":
    sys.exit(main())
