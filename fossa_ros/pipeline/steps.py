"""The steps from a captured sweep to a depth map: motion, focus, depth. Failures become verdicts."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from dataclasses import replace

import numpy as np

from fossa_ros.calibration.breathing_correction import resample
from fossa_ros.core.errors import FossaError
from fossa_ros.core.rectified import rectified
from fossa_ros.core.stack import DepthMap, FocusStack
from fossa_ros.estimators.estimator import Estimator
from fossa_ros.motion import MotionCheck
from fossa_ros.pipeline.depth_limits import DepthLimits
from fossa_ros.pipeline.region import Region, cut_depth, cut_stack, surroundings
from fossa_ros.pipeline.result import SweepResult, Verdict
from fossa_ros.pipeline.stack_check import StackFindings, check_stack, repeated_frames
from fossa_ros.pipeline.still_average import StillAverage
from fossa_ros.pipeline.temporal_filter import TemporalFilter
from fossa_ros.sweep import CapturedSweep

LOG = logging.getLogger(__name__)
_logged_failures: deque[str] = deque(maxlen=16)  # their traceback is in the log


def check_motion(sweep: CapturedSweep, motion: MotionCheck) -> SweepResult:
    """Remove focus breathing from a sweep and check it for motion.

    Planes of the sweep that were added to ``motion`` as they arrived are not compared again.

    Returns:
        A result with a stack, whose depth is still to be estimated, or a final result without one.
    """
    if sweep.stack is None:
        return SweepResult(sweep, Verdict.INCOMPLETE, sweep.reason)
    started = time.perf_counter()
    try:
        stack, valid = sweep.stack, None
        if sweep.breathing is not None:
            stack, valid = resample(stack, sweep.breathing)
        checked = motion.finish(stack, sweep.gyro)
    except Exception as error:
        return _failed(SweepResult(sweep, Verdict.FAILED), error)
    return SweepResult(
        sweep,
        checked.verdict,
        checked.reason,
        checked.motion_px,
        stack=checked.stack,
        valid=_intersection(valid, checked.valid),
        motion_ms=(time.perf_counter() - started) * 1e3,
        motion=checked,
    )


def check_focus(result: SweepResult) -> SweepResult:
    """Hold the blur of a sweep's planes against their focus distances and the lens.

    Args:
        result: of ``check_motion``.

    Returns:
        The result with what was found; with verdict ``inconsistent`` and without a stack if the planes cannot be what
        the sweep says. A sweep without a stack is only asked for repeated frames.
    """
    if result.sweep.stack is None:
        return result
    started = time.perf_counter()
    try:
        # As captured: two equal frames differ once they are warped.
        found = StackFindings(repeated_frames(result.sweep.stack))
        if not found.refusal and result.stack is not None:
            found = check_stack(result.stack, result.sweep.stack)
    except Exception as error:
        return _failed(result, error)
    result = replace(result, findings=found, motion_ms=result.motion_ms + (time.perf_counter() - started) * 1e3)
    if found.refusal:
        return replace(result, verdict=Verdict.INCONSISTENT, reason=found.refusal, stack=None)
    return result


def estimate_depth(
    result: SweepResult,
    estimator: Estimator,
    temporal: TemporalFilter | None = None,
    limits: DepthLimits | None = None,
    region: Region | None = None,
    still: StillAverage | None = None,
) -> SweepResult:
    """Estimate the depth of a sweep that passed the checks.

    Args:
        result: of ``check_motion`` or ``check_focus``, with a stack.
        estimator: makes the depth map.
        temporal: filters successive depth maps; None leaves each as it is.
        limits: depth outside them is unknown; None keeps all.
        region: of interest, in which alone depth is made; None for the whole view.
        still: averages the planes of successive sweeps; None takes each sweep on its own.

    Returns:
        The result with its depth in the rectified view, or with verdict ``failed`` and the reason.
    """
    if result.stack is None:
        raise ValueError(f"Sweep {result.sweep.number} has no stack to estimate depth from.")
    started = time.perf_counter()
    try:
        stack, valid, window, around = result.stack, result.valid, None, None
        if still is not None:
            stack = still.add(stack)
        if region is not None and not region.is_whole:
            window = region.window(stack.size)
            around = surroundings(window, stack)
            stack = cut_stack(stack, around)
            valid = None if valid is None else around.cut(valid)
        depth = _validated(estimator.estimate(stack), stack, estimator.name).within(valid)
        if temporal is not None:
            depth = temporal.filter(depth)
        depth = rectified(depth, stack)
        if window is not None and around is not None:
            depth = cut_depth(depth, window.seen_from(around))
        if limits is not None:
            depth = limits.apply(depth)
    except Exception as error:
        return _failed(result, error)
    return replace(result, depth=depth, window=window, inference_ms=(time.perf_counter() - started) * 1e3)


def _intersection(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
    """Return where both masks are True; None is True everywhere."""
    if a is None or b is None:
        return b if a is None else a
    return a & b


def _validated(depth: DepthMap, stack: FocusStack, estimator: str) -> DepthMap:
    """Return ``depth`` if it can belong to ``stack``; an estimator may come from another package.

    Raises:
        FossaError: another size or stamp than the stack's, or depth that is not positive and finite.
    """
    if depth.depth.shape != stack.size or depth.stamp_ns != stack.stamp_ns:
        raise FossaError(
            f"Estimator {estimator} returned a depth map with another size or stamp than its stack; fix the estimator."
        )
    lowest, highest = np.fmin.reduce(depth.depth, axis=None), np.fmax.reduce(depth.depth, axis=None)  # ignore NaN
    if lowest <= 0 or highest == np.inf:
        impossible = np.count_nonzero((depth.depth <= 0) | np.isinf(depth.depth))
        raise FossaError(
            f"Estimator {estimator} returned a depth of {impossible} pixels that is not positive and finite; "
            "fix the estimator."
        )
    return depth


def _failed(result: SweepResult, error: Exception) -> SweepResult:
    """Turn an exception into a verdict, because one bad sweep must not end the thread that serves all others."""
    torch = sys.modules.get("torch")  # loaded only if the estimator needs it
    if torch is not None and isinstance(error, torch.cuda.OutOfMemoryError):
        torch.cuda.empty_cache()
        reason = (
            "The GPU ran out of memory; choose a smaller model or precision, set device to cpu, or end other programs "
            f"on the GPU ({str(error).splitlines()[0]})."
        )
    elif isinstance(error, FossaError):
        reason = str(error)
    else:
        reason = f"{type(error).__name__}: {error}"
        if reason not in _logged_failures:  # every sweep may fail in the same way
            _logged_failures.append(reason)
            LOG.exception("Sweep %d failed unexpectedly; please report this", result.sweep.number, exc_info=error)
    return replace(result, verdict=Verdict.FAILED, reason=reason, stack=None)
