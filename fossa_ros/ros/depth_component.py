"""Depth: the part of a node that checks sweeps for motion, estimates depth and publishes it."""

from __future__ import annotations

from collections.abc import Callable

from fossa_ros.estimators.estimator import Estimator
from fossa_ros.motion import MotionCheck
from fossa_ros.msg import SweepReport
from fossa_ros.parameters.depth_config import DepthConfig, EstimatorConfig
from fossa_ros.pipeline.pace import Pace
from fossa_ros.pipeline.result import SweepResult, Verdict
from fossa_ros.pipeline.temporal_filter import TemporalFilter
from fossa_ros.pipeline.worker import DepthWorker
from fossa_ros.ros.diagnostics import Health
from fossa_ros.ros.lifecycle import ManagedNode
from fossa_ros.ros.log_throttle import LogThrottle
from fossa_ros.ros.outputs import Outputs
from fossa_ros.sweep import CapturedSweep, DecodePlane


class DepthComponent:
    """Motion check, estimator and publishers of a node. Everything runs on the threads of a ``DepthWorker``.

    Args:
        node: the node.
    """

    def __init__(self, node: ManagedNode):
        self._node = node
        self._worker: DepthWorker | None = None
        self._outputs: Outputs | None = None
        self._log_throttle = LogThrottle()
        self._pace: Pace | None = None
        self._estimator: tuple[EstimatorConfig, Estimator] | None = None

    def prepare(self, config: DepthConfig) -> None:
        """Load the estimator, from any thread, unless an attempt that failed elsewhere left it.

        Raises:
            FossaError: the parameters cannot be used, or the estimator cannot be loaded.
        """
        if self._estimator is None or self._estimator[0] != config.estimator:
            self._estimator = None  # its memory is free before the next one needs it
            self._estimator = config.estimator, config.estimator.create()
            self._node.get_logger().info(f"Estimator {self._estimator[1].description}")

    def configure(self, config: DepthConfig, on_published: Callable[[SweepResult, SweepReport], None]) -> str:
        """Create worker and publishers, and return the name of the estimator that was prepared.

        Args:
            config: parameters of the node.
            on_published: receives every result and its report once they are published, on any thread of the worker.
        """
        _, estimator = self._estimator
        self._on_published = on_published
        self._gpu_memory = estimator.gpu_memory
        self._worker = DepthWorker(
            MotionCheck(config.motion),
            estimator,
            self._on_result,
            clock=self._node.now_ns,
            max_age_ns=config.depth.max_age_ns,
            temporal=None if (temporal := config.depth.temporal) is None else TemporalFilter(temporal),
            limits=config.limits,
            focus_check=config.depth.focus_check,
            region=config.roi,
            still_sweeps=config.depth.still_sweeps,
        )
        self._outputs = Outputs(self._node, config.format)
        self._pace = Pace(estimator.name)
        return estimator.name

    def apply_live(self, config: DepthConfig) -> None:
        """Check and filter by a changed configuration from the next sweep on."""
        if self._worker is not None:
            self._worker.reconfigure(
                config.motion,
                config.depth.max_age_ns,
                config.depth.temporal,
                config.limits,
                config.depth.focus_check,
                config.roi,
                config.depth.still_sweeps,
            )
            self._outputs.format = config.format

    def activate(self) -> None:
        """Start the worker."""
        self._worker.start()

    def deactivate(self) -> None:
        """Finish the sweep under way, report waiting ones as superseded, and stop the worker."""
        if self._worker is not None:
            self._worker.stop()

    def cleanup(self) -> None:
        """Destroy the publishers and free the estimator; one that was only prepared is kept for the next attempt."""
        if self._outputs is not None:
            self._outputs.close()
        if self._worker is not None:
            self._estimator = None
        self._worker = self._outputs = None

    def tick(self, health: Health) -> None:
        """Update ``health``."""
        health.gpu_memory = self._gpu_memory()

    def submit(self, sweep: CapturedSweep) -> None:
        """Queue a sweep, complete or not; a newer one replaces one that waits."""
        self._worker.submit(sweep)

    def warm_up(self, size: tuple[int, int], planes: int) -> None:
        """Prepare the estimator for ``planes`` images of ``size`` (H, W)."""
        self._worker.warm_up(size, planes)

    def add_plane(self, decode: DecodePlane) -> None:
        """Let the motion check compare a plane of the sweep under way, which ``decode`` decodes."""
        self._worker.add_plane(decode)

    def _on_result(self, result: SweepResult) -> None:
        """Publish a result, and log why there is no depth."""
        report = self._outputs.publish(result)
        message = f"Sweep {result.sweep.number} {result.verdict}: {result.reason}"
        if result.verdict == Verdict.SUPERSEDED:  # no fault: the camera is faster than the estimator
            self._node.get_logger().debug(message)
        elif result.depth is None and (message := self._log_throttle.apply(message)):
            self._node.get_logger().warning(message)
        if slow := self._pace.apply(result):
            self._node.get_logger().info(slow)
        warning = "" if result.findings is None else result.findings.warning
        if warning and (message := self._log_throttle.apply(warning)):
            self._node.get_logger().warning(message)
        self._on_published(result, report)
