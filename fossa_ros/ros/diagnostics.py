"""What a node says on ``/diagnostics``: one status for the node, and one for each of its parts.

The statuses are named ``NODE`` and ``NODE: PART``, so that an aggregator can group them by the node's name or by the
part. The working threads update them, a timer publishes them; neither waits for the other.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import cv2
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from lifecycle_msgs.msg import State
from rclpy.clock import Clock, ClockType
from std_msgs.msg import Header

from fossa_ros.core.errors import LensError
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
from fossa_ros.pipeline.stack_check import StackFindings
from fossa_ros.ros import parameters
from fossa_ros.ros.endpoints import create_publisher
from fossa_ros.ros.lifecycle import ManagedNode
from fossa_ros.sweep.clock_offset import ClockOffset

PERIOD_S = 1.0
WINDOW_S = 10.0  # of rates and shares
INCONSISTENT = 3  # sweeps in a row whose blur contradicts their focus distances, from which that is an error
ACCEPTED = "accepted"
INACTIVE = "inactive"


class Part(StrEnum):
    """A part of a node that has a status of its own."""

    CAMERA = "camera"
    LENS = "lens"
    SWEEP = "sweep"
    DEPTH = "depth"


@dataclass
class Health:
    """The figures of a node since it was configured.

    Methods are thread-safe. The node sets the attributes that no event updates before it publishes.

    Attributes:
        lens_id: backend and serial number of the lens, or where it is; empty where this node drives none.
        camera_id: frame of the camera; empty while it is not known.
        estimator: its name; empty where this node has none.
        accepted: number of sweeps with depth.
        rejected: number of sweeps without depth, for any reason.
        last_reason: verdict and reason of the last of these.
        sweep_ms: duration of the last sweep.
        inference_ms: of the last depth.
        age_ms: of the last depth when it was published, from its stamp.
        known: share of the pixels of the last depth that have a value.
        inconsistent: number of sweeps since the last depth whose blur contradicted their focus distances.
        findings: what the last sweep that was asked said about its own claim; None where none was.
        resting: whether the node does not sweep on purpose, so that missing depth is not a fault.
        camera_fault: level, and why no frame, or few, can be used; empty where they can.
        camera_period_ns: time from frame to frame; None where unknown.
        clock_offset: of the camera; None where unknown.
        gpu_memory: (used, total) bytes, all processes; None without a GPU.
        lens: the last known state.
        lens_failure: why the lens is lost; empty while it answers.
    """

    lens_id: str = ""
    estimator: str = ""
    camera_id: str = ""
    accepted: int = 0
    rejected: int = 0
    last_reason: str = ""
    inference_ms: float = math.nan
    sweep_ms: float = math.nan
    age_ms: float = math.nan
    known: float = math.nan
    inconsistent: int = 0
    findings: StackFindings | None = None
    resting: bool = False
    camera_fault: tuple[bytes, str] = OK, ""
    camera_period_ns: int | None = None
    clock_offset: ClockOffset | None = None
    gpu_memory: tuple[int, int] | None = None
    lens: LensState | None = None
    lens_failure: str = ""
    _recent: deque[tuple[float, str]] = field(default_factory=deque)  # monotonic seconds and verdict of each sweep
    _last_depth: float = field(default_factory=lambda: time.monotonic())
    _activated: float = field(default_factory=lambda: time.monotonic())
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self) -> None:
        """Count from 0 again, and forget what was wrong."""
        with self._lock:
            self.accepted = self.rejected = 0
            self.last_reason = self.lens_failure = ""
            self.findings = None
        self.on_activated()

    def on_activated(self) -> None:
        """Start to count rates and silence: the node was activated, or sweeps again after a rest."""
        with self._lock:
            self._activated = self._last_depth = time.monotonic()
            self._recent.clear()
            self.inconsistent = 0

    def on_result(self, result: SweepResult) -> None:
        """Count a sweep."""
        depth = result.depth
        known = math.nan if depth is None else cv2.countNonZero(depth.confidence) / depth.confidence.size
        sweep_ms = result.sweep.duration_ns / 1e6
        self.findings = result.findings or self.findings
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
                self.inconsistent += verdict == Verdict.INCONSISTENT
                return
            self.accepted += 1
            self.inconsistent = 0
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

    def statuses(
        self, name: str, parts: Sequence[Part], thresholds: Thresholds | None = None, *, active: bool = True
    ) -> list[DiagnosticStatus]:
        """Return the status of each part of the node ``name``.

        Args:
            name: of the node.
            parts: which it has.
            thresholds: the defaults if None.
            active: whether the node should work now; if not, missing frames and depth are no fault.
        """
        with self._lock:
            now = time.monotonic()
            while self._recent and self._recent[0][0] < now - WINDOW_S:
                self._recent.popleft()
            span = min(WINDOW_S, max(now - self._activated, 1e-3))
            depths = sum(verdict == ACCEPTED for _, verdict in self._recent)
            # Superseded sweeps are no fault: the camera is faster than the estimator.
            handled = sum(verdict != Verdict.SUPERSEDED for _, verdict in self._recent)
            rates = _Rates(
                sweeps=len(self._recent) / span,
                depths=depths / span,
                acceptance=depths / handled if handled else math.nan,
                silence=now - self._last_depth,
                working=active and not self.resting,
            )
            hardware = {Part.CAMERA: self.camera_id, Part.LENS: self.lens_id}
            return [
                _status(
                    _part_name(name, part),
                    self._faults(part, thresholds or Thresholds(), rates),
                    self._summary(part, rates) if active else INACTIVE,
                    hardware.get(part, ""),
                    self._figures(part, rates),
                )
                for part in parts
            ]

    def _faults(self, part: Part, thresholds: Thresholds, rates: _Rates) -> list[tuple[bytes, str]]:
        """Return the level and the description of every fault of a part."""
        found = []
        if part in (Part.SWEEP, Part.DEPTH) and self.inconsistent >= INCONSISTENT:
            found.append((ERROR, f"{self.inconsistent} sweeps in a row: {self.last_reason}"))
        match part:
            case Part.CAMERA:
                found.append(self.camera_fault)
                if self.clock_offset is not None and self.clock_offset.certain:
                    found.append(CLOCK_OFFSET.level(self.clock_offset.least_ns / 1e9, thresholds))
            case Part.LENS if self.lens_failure:
                found.append((ERROR, f"lens lost: {self.lens_failure}"))
            case Part.LENS if self.lens is not None:
                if self.lens.faults:
                    found.append((WARN, ", ".join(self.lens.faults)))
                if self.lens.temperature is not None:
                    found.append(TEMPERATURE.level(self.lens.temperature, thresholds))
            case Part.SWEEP if rates.working and not math.isnan(rates.acceptance):
                found.append(ACCEPTANCE.level(rates.acceptance, thresholds))
            case Part.DEPTH:
                if rates.working:
                    level, text = SILENCE.level(rates.silence, thresholds)
                    found.append((level, f"{text}; last reason: {self.last_reason or 'no sweep finished yet'}"))
                    found.append(DEPTH_RATE.level(rates.depths, thresholds))
                if self.findings is not None and self.findings.warning:
                    found.append((WARN, self.findings.warning))
                if self.known == 0:
                    text = f"{self.estimator} found no depth in the last sweep; see docs/troubleshooting.md"
                    found.append((WARN, text))
                found.append(INFERENCE.level(self.inference_ms, thresholds))
                if self.gpu_memory is not None:
                    found.append(GPU_MEMORY.level(self.gpu_memory[0] / self.gpu_memory[1], thresholds))
        return found

    def _summary(self, part: Part, rates: _Rates) -> str:
        """Return what to say of a part without faults."""
        if part is Part.CAMERA:
            return "rate not known" if self.camera_period_ns is None else f"{1e9 / self.camera_period_ns:.1f} images/s"
        if part is Part.LENS:
            return "answers" if self.lens is not None else "no state yet" if self.lens_id else "driven by another node"
        if self.resting:
            return "at rest"
        return f"{rates.sweeps:.1f} sweeps/s" if part is Part.SWEEP else f"{rates.depths:.1f} depth maps a second"

    def _figures(self, part: Part, rates: _Rates) -> dict[str, object]:
        figures: dict[str, object] = {}
        match part:
            case Part.CAMERA:
                if self.camera_period_ns is not None:
                    figures["camera rate [Hz]"] = f"{1e9 / self.camera_period_ns:.2f}"
                if self.clock_offset is not None:
                    offset = self.clock_offset
                    certain = "certain" if offset.certain else "not certain"
                    figures["clock offset [ms]"] = (
                        f"{offset.offset_ns / 1e6:.1f} +- {offset.uncertainty_ns / 1e6:.1f}, {certain}"
                    )
            case Part.LENS if self.lens is not None:
                figures["lens faults"] = ", ".join(self.lens.faults) or "none"
                figures["focus distance [m]"] = f"{self.lens.focus_distance:.3f}"
                if self.lens.temperature is not None:
                    figures["lens temperature [C]"] = f"{self.lens.temperature:.1f}"
            case Part.SWEEP:
                figures["sweeps accepted"] = self.accepted
                figures["sweeps not accepted"] = self.rejected
                figures["last reason"] = self.last_reason
                figures["sweep rate [Hz]"] = f"{rates.sweeps:.2f}"
                figures["acceptance"] = f"{rates.acceptance:.3f}"
                figures["sweep [ms]"] = f"{self.sweep_ms:.1f}"
            case Part.DEPTH:
                if self.estimator:
                    figures["estimator"] = self.estimator
                figures["depth rate [Hz]"] = f"{rates.depths:.2f}"
                figures["inference [ms]"] = f"{self.inference_ms:.1f}"
                figures["age of depth [ms]"] = f"{self.age_ms:.1f}"
                figures["pixels with depth"] = f"{self.known:.3f}"
                if self.findings is not None:
                    figures |= _blur_figures(self.findings)
                if self.gpu_memory is not None:
                    used, total = self.gpu_memory
                    figures["GPU memory [MiB]"] = f"{used / 2**20:.0f} of {total / 2**20:.0f}"
        return figures


def _blur_figures(findings: StackFindings) -> dict[str, object]:
    """Return the growth of the blur disc's diameter per dioptre: what the parameters say, and what was found."""
    stated, blur = findings.stated, findings.blur
    found = "not known"
    if blur is not None:
        found = f"{blur.factor * stated:.2f} +- {blur.factor * stated * min(blur.uncertainty, 1.0):.2f}"
    return {
        "blur stated [px/dioptre]": "not known" if math.isnan(stated) else f"{stated:.2f}",
        "blur found [px/dioptre]": found,
    }


