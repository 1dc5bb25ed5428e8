"""Focus stacks on their way to another node, until it is known what became of them."""

from __future__ import annotations

import threading

from fossa_ros.msg import SweepReport
from fossa_ros.pipeline.result import SweepResult, Verdict
from fossa_ros.ros.conversions import sweep_report
from fossa_ros.sweep import CapturedSweep

LOST = "It was lost on the way to depth_node; see 'frames are lost' in the README, or use fewer or smaller planes."
REMEMBERED = 1000


class PendingReports:
    """Say which sweeps were lost on the way, so that they are reported too. Thread-safe.

    Whoever estimates depth does so in the order of the sweeps and reports each: once one has depth, an earlier one
    without a report never arrived.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._waiting: dict[int, SweepReport] = {}  # what to report if it is lost

    def add(self, sweep: CapturedSweep) -> None:
        """Note a sweep that is about to be sent."""
        report = sweep_report(SweepResult(sweep, Verdict.FAILED, LOST))
        with self._lock:
            self._waiting[sweep.number] = report
            while len(self._waiting) > REMEMBERED:
                del self._waiting[min(self._waiting)]

    def on_report(self, report: SweepReport) -> list[SweepReport]:
        """Take what became of a sweep; return the reports of those that are known to be lost by now."""
        with self._lock:
            self._waiting.pop(report.sweep, None)
            lost = sorted(number for number in self._waiting if report.accepted and number < report.sweep)
            return [self._waiting.pop(number) for number in lost]

    def clear(self) -> list[SweepReport]:
        """Return the reports of all that wait: nobody is left to receive them."""
        with self._lock:
            left, self._waiting = list(self._waiting.values()), {}
            return left
