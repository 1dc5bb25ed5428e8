"""From a captured sweep to a depth map: motion check, then estimator, neither of which ever falls behind."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeVar

import numpy as np

from fossa_ros.calibration.breathing_correction import resample
from fossa_ros.core.errors import FossaError
from fossa_ros.core.stack import DepthMap, FocusStack
from fossa_ros.estimators.estimator import Estimator
from fossa_ros.motion import MotionCheck
from fossa_ros.pipeline.result import SweepResult, Verdict
from fossa_ros.pipeline.temporal_filter import TemporalFilter
from fossa_ros.sweep import CapturedSweep, DecodePlane

LOG = logging.getLogger(__name__)
_TOLD: deque[str] = deque(maxlen=16)  # failures whose traceback is in the log
Item = TypeVar("Item")


def check_motion(sweep: CapturedSweep, motion: MotionCheck) -> SweepResult:
    """Take breathing out of a sweep and check it for motion; a result with a stack awaits its depth, any other ends."""
    if sweep.stack is None:
        return SweepResult(sweep, Verdict.INCOMPLETE, sweep.reason)
    started = time.perf_counter()
    try:
        stack, valid = sweep.stack, None
        if sweep.breathing is not None:
            stack, valid = resample(stack, sweep.breathing)
        checked = motion.check(stack, sweep.gyro)
    except Exception as error:
        return _failed(SweepResult(sweep, Verdict.FAILED), error)
    return SweepResult(
        sweep,
        checked.verdict,
        checked.reason,
        checked.motion_px,
        stack=checked.stack,
        valid=_both(valid, checked.valid),
        motion_ms=(time.perf_counter() - started) * 1e3,
        motion=checked,
    )


def estimate_depth(result: SweepResult, estimator: Estimator, temporal: TemporalFilter | None = None) -> SweepResult:
    """Estimate the depth of a sweep that passed the motion check; whatever goes wrong is a verdict."""
    started = time.perf_counter()
    try:
        depth = _checked(estimator.estimate(result.stack), result.stack, estimator.name).within(result.valid)
        if temporal is not None:
            depth = temporal.filter(depth)
    except Exception as error:
        return _failed(result, error)
    return replace(result, depth=depth, inference_ms=(time.perf_counter() - started) * 1e3)


def _both(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
    return b if a is None else a if b is None else a & b


def _checked(depth: DepthMap, stack: FocusStack, estimator: str) -> DepthMap:
    """Return ``depth``, unless it cannot be that of ``stack``: estimators come from other packages too."""
    if depth.depth.shape != stack.size or depth.stamp_ns != stack.stamp_ns:
        raise FossaError(f"Estimator {estimator} gave the depth of another view than it was asked for; repair it.")
    lowest, highest = np.fmin.reduce(depth.depth, axis=None), np.fmax.reduce(depth.depth, axis=None)  # NaN aside
    if lowest <= 0 or highest == np.inf:
        impossible = np.count_nonzero((depth.depth <= 0) | np.isinf(depth.depth))
        raise FossaError(
            f"Estimator {estimator} gave {impossible} pixels a depth that is not a positive number; repair it."
        )
    return depth


def _failed(result: SweepResult, error: Exception) -> SweepResult:
    """Turn what was raised into a verdict: one bad sweep must not end the thread that serves all the others."""
    torch = sys.modules.get("torch")  # which few estimators need
    if torch is not None and isinstance(error, torch.cuda.OutOfMemoryError):
        torch.cuda.empty_cache()
        error = FossaError(
            "The GPU ran out of memory; choose a smaller model or precision, set device to cpu, or end what else uses "
            f"the GPU ({str(error).splitlines()[0]})."
        )
    elif not isinstance(error, FossaError):
        told = f"{type(error).__name__}: {error}"
        if told not in _TOLD:  # the same fault comes with every sweep
            _TOLD.append(told)
            LOG.exception("Sweep %d failed unexpectedly; please report this", result.sweep.number, exc_info=error)
        error = FossaError(told)
    return replace(result, verdict=Verdict.FAILED, reason=str(error), stack=None)


class DepthWorker:
    """Check sweeps for motion and estimate their depth, each on a thread of its own.

    Every sweep is checked, because each is the next one's evidence; the estimator takes the newest that passed. Each
    stage holds one sweep at work and at most one waiting, which a newer one replaces, so latency never accumulates.
    ``on_result`` receives exactly one result for every submitted sweep, from any of the threads.

    Args:
        motion: the check.
        estimator: makes depth of what passed.
        on_result: see above.
        clock: nanoseconds on the clock of the stacks' stamps; None where ages do not matter.
        max_age_ns: depth older than that, from the stamp of its reference plane, is not delivered; 0 for no bound.
        temporal: steadies successive depth maps; None leaves each as it is.
    """

    def __init__(
        self,
        motion: MotionCheck,
        estimator: Estimator,
        on_result: Callable[[SweepResult], None],
        *,
        clock: Callable[[], int] | None = None,
        max_age_ns: int = 0,
        temporal: TemporalFilter | None = None,
    ):
        self._temporal = temporal
        self._clock = clock
        self._max_age_ns = max_age_ns
        self._motion = motion
        self._estimator = estimator
        self._on_result = on_result
        self._looking = threading.Lock()  # the check is one, and not thread-safe
        self._using = threading.Lock()  # nor is the estimator
        self._warming: threading.Thread | None = None
        self._adding = Stage("motion-planes", self._add_plane)
        self._checking = Stage("motion-check", self._check)
        self._estimating = Stage("depth-estimate", self._estimate)

    def start(self) -> None:
        """Begin to work; the previous sweep that motion is measured against is forgotten."""
        self._motion.reset()
        if self._temporal is not None:
            self._temporal.reset()
        self._estimating.start()
        self._checking.start()
        self._adding.start()

    def expect(self, size: tuple[int, int], planes: int) -> None:
        """Let the estimator prepare for ``planes`` images of ``size`` (H, W), so that its first stack need not wait."""
        if self._warming is not None:
            return

        def work() -> None:
            try:
                with self._using:
                    self._estimator.warm_up(size, planes)
            except Exception:  # which the first sweep will meet again, and report
                LOG.debug("The estimator cannot be prepared", exc_info=True)

        self._warming = threading.Thread(target=work, name="warm-up", daemon=True)
        self._warming.start()

    def stop(self) -> None:
        """Finish the sweeps at work, report those that wait as superseded, and end."""
        if self._warming is not None:
            self._warming.join()
            self._warming = None
        self._adding.stop()
        unchecked = self._checking.stop()
        unestimated = self._estimating.stop()
        left = [SweepResult(unchecked, Verdict.SUPERSEDED)] if unchecked is not None else []
        for result in left + ([unestimated] if unestimated is not None else []):
            self._supersede(result, "The node was stopped before its depth was begun.")

    def submit(self, sweep: CapturedSweep) -> None:
        """Queue a sweep."""
        if sweep.stack is None:
            self._on_result(check_motion(sweep, self._motion))
            return
        replaced = self._checking.submit(sweep)
        if replaced is not None:
            self._supersede(SweepResult(replaced, Verdict.SUPERSEDED), _newer(sweep))

    def add_plane(self, decode: DecodePlane) -> None:
        """Let the motion check see a plane of the sweep in the making; one that comes too fast is not looked at.

        ``decode`` returns the plane and its K, and is called from a thread of the worker.
        """
        self._adding.submit(decode)

    def _add_plane(self, decode: DecodePlane) -> None:
        try:
            plane, K = decode()
            with self._looking:
                self._motion.add_plane(plane, K)
        except Exception:  # which its sweep will meet again, and report
            LOG.debug("A plane cannot be looked at early", exc_info=True)

    def _check(self, sweep: CapturedSweep) -> None:
        with self._looking:
            result = check_motion(sweep, self._motion)
        if result.stack is None:
            self._on_result(result)
            return
        replaced = self._estimating.submit(result)
        if replaced is not None:
            self._supersede(replaced, _newer(sweep))

    def _estimate(self, result: SweepResult) -> None:
        result = self._bounded(result, result.stack.stamp_ns)  # before the work is done, which may be in vain
        if result.stack is not None:
            with self._using:
                result = estimate_depth(result, self._estimator, self._temporal)
            if result.depth is not None:
                result = self._bounded(result, result.depth.stamp_ns)
        self._on_result(result)

    def _bounded(self, result: SweepResult, stamp_ns: int | None) -> SweepResult:
        """Note the age of a result; one that is too old loses its depth."""
        if self._clock is None or stamp_ns is None:
            return result
        age_ns = self._clock() - stamp_ns
        if self._max_age_ns and age_ns > self._max_age_ns:
            reason = (
                f"Its depth would be {age_ns / 1e9:.2f} s old, more than {self._max_age_ns / 1e9:.2f} s; "
                "raise depth.max_age, or use a faster estimator."
            )
            return replace(result, verdict=Verdict.STALE, reason=reason, stack=None, depth=None)
        return replace(result, age_ms=age_ns / 1e6)

    def _supersede(self, result: SweepResult, reason: str) -> None:
        self._on_result(replace(result, verdict=Verdict.SUPERSEDED, reason=reason, stack=None))


def _newer(sweep: CapturedSweep) -> str:
    return f"Sweep {sweep.number} was ready before its depth was begun."


class Stage(Generic[Item]):
    """A thread that handles one item at a time, with room for one more."""

    def __init__(self, name: str, handle: Callable[[Item], None]):
        self._name = name
        self._handle = handle
        self._changed = threading.Condition()
        self._waiting: Item | None = None
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> Item | None:
        """Finish the item at work and end; return the one that waited."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        waiting, self._waiting = self._waiting, None
        return waiting

    def submit(self, item: Item) -> Item | None:
        """Queue an item; return the one that waited and gives way to it."""
        with self._changed:
            replaced, self._waiting = self._waiting, item
            self._changed.notify_all()
        return replaced

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._waiting is not None)
                if self._stopping:
                    return
                item, self._waiting = self._waiting, None
            self._handle(item)