@dataclass(frozen=True)
class _Rates:
    """Sweeps and depth maps a second, share of sweeps accepted, seconds since the last depth, whether it is due."""

    sweeps: float
    depths: float
    acceptance: float
    silence: float
    working: bool


def _part_name(node: str, part: Part) -> str:
    return f"{node}: {part}"


def _status(
    name: str,
    faults: Sequence[tuple[bytes, str]],
    otherwise: str,
    hardware_id: str = "",
    figures: dict[str, object] | None = None,
) -> DiagnosticStatus:
    """Return a status with the worst of ``faults``, or with the message ``otherwise``."""
    worst = max((level for level, _ in faults), default=OK)
    message = otherwise if worst == OK else "; ".join(text for level, text in faults if level == worst)
    status = DiagnosticStatus(level=worst, name=name, message=message, hardware_id=hardware_id)
    status.values = [KeyValue(key=key, value=str(value)) for key, value in (figures or {}).items()]
    return status


class HealthPublisher:
    """Publish the health of a node once a second, in every state of it, and at once on request.

    Args:
        node: the node, which declares the parameters of Thresholds.
        parts: of the node.
        update: sets the attributes of the health that no event updates; called each second on the executor's thread.

    Attributes:
        health: None while the node is not configured.
    """

    def __init__(self, node: ManagedNode, parts: Sequence[Part], update: Callable[[Health], None]):
        self.health: Health | None = None
        self._node = node
        self._parts = parts
        self._update = update
        self._publisher = create_publisher(node, topics.DIAGNOSTICS)
        # Steady: that a bag has not started to give the time is no reason to be silent.
        node.create_timer(PERIOD_S, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def publish(self) -> None:
        """Publish now, from any thread."""
        node, health = self._node, self.health
        name, (number, state) = node.get_fully_qualified_name(), node.state
        failed = [] if node.failure is None else [(ERROR, f"{state}: {node.failure}")]
        statuses = [_status(name, failed, state)]
        if health is not None:
            thresholds = parameters.read(node, Thresholds, "diagnostics.")
            active = number == State.PRIMARY_STATE_ACTIVE
            statuses += health.statuses(name, self._parts, thresholds, active=active)
        else:
            lost = isinstance(node.failure, LensError)
            for part in self._parts:
                faults = [(ERROR, str(node.failure))] if lost and part is Part.LENS else []
                statuses.append(_status(_part_name(name, part), faults, state))
        header = Header(stamp=node.get_clock().now().to_msg())
        self._publisher.publish(DiagnosticArray(header=header, status=statuses))

    def _tick(self) -> None:
        if self.health is not None:
            self._update(self.health)
        self.publish()
