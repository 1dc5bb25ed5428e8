"""Confidence from the agreement of blur and depth: columns by hand, and depths that the images contradict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fossa_ros.core.stack import FocusPlane
from fossa_ros.estimators.agreement import WEIGHTS, agreement, agreement_confidence
from fossa_ros.estimators.factory import create_estimator
from fossa_ros.io.stack_files import load_stack

FOLDER = Path(__file__).parent / "data" / "path_traced"


def logit(share):
    return np.log(share / (1 - share))


def columns(total, depth):
    """Return the columns where the log-likelihoods of 1, 2, 3 and 4 dioptres are ``total`` at every pixel."""
    everywhere = np.broadcast_to(np.array(total, np.float32)[:, None, None], (4, 24, 32)).copy()
    return agreement(np.array([1.0, 2.0, 3.0, 4.0]), everywhere, depth)


def test_columns_of_a_flat_surface_by_hand():
    # Levels far apart: a depth at one of them is close to that one alone, and to as much of it as 10 % are of its step.
    second, third = (0.5 + np.log(1.1) / (np.log(ratio) / 2) for ratio in (3 / 1, 4 / 2))
    found = columns([0.0, np.log(6), np.log(2), 0.0], np.full((48, 64), 0.5))
    assert found.shape == (24, 32, len(WEIGHTS) - 1)
    share = 0.6 * second
    likeliest = [logit(second / 4), logit(share), logit(share), 0, 0, np.log1p(np.log(6)), np.log(share), 0, 0]
    np.testing.assert_allclose(found[12, 16], likeliest, atol=1e-5)
    # At 3 dioptres the images say that 2 is three times as likely.
    found = columns([0.0, np.log(6), np.log(2), 0.0], np.full((48, 64), 1 / 3))
    gap = np.log1p(np.log(3))
    share = 0.2 * third
    contradicted = [logit(third / 4), logit(share), logit(share), gap, gap, np.log1p(np.log(6)), np.log(share), 0, 0]
    np.testing.assert_allclose(found[12, 16], contradicted, atol=1e-5)


def test_a_depth_edge_counts_within_four_pixels_on_both_sides():
    depth = np.full((48, 64), 0.5)
    depth[:, 32:] = 0.25
    found = columns([0.0] * 4, depth)[12]
    jump = np.sqrt(np.log(2))
    np.testing.assert_allclose(found[10:22, 7], [0] * 2 + [jump] * 4 + [0] * 6, atol=1e-6)
    np.testing.assert_allclose(found[10:22, 8], [0] * 6 + [jump] * 4 + [0] * 2, atol=1e-6)


@pytest.mark.parametrize("name", ["breakfast", "workbench"])
def test_a_depth_that_the_images_contradict_is_doubted(name):
    source = load_stack(FOLDER / f"{name}.npz")
    right, far, near = (agreement_confidence(source.stack, factor * source.truth) for factor in (1.0, 1.3, 0.77))
    assert right.dtype == np.float32 and right.shape == source.truth.shape
    # Far away, where blur hardly changes, a wrong depth may pass.
    assert np.mean(right) > 0.75 and np.mean(far) < 0.45 and np.mean(near) < 0.45
    unknown = np.where(np.arange(right.shape[1]) < 40, np.nan, source.truth)
    confidence = agreement_confidence(source.stack, unknown)
    assert (confidence[:, :40] == 0).all() and confidence[:, 60:].mean() == pytest.approx(
        right[:, 60:].mean(), abs=0.02
    )


def test_without_texture_no_depth_is_trusted():
    source = load_stack(FOLDER / "breakfast.npz")
    rng = np.random.default_rng(0)
    planes = [
        FocusPlane(np.clip(rng.normal(120, 2, p.image.shape), 0, 255).astype(np.uint8), p.focus_distance)
        for p in source.stack.planes
    ]
    assert agreement_confidence(replace(source.stack, planes=tuple(planes)), source.truth).max() < 0.5


def test_nano_has_this_confidence():
    stack = load_stack(FOLDER / "workbench.npz").stack
    found = create_estimator("fossa", device="cpu").estimate(stack)
    np.testing.assert_array_equal(found.confidence, agreement_confidence(stack, found.depth))
