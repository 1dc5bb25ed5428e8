"""Depth metrics against values worked out by hand."""

import numpy as np
import pytest

from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.metrics import boundary_f1, depth_metrics, mean_metrics


def test_hand_computed_values():
    # Errors +0.2, -0.5, 0, +2 m on 1, 2, 3, 4 m; the fifth truth has no depth, the sixth pixel no truth.
    truth = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, np.nan]])
    depth = np.array([[1.2, 1.5, 3.0], [6.0, np.nan, 7.0]], np.float32)
    m = depth_metrics(depth, truth)
    assert m["abs_rel"] == pytest.approx((0.2 + 0.25 + 0 + 0.5) / 4, abs=1e-6)
    assert m["sq_rel"] == pytest.approx((0.04 + 0.125 + 0 + 1.0) / 4, abs=1e-6)
    assert m["mse"] == pytest.approx((0.04 + 0.25 + 0 + 4) / 4, abs=1e-6)
    assert m["rmse"] == pytest.approx(1.0725**0.5, abs=1e-6)
    logs = [0.1823216, -0.2876821, 0.0, 0.4054651]  # ln 1.2, ln 0.75, ln 1, ln 1.5
    assert m["rmse_log"] == pytest.approx(0.2647660, abs=1e-6)
    assert m["log10"] == pytest.approx((0.0791812 + 0.1249387 + 0.1760913) / 4, abs=1e-6)
    mean = sum(logs) / 4
    assert m["silog"] == pytest.approx(100 * (sum((x - mean) ** 2 for x in logs) / 4) ** 0.5, abs=1e-4)
    # Ratios 1.2, 1.333, 1, 1.5.
    assert (m["delta_1.05"], m["delta_1.15"], m["delta_1.25"], m["delta_1.25^2"], m["delta_1.25^3"]) == (
        0.25,
        0.25,
        0.5,
        1.0,
        1.0,
    )
    assert m["coverage"] == pytest.approx(4 / 5)


def test_a_perfect_depth_has_no_error():
    truth = np.linspace(0.3, 6, 48).reshape(6, 8)
    m = depth_metrics(truth.astype(np.float32), truth)
    assert m["abs_rel"] < 1e-7 and m["rmse"] < 1e-6 and m["silog"] < 1e-4
    assert m["delta_1.05"] == m["delta_1.25^3"] == m["coverage"] == 1.0


def test_silog_does_not_see_scale_and_abs_rel_does():
    truth = np.linspace(0.5, 4, 40).reshape(5, 8)
    m = depth_metrics(1.1 * truth, truth)
    assert m["silog"] == pytest.approx(0.0, abs=1e-5)
    assert m["abs_rel"] == pytest.approx(0.1)
    assert m["rmse_log"] == pytest.approx(np.log(1.1))


def test_zero_negative_and_infinite_depth_is_unknown():
    truth = np.full((1, 5), 2.0)
    m = depth_metrics(np.array([[2.0, 0.0, -1.0, np.inf, np.nan]]), truth)
    assert m["coverage"] == pytest.approx(0.2) and m["abs_rel"] == 0.0


def test_truth_outside_the_range_is_left_out():
    truth = np.array([[0.1, 1.0, 9.0]])
    m = depth_metrics(np.array([[9.0, 1.1, 1.0]]), truth, near=0.2, far=6.0)
    assert m["coverage"] == 1.0 and m["abs_rel"] == pytest.approx(0.1)


def test_other_shapes_are_refused():
    with pytest.raises(InputError, match="shape"):
        depth_metrics(np.ones((2, 3)), np.ones((3, 2)))


def test_nothing_to_compare_is_nan_and_no_error():
    without_truth = depth_metrics(np.ones((2, 3)), np.full((2, 3), np.nan))
    assert np.isnan(list(without_truth.values())).all()
    without_depth = depth_metrics(np.full((2, 3), np.nan), np.ones((2, 3)))
    assert without_depth.pop("coverage") == 0.0
    assert np.isnan(list(without_depth.values())).all()


def test_images_count_alike_in_the_mean():
    one = depth_metrics(np.full((1, 1), 1.1), np.ones((1, 1)))
    many = depth_metrics(np.full((10, 10), 1.3), np.ones((10, 10)))
    mean = mean_metrics([one, many])
    assert mean["abs_rel"] == pytest.approx(0.2)
    assert mean["delta_1.25"] == 0.5
    with pytest.raises(InputError):
        mean_metrics([])


def test_an_image_without_depth_counts_in_coverage_only():
    good, empty = (depth_metrics(np.full((1, 1), p), np.ones((1, 1))) for p in (1.1, np.nan))
    mean = mean_metrics([good, empty])
    assert mean["abs_rel"] == pytest.approx(0.1) and mean["coverage"] == 0.5


def test_silog_of_half_lambda():
    # ln p - ln t is ln 2 twice and 0 twice: the mean square is ln2^2 / 2, the squared mean ln2^2 / 4.
    m = depth_metrics(np.array([[2.0, 4.0, 3.0, 5.0]]), np.array([[1.0, 2.0, 3.0, 5.0]]))
    assert m["silog_0.5"] == pytest.approx(np.log(2) * (1 / 2 - 1 / 8) ** 0.5)


def test_boundary_f1_by_hand():
    # One row: the truth steps back by 1.5 after the first pixel, and nearer by 1.2 after the third.
    truth = np.array([[2.0, 3.0, 3.0, 2.5]])
    # Found: the first step; not the second; and a false step back by 1.3 after the second pixel.
    depth = np.array([[1.0, 1.5, 1.95, 1.95]])
    valid = np.ones(truth.shape, bool)
    thresholds = 1.05 + 0.2 * np.arange(10) / 9
    expected = 0.0
    for t in thresholds:
        # Farther to the right: 1 true, 2 found, 1 common. Nearer to the right: 1 true below 1.2, none found.
        # Above and below there are no pairs, which counts as 0.
        recall, precision = (1 / 1) / 4, (1 / 2) / 4
        expected += t / thresholds.sum() * 2 * recall * precision / (recall + precision)
    assert boundary_f1(depth, truth, valid) == pytest.approx(expected) == pytest.approx(1 / 6)
    assert boundary_f1(1 / depth, 1 / truth, valid) == pytest.approx(expected)  # of disparities: the same
    # Both steps found, at every threshold or at those below 1.2 (seven of ten, weighed by themselves).
    assert boundary_f1(7 * truth, truth, valid) == pytest.approx(
        sum((2 if t < 1.2 else 1) / 4 * t for t in thresholds) / thresholds.sum()
    )
    valid[0, 1] = False  # takes both pairs of the second pixel away
    assert boundary_f1(7 * truth, truth, valid) == pytest.approx(
        sum(t / 4 for t in thresholds if t < 1.2) / thresholds.sum()
    )
    assert boundary_f1(np.ones((3, 3)), np.ones((3, 3)), np.ones((3, 3), bool)) == 0.0
    assert np.isnan(boundary_f1(np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1), bool)))


def test_boundary_f1_sees_columns_as_rows():
    rng = np.random.default_rng(0)
    truth = np.exp(rng.normal(0, 0.1, (20, 30)))
    depth = truth * np.exp(rng.normal(0, 0.05, truth.shape))
    valid = rng.random(truth.shape) > 0.2
    f1 = boundary_f1(depth, truth, valid)
    assert 0.5 < f1 < 0.9
    assert boundary_f1(depth.T, truth.T, valid.T) == pytest.approx(f1)
    assert boundary_f1(truth, truth, valid) == pytest.approx(1.0)
