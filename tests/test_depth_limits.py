"""Limits of confidence and range: which depth is published."""

from __future__ import annotations

import numpy as np
import pytest

from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import DepthMap
from fossa_ros.motion import MotionCheck, MotionConfig
from fossa_ros.parameters.config import build, parameters_of
from fossa_ros.parameters.node_config import DepthNodeConfig
from fossa_ros.pipeline.depth_limits import DepthLimits
from fossa_ros.pipeline.worker import DepthWorker
from test_pipeline import Constant, sweep, wait_until

DEPTH = np.array([[0.3, 0.5, 1.0], [2.0, np.nan, 4.0]], np.float32)
CONFIDENCE = np.array([[0.9, 0.2, 0.8], [0.5, 0.0, 1.0]], np.float32)
NAMES = ("depth.min_confidence", "depth.min_range", "depth.max_range")


@pytest.mark.parametrize(
    ("limits", "known"),
    [
        (DepthLimits(0.0), [[1, 1, 1], [1, 0, 1]]),
        (DepthLimits(), [[1, 0, 1], [1, 0, 1]]),
        (DepthLimits(min_confidence=0.5), [[1, 0, 1], [1, 0, 1]]),
        (DepthLimits(0.0, min_range=0.5), [[0, 1, 1], [1, 0, 1]]),
        (DepthLimits(0.0, max_range=2.0), [[1, 1, 1], [1, 0, 0]]),
        (DepthLimits(0.6, 0.4, 3.0), [[0, 0, 1], [0, 0, 0]]),
    ],
)
def test_depth_outside_the_limits_is_unknown_and_has_no_confidence(limits, known):
    found = limits.apply(DepthMap(DEPTH, CONFIDENCE, np.zeros((2, 3, 3), np.uint8)))
    known = np.array(known, bool)
    np.testing.assert_array_equal(found.depth, np.where(known, DEPTH, np.nan))
    np.testing.assert_array_equal(found.confidence, np.where(known, CONFIDENCE, 0))


def test_a_range_without_depth_and_a_confidence_above_1_are_refused():
    with pytest.raises(InputError, match=r"depth.max_range, 0.5 m, must exceed depth.min_range, 0.5 m"):
        DepthLimits(min_range=0.5, max_range=0.5)
    with pytest.raises(InputError, match=r"min_confidence must be within 0 \.\. 1"):
        DepthLimits(min_confidence=1.5)


def test_they_are_live_parameters_of_the_depth_group():
    config = build(DepthNodeConfig, {"depth.min_confidence": 0.5, "depth.max_range": 3.0})
    assert config.limits == DepthLimits(0.5, 0.0, 3.0)
    limits = {p.name: p for p in parameters_of(DepthNodeConfig) if p.name in NAMES}
    assert sorted(limits) == sorted(NAMES) and all(p.live for p in limits.values())
    with pytest.raises(InputError, match=r"depth.max_range, 1 m, must exceed depth.min_range, 2 m"):
        build(DepthNodeConfig, {"depth.min_range": 2.0, "depth.max_range": 1.0})


def test_a_worker_applies_limits_from_the_next_sweep_on():
    results = []
    worker = DepthWorker(MotionCheck(), Constant(), results.append, limits=DepthLimits(max_range=0.001))
    worker.start()
    try:
        for number, limits in enumerate((None, DepthLimits(max_range=1e4))):
            if limits is not None:
                worker.reconfigure(MotionConfig(), 0, None, limits)
            worker.submit(sweep(number))
            wait_until(lambda n=number: len(results) == n + 1)
    finally:
        worker.stop()
    assert [np.isfinite(r.depth.depth).mean() for r in results] == [0.0, 1.0]
