"""The classical estimator on physically rendered stacks: numbers against the exact depth."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from fossa_ros.core.errors import InputError
from fossa_ros.core.optics import dioptre_space, dioptres
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.estimators.classical import ClassicalConfig, ClassicalEstimator
from fossa_ros.estimators.classical.depth_profile import dioptre_levels
from fossa_ros.evaluation.metrics import depth_metrics
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack

CAMERA = SimulatedCamera(width=320, height=240, fx=450.0, full_well=20000.0)
ESTIMATOR = ClassicalEstimator()


@cache
def rendered(seed=1, count=5, far=6.0):
    return render_stack(seed, CAMERA, dioptre_space(0.4, far, count), rng=seed, views=48)


def with_planes(stack, planes, **kwargs):
    known = {"K": stack.K, "f_number": stack.f_number, "focal_length": stack.focal_length}
    return FocusStack(tuple(planes), **{**known, **kwargs})


def score(stack, truth, estimator=ESTIMATOR):
    return depth_metrics(estimator.estimate(stack).depth, truth)


@pytest.mark.parametrize("seed", [0, 1, 4, 5])
def test_depth_of_rendered_scenes(seed):
    metrics = score(*rendered(seed))
    assert metrics["abs_rel"] < 0.12 and metrics["delta_1.25"] > 0.88 and metrics["coverage"] > 0.9


def test_more_planes_are_better_and_two_are_enough_for_something():
    two, nine = score(*rendered(1, 2)), score(*rendered(1, 9))
    assert nine["abs_rel"] < score(*rendered(1))["abs_rel"] * 1.1
    assert nine["abs_rel"] < two["abs_rel"] < 0.3


def test_the_order_of_the_planes_changes_nothing():
    stack, _ = rendered()
    shuffled = with_planes(stack, [stack.planes[i] for i in (3, 0, 4, 2, 1)])
    np.testing.assert_array_equal(ESTIMATOR.estimate(stack).depth, ESTIMATOR.estimate(shuffled).depth)


def test_a_plane_at_infinity_is_allowed():
    assert score(*rendered(1, 5, np.inf))["abs_rel"] < 0.15


@pytest.mark.parametrize("distances", [(0.35, 6.0), (120.0, 1000.0), (3.0, 200.0), (0.5, np.inf), (300.0, np.inf)])
def test_the_levels_reach_the_planes_whatever_their_distance(distances):
    focus = dioptres(np.array(distances))
    levels = dioptre_levels(focus, 48, 0.5)
    assert levels[0] > 0 and levels[-1] > focus.max() and (np.diff(levels) > 0).all()
    assert levels[0] <= max(focus.min(), min(0.01, 0.01 * focus.max()))


def test_flicker_of_three_per_cent_costs_little():
    stack, truth = rendered()
    gains = (1.0, 0.97, 1.03, 0.98, 1.02)
    flickering = stack.images() * np.reshape(gains, (5, 1, 1, 1))
    images = np.clip(flickering, 0, 255).astype(np.uint8)
    assert score(stack.with_images(list(images)), truth)["abs_rel"] < 1.25 * score(stack, truth)["abs_rel"]


def test_the_lens_is_found_out_where_it_is_not_known():
    stack, truth = rendered()
    unknown = with_planes(stack, stack.planes, K=None, f_number=None, focal_length=None)
    assert score(unknown, truth)["abs_rel"] < 0.15


def test_confidence_is_monotone_with_error():
    errors, confidences = [], []
    for seed in (0, 1, 4, 5):
        stack, truth = rendered(seed)
        result = ESTIMATOR.estimate(stack)
        known = np.isfinite(result.depth) & np.isfinite(truth)
        errors.append(np.abs(result.depth - truth)[known] / truth[known])
        confidences.append(result.confidence[known])
        assert (result.confidence[~np.isfinite(result.depth)] == 0).all()
    ranked = np.concatenate(errors)[np.argsort(np.concatenate(confidences))]
    means = [part.mean() for part in np.array_split(ranked, 4)]
    assert means == sorted(means, reverse=True) and means[0] > 2 * means[-1]


def test_what_has_no_texture_is_unknown_rather_than_made_up():
    noise = np.random.default_rng(3).normal(0, 1.5, (5, 240, 320, 3))
    images = np.clip(128 + noise, 0, 255).astype(np.uint8)
    stack, _ = rendered()
    result = ESTIMATOR.estimate(stack.with_images(list(images)))
    assert np.isnan(result.depth).mean() > 0.95 and (result.confidence > 0.3).mean() < 0.01


@pytest.mark.parametrize("size", [(3, 5), (48, 64), (96, 72), (240, 320)])
def test_planes_without_any_texture_are_unknown_everywhere_whatever_their_size(size):
    planes = tuple(FocusPlane(np.full((*size, 3), 90, np.uint8), distance) for distance in (0.5, 0.7, 1.0, 2.0))
    depth = ClassicalEstimator().estimate(FocusStack(planes))
    assert np.isnan(depth.depth).all() and not depth.confidence.any()


def test_min_confidence_trades_coverage_for_error():
    stack, truth = rendered(1)
    every, sure = score(stack, truth), score(stack, truth, ClassicalEstimator(ClassicalConfig(min_confidence=0.5)))
    assert sure["abs_rel"] < every["abs_rel"] and 0.2 < sure["coverage"] < every["coverage"]


def test_one_distance_only_is_refused():
    image = np.zeros((48, 64, 3), np.uint8)
    with pytest.raises(InputError, match="two different"):
        ESTIMATOR.estimate(FocusStack((FocusPlane(image, 1.0), FocusPlane(image, 1.0))))


def test_the_result_belongs_to_the_stack():
    stack, _ = rendered()
    result = ESTIMATOR.estimate(stack)
    assert result.depth.shape == stack.size and result.estimator == "classical" and result.K is stack.K
    sharpest = np.abs(np.diff(result.all_in_focus.astype(float), axis=1)).mean()
    assert sharpest > max(np.abs(np.diff(plane.image.astype(float), axis=1)).mean() for plane in stack.planes)
