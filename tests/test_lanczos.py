"""Scaling and shifting without blurring, against waves that are known between the pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fossa_ros.core.lanczos import scale_and_shift

HEIGHT, WIDTH = 60, 80
INNER = slice(10, -10)


def waves(x, y, frequency: float):
    """Three channels of waves, 28 to 228, at places that need not be whole pixels."""
    phases = np.array([0.0, 1.0, 2.0])
    across, down = np.sin(2 * np.pi * frequency * x[..., None] + phases), np.cos(2 * np.pi * frequency * y[..., None])
    return 128 + 50 * across + 50 * down


def grid():
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    return x, y


@settings(deadline=None, max_examples=40)
@given(st.floats(0.97, 1.03), st.floats(-2, 2), st.floats(-2, 2), st.floats(0.01, 0.3))
def test_waves_stay_what_they_are(scale, across, down, frequency):
    x, y = grid()
    centred = across + (WIDTH - 1) / 2 * (1 - scale), down + (HEIGHT - 1) / 2 * (1 - scale)
    wanted = waves(scale * x + centred[0], scale * y + centred[1], frequency)
    found = scale_and_shift(waves(x, y, frequency).astype(np.float32), scale, *centred)
    assert found.dtype == np.float32
    assert np.abs(found - wanted)[INNER, INNER].max() < 0.02 * 100  # of the amplitude


def test_fine_detail_survives_that_the_cubic_kernel_changes():
    x, y = grid()
    scale, across, down, frequency = 1.01, 0.3, -0.4, 0.28
    wanted = waves(scale * x + across, scale * y + down, frequency)
    image = np.rint(waves(x, y, frequency)).astype(np.uint8)
    matrix = np.array([[scale, 0, across], [0, scale, down]])
    cubic = cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    found = scale_and_shift(image, scale, across, down)
    changed, kept = (np.sqrt(np.mean((each - wanted)[INNER, INNER] ** 2)) for each in (cubic, found))
    assert kept < 1.2 and changed > 3 * kept


def test_whole_pixels_edges_and_flat_images():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    assert np.array_equal(scale_and_shift(image, 1.0, 0.0, 0.0), image)
    moved = scale_and_shift(image, 1.0, 3.0, -2.0)
    assert np.array_equal(moved[2:, :-3], image[:-2, 3:])
    assert np.array_equal(moved[2:, -1], image[:-2, -1])  # beyond the edge, the edge
    flat = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    assert np.array_equal(scale_and_shift(flat, 1.02, -0.7, 0.3), flat)
    assert scale_and_shift(image[..., :1], 1.0, 0.0, 0.0).shape == (HEIGHT, WIDTH, 1)
    assert scale_and_shift(image.astype(np.uint16), 1.0, 0.0, 0.0) == pytest.approx(image)
