"""From sweep to result: one result for every sweep, and never more than one sweep waiting."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import DepthMap, FocusPlane, FocusStack
from fossa_ros.estimators import Estimator
from fossa_ros.motion import MotionCheck, MotionConfig
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.pipeline.steps import check_motion, estimate_depth
from fossa_ros.pipeline.temporal_filter import TemporalConfig
from fossa_ros.pipeline.worker import DepthWorker
from fossa_ros.sweep import CapturedSweep

TEXTURE = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (240, 320, 3), dtype=np.uint8), (0, 0), 2)
TEXTURE = cv2.normalize(TEXTURE, None, 0, 255, cv2.NORM_MINMAX)


class Constant(Estimator):
    """A real estimator of one constant depth that can be held up."""

    name = "constant"

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Semaphore(0)

    def estimate(self, stack):
        self.begun.release()
        assert self.gate.wait(10)
        shape = stack.size
        ones = np.ones(shape, np.float32)
        return DepthMap(ones, ones, stack.planes[0].image, stack.K, stack.stamp_ns)


def sweep(number: int, stack=True, shift=0) -> CapturedSweep:
    """Three planes of one texture, the last moved by ``shift`` px."""
    planes = tuple(
        FocusPlane(np.roll(TEXTURE, moved, axis=1), distance, 10**9 + number)
        for distance, moved in ((0.5, 0), (0.7, 0), (1.0, shift))
    )
    return CapturedSweep(
        number=number,
        stack=FocusStack(planes) if stack else None,
        reason="" if stack else "No frame came.",
        focus_distances=(0.5, 0.7, 1.0),
        stamps_ns=(1, 2, 3),
        frames=(),
        drops={},
        started_ns=0,
        duration_ns=10**8,
    )


def test_a_good_sweep_has_depth_and_times():
    result = estimate_depth(check_motion(sweep(0), MotionCheck()), Constant())
    assert result.verdict == "still" and result.reason == ""
    assert result.depth.depth[0, 0] == 1.0
    assert result.motion_ms > 0 and result.inference_ms > 0


def test_an_incomplete_sweep_says_why():
    result = check_motion(sweep(0, stack=False), MotionCheck())
    assert (result.verdict, result.reason, result.stack) == ("incomplete", "No frame came.", None)
    assert np.isnan(result.motion_ms) and np.isnan(result.inference_ms)


@pytest.mark.parametrize("error", [InputError("K is missing; calibrate the camera."), ZeroDivisionError("bad luck")])
def test_an_estimator_that_raises_is_a_verdict(error):
    class Raising(Constant):
        def estimate(self, stack):
            raise error

    result = estimate_depth(check_motion(sweep(0), MotionCheck()), Raising())
    assert (result.verdict, result.depth, result.stack) == ("failed", None, None)
    assert str(error) in result.reason


def test_a_gpu_without_memory_is_a_sentence_that_names_parameters_and_no_traceback(caplog):
    import torch

    class Greedy(Constant):
        def estimate(self, stack):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nmore")

    result = estimate_depth(check_motion(sweep(0), MotionCheck()), Greedy())
    assert (result.verdict, result.depth) == ("failed", None) and not caplog.records
    assert all(word in result.reason for word in ("model", "precision", "device", "20.00 GiB")), result.reason


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf])
def test_depth_that_cannot_be_is_not_passed_on_and_nan_is(value):
    class Wrong(Constant):
        def estimate(self, stack):
            depth = super().estimate(stack)
            depth.depth[3, 4:6] = value
            depth.depth[0, 0] = np.nan
            return depth

    result = estimate_depth(check_motion(sweep(0), MotionCheck()), Wrong())
    assert (result.verdict, result.depth) == ("failed", None) and "2 pixels" in result.reason
    value = np.nan
    result = estimate_depth(check_motion(sweep(0), MotionCheck()), Wrong())
    assert np.isnan(result.depth.depth).sum() == 3


def test_depth_of_another_view_is_not_passed_on():
    class Other(Constant):
        def estimate(self, stack):
            return replace(super().estimate(stack), stamp_ns=7)

    result = estimate_depth(check_motion(sweep(0), MotionCheck()), Other())
    assert (result.verdict, result.depth) == ("failed", None) and "constant" in result.reason


def test_the_traceback_of_one_fault_is_logged_once(caplog):
    class Raising(Constant):
        def estimate(self, stack):
            raise KeyError("a fault of this test alone")

    for number in range(3):
        estimate_depth(check_motion(sweep(number), MotionCheck()), Raising())
    assert len(caplog.records) == 1


def test_a_slow_estimator_delays_nothing_and_the_newest_sweep_wins():
    results, estimator = [], Constant()
    worker = DepthWorker(MotionCheck(), estimator, results.append)
    worker.start()
    estimator.gate.clear()
    worker.submit(sweep(0))
    assert estimator.begun.acquire(timeout=10)
    for number in range(1, 6):  # each is checked before the next comes, as in life
        worker.submit(sweep(number))
        wait_until(lambda number=number: len(results) >= number - 1 and not worker._checking._waiting)
    wait_until(lambda: len(results) == 4)
    assert [(r.sweep.number, r.verdict) for r in results] == [(n, "superseded") for n in (1, 2, 3, 4)]
    estimator.gate.set()
    assert estimator.begun.acquire(timeout=10)
    worker.stop()
    assert sorted(r.sweep.number for r in results) == [0, 1, 2, 3, 4, 5]
    assert [r.sweep.number for r in results if r.depth is not None] == [0, 5]
    assert not {"motion-check", "depth-estimate"} & {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(("age_s", "verdict"), [(0.2, "still"), (0.4, "stale")])
def test_depth_that_is_too_old_is_dropped_with_a_reason_and_any_other_tells_its_age(age_s, verdict):
    results, estimator = [], Constant()
    now = 10**9 + 7 + round(age_s * 1e9)  # the sweeps are stamped 1 s and their number
    worker = DepthWorker(MotionCheck(), estimator, results.append, clock=lambda: now, max_age_ns=300_000_000)
    worker.start()
    worker.submit(sweep(7))
    wait_until(lambda: results)
    worker.stop()
    assert (results[0].verdict, results[0].depth is not None) == (verdict, verdict == "still")
    if verdict == "still":
        assert results[0].age_ms == pytest.approx(200)
    else:
        assert "0.40 s" in results[0].reason and "depth.max_age" in results[0].reason
        assert not estimator.begun.acquire(blocking=False)  # nothing was estimated for a result that is not used


def test_no_age_is_told_where_the_clock_was_set_back_after_the_stamp():
    results: list[SweepResult] = []
    worker = DepthWorker(MotionCheck(), Constant(), results.append, clock=lambda: 10**9, max_age_ns=300_000_000)
    worker.start()
    worker.submit(sweep(7))  # stamped 7 ns later
    wait_until(lambda: results)
    worker.stop()
    assert results[0].depth is not None and math.isnan(results[0].age_ms)


def test_thresholds_change_from_the_next_sweep_on():
    results: list[SweepResult] = []
    worker = DepthWorker(MotionCheck(), Constant(), results.append, clock=lambda: 2 * 10**9)
    worker.start()

    def verdict_of(number, shift):
        worker.submit(sweep(number, shift=shift))
        wait_until(lambda: len(results) == number + 1)
        return results[-1].verdict

    assert verdict_of(0, 6) == "repaired"
    worker.reconfigure(MotionConfig(repair_px=0.0), 0, None)
    assert verdict_of(1, 6) == "rejected"
    worker.reconfigure(MotionConfig(), 500_000_000, None)
    assert verdict_of(2, 0) == "stale"  # 1 s old
    worker.reconfigure(MotionConfig(), 0, TemporalConfig(memory=0.5))
    assert verdict_of(3, 0) == "still" and worker._temporal.config.memory == 0.5
    past = worker._temporal
    worker.reconfigure(MotionConfig(), 0, TemporalConfig(memory=0.7))
    assert worker._temporal is past and past.config.memory == 0.7
    worker.reconfigure(MotionConfig(), 0, None)
    assert verdict_of(4, 0) == "still"
    worker.stop()


def test_a_moved_sweep_is_rejected_even_while_the_estimator_is_busy_and_displaces_no_other():
    results, estimator = [], Constant()
    worker = DepthWorker(MotionCheck(), estimator, results.append)
    worker.start()
    estimator.gate.clear()
    worker.submit(sweep(0))
    assert estimator.begun.acquire(timeout=10)
    worker.submit(sweep(1))
    wait_until(lambda: worker._estimating._waiting is not None)
    worker.submit(sweep(2, shift=60))
    wait_until(lambda: results)
    assert [(r.sweep.number, r.verdict) for r in results] == [(2, "rejected")]
    threading.Timer(0.1, estimator.gate.set).start()
    worker.stop()  # the one that waits is reported too
    assert [(r.sweep.number, r.verdict) for r in results[1:]] == [(0, "still"), (1, "superseded")]
    assert "stopped" in results[-1].reason


def wait_until(condition, timeout=10):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("works", [True, False])
def test_the_estimator_is_prepared_once_before_the_first_sweep_whatever_comes_of_it(works):
    results, done, may = [], [], threading.Event()

    class Preparing(Constant):
        def warm_up(self, size, planes):
            assert may.wait(10)
            done.append((size, planes))
            if not works:
                raise RuntimeError("out of memory")

        def estimate(self, stack):
            done.append("estimate")
            return super().estimate(stack)

    worker = DepthWorker(MotionCheck(), Preparing(), results.append)
    worker.start()
    for _ in range(2):
        worker.warm_up((48, 64), 3)
    worker.submit(sweep(0))
    may.set()
    wait_until(lambda: results)
    worker.stop()
    assert done == [((48, 64), 3), "estimate"] and results[0].verdict == "still"


def test_a_worker_that_is_stopped_while_its_warm_up_begins_waits_for_its_end(monkeypatch):
    """Images come on one thread, and a node is deactivated on another."""
    created, ended = threading.Event(), []

    class SlowToStart(threading.Thread):
        def start(self):
            created.set()
            time.sleep(0.05)
            super().start()

    class Preparing(Constant):
        def warm_up(self, size, planes):
            ended.append(size)

    worker = DepthWorker(MotionCheck(), Preparing(), lambda result: None)
    worker.start()
    images = threading.Thread(target=worker.warm_up, args=((48, 64), 3))
    with monkeypatch.context() as patched:
        patched.setattr("fossa_ros.pipeline.worker.threading.Thread", SlowToStart)
        images.start()
        assert created.wait(10)
        worker.stop()
    images.join()
    assert ended == [(48, 64)]


@pytest.mark.parametrize("restarts", [3])
def test_a_worker_can_be_started_again(restarts):
    results = []
    worker = DepthWorker(MotionCheck(), Constant(), results.append)
    for number in range(restarts):
        worker.start()
        worker.submit(sweep(number))
        wait_until(lambda number=number: len(results) > number)
        worker.stop()
    assert [r.verdict for r in results] == ["still"] * restarts
