"""What is read off the log-posteriors of the network: depth between the levels, and how certain it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.estimators.lens_aware.network import median_position
from fossa_ros.estimators.lens_aware.reading import (
    MODE_DEVIATION,
    MODE_REACH,
    PEAK_VARIANCE,
    TOGETHER,
    between_levels,
    closeness,
    position_and_variance,
    probability_of,
    surface_share,
    together,
)
from fossa_ros.estimators.lens_aware.smoothing import sharp_view, smoothed

LEAST = torch.full((1, 1, 1, 1), MODE_DEVIATION**2)


def slanted(deviation: float, count: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the (count,) positions of a slanted surface, and their (1, 32, 1, count) log-posterior."""
    position = torch.linspace(8.0, 14.0, count)
    level = torch.arange(32.0).view(1, -1, 1, 1)
    return position, -0.5 * ((level - position) / deviation).square()


@pytest.mark.parametrize(("deviation", "left"), [(0.2, 0.8), (0.3, 0.6), (0.4, 0.5), (0.6, 0.2)])
def test_a_slanted_surface_is_less_of_a_staircase(deviation, left):
    """What is left of the largest error of a median, where the levels are coarser than the posterior."""
    truth, logits = slanted(deviation)
    mass = logits.softmax(1)
    median = median_position(mass, torch.tensor([1e6]))[:, None]
    before, after = ((each.flatten() - truth).abs().max() for each in (median, between_levels(mass, median)))
    assert before > 0.05 and after < left * before


def test_a_wide_posterior_keeps_its_median():
    _, logits = slanted(4.0)
    mass = logits.softmax(1)
    median = median_position(mass, torch.tensor([2.0]))[:, None]
    assert (between_levels(mass, median) - median).abs().max() < 0.05


def test_another_mode_does_not_move_depth():
    mass = torch.full((1, 12, 1, 1), 1e-6)
    mass[0, 9], mass[0, 2] = 0.6, 0.4
    at = torch.full((1, 1, 1, 1), 9.0)
    assert between_levels(mass, at).item() == pytest.approx(9.0, abs=1e-4)


@pytest.mark.parametrize(("apart", "deviation"), [(0.0, 0.2), (0.5, 0.3), (-1.0, 1.0), (1.9, 0.1)])
def test_depth_along_surfaces_counts_by_its_variance_and_by_how_far_it_agrees(apart, deviation):
    position = torch.full((1, 1, 1, 1), 7.0)
    surface = torch.tensor([7.0 + apart, deviation]).view(1, 2, 1, 1)
    share = PEAK_VARIANCE / (PEAK_VARIANCE + deviation**2) * (1 - abs(apart) / MODE_REACH)
    assert surface_share(position, surface).item() == pytest.approx(share, rel=1e-5)


def test_depth_along_other_surfaces_does_not_count():
    surface = torch.tensor([7.0 + MODE_REACH, 0.01]).view(1, 2, 1, 1)
    assert surface_share(torch.full((1, 1, 1, 1), 7.0), surface).item() == 0.0


def test_depth_and_confidence_gain_where_surfaces_are_exact():
    """Levels from 0.2 D in steps of 0.1 D; the log-posterior says level 9, the surface 9.2 levels."""
    level = torch.arange(32.0).view(1, -1, 1, 1)
    logits = (-4 * (level - 9.0).square()).expand(1, 32, 4, 4)

    def read(deviation):
        surface = torch.stack([torch.full((4, 4), 9.2), torch.full((4, 4), deviation)])[None]
        position, variance = position_and_variance(logits, surface, 2.0)
        return [x[0, 0, 0, 0].item() for x in (position, variance, closeness(logits, position, surface, 0.2, 0.1))]

    (exact, variance, sure), (alone, _, doubtful) = read(0.1), read(50.0)
    assert alone == pytest.approx(9.0, abs=1e-3)
    share = PEAK_VARIANCE / (PEAK_VARIANCE + 0.01) * (1 - 0.2 / MODE_REACH)
    assert exact == pytest.approx(9 + 0.2 * share, abs=1e-3)
    assert variance == pytest.approx((0.2 * share) ** 2 + 2 * np.exp(-4), rel=0.1)  # 2 exp(-4) of it is a level away
    assert sure > doubtful


def test_the_variance_of_two_modes_is_that_between_them():
    logits = torch.full((1, 12, 1, 1), -30.0)
    logits[0, 2], logits[0, 10] = 0.0, -1.0
    surface = torch.tensor([2.0, 50.0]).view(1, 2, 1, 1)
    position, variance = position_and_variance(logits, surface, 1e6)
    assert position.item() == pytest.approx(2.0, abs=0.01)
    assert variance.item() == pytest.approx(64 * np.exp(-1) / (1 + np.exp(-1)), rel=0.01)


