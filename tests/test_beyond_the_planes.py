"""Surfaces far beyond the planes: blur says only that they are beyond, so no depth there is to be trusted."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from disc_blur import blurred
from fossa_ros.core import optics
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.estimators import create_estimator

HEIGHT, WIDTH, FX = 120, 160, 150.0
FOCUS = (0.3, 0.4, 0.6, 1.0)  # m
F_NUMBER, FOCAL_LENGTH = 1.4, 0.012
OPTIONS = {"classical": {}, "lens_aware": {"device": "cpu"}}


def photographed(distance: float) -> FocusStack:
    """Return a stack of a textured wall at ``distance`` m, with noise of one grey level."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.normal(128, 60, (HEIGHT, WIDTH)), (0, 0), 0.7)
    pixel = optics.pixel_size(FOCAL_LENGTH, FX)
    radii = (float(optics.blur_radius(distance, focus, FOCAL_LENGTH, F_NUMBER, pixel)) for focus in FOCUS)
    planes = []
    for image, focus in zip(blurred(texture, radii), FOCUS, strict=True):
        code = np.rint(image + rng.normal(0, 1, image.shape)).clip(0, 255).astype(np.uint8)
        planes.append(FocusPlane(np.repeat(code[..., None], 3, axis=2), focus))
    K = np.array([[FX, 0, WIDTH / 2], [0, FX, HEIGHT / 2], [0, 0, 1.0]])
    return FocusStack(tuple(planes), K, F_NUMBER, FOCAL_LENGTH)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("distance", [0.35, 0.5, 0.8])
def test_a_wall_between_the_planes_is_trusted(name, distance):
    found = create_estimator(name, **OPTIONS[name]).estimate(photographed(distance))
    assert np.median(np.abs(found.depth - distance)) < 0.1 * distance
    assert np.median(found.confidence) > 0.5


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("distance", [2.5, 5.0])
def test_a_wall_far_beyond_the_planes_is_not(name, distance):
    found = create_estimator(name, **OPTIONS[name]).estimate(photographed(distance))
    assert np.nanquantile(found.confidence, 0.95) < 0.3
