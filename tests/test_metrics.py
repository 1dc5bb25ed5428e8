"""Depth metrics against values worked out by hand."""

import numpy as np
import pytest

from fossa_ros.errors import InputError
from fossa_ros.evaluation.metrics import depth_metrics, mean_metrics


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
