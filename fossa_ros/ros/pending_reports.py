"""Reports of the focus stacks that are on their way to another node."""

from __future__ import annotations

import threading

from fossa_ros.msg import SweepReport
from fossa_ros.pipeline.result import SweepResult, Verdict
from fossa_ros.ros.conversions import sweep_report
from fossa_ros.sweep import CapturedSweep

LOST = "It was lost on the way to depth_node; see docs/troubleshooting.md, or use fewer or smaller planes."
REMEMBERED = 1000


class PendingReports:
    """Find the sweeps that were lost on the way, so that they are reported too. Thread-safe.

    depth_node handles sweeps in their order and reports each of them. Once one has depth, an earlier sweep without a
    report cannot have arrived.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, SweepReport] = {}  # the report of a loss, by sweep

    def add(self, sweep: CapturedSweep) -> None:
        """Add a sweep that is about to be sent."""
        report = sweep_report(SweepResult(sweep, Verdict.FAILED, LOST))
        with self._lock:
            self._waiting[sweep.number] = report
            while len(self._waiting) > REMEMBERED:
                del self._waiting[min(self._waiting)]

    def on_report(self, report: SweepReport) -> list[SweepReport]:
        """Remove the sweep of a report; return the reports of the sweeps that are lost, as this one shows."""
        with self._lock:
            self._waiting.pop(report.sweep, None)
            lost = sorted(number for number in self._waiting if report.accepted and number < report.sweep)
            return [self._waiting.pop(number) for number in lost]

    def clear(self) -> list[SweepReport]:
        """Remove and return all reports: there is no receiver left."""
        with self._lock:
            left, self._waiting = list(self._waiting.values()), {}
            return left
