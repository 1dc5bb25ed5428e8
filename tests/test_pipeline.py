"""From sweep to result: one result for every sweep, and never more than one sweep waiting."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from fossa_ros.errors import InputError
from fossa_ros.motion import MotionCheck, MotionConfig
from fossa_ros.pipeline import DepthWorker, process
from fossa_ros.stack import DepthMap, FocusPlane, FocusStack
from fossa_ros.sweep import CapturedSweep

TEXTURE = np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8)


class Estimator:
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
        return DepthMap(np.ones(shape, np.float32), np.ones(shape, np.float32), stack.planes[0].image, stack.K)


def sweep(number: int, stack=True) -> CapturedSweep:
    planes = tuple(FocusPlane(TEXTURE, distance, 10**9 + number) for distance in (0.5, 1.0))
    return CapturedSweep(
        number=number,
        stack=FocusStack(planes) if stack else None,
        reason="" if stack else "No frame came.",
        focus_distances=(0.5, 1.0),
        stamps_ns=(1, 2),
        frames=(),
        drops={},
        started_ns=0,
        duration_ns=10**8,
    )


def test_a_good_sweep_has_depth_and_times():
    result = process(sweep(0), MotionCheck(), Estimator())
    assert result.verdict == "still" and result.reason == ""
    assert result.depth.depth[0, 0] == 1.0
    assert result.motion_ms > 0 and result.inference_ms > 0


def test_an_incomplete_sweep_says_why_and_is_not_estimated():
    result = process(sweep(0, stack=False), MotionCheck(), Estimator())
    assert (result.verdict, result.reason, result.depth) == ("incomplete", "No frame came.", None)
    assert np.isnan(result.motion_ms) and np.isnan(result.inference_ms)


def test_an_estimator_that_refuses_is_a_verdict():
    class Refusing(Estimator):
        def estimate(self, stack):
            raise InputError("K is missing; calibrate the camera.")

    result = process(sweep(0), MotionCheck(), Refusing())
    assert (result.verdict, result.depth) == ("failed", None)
    assert "calibrate" in result.reason


def test_a_slow_estimator_delays_nobody_and_the_newest_sweep_wins():
    results, estimator = [], Estimator()
    worker = DepthWorker(MotionCheck(MotionConfig(accept_unknown=True)), estimator, results.append)
    worker.start()
    estimator.gate.clear()
    worker.offer(sweep(0))
    assert estimator.begun.acquire(timeout=10)
    for number in range(1, 6):
        worker.offer(sweep(number))
    assert [(r.sweep.number, r.verdict) for r in results] == [(n, "superseded") for n in (1, 2, 3, 4)]
    estimator.gate.set()
    assert estimator.begun.acquire(timeout=10)
    worker.stop()
    assert sorted(r.sweep.number for r in results) == [0, 1, 2, 3, 4, 5]
    assert [r.sweep.number for r in results if r.depth is not None] == [0, 5]
    assert threading.active_count() == 1 or all(t.name != "depth-worker" for t in threading.enumerate())


@pytest.mark.parametrize("restarts", [3])
def test_a_worker_can_be_started_again(restarts):
    results = []
    worker = DepthWorker(MotionCheck(), Estimator(), results.append)
    for number in range(restarts):
        worker.start()
        worker.offer(sweep(number))
        while len(results) <= number:
            threading.Event().wait(0.01)
        worker.stop()
    assert [r.verdict for r in results] == ["still"] * restarts
