"""The status of a node on ``/diagnostics``.

The working threads update it, a timer publishes it; neither waits for the other.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header

from fossa_ros.lens import LensState
from fossa_ros.messages import topics
from fossa_ros.msg import SweepReport
from fossa_ros.parameters.thresholds import (
    ACCEPTANCE,
    CLOCK_OFFSET,
    DEPTH_RATE,
    ERROR,
    GPU_MEMORY,
    INFERENCE,
    OK,
    SILENCE,
    TEMPERATURE,
    WARN,
    Thresholds,
)
from fossa_ros.pipeline.result import SweepResult, Verdict
from fossa_ros.ros import parameters
from fossa_ros.ros.endpoints import create_publisher
from fossa_ros.sweep.clock_offset import ClockOffset

PERIOD_S = 1.0
WINDOW_S = 10.0  # of rates and shares
ACCEPTED = "accepted"


@dataclass
class Health:
    """The figures of a node since it was configured.

    Methods are thread-safe. The node sets the attributes that no event updates before it publishes.

    Attributes:
        hardware_id: identity of the lens, in words.
        estimator: its name; empty where this node has none.
        accepted: number of sweeps with depth.
        rejected: number of sweeps without depth, for any reason.
        last_reason: verdict and reason of the last of these.
        sweep_ms: duration of the last sweep.
        inference_ms: of the last depth.
        age_ms: of the last depth when it was published, from its stamp.
        known: share of the pixels of the last depth that have a value.
        resting: whether the node does not sweep on purpose, so that missing depth is not a fault.
        camera_fault: why no frame reaches a sweep; empty where frames do.
        camera_period_ns: time from frame to frame; None where unknown.
        clock_offset: of the camera; None where unknown.
        gpu_memory: (used, total) bytes, all processes; None without a GPU.
        lens: the last known state.
        lens_failure: why the lens is lost; empty while it answers.
    """

    hardware_id: str
    estimator: str = ""
    accepted: int = 0
    rejected: int = 0
    last_reason: str = ""
    inference_ms: float = math.nan
    sweep_ms: float = math.nan
    age_ms: float = math.nan
    known: float = math.nan
    resting: bool = False
    camera_fault: str = ""
    camera_period_ns: int | None = None
    clock_offset: ClockOffset | None = None
    gpu_memory: tuple[int, int] | None = None
    lens: LensState | None = None
    lens_failure: str = ""
    _recent: deque[tuple[float, str]] = field(default_factory=deque)  # monotonic seconds and verdict of each sweep
    _last_depth: float = field(default_factory=lambda: time.monotonic())
    _activated: float = field(default_factory=lambda: time.monotonic())
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def on_activated(self) -> None:
        """Start to count rates and silence: the node was activated, or sweeps again after a rest."""
        with self._lock:
            self._activated = self._last_depth = time.monotonic()
            self._recent.clear()

    def on_result(self, result: SweepResult) -> None:
        """Count a sweep."""
        depth = result.depth
        known = math.nan if depth is None else cv2.countNonZero(depth.confidence) / depth.confidence.size
        sweep_ms = result.sweep.duration_ns / 1e6
        self._count(
            str(result.verdict), result.reason, depth is not None, sweep_ms, result.inference_ms, result.age_ms, known
        )

    def on_report(self, report: SweepReport) -> None:
        """Count a sweep that another node handled."""
        times = report.sweep_ms, report.inference_ms, report.age_ms
        self._count(report.verdict, report.reason, report.accepted, *times, math.nan)

    def _count(
        self,
        verdict: str,
        reason: str,
        accepted: bool,
        sweep_ms: float,
        inference_ms: float,
        age_ms: float,
        known: float,
    ) -> None:
        with self._lock:
            now = time.monotonic()
            self.sweep_ms = sweep_ms
            self._recent.append((now, ACCEPTED if accepted else verdict))
            if not accepted:
                self.rejected += 1
                self.last_reason = f"{verdict}: {reason}"
                return
            self.accepted += 1
            self.inference_ms = inference_ms
            self.age_ms = age_ms
            self.known = known
            self._last_depth = now

    def on_lens_state(self, state: LensState | None, failure: str = "") -> bool:
        """Note the state of the lens, or why there is none; return whether the lens was lost or found just now."""
        with self._lock:
            before, self.lens_failure = self.lens_failure, "" if state is not None else failure or "no reason known"
            self.lens = state or self.lens
            return bool(before) != bool(self.lens_failure)

    def message(self, name: str, stamp: Time, thresholds: Thresholds | None = None) -> DiagnosticArray:
        """Return the status of the node ``name``; with the default thresholds if there are none."""
        with self._lock:
            now = time.monotonic()
            while self._recent and self._recent[0][0] < now - WINDOW_S:
                self._recent.popleft()
            span = min(WINDOW_S, max(now - self._activated, 1e-3))
            depths = sum(verdict == ACCEPTED for _, verdict in self._recent)
            rate = depths / span
            # Superseded sweeps are no fault: the camera is faster than the estimator.
            handled = sum(verdict != Verdict.SUPERSEDED for _, verdict in self._recent)
            acceptance = depths / handled if handled else math.nan
            faults = self._faults(thresholds or Thresholds(), rate, acceptance, now - self._last_depth)
            figures = self._figures(rate, len(self._recent) / span, acceptance)
        worst = max((level for level, _ in faults), default=OK)
        message = "; ".join(text for level, text in faults if level == worst)
        if worst == OK:
            message = "at rest" if self.resting else f"{rate:.1f} depth maps a second"
        status = DiagnosticStatus(level=worst, name=name, message=message, hardware_id=self.hardware_id)
        status.values = [KeyValue(key=key, value=str(value)) for key, value in figures.items()]
        return DiagnosticArray(header=Header(stamp=stamp), status=[status])

    def _faults(
        self, thresholds: Thresholds, rate: float, acceptance: float, silence: float
    ) -> list[tuple[bytes, str]]:
        """Return the level and the description of every fault."""
        found = []
        if self.lens_failure:
            found.append((ERROR, f"lens lost: {self.lens_failure}"))
        elif self.lens is not None:
            if self.lens.faults:
                found.append((WARN, "lens: " + ", ".join(self.lens.faults)))
            if self.lens.temperature is not None:
                found.append(TEMPERATURE.level(self.lens.temperature, thresholds))
        if self.camera_fault:
            found.append((WARN, f"camera: {self.camera_fault}"))
        if not self.resting:
            level, text = SILENCE.level(silence, thresholds)
            found.append((level, f"{text}; last reason: {self.last_reason or 'no sweep finished yet'}"))
            found.append(DEPTH_RATE.level(rate, thresholds))
            if not math.isnan(acceptance):
                found.append(ACCEPTANCE.level(acceptance, thresholds))
        if self.known == 0:
            found.append((WARN, f"{self.estimator} found no depth in the last sweep; see docs/troubleshooting.md"))
        found.append(INFERENCE.level(self.inference_ms, thresholds))
        if self.clock_offset is not None and self.clock_offset.certain:
            found.append(CLOCK_OFFSET.level(abs(self.clock_offset.offset_ns) / 1e9, thresholds))
        if self.gpu_memory is not None:
            found.append(GPU_MEMORY.level(self.gpu_memory[0] / self.gpu_memory[1], thresholds))
        return [(level, text) for level, text in found if level != OK]

    def _figures(self, rate: float, sweep_rate: float, acceptance: float) -> dict[str, object]:
        figures = {
            **({"estimator": self.estimator} if self.estimator else {}),
            "sweeps accepted": self.accepted,
            "sweeps not accepted": self.rejected,
            "last reason": self.last_reason,
            "sweep rate [Hz]": f"{sweep_rate:.2f}",
            "depth rate [Hz]": f"{rate:.2f}",
            "acceptance": f"{acceptance:.3f}",
            "sweep [ms]": f"{self.sweep_ms:.1f}",
            "inference [ms]": f"{self.inference_ms:.1f}",
            "age of depth [ms]": f"{self.age_ms:.1f}",
            "pixels with depth": f"{self.known:.3f}",
        }
        if self.camera_period_ns is not None:
            figures["camera rate [Hz]"] = f"{1e9 / self.camera_period_ns:.2f}"
        if self.gpu_memory is not None:
            used, total = self.gpu_memory
            figures["GPU memory [MiB]"] = f"{used / 2**20:.0f} of {total / 2**20:.0f}"
        if self.clock_offset is not None:
            offset = self.clock_offset
            certain = "certain" if offset.certain else "not certain"
            figures["clock offset [ms]"] = (
                f"{offset.offset_ns / 1e6:.1f} +- {offset.uncertainty_ns / 1e6:.1f}, {certain}"
            )
        figures["lens"] = self.lens_failure or ("not known" if self.lens is None else "answers")
        if self.lens is not None:
            figures["lens faults"] = ", ".join(self.lens.faults) or "none"
            figures["focus distance [m]"] = f"{self.lens.focus_distance:.3f}"
            if self.lens.temperature is not None:
                figures["lens temperature [C]"] = f"{self.lens.temperature:.1f}"
        return figures


class HealthPublisher:
    """Publish the health of a node once a second, and at once on request.

    Args:
        node: the node, which declares the parameters of Thresholds.
        update: sets the attributes of the health that no event updates; called each second on the executor's thread.

    Attributes:
        health: None while the node is not configured; then nothing is published.
    """

    def __init__(self, node: LifecycleNode, update: Callable[[Health], None]):
        self.health: Health | None = None
        self._node = node
        self._update = update
        self._publisher = create_publisher(node, topics.DIAGNOSTICS)
        node.create_timer(PERIOD_S, self._tick)

    def publish(self) -> None:
        """Publish now, from any thread."""
        health = self.health
        if health is not None:
            now = self._node.get_clock().now().to_msg()
            thresholds = parameters.read(self._node, Thresholds, "diagnostics.")
            self._publisher.publish(health.message(self._node.get_fully_qualified_name(), now, thresholds))

    def _tick(self) -> None:
        if self.health is not None:
            self._update(self.health)
            self.publish()
