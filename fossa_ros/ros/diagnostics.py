"""What ``/diagnostics`` says: kept by the working threads, composed by a timer, never waiting for either."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from fossa_ros.lens import LensState
from fossa_ros.pipeline import SweepResult
from fossa_ros.sweep.clock_offset import ClockOffset

RATE_WINDOW_S = 10.0


@dataclass
class Health:
    """The figures of one run of the node."""

    hardware_id: str
    estimator: str
    accepted: int = 0
    rejected: int = 0
    last_reason: str = ""
    inference_ms: float = float("nan")
    sweep_ms: float = float("nan")
    age_ms: float = float("nan")  # of the last depth, from its stamp
    clock_offset: ClockOffset | None = None
    lens: LensState | None = None
    lens_failure: str = ""  # why the lens is lost; empty while it answers
    _ends: deque = field(default_factory=deque)  # monotonic seconds of the accepted sweeps within the window
    _began: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def on_result(self, result: SweepResult) -> None:
        """Count a sweep."""
        with self._lock:
            self.sweep_ms = result.sweep.duration_ns / 1e6
            if result.depth is None:
                self.rejected += 1
                self.last_reason = f"{result.verdict}: {result.reason}"
                return
            self.accepted += 1
            self.inference_ms = result.inference_ms
            self.age_ms = result.age_ms
            self._ends.append(time.monotonic())

    def on_lens_state(self, state: LensState | None, failure: str = "") -> bool:
        """Note what the lens said, or why it was lost; return whether it was lost or found just now."""
        with self._lock:
            before, self.lens_failure = self.lens_failure, "" if state is not None else failure or "no reason known"
            self.lens = state or self.lens
            return bool(before) != bool(self.lens_failure)

    def depth_rate(self) -> float:
        """Return accepted sweeps per second over the last seconds."""
        now = time.monotonic()
        while self._ends and self._ends[0] < now - RATE_WINDOW_S:
            self._ends.popleft()
        return len(self._ends) / min(RATE_WINDOW_S, max(now - self._began, 1e-3))

    def message(self, name: str, stamp) -> DiagnosticArray:
        """Compose the node's status."""
        with self._lock:
            rate = self.depth_rate()
            level, text = DiagnosticStatus.OK, f"{rate:.1f} depth maps a second"
            if self.lens_failure:
                level, text = DiagnosticStatus.ERROR, f"lens lost: {self.lens_failure}"
            elif self.lens is not None and self.lens.faults:
                level, text = DiagnosticStatus.WARN, "lens: " + ", ".join(self.lens.faults)
            elif rate == 0:
                level, text = DiagnosticStatus.WARN, f"no depth; {self.last_reason or 'no sweep finished yet'}"
            figures = {
                "estimator": self.estimator,
                "sweeps accepted": self.accepted,
                "sweeps not accepted": self.rejected,
                "last reason": self.last_reason,
                "depth rate [Hz]": f"{rate:.2f}",
                "sweep [ms]": f"{self.sweep_ms:.1f}",
                "inference [ms]": f"{self.inference_ms:.1f}",
                "age of depth [ms]": f"{self.age_ms:.1f}",
            }
            if self.clock_offset is not None:
                found = self.clock_offset
                certain = "certain" if found.certain else "not certain"
                figures["clock offset [ms]"] = (
                    f"{found.offset_ns / 1e6:.1f} +- {found.uncertainty_ns / 1e6:.1f}, {certain}"
                )
            if self.lens is not None:
                figures["focus distance [m]"] = f"{self.lens.focus_distance:.3f}"
                if self.lens.temperature is not None:
                    figures["lens temperature [C]"] = f"{self.lens.temperature:.1f}"
        status = DiagnosticStatus(level=level, name=name, message=text, hardware_id=self.hardware_id)
        status.values = [KeyValue(key=key, value=str(value)) for key, value in figures.items()]
        return DiagnosticArray(header=Header(stamp=stamp), status=[status])
