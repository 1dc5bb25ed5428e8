"""Depth metrics against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fossa_ros.evaluation.metrics import depth_metrics

# Two pixels with both: 2 m for 1 m, 3 m for 4 m. One depth is missing, one truth is.
DEPTH = np.array([[2.0, 3.0], [np.nan, 5.0]], np.float32)
TRUTH = np.array([[1.0, 4.0], [2.0, 0.0]], np.float32)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("abs_rel", (1 / 1 + 1 / 4) / 2),
        ("sq_rel", (1 / 1 + 1 / 4) / 2),
        ("mse", 1.0),
        ("rmse", 1.0),
        ("rmse_log", math.sqrt((math.log(2) ** 2 + math.log(4 / 3) ** 2) / 2)),
        ("log10", (math.log10(2) + math.log10(4 / 3)) / 2),
        # mean of the log error is (ln 2 - ln 4/3) / 2; the deviation from it is the same on both sides
        ("silog", 100 * (math.log(2) + math.log(4 / 3)) / 2),
        ("delta_1.25", 0.0),
        ("delta_1.25^2", 0.5),  # 4/3 is below 1.5625, 2 is not
        ("delta_1.25^3", 0.5),  # 1.953
        ("coverage", 2 / 3),
    ],
)
def test_by_hand(name, value):
    assert depth_metrics(DEPTH, TRUTH)[name] == pytest.approx(value, rel=1e-6)


def test_a_perfect_map():
    metrics = depth_metrics(TRUTH, TRUTH)
    assert metrics["abs_rel"] == metrics["rmse"] == metrics["silog"] == 0.0
    assert metrics["delta_1.05"] == metrics["coverage"] == 1.0


def test_nothing_known_is_nan_not_zero():
    metrics = depth_metrics(np.full((2, 2), np.nan, np.float32), TRUTH)
    assert math.isnan(metrics["abs_rel"]) and math.isnan(metrics["delta_1.25"]) and metrics["coverage"] == 0.0


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="differ in size"):
        depth_metrics(DEPTH, TRUTH[:1])
