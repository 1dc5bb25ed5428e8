"""Blur that all planes of a stack share: what a real camera does to every image, told from the images themselves."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from fossa_ros.estimators.classical import focus_measure
from fossa_ros.estimators.classical.bands import RADIAL_FREQUENCIES
from fossa_ros.estimators.classical.blur_model import BlurModel, soft_transfer
from fossa_ros.io.stack_files import load_stack
from test_classical import rendered, score

STACKS = {file.stem: load_stack(file) for file in (Path(__file__).parent / "data" / "path_traced").glob("*.npz")}


def soft_images(stack, sigma: float) -> list[np.ndarray]:
    rng, images = np.random.default_rng(0), []
    for image in stack.images().astype(np.float32):
        soft = cv2.GaussianBlur(image, (0, 0), sigma) if sigma else image
        soft += rng.normal(0, 0.7, soft.shape).astype(np.float32)
        images.append(np.clip(np.rint(soft), 0, 255).astype(np.uint8))
    return images


def softness(images) -> float:
    gray = focus_measure.luminance(images)
    return focus_measure.band_statistics(gray, focus_measure.noise_sigma(gray), 0.8).softness


@pytest.mark.parametrize("name", sorted(STACKS))
def test_softness_is_told_from_the_images(name):
    stack = STACKS[name].stack
    assert softness(soft_images(stack, 0.0)) == 0.0
    assert softness(soft_images(stack, 0.8)) == pytest.approx(0.8, abs=0.3)
    assert softness(soft_images(stack, 1.2)) == pytest.approx(1.2, abs=0.35)


def test_depth_of_soft_images_is_better_for_knowing_it(monkeypatch):
    scenes = [rendered(seed) for seed in (2, 6, 7)]
    scenes = [(stack.with_images(soft_images(stack, 1.0)), truth) for stack, truth in scenes]
    known = np.mean([score(*scene)["abs_rel"] for scene in scenes])
    monkeypatch.setattr(focus_measure, "_softness", lambda *_: 0.0)
    assert known < 0.85 * np.mean([score(*scene)["abs_rel"] for scene in scenes])


def test_images_without_texture_are_not_soft():
    noise = np.random.default_rng(1).normal(128, 2, (3, 60, 80, 3)).round().astype(np.uint8)
    assert softness(list(noise)) == 0.0


def test_softness_counts_like_blur_of_every_plane():
    focus, gains = np.array([2.0, 1.0]), np.array([3.0, 3.0])
    sharp = BlurModel([1.5], focus, gains)._pairs
    soft = BlurModel([1.5], focus, gains, 0.8)._pairs
    np.testing.assert_allclose(soft, sharp * soft_transfer(0.8) ** 2)
    assert soft_transfer(0.8)[-1] == pytest.approx(np.exp(-0.5 * (0.8 * RADIAL_FREQUENCIES[-1]) ** 2))
