"""The threads of a replay: checks, depth and writing of several sweeps at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from fossa_ros.estimators.estimator import Estimator
from fossa_ros.evaluation.replay_figures import SweepFigures, sweep_figures
from fossa_ros.evaluation.replay_sweeps import ReplayedSweep
from fossa_ros.motion import MotionCheck
from fossa_ros.pipeline.depth_limits import DepthLimits
from fossa_ros.pipeline.region import Region
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.pipeline.steps import check_focus, check_motion, estimate_depth
from fossa_ros.pipeline.still_average import StillAverage
from fossa_ros.pipeline.temporal_filter import TemporalConfig, TemporalFilter
from fossa_ros.sweep import CapturedSweep

WAITING = 2  # sweeps that wait, beside those under way


class ReplayWorkers:
    """Check sweeps for motion, estimate their depth and pass on the results, each on its own threads.

    Results keep the order of the sweeps. No sweep is superseded: ``submit`` blocks until there is room. A context
    manager: leaving it finishes the sweeps under way.

    Args:
        motion: the motion check.
        estimator: of depth.
        on_result: receives every result with its figures and sweep, on one thread.
        workers: number of sweeps whose depth is estimated at a time; 0 for one per processor with the classical
            estimator, and for one with any other. With ``temporal`` or ``still_sweeps`` it is one: each depth map
            needs the one before.
        limits: of confidence and range; None keeps all depth.
        focus_check: whether sweeps whose blur contradicts their focus distances are refused.
        region: of interest; None for the whole view.
        temporal: how successive depth maps are filtered; None leaves each as it is.
        still_sweeps: number of sweeps whose planes are averaged where nothing moves; 1 takes each on its own.
    """

    def __init__(
        self,
        motion: MotionCheck,
        estimator: Estimator,
        on_result: Callable[[SweepResult, SweepFigures, ReplayedSweep], None],
        workers: int = 0,
        limits: DepthLimits | None = None,
        focus_check: bool = False,
        region: Region | None = None,
        temporal: TemporalConfig | None = None,
        still_sweeps: int = 1,
    ):
        self._region = region
        self._temporal = None if temporal is None else TemporalFilter(temporal)
        self._still = StillAverage(still_sweeps) if still_sweeps > 1 else None
        if self._temporal or self._still:  # neither is thread-safe
            workers = 1
        workers = workers or (_processors() if estimator.name == "classical" else 1)
        self._motion = motion
        self._estimator = estimator
        self._on_result = on_result
        self._limits = limits
        self._focus_check = focus_check
        self._room = threading.Semaphore(workers + WAITING)
        self._checking = ThreadPoolExecutor(1, "motion-check")
        self._estimating = ThreadPoolExecutor(workers, "depth-estimate")
        self._finishing = ThreadPoolExecutor(1, "results")
        self._failure: BaseException | None = None

    def __enter__(self) -> ReplayWorkers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for stage in (self._checking, self._estimating, self._finishing):
            stage.shutdown()
        if kind is None and self._failure is not None:
            raise self._failure

    def submit(self, sweep: ReplayedSweep) -> None:
        """Queue a sweep once there is room; raises the error of an earlier one."""
        self._room.acquire()
        if self._failure is not None:
            raise self._failure
        checked = self._checking.submit(self._check, sweep.sweep)
        estimated = self._estimating.submit(self._estimate, checked, sweep.truth)
        self._finishing.submit(self._finish, estimated, sweep)

    def _check(self, sweep: CapturedSweep) -> SweepResult:
        result = check_motion(sweep, self._motion)
        return check_focus(result) if self._focus_check else result

    def _estimate(self, checked: Future[Any], truth: np.ndarray | None) -> tuple[SweepResult, SweepFigures]:
        result = checked.result()
        if result.stack is not None:
            result = estimate_depth(result, self._estimator, self._temporal, self._limits, self._region, self._still)
        return result, sweep_figures(result, truth, result.stamp_ns)

    def _finish(self, estimated: Future[Any], sweep: ReplayedSweep) -> None:
        try:
            if self._failure is None:
                result, figures = estimated.result()
                self._on_result(result, figures, sweep)
        except BaseException as error:
            self._failure = error
        finally:
            self._room.release()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
