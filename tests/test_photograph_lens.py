"""Synthetic defocus of photographs: width of blur, place, and occlusion."""

from __future__ import annotations

import numpy as np
import pytest

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.core.srgb import srgb_decode
from fossa_ros.simulation.photograph_lens import refocus_photograph

K = np.array([[400.0, 0, 119.5], [0, 400.0, 39.5], [0, 0, 1]])
FOCAL_LENGTH, F_NUMBER = 0.025, 1.0


def photograph(*columns):
    """Return (80, 240, 3) uint8 of columns of one grey level each: (first column, level)."""
    image = np.zeros((80, 240, 3), np.uint8)
    for start, level in columns:
        image[:, start:] = level
    return image


@pytest.mark.parametrize("ratio", [1.0, 2.0])
@pytest.mark.parametrize("focus", [0.45, 5.0])
def test_an_edge_blurs_by_the_circle_of_confusion_and_stays_in_place(focus, ratio):
    stack, truth = refocus_photograph(
        photograph((0, 255), (140, 0)), np.full((80, 240), 1.0), K, FOCAL_LENGTH, F_NUMBER, [1.0, focus], ratio=ratio
    )
    profile = srgb_decode(stack.planes[1].image / 255.0).mean(axis=(0, 2))
    slope = -np.diff(profile)
    x = np.arange(len(slope)) + 0.5
    middle = np.sum(slope * x)
    pixels = (2 + 1 / ratio**2) / 12  # twice a pixel, of the image and of the difference, and one of the photograph
    deviation = np.sqrt(np.sum(slope * (x - middle) ** 2) - pixels)
    pixel_size = optics.pixel_size(FOCAL_LENGTH, stack.K[0, 0])
    expected = 2 * optics.blur_radius(1.0, focus, FOCAL_LENGTH, F_NUMBER, pixel_size)
    assert expected > 4
    assert 4 * deviation == pytest.approx(expected, abs=0.25)
    assert middle - stack.K[0, 2] == pytest.approx((139.5 - K[0, 2]) / ratio, abs=0.1)
    assert (truth == 1.0).all() and truth.shape == stack.size


def test_a_sharp_foreground_is_not_bled_over_and_a_blurred_one_is_seen_past():
    depth = np.full((80, 240), 3.0, np.float32)
    depth[:, :100] = 0.8
    image = photograph((0, 60), (100, 250))  # a dark foreground on the left
    stack, truth = refocus_photograph(image, depth, K, FOCAL_LENGTH, F_NUMBER, [0.8, 3.0])
    edge = int(np.argmax(truth[0] > 2))  # the first column of the background
    near, far = (srgb_decode(plane.image[:, :, 0] / 255.0).mean(axis=0) for plane in stack.planes)
    dark, bright = near[2], near[-3]
    # Focused on the foreground: dark up to its edge; behind it there is only bright background.
    assert np.allclose(near[: edge - 1], dark, atol=0.01) and np.allclose(near[edge + 1 :], bright, atol=0.02)
    # Focused on the background: the edge is half transparent, over as many pixels as the blur is wide.
    share = (far - dark) / (bright - dark)
    half = np.interp(0.5, share, np.arange(len(share)))
    assert half == pytest.approx(edge - 0.5, abs=0.5)
    width = np.interp([0.1, 0.9], share, np.arange(len(share)))
    radius = optics.blur_radius(0.8, 3.0, FOCAL_LENGTH, F_NUMBER, optics.pixel_size(FOCAL_LENGTH, 400.0))
    assert radius > 3
    assert np.diff(width)[0] == pytest.approx(1.374 * radius, rel=0.15)  # 10 to 90 % of a disc seen edge-on


def test_unknown_depth_stays_unknown_and_none_at_all_is_refused():
    depth = np.full((80, 240), 1.0, np.float32)
    depth[30:50, 100:120] = 0
    _, truth = refocus_photograph(photograph((0, 90)), depth, K, FOCAL_LENGTH, F_NUMBER, [0.9, 1.2], views=4)
    assert np.isnan(truth).sum() == 400 and np.nanmin(truth) == 1
    with pytest.raises(InputError, match="depth"):
        refocus_photograph(photograph((0, 90)), 0 * depth, K, FOCAL_LENGTH, F_NUMBER, [0.9, 1.2])
    with pytest.raises(InputError, match="f-number"):
        refocus_photograph(photograph((0, 90)), np.full((80, 240), 0.2), K, FOCAL_LENGTH, 0.5, [0.1, 5.0])
