"""From a captured sweep to a depth map: motion check, then estimator, on a worker that never falls behind."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from fossa_ros.errors import FossaError
from fossa_ros.estimator import Estimator
from fossa_ros.motion import MotionCheck
from fossa_ros.stack import DepthMap, FocusStack
from fossa_ros.sweep import CapturedSweep

LOG = logging.getLogger(__name__)


class Verdict(StrEnum):
    """What became of a sweep, beyond the verdicts of the motion check."""

    INCOMPLETE = "incomplete"  # a plane is missing
    SUPERSEDED = "superseded"  # a newer sweep was ready before the worker was
    FAILED = "failed"  # the estimator could not use it


@dataclass(frozen=True, eq=False)
class SweepResult:
    """The end of one sweep: exactly one for every sweep that was captured.

    Attributes:
        sweep: what was captured.
        verdict: the motion check's (still, repaired, rejected) or one of ``Verdict``.
        reason: why there is no depth; empty otherwise.
        motion_px: largest misalignment found, px at network resolution; NaN where not measured.
        depth: the depth map of an accepted sweep, else None.
        stack: the stack the depth was estimated from (aligned), else None.
        motion_ms: NaN where the check was not run.
        inference_ms: NaN where the estimator was not run.
    """

    sweep: CapturedSweep
    verdict: str
    reason: str = ""
    motion_px: float = math.nan
    depth: DepthMap | None = None
    stack: FocusStack | None = None
    motion_ms: float = math.nan
    inference_ms: float = math.nan


def process(sweep: CapturedSweep, motion: MotionCheck, estimator: Estimator) -> SweepResult:
    """Check one sweep for motion and estimate its depth; whatever goes wrong is a verdict, not an exception."""
    if sweep.stack is None:
        return SweepResult(sweep, Verdict.INCOMPLETE, sweep.reason)
    try:
        started = time.perf_counter()
        checked = motion.check(sweep.stack)
        begun = time.perf_counter()
        motion_ms = (begun - started) * 1e3
        if checked.stack is None:
            return SweepResult(sweep, checked.verdict, checked.reason, checked.motion_px, motion_ms=motion_ms)
        depth = estimator.estimate(checked.stack)
    except FossaError as error:
        return SweepResult(sweep, Verdict.FAILED, str(error))
    except Exception as error:  # one bad sweep must not end the thread that serves all the others
        LOG.exception("Sweep %d failed unexpectedly; please report this", sweep.number)
        return SweepResult(sweep, Verdict.FAILED, f"{type(error).__name__}: {error}")
    return SweepResult(
        sweep,
        checked.verdict,
        motion_px=checked.motion_px,
        depth=depth,
        stack=checked.stack,
        motion_ms=motion_ms,
        inference_ms=(time.perf_counter() - begun) * 1e3,
    )


class DepthWorker:
    """Run ``process`` on a thread: one sweep at work, at most one waiting, and a newer one replaces that.

    ``on_result`` receives one result for every offered sweep, in the worker's thread (superseded ones in the thread
    that offers).
    """

    def __init__(self, motion: MotionCheck, estimator: Estimator, on_result: Callable[[SweepResult], None]):
        self._motion = motion
        self._estimator = estimator
        self._on_result = on_result
        self._changed = threading.Condition()
        self._waiting: CapturedSweep | None = None
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to work; the previous sweep that motion is measured against is forgotten."""
        self._motion.forget()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="depth-worker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the sweep at work, drop the one that waits, and end."""
        with self._changed:
            self._stopping = True
            self._waiting = None
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def offer(self, sweep: CapturedSweep) -> None:
        """Queue a sweep; one that still waits gives way and is reported as superseded."""
        if sweep.stack is None:
            self._on_result(process(sweep, self._motion, self._estimator))
            return
        with self._changed:
            replaced, self._waiting = self._waiting, sweep
            self._changed.notify_all()
        if replaced is not None:
            self._on_result(
                SweepResult(replaced, Verdict.SUPERSEDED, f"Sweep {sweep.number} was ready before its depth was begun.")
            )

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._waiting is not None)
                if self._stopping:
                    return
                sweep, self._waiting = self._waiting, None
            self._on_result(process(sweep, self._motion, self._estimator))
