"""Requests of the service ``capture`` that wait for their sweeps."""

from __future__ import annotations

import threading

from rclpy.task import Future

from fossa_ros.msg import SweepReport
from fossa_ros.pipeline.result import Verdict


def answer_to_caller(report: SweepReport) -> str:
    """Say in a sentence what became of a sweep that was asked for."""
    return f"Depth of sweep {report.sweep} is published." if report.accepted else report.reason


class CaptureRequests:
    """Futures by the number of the sweep that each waits for. Thread-safe.

    The result of a future is whether the sweep has depth, and a sentence for the caller.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, list[Future]] = {}

    def add(self, sweep: int, request: Future) -> None:
        """Add a request that waits for a sweep."""
        with self._lock:
            self._waiting.setdefault(sweep, []).append(request)

    def on_report(self, report: SweepReport) -> None:
        """Complete the requests that a report answers.

        These are the requests for its sweep and, where it has depth, for earlier ones. Requests for a superseded sweep
        wait for the next, which is newer than what was requested.
        """
        with self._lock:
            if report.verdict == Verdict.SUPERSEDED:
                moved = self._waiting.pop(report.sweep, [])
                self._waiting.setdefault(report.sweep + 1, []).extend(moved)
                return
            answered = [
                sweep for sweep in self._waiting if sweep == report.sweep or (report.accepted and sweep < report.sweep)
            ]
            requests = [request for sweep in answered for request in self._waiting.pop(sweep)]
        for request in requests:
            request.set_result((report.accepted, answer_to_caller(report)))

    def fail(self, reason: str) -> None:
        """Complete all requests without success."""
        with self._lock:
            requests = [request for waiting in self._waiting.values() for request in waiting]
            self._waiting = {}
        for request in requests:
            request.set_result((False, reason))
