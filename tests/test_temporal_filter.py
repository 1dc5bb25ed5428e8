"""The temporal filter: noise falls, edges and movers stay."""

from __future__ import annotations

import numpy as np
import pytest

from fossa_ros.core.stack import DepthMap
from fossa_ros.estimators import Estimator
from fossa_ros.motion import MotionCheck, MotionConfig
from fossa_ros.pipeline.temporal_filter import TemporalConfig, TemporalFilter
from fossa_ros.pipeline.worker import DepthWorker
from test_pipeline import sweep, wait_until

SIZE = 120, 160


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(30, 220, (SIZE[0] // 4, SIZE[1] // 4 + 10, 3), np.uint8)
    return coarse.repeat(4, axis=0).repeat(4, axis=1)


def seen(picture, rng, depth, shift=0, noise=0.03, confidence=0.8):
    """Return a noisy map of (H, W) true depth, its picture shifted to the left."""
    image = picture[:, shift : shift + SIZE[1]]
    noisy = (depth * (1 + noise * rng.standard_normal(SIZE))).astype(np.float32)
    return DepthMap(noisy, np.full(SIZE, confidence, np.float32), np.ascontiguousarray(image))


def error(found, depth, where=np.s_[10:-10, 20:-20]) -> float:
    return float(np.sqrt(np.nanmean((found.depth / depth - 1)[where] ** 2)))


def test_noise_falls_as_the_memory_says(picture):
    rng, steady = np.random.default_rng(1), TemporalFilter(TemporalConfig(memory=0.75, agreement=0.3))
    depth = np.full(SIZE, 2.0)
    for _ in range(12):
        found = steady.filter(seen(picture, rng, depth))
    # Exponential averaging with weight w of the past leaves (1 - w) / (1 + w) of the variance.
    assert error(found, depth) / 0.03 == pytest.approx(np.sqrt(0.25 / 1.75), rel=0.25)


def test_a_moving_view_is_followed_and_its_edges_stay(picture):
    """The view pans by 4 px a map; the depth moves along, and steps from 1 m to 3 m."""
    rng, steady = np.random.default_rng(2), TemporalFilter(TemporalConfig(agreement=0.15))
    for number in range(8):
        shift = 4 * number
        columns = np.arange(SIZE[1]) + shift
        depth = np.broadcast_to(np.where(columns < 90, 1.0, 3.0), SIZE)
        found = steady.filter(seen(picture, rng, depth, shift))
    ratio = found.depth / depth
    assert np.abs(ratio[10:-10, 10:-10] - 1).max() < 0.2  # nothing between 1 m and 3 m
    assert error(found, depth) < 0.7 * 0.03


def test_what_changes_its_depth_is_not_averaged(picture):
    rng, steady = np.random.default_rng(3), TemporalFilter()
    before = np.full(SIZE, 2.0)
    for _ in range(4):
        steady.filter(seen(picture, rng, before, noise=0.01))
    after = before.copy()
    after[40:80, 40:80] = 1.0
    found = steady.filter(seen(picture, rng, after, noise=0.01))
    assert np.abs(found.depth / after - 1)[40:80, 40:80].max() < 0.06


def test_unknown_stays_unknown_and_confidence_weighs(picture):
    rng, steady = np.random.default_rng(4), TemporalFilter(TemporalConfig(memory=1.0, agreement=0.2))
    depth = np.full(SIZE, 2.0)
    first = seen(picture, rng, depth * 1.1, noise=0.0, confidence=0.9)
    second = seen(picture, rng, depth, noise=0.0, confidence=0.1)
    second.depth[50:60, 50:60] = np.nan
    steady.filter(first)
    found = steady.filter(second)
    assert np.isnan(found.depth[50:60, 50:60]).all()
    assert found.depth[20, 80] == pytest.approx(1 / (0.9 / 2.2 + 0.1 / 2.0), rel=1e-3)
    steady.reset()
    assert steady.filter(second) is second


def test_the_worker_steadies_depth_when_it_is_configured_to(picture):
    class Wavering(Estimator):
        name = "wavering"

        def __init__(self):
            self.count = 0

        def estimate(self, stack):
            self.count += 1
            depth = np.full(stack.size, 2.0 if self.count % 2 else 2.1, np.float32)
            return DepthMap(depth, np.ones_like(depth), stack.planes[0].image, None, stack.stamp_ns, self.name)

    spread = []
    for temporal in (None, TemporalFilter(TemporalConfig(memory=0.9))):
        results = []
        check = MotionCheck(MotionConfig(accept_unknown=True))
        worker = DepthWorker(check, Wavering(), results.append, temporal=temporal)
        worker.start()
        for number in range(6):
            worker.submit(sweep(number))
            wait_until(lambda number=number, results=results: len(results) > number)
        worker.stop()
        depths = [float(np.nanmedian(result.depth.depth)) for result in results]
        spread.append(abs(depths[-1] - depths[-2]))
    assert spread[0] == pytest.approx(0.1, abs=1e-4) and spread[1] < 0.03
