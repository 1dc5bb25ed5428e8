"""Whether the estimator keeps pace with the sweeps."""

from __future__ import annotations

import math
import threading
from collections import deque

from fossa_ros.pipeline.result import SweepResult, Verdict

SWEEPS = 20  # that are looked at together
BEHIND = 0.5  # share of them that is superseded, from which the estimator is behind


class Pace:
    """Notices, once, that newer sweeps replace most of those that wait for their depth.

    Args:
        estimator: its name.
    """

    def __init__(self, estimator: str):
        self._estimator = estimator
        self._superseded: deque[bool] = deque(maxlen=SWEEPS)
        self._inference_ms = math.nan
        self._said = False
        self._lock = threading.Lock()  # results come on any thread of the worker

    def apply(self, result: SweepResult) -> str:
        """Return the sentence to log after ``result``, empty if there is nothing to say."""
        with self._lock:
            self._superseded.append(result.verdict == Verdict.SUPERSEDED)
            if math.isfinite(result.inference_ms):
                self._inference_ms = result.inference_ms
            count = sum(self._superseded)
            behind = len(self._superseded) == SWEEPS and count >= BEHIND * SWEEPS
            if self._said or not behind or math.isnan(self._inference_ms):
                return ""
            self._said = True
        cure = "fewer planes" if self._estimator == "classical" else "estimator: classical, or fewer planes,"
        return (
            f"{count} of {SWEEPS} sweeps were superseded: inference takes {self._inference_ms:.0f} ms, "
            f"so that depth has the rate of the estimator, not that of the sweeps; {cure} would be faster."
        )