def two_surfaces(height: int = 60, width: int = 80) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the depth in levels of two surfaces side by side, where their edge is, and their all-in-focus image."""
    left = np.zeros((height, width), bool)
    left[:, : width // 2] = True
    position = np.where(left, 20.0, 8.0).astype(np.float32)
    return position, left, np.where(left[..., None], [180, 60, 60], [90, 120, 90]).astype(np.uint8)


def test_doubtful_depth_is_that_of_its_surface_up_to_the_edge():
    truth, left, sharp = two_surfaces()
    variance = np.full(truth.shape, 0.1, np.float32)
    position = truth.copy()
    doubtful = np.zeros(truth.shape, bool)
    doubtful[20:40, 34:40] = True  # of the left surface, taken for the right one
    position[doubtful], variance[doubtful] = 8.0, 36.0
    found = smoothed(position, variance, sharp)
    assert np.abs(found - truth)[doubtful].mean() < 2.5  # 12 before
    assert np.abs(found - truth)[~doubtful].mean() < 0.05 and np.abs(found - truth)[~left].max() < 0.3


def test_certain_depth_stays():
    rng = np.random.default_rng(0)
    truth, _, sharp = two_surfaces()
    slant = truth + np.linspace(0, 6, truth.shape[0], dtype=np.float32)[:, None]
    found = smoothed(slant, np.zeros_like(slant), sharp)
    assert np.abs(found - slant).max() < 0.1
    noisy = slant + 0.3 * rng.standard_normal(slant.shape).astype(np.float32)
    found = smoothed(noisy, np.full_like(slant, 0.3), sharp)
    assert np.std(found - slant) < 0.2


def test_the_sharp_view_is_of_the_planes_nearest_to_the_depth():
    images = [np.full((40, 60, 3), value, np.uint8) for value in (10, 200)]
    stack = FocusStack((FocusPlane(images[0], 0.5), FocusPlane(images[1], 2.0)))
    power = np.full((20, 30), 2.0, np.float32)
    power[:, 15:] = 0.5
    view = sharp_view(stack, power)
    assert view.shape == (20, 30, 3) and (view[:, :15] == 10).all() and (view[:, 15:] == 200).all()


def test_two_widths_are_a_mean_of_log_posteriors_by_the_texture():
    draw = torch.Generator().manual_seed(0)
    fine, bare = torch.randn((1, 8, 6, 8), generator=draw), torch.randn((1, 8, 3, 4), generator=draw)
    textured = torch.zeros((1, 1, 6, 8))
    textured[..., 4:] = 1.0
    both = together(fine, bare, textured)
    small = F.interpolate(bare, (6, 8), mode="bilinear", align_corners=False)
    torch.testing.assert_close(both[..., 4:], TOGETHER * fine[..., 4:])
    torch.testing.assert_close(both[..., :4], TOGETHER * small[..., :4])
    half = together(fine, bare, torch.full_like(textured, 0.5))
    torch.testing.assert_close(half, TOGETHER * (fine + small) / 2)
    # Where one allows levels 1 and 6 and the other 4 and 6, it is 6, which both allow, not a level between.
    left, right = (torch.full((1, 8, 1, 1), -9.0) for _ in range(2))
    left[0, [1, 6]] = right[0, [4, 6]] = 0.0
    assert together(left, right, torch.full((1, 1, 1, 1), 0.5)).argmax() == 6


def test_the_confidence_is_the_mass_within_ten_per_cent():
    """Levels from 1 D in steps of 0.02 D; at 2 D the limits are 1.818 and 2.222 D: 20.2 of the bins."""
    flat = torch.zeros(1, 101, 1, 1)
    found = probability_of(flat.softmax(1), torch.tensor([[[[50.0]]]]), 1.0, 0.02, LEAST)
    assert float(found) == pytest.approx((2 / 0.9 - 2 / 1.1) / 0.02 / 101, rel=1e-4)


@pytest.mark.parametrize("deviation", [0.15, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("half", [0.2, 0.4, 0.8, 1.6])
def test_the_confidence_knows_depth_finer_than_the_levels(deviation, half):
    """Depth is normally distributed, and split between levels as in training; 10 % of it are ``half`` levels.

    Splitting hides a spread of less than half a level, so that there the confidence is too high by up to 0.2.
    """
    rng = np.random.default_rng(0)
    for position in (15.0, 15.25, 15.5):
        depths = position + deviation * rng.standard_normal(20_000)
        mass = np.maximum(1 - np.abs(depths[:, None] - np.arange(32)), 0).mean(0)
        step = 1 / half  # level 15 is at 10 D
        logits = torch.tensor(np.log(mass + 1e-9), dtype=torch.float32).view(1, 32, 1, 1)
        found = probability_of(logits.softmax(1), torch.tensor([[[[position]]]]), 10 - step * position, step, LEAST)
        assert float(found) == pytest.approx(np.mean(np.abs(depths - position) < half), abs=0.2)


def test_a_certain_depth_is_certain_however_coarse_the_levels():
    split = torch.full((1, 32, 1, 1), -30.0)
    split[0, 3], split[0, 4] = float(np.log(0.75)), float(np.log(0.25))
    at = torch.tensor([[[[3.25]]]])  # 0.43 D, of which a tenth is 0.4 levels
    found = probability_of(split.softmax(1), at, 0.1, 0.1, LEAST)
    assert float(found) > 0.9
