"""Check sweeps and estimate their depth on threads, so that neither step ever falls behind."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import replace

from fossa_ros.estimators.estimator import Estimator
from fossa_ros.motion import MotionCheck, MotionConfig
from fossa_ros.pipeline.depth_limits import DepthLimits
from fossa_ros.pipeline.region import Region, surroundings
from fossa_ros.pipeline.result import SweepResult, Verdict
from fossa_ros.pipeline.stage import Stage
from fossa_ros.pipeline.steps import check_focus, check_motion, estimate_depth
from fossa_ros.pipeline.still_average import StillAverage
from fossa_ros.pipeline.temporal_filter import TemporalConfig, TemporalFilter
from fossa_ros.sweep import CapturedSweep, DecodePlane

LOG = logging.getLogger(__name__)


class DepthWorker:
    """Run the motion check and the estimator, each on its own thread.

    Three stages: single planes are compared while their sweep is still being taken, complete sweeps are checked, and
    the depth of those that pass is estimated. Every sweep is checked, because each is the evidence for the next; the
    estimator takes the newest that passed. ``on_result`` receives exactly one result for every submitted sweep, from
    any of the threads.

    Args:
        motion: the check.
        estimator: makes depth maps.
        on_result: receives every result.
        clock: nanoseconds on the clock of the stacks' stamps; None where ages do not matter.
        max_age_ns: largest age of a depth map, from the stamp of its reference plane; 0 for no limit.
        temporal: filters successive depth maps; None leaves each as it is.
        limits: of confidence and range; None publishes all depth.
        focus_check: whether sweeps whose blur contradicts their focus distances are refused.
        region: of interest; None for the whole view.
        still_sweeps: number of sweeps whose planes are averaged where nothing moves; 1 takes each on its own.
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
        limits: DepthLimits | None = None,
        focus_check: bool = False,
        region: Region | None = None,
        still_sweeps: int = 1,
    ):
        self._region = self._filtered = region or Region()  # from the next estimate on, and that of the last one
        self._motion = motion
        self._motion_config = motion.config  # from the next check on
        self._estimator = estimator
        self._on_result = on_result
        self._clock = clock
        self._max_age_ns = max_age_ns
        self._temporal = temporal
        self._still = StillAverage(still_sweeps)
        self._limits = limits
        self._focus_check = focus_check
        self._motion_lock = threading.Lock()  # the check is used by two stages and is not thread-safe
        self._estimator_lock = threading.Lock()  # so is the estimator, by a stage and by its warm-up
        self._warm_up_lock = threading.Lock()  # a worker is stopped on another thread than that of the images
        self._warm_up_thread: threading.Thread | None = None
        self._comparing = Stage("motion-planes", self._compare_plane)
        self._checking = Stage("motion-check", self._check)
        self._estimating = Stage("depth-estimate", self._estimate)

    def start(self) -> None:
        """Start the threads; motion and depth are not compared with sweeps of an earlier run."""
        self._motion.reset()
        if self._temporal is not None:
            self._temporal.reset()
        self._still.reset()
        self._estimating.start()
        self._checking.start()
        self._comparing.start()

    def reconfigure(
        self,
        motion: MotionConfig,
        max_age_ns: int,
        temporal: TemporalConfig | None,
        limits: DepthLimits | None = None,
        focus_check: bool = False,
        region: Region | None = None,
        still_sweeps: int = 1,
    ) -> None:
        """Use other thresholds from the next sweep on; returns at once, from any thread.

        Args:
            motion: thresholds of the check.
            max_age_ns: largest age of a depth map; 0 for no limit.
            temporal: how successive depth maps are filtered; None leaves each as it is.
            limits: of confidence and range; None publishes all depth.
            focus_check: whether sweeps whose blur contradicts their focus distances are refused.
            region: of interest; None for the whole view.
            still_sweeps: number of sweeps whose planes are averaged where nothing moves; 1 takes each on its own.
        """
        self._region = region or Region()
        self._motion_config = motion
        self._max_age_ns = max_age_ns
        self._limits = limits
        self._focus_check = focus_check
        if temporal is None:
            self._temporal = None
        elif self._temporal is None:
            self._temporal = TemporalFilter(temporal)
        else:
            self._temporal.config = temporal  # the past stays
        self._still.sweeps = still_sweeps

    def warm_up(self, size: tuple[int, int], planes: int) -> None:
        """Prepare the estimator for ``planes`` images of ``size`` (H, W), so that the first stack need not wait.

        Only the first call has an effect. It returns at once.
        """
        with self._warm_up_lock:
            if self._warm_up_thread is None:
                self._warm_up_thread = threading.Thread(
                    target=self._warm_up, args=(size, planes), name="warm-up", daemon=True
                )
                self._warm_up_thread.start()

    def stop(self) -> None:
        """Finish the current sweeps, report those that wait as superseded, and end the threads."""
        with self._warm_up_lock:
            warming_up, self._warm_up_thread = self._warm_up_thread, None
        if warming_up is not None:
            warming_up.join()
        self._comparing.stop()
        unchecked = self._checking.stop()
        unestimated = self._estimating.stop()
        waiting = [] if unchecked is None else [SweepResult(unchecked, Verdict.SUPERSEDED)]
        waiting += [] if unestimated is None else [unestimated]
        for result in waiting:
            self._supersede(result, "The node was stopped before its depth was computed.")

    def submit(self, sweep: CapturedSweep) -> None:
        """Queue a sweep, complete or not."""
        if sweep.stack is None:
            self._on_result(check_motion(sweep, self._motion))
            return
        replaced = self._checking.submit(sweep)
        if replaced is not None:
            self._supersede(SweepResult(replaced, Verdict.SUPERSEDED), _newer(sweep))

    def add_plane(self, decode: DecodePlane) -> None:
        """Compare a plane of the sweep that is being taken; a plane that arrives too fast is compared with its sweep.

        Args:
            decode: returns the plane and its K; called on a thread of the worker.
        """
        self._comparing.submit(decode)

    def _warm_up(self, size: tuple[int, int], planes: int) -> None:
        try:
            if not self._region.is_whole:
                size = surroundings(self._region.window(size)).size
            with self._estimator_lock:
                self._estimator.warm_up(size, planes)
        except Exception:  # the first estimate fails in the same way and is reported
            LOG.debug("The estimator could not be warmed up", exc_info=True)

    def _compare_plane(self, decode: DecodePlane) -> None:
        try:
            plane, K = decode()
            with self._motion_lock:
                self._motion.add_plane(plane, K)
        except Exception:  # its sweep fails in the same way and is reported
            LOG.debug("A plane could not be compared before its sweep was complete", exc_info=True)

    def _check(self, sweep: CapturedSweep) -> None:
        with self._motion_lock:
            self._motion.config = self._motion_config
            result = check_motion(sweep, self._motion)
        if self._focus_check:
            result = check_focus(result)
        if result.stack is None:
            self._on_result(result)
            return
        replaced = self._estimating.submit(result)
        if replaced is not None:
            self._supersede(replaced, _newer(sweep))

    def _estimate(self, result: SweepResult) -> None:
        if result.stack is not None:
            result = self._limit_age(result, result.stack.stamp_ns)  # before an estimate that would not be used
        if result.stack is not None:
            region, temporal = self._region, self._temporal
            if region != self._filtered and temporal is not None:
                temporal.reset()  # its past shows another part of the view
            self._filtered = region
            with self._estimator_lock:
                result = estimate_depth(result, self._estimator, temporal, self._limits, region, self._still)
            if result.depth is not None:
                result = self._limit_age(result, result.depth.stamp_ns)
        self._on_result(result)

    def _limit_age(self, result: SweepResult, stamp_ns: int | None) -> SweepResult:
        """Set the age of a result; one that is too old loses its depth.

        Where the clock reads less than the stamp (a bag began again while the depth was made), no age is known.
        """
        if self._clock is None or stamp_ns is None:
            return result
        age_ns = self._clock() - stamp_ns
        if self._max_age_ns and age_ns > self._max_age_ns:
            reason = (
                f"Its depth would be {age_ns / 1e9:.2f} s old, more than {self._max_age_ns / 1e9:.2f} s; "
                "raise depth.max_age, or use a faster estimator."
            )
            return replace(result, verdict=Verdict.STALE, reason=reason, stack=None, depth=None)
        return replace(result, age_ms=age_ns / 1e6 if age_ns >= 0 else math.nan)

    def _supersede(self, result: SweepResult, reason: str) -> None:
        self._on_result(replace(result, verdict=Verdict.SUPERSEDED, reason=reason, stack=None))


def _newer(sweep: CapturedSweep) -> str:
    return f"Sweep {sweep.number} was ready before its depth was computed."
