"""What ``/diagnostics`` says: kept by the working threads, composed by a timer, never waiting for either."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
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
    """The figures of one run of the node.

    Whoever composes a message sets the attributes that are nobody's event first.

    Attributes:
        hardware_id: the lens, for people.
        estimator: its name; empty where this node has none.
        resting: whether no sweeps are wanted, so that none are missed.
        camera_fault: why frames cannot be used before they reach a sweep; empty where they can.
        camera_period_ns: time from frame to frame, None while it is not known.
        clock_offset: of the camera, None while it is not known.
        gpu_memory: bytes in use, by whomever, and bytes there are; None without a GPU.
    """

    hardware_id: str
    estimator: str = ""
    accepted: int = 0
    rejected: int = 0
    last_reason: str = ""
    inference_ms: float = math.nan
    sweep_ms: float = math.nan
    age_ms: float = math.nan  # of the last depth, from its stamp
    known: float = math.nan  # share of the pixels of the last depth
    resting: bool = False
    camera_fault: str = ""
    camera_period_ns: int | None = None
    clock_offset: ClockOffset | None = None
    gpu_memory: tuple[int, int] | None = None
    lens: LensState | None = None
    lens_failure: str = ""  # why the lens is lost; empty while it answers
    _ends: deque[tuple[float, str]] = field(default_factory=deque)  # monotonic seconds and what became of a sweep
    _last_depth: float = field(default_factory=lambda: time.monotonic())
    _activated: float = field(default_factory=lambda: time.monotonic())
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def on_activated(self) -> None:
        """Note that the node was activated, or woken from its rest: what was missed meanwhile does not count."""
        with self._lock:
            self._activated = self._last_depth = time.monotonic()
            self._ends.clear()

    def on_result(self, result: SweepResult) -> None:
        """Count a sweep."""
        depth = result.depth
        known = math.nan if depth is None else cv2.countNonZero(depth.confidence) / depth.confidence.size
        sweep_ms = result.sweep.duration_ns / 1e6
        self._count(
            str(result.verdict), result.reason, depth is not None, sweep_ms, result.inference_ms, result.age_ms, known
        )

    def on_report(self, report: SweepReport) -> None:
        """Count a sweep that another node made depth of, or none."""
        times = report.sweep_ms, report.inference_ms, report.age_ms
        self._count(report.verdict, report.reason, report.accepted, *times, math.nan)

    def _count(self, verdict, reason, accepted, sweep_ms, inference_ms, age_ms, known) -> None:
        with self._lock:
            now = time.monotonic()
            self.sweep_ms = sweep_ms
            self._ends.append((now, ACCEPTED if accepted else verdict))
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
        """Note what the lens said, or why it was lost; return whether it was lost or found just now."""
        with self._lock:
            before, self.lens_failure = self.lens_failure, "" if state is not None else failure or "no reason known"
            self.lens = state or self.lens
            return bool(before) != bool(self.lens_failure)

    def message(self, name: str, stamp, thresholds: Thresholds | None = None) -> DiagnosticArray:
        """Compose the node's status; the default thresholds if there are none."""
        with self._lock:
            now = time.monotonic()
            while self._ends and self._ends[0][0] < now - WINDOW_S:
                self._ends.popleft()
            span = min(WINDOW_S, max(now - self._activated, 1e-3))
            depths = sum(end == ACCEPTED for _, end in self._ends)
            rate = depths / span
            # Superseded sweeps say that the estimator is slower than the camera, not that anything is wrong.
            judged = sum(end != Verdict.SUPERSEDED for _, end in self._ends)
            acceptance = depths / judged if judged else math.nan
            unwell = self._unwell(thresholds or Thresholds(), rate, acceptance, now - self._last_depth)
            figures = self._figures(rate, len(self._ends) / span, acceptance)
        level = max((level for level, _ in unwell), default=OK)
        told = "; ".join(text for one, text in unwell if one == level)
        if level == OK:
            told = "at rest" if self.resting else f"{rate:.1f} depth maps a second"
        status = DiagnosticStatus(level=level, name=name, message=told, hardware_id=self.hardware_id)
        status.values = [KeyValue(key=key, value=str(value)) for key, value in figures.items()]
        return DiagnosticArray(header=Header(stamp=stamp), status=[status])

    def _unwell(
        self, thresholds: Thresholds, rate: float, acceptance: float, silence: float
    ) -> list[tuple[bytes, str]]:
        """Return everything that is not well."""
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
            missed = [SILENCE.level(silence, thresholds), DEPTH_RATE.level(rate, thresholds)]
            if not math.isnan(acceptance):
                missed.append(ACCEPTANCE.level(acceptance, thresholds))
            last = self.last_reason or "no sweep finished yet"
            found += [(level, f"{text}; last reason: {last}") for level, text in missed[:1] if level != OK]
            found += missed[1:]
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
            used, there_is = self.gpu_memory
            figures["GPU memory [MiB]"] = f"{used / 2**20:.0f} of {there_is / 2**20:.0f}"
        if self.clock_offset is not None:
            found = self.clock_offset
            certain = "certain" if found.certain else "not certain"
            figures["clock offset [ms]"] = f"{found.offset_ns / 1e6:.1f} +- {found.uncertainty_ns / 1e6:.1f}, {certain}"
        figures["lens"] = self.lens_failure or ("not asked" if self.lens is None else "answers")
        if self.lens is not None:
            figures["lens faults"] = ", ".join(self.lens.faults) or "none"
            figures["focus distance [m]"] = f"{self.lens.focus_distance:.3f}"
            if self.lens.temperature is not None:
                figures["lens temperature [C]"] = f"{self.lens.temperature:.1f}"
        return figures


class HealthPublisher:
    """Publish a node's health once a second, and whenever it is told to.

    Args:
        node: whose health; it declares the parameters of Thresholds.
        before: brings the figures up to date; called each second while there is a health, on the executor's thread.

    Attributes:
        health: None where the node is not configured; then nothing is published.
    """

    def __init__(self, node: LifecycleNode, before: Callable[[Health], None]):
        self.health: Health | None = None
        self._node = node
        self._before = before
        self._publisher = create_publisher(node, topics.DIAGNOSTICS)
        node.create_timer(PERIOD_S, self._tick)

    def publish(self) -> None:
        """Publish it now; from any thread."""
        health = self.health
        if health is not None:
            now = self._node.get_clock().now().to_msg()
            thresholds = parameters.read(self._node, Thresholds, "diagnostics.")
            self._publisher.publish(health.message(self._node.get_fully_qualified_name(), now, thresholds))

    def _tick(self) -> None:
        if self.health is not None:
            self._before(self.health)
            self.publish()
