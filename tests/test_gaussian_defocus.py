"""The published evaluation renderer against its definition, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fossa_ros.evaluation.gaussian_defocus import gather_defocus


def gathered(image, radius, y, x):
    """Return one pixel as the paper defines it: neighbours in a 15 x 15 window, each by its own point spread."""
    if radius[y, x] <= 1:
        return image[:, y, x]
    total, weights = np.zeros(len(image)), 0.0
    for v in range(max(0, y - 7), min(radius.shape[0], y + 8)):
        for u in range(max(0, x - 7), min(radius.shape[1], x + 8)):
            c = float(radius[v, u])
            if c > 1:
                weight = math.exp(-2 * ((v - y) ** 2 + (u - x) ** 2) / c**2) / c**2
                weights += weight
                total += weight * image[:, v, u]
    return total / weights


def test_every_pixel_is_gathered_as_defined():
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (3, 19, 24)).astype(np.float32)
    radius = rng.uniform(0, 7, (2, 19, 24)).astype(np.float32)
    planes = gather_defocus(torch.from_numpy(image), torch.from_numpy(radius)).numpy()
    assert planes.shape == (2, 3, 19, 24)
    for plane, r in zip(planes, radius, strict=True):
        expected = [[gathered(image, r, y, x) for x in range(24)] for y in range(19)]
        np.testing.assert_allclose(plane, np.moveaxis(expected, -1, 0), atol=2e-4)


def test_an_even_blur_is_a_gaussian_of_half_the_radius_within_the_window():
    image, radius = torch.zeros(1, 31, 31), torch.full((1, 31, 31), 3.0)
    image[0, 15, 15] = 1.0
    spot = gather_defocus(image, radius)[0, 0]
    inside = spot[8:23, 8:23]
    assert spot.sum() == pytest.approx(1.0, abs=1e-4) and inside.sum() == pytest.approx(float(spot.sum()), abs=1e-6)
    assert float(spot[15, 18] / spot[15, 15]) == pytest.approx(math.exp(-2.0), rel=1e-5)
    axis = torch.arange(31.0) - 15
    assert float((spot.sum(0) * axis**2).sum()) == pytest.approx(1.5**2, rel=0.01)


def test_sharp_pixels_neither_blur_nor_are_blurred_into_others():
    image, radius = torch.zeros(1, 9, 20), torch.full((1, 9, 20), 4.0)
    image[..., :10], radius[..., :10] = 1.0, 1.0
    plane = gather_defocus(image, radius)[0, 0]
    assert (plane[:, :10] == 1).all() and (plane[:, 10:] == 0).all()


def test_images_smaller_than_the_window():
    assert gather_defocus(torch.full((3, 3, 2), 5.0), torch.full((1, 3, 2), 30.0)).numpy() == pytest.approx(5.0)
