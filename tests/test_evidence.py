"""Evidence of a stack: log-likelihoods of depth levels, held against what they are defined to be."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from disc_blur import blurred
from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.estimators.classical import depth_profile, focus_measure
from fossa_ros.estimators.classical.blur_model import BlurModel
from fossa_ros.estimators.evidence import CONFIG, gray_evidence, resampled_evidence, stack_evidence

FOCUS = np.array([2.0, 1.5, 1.0])
GAINS = np.full(3, 6.0)  # px of radius per dioptre
SIZE = 64, 96


def defocused(texture: np.ndarray, power: float) -> np.ndarray:
    """Return (3, H, W) float32 planes of a texture at ``power`` dioptres, blurred by soft discs."""
    return blurred(texture, (g * abs(power - f) for f, g in zip(FOCUS, GAINS, strict=True))).astype(np.float32)


@pytest.fixture(scope="module")
def texture() -> np.ndarray:
    noise = np.random.default_rng(0).normal(128, 60, SIZE).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 0.7)


@pytest.mark.parametrize("power", [1.8, 1.7, 1.6, 1.2])
def test_the_sum_of_the_evidence_of_a_surface_peaks_at_its_depth(texture, power):
    evidence = gray_evidence(defocused(texture, power), FOCUS, GAINS, 32)
    # The finest octave alone cannot tell the sides of a plane apart, where all others are blurred beyond it.
    for part in (evidence.total, evidence.finest)[: 2 if power == 1.7 else 1]:
        summed = part[:, 8:-8, 8:-8].sum((1, 2))
        best = int(summed.argmax())
        shift = 0.5 * (summed[best + 1] - summed[best - 1]) / (2 * summed[best] - summed[best - 1] - summed[best + 1])
        step = evidence.levels[1] - evidence.levels[0]
        assert evidence.levels[best] + shift * step == pytest.approx(power, abs=0.02)  # of planes 0.5 D apart


def test_it_is_the_quadratic_form_of_the_moments_with_the_signature(texture):
    """At one pixel, against the definition: sum over bands of h(d)^T C h(d) over twice the residual variance."""
    gray = defocused(texture, 1.6)
    evidence = gray_evidence(gray, FOCUS, GAINS, 32)
    statistics = focus_measure.band_statistics(gray, focus_measure.noise_sigma(gray), CONFIG.window)
    moments = depth_profile.normalised_moments(statistics, CONFIG.model_error).reshape(3, 6, *evidence.steepness.shape)
    row, column = 15, 20
    step = depth_profile.STEEPNESS[np.abs(depth_profile.STEEPNESS - evidence.steepness[row, column]).argmin()]
    signatures = BlurModel(evidence.levels, FOCUS, GAINS).signatures(float(step))
    matrices = np.zeros((3, 3, 3))
    i, j = np.triu_indices(3)
    matrices[:, i, j] = matrices[:, j, i] = moments[:, :, row, column]
    expected = np.einsum("bli,bij,blj->bl", signatures, matrices, signatures)
    np.testing.assert_allclose(evidence.total[:, row, column], expected.sum(0), rtol=1e-3)
    np.testing.assert_allclose(evidence.finest[:, row, column], expected[0], rtol=1e-3)


def test_levels_reach_a_foreground_that_is_nearer_than_every_plane_and_neither_order_nor_lens_data_change_them(texture):
    planes = np.clip(defocused(texture, 1.5), 0, 255).astype(np.uint8)
    K = np.array([[100.0, 0, 47.5], [0, 100.0, 31.5], [0, 0, 1]])
    images = [np.repeat(p[..., None], 3, axis=2) for p in planes]
    stacks = [
        FocusStack(
            tuple(FocusPlane(images[i], float(optics.metres(FOCUS[i]))) for i in order),
            K=K,
            f_number=f,
            focal_length=0.02,
        )
        for order, f in (((0, 1, 2), 2.0), ((2, 0, 1), 2.0), ((0, 1, 2), None))
    ]
    found = [stack_evidence(stack, 32, 640) for stack in stacks]
    assert found[0].levels[-1] == pytest.approx(2.0 + 0.6) and found[0].levels[0] == pytest.approx(1.0 / 1.5)
    np.testing.assert_allclose(found[1].total, found[0].total, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(found[2].levels, found[0].levels)
    assert np.ptp(found[2].gains) == 0 and found[2].gains[0] > 0  # estimated from the stack


def test_planes_of_one_focus_are_refused():
    plane = FocusPlane(np.zeros((8, 8, 3), np.uint8), 1.0)
    with pytest.raises(InputError, match=r"All planes are focused at 1 m; depth needs two"):
        stack_evidence(FocusStack((plane, plane)), 32, 640)


def test_resampled_evidence_is_that_of_the_reduced_planes(texture):
    codes = (np.rint(each.clip(0, 255)).astype(np.uint8) for each in defocused(texture, 1.6))
    images = (np.repeat(code[..., None], 3, axis=2) for code in codes)
    planes = tuple(FocusPlane(image, float(optics.metres(f))) for image, f in zip(images, FOCUS, strict=True))
    stack = FocusStack(planes, np.diag([120.0, 120.0, 1.0]), f_number=1.4, focal_length=0.025)
    expected = stack_evidence(stack, 32, 64)
    found = resampled_evidence(stack_evidence(stack, 32, 96), stack, 64)
    assert found.gray.shape == expected.gray.shape
    np.testing.assert_allclose(found.gains, expected.gains, rtol=1e-6)
    np.testing.assert_allclose(found.gray, expected.gray, atol=1.5)  # those are of 8 bits
    assert np.abs(found.total.sum((1, 2)) / expected.total.sum((1, 2)) - 1).max() < 0.05


@pytest.mark.parametrize("f_number", [1.4, None])
def test_the_blur_of_an_enlarged_stack_is_that_of_the_stack_enlarged(texture, f_number):
    codes = (np.rint(each.clip(0, 255)).astype(np.uint8) for each in defocused(texture, 1.6))
    images = (np.repeat(code[..., None], 3, axis=2) for code in codes)
    planes = tuple(FocusPlane(image, float(optics.metres(f))) for image, f in zip(images, FOCUS, strict=True))
    stack = FocusStack(planes, np.diag([120.0, 120.0, 1.0]), f_number=f_number, focal_length=0.025)
    own, enlarged = stack_evidence(stack, 32, 640), stack_evidence(stack, 32, 640, least=144)
    assert own.gray.shape == (3, 64, 96) and enlarged.gray.shape == (3, 96, 144)
    np.testing.assert_allclose(enlarged.gains, 1.5 * own.gains, rtol=1e-6)
    np.testing.assert_array_equal(enlarged.levels, own.levels)
