"""The half that makes depth of sweeps, wherever they were captured, and publishes it."""

from __future__ import annotations

from collections.abc import Callable

from fossa_ros.motion import MotionCheck
from fossa_ros.msg import SweepReport
from fossa_ros.parameters.depth_config import DepthConfig
from fossa_ros.pipeline.result import SweepResult, Verdict
from fossa_ros.pipeline.temporal_filter import TemporalConfig, TemporalFilter
from fossa_ros.pipeline.worker import DepthWorker
from fossa_ros.ros.diagnostics import Health
from fossa_ros.ros.lifecycle import ManagedNode
from fossa_ros.ros.log_throttle import LogThrottle
from fossa_ros.ros.outputs import Outputs
from fossa_ros.sweep import CapturedSweep, DecodePlane


class DepthComponent:
    """Motion check, estimator and publishers of a node; the worker's threads check, estimate and publish."""

    def __init__(self, node: ManagedNode):
        self._node = node
        self._worker: DepthWorker | None = None
        self._outputs: Outputs | None = None
        self._log_throttle = LogThrottle()

    def configure(self, config: DepthConfig, on_result: Callable[[SweepResult, SweepReport], None]) -> str:
        """Load the estimator; return its name. Raises FossaError.

        ``on_result`` is called with every result and its report once they are published, from any of the worker's
        threads.
        """
        estimator = config.estimator.create()
        self._told = on_result
        self._gpu_memory = estimator.gpu_memory
        memory = config.depth.temporal_memory
        self._worker = DepthWorker(
            MotionCheck(config.motion),
            estimator,
            self._on_result,
            clock=self._node.now_ns,
            max_age_ns=config.depth.max_age_ns,
            temporal=TemporalFilter(TemporalConfig(memory=memory)) if memory else None,
        )
        self._outputs = Outputs(self._node, config.depth.encoding)
        self._node.get_logger().info(f"Estimator {estimator.description}")
        return estimator.name

    def activate(self) -> None:
        """Begin to work."""
        self._worker.start()

    def deactivate(self) -> None:
        """Finish what is at work, report the rest as superseded, and end."""
        if self._worker is not None:
            self._worker.stop()

    def cleanup(self) -> None:
        """Free estimator and publishers."""
        if self._outputs is not None:
            self._outputs.close()
        self._worker = self._outputs = None

    def tick(self, health: Health) -> None:
        """Bring ``health`` up to date."""
        health.gpu_memory = self._gpu_memory()

    def submit(self, sweep: CapturedSweep) -> None:
        """Queue a sweep, complete or not; a newer one replaces it if it must wait."""
        self._worker.submit(sweep)

    def expect(self, size: tuple[int, int], planes: int) -> None:
        """Prepare for ``planes`` images of ``size`` (H, W)."""
        self._worker.warm_up(size, planes)

    def add_plane(self, decode: DecodePlane) -> None:
        """Let the motion check see a plane of the sweep in the making, which ``decode`` decodes."""
        self._worker.add_plane(decode)

    def _on_result(self, result: SweepResult) -> None:
        """Worker thread: the sweep's depth is known, or why there is none."""
        report = self._outputs.publish(result)
        told = f"Sweep {result.sweep.number} {result.verdict}: {result.reason}"
        if result.verdict == Verdict.SUPERSEDED:  # the camera is faster than the estimator: nothing is wrong
            self._node.get_logger().debug(told)
        elif result.depth is None and (told := self._log_throttle.apply(told)):
            self._node.get_logger().warning(told)
        self._told(result, report)
