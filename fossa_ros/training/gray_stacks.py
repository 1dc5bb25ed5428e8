"""Gray focus stacks for networks that work on evidence: one channel, and lenses from perfect to faulty."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from fossa_ros.core import optics
from fossa_ros.training.defocus import MARGIN
from fossa_ros.training.lenses import MAX_BLUR, draw_focus, draw_lens
from fossa_ros.training.random_source import RandomSource
from fossa_ros.training.rooms import make_room
from fossa_ros.training.scenes import FARTHEST, MAX_DEPTH_RATIO, NEAREST, make_scene
from fossa_ros.training.stacks import Imperfections, draw_imperfections, one_thread, photograph
from fossa_ros.training.surfaces import Surfaces
from fossa_ros.training.textures import texture_bank

PLANES = (2, 3, 3, 4, 4, 5, 5, 5, 5, 6, 7, 7, 8, 9)
ROOMS = 0.55  # share of the scenes that are rooms
FAULTY = 0.45  # share of the lenses with imperfections
LEAST_BLUR = 0.35  # px radius of the most blurred point of a stack: far scenes through small apertures
LEFT_OUT = 0.4  # share of the stacks whose planes may leave out up to 30 % of the scene on the near side
PATH_TRACED = 0.25  # share of the stacks with the noise of a path tracer


@dataclass(frozen=True)
class GrayStack:
    """A focus stack of one channel, near to far, as the estimator gets it, and its depth.

    Attributes:
        images: (N, H, W) uint8.
        focus: (N,) stated focus, dioptres.
        gains: (N,) stated blur radius, px per dioptre.
        truth: (H, W) float32 dioptres.
    """

    images: np.ndarray
    focus: np.ndarray
    gains: np.ndarray
    truth: np.ndarray


def gray(scene: Surfaces) -> Surfaces:
    """Return a scene with the mean of its colour channels."""
    return replace(scene, colour=scene.colour.mean(1, keepdim=True))


def draw_scene(rng: RandomSource, bank: Tensor, side: int) -> Surfaces:
    """Draw a room or a scene of cut-outs, gray, of (side, side) px."""
    if not rng.chance(ROOMS):
        return gray(make_scene(rng, bank, side))
    near = rng.log_uniform(NEAREST, FARTHEST / 3)
    return make_room(rng, bank, side, near, min(near * rng.log_uniform(1.6, MAX_DEPTH_RATIO), FARTHEST))


def gray_stack(rng: RandomSource, bank: Tensor, side: int) -> GrayStack:
    """Render one stack of (N, side, side), N of ``PLANES``."""
    scene = draw_scene(rng, bank, side + 2 * MARGIN)
    truth = scene.visible_power()[MARGIN:-MARGIN, MARGIN:-MARGIN]
    focus = draw_focus(rng, truth, rng.choice(PLANES), draw_quantiles(rng))
    powers = optics.dioptres(focus)
    gap = max(float(truth.max()) - powers.min(), powers.max() - float(truth.min()))
    lens = draw_lens(rng, gap)
    if rng.chance(0.5):
        most = float(lens.blur_per_dioptre(np.inf)) * gap
        lens = replace(lens, f_number=lens.f_number * most / rng.log_uniform(LEAST_BLUR, MAX_BLUR))
    faults = drawn_faults(rng, float(powers[0] - powers[-1]), len(focus))
    light = photograph(rng, scene, lens, focus, faults)
    gain_error = np.exp(rng.choice((0.0, 0.02, 0.05, 0.15)) * float(rng.randn(1)))
    return GrayStack(
        images=develop(light[:, 0].numpy(), rng),
        focus=np.maximum(powers + faults.focus_error, 1e-3),
        gains=lens.blur_per_dioptre(focus) * gain_error,
        truth=truth.numpy(),
    )


def draw_quantiles(rng: RandomSource) -> tuple[float, float]:
    """Draw the part of the scene that the planes are to cover; for some stacks the foreground is sharp in none."""
    return (rng.uniform(0.0, 0.15), rng.uniform(0.7, 1.0)) if rng.chance(LEFT_OUT) else (0.05, 0.95)


def drawn_faults(rng: RandomSource, span: float, planes: int) -> Imperfections:
    """Draw the imperfections of a lens: none for most, so that evidence that is right is trusted."""
    faults = draw_imperfections(rng, span, planes)
    faults = replace(faults, paths=rng.log_uniform(24, 1000) if rng.chance(PATH_TRACED) else 0.0)
    if rng.chance(FAULTY):
        return faults
    return replace(
        faults,
        curvature=0.0,
        cats_eye=0.0,
        vignetting=0.0,
        breathing=0.0,
        shift=torch.zeros(planes, 2),
        focus_error=np.zeros(planes),
    )


def develop(light: np.ndarray, rng: RandomSource) -> np.ndarray:
    """Turn (N, H, W) linear light into uint8 sRGB values: exposure, flicker, noise from none to strong, gamma, JPEG."""
    bright = max(float(np.quantile(light[0, ::7, ::7], 0.97)), 1e-3)
    flicker = 1 + rng.choice((0.0, 0.0, 0.01, 0.04)) * (2 * rng.rand(len(light), 1, 1).numpy() - 1)
    light = np.maximum(light, 0) * (rng.uniform(0.5, 1.1) / bright) * flicker
    if rng.chance(0.75):
        shot, read = rng.log_uniform(1e-6, 2e-3), rng.log_uniform(5e-5, 6e-3)
        light = light + rng.randn(*light.shape).numpy() * np.sqrt(shot * light + read**2)
    light = np.clip(light, 0, 1)
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-6) ** (1 / 2.4) - 0.055)
    images = np.rint(255 * srgb).astype(np.uint8)
    if rng.chance(0.25):
        quality = [cv2.IMWRITE_JPEG_QUALITY, rng.integer(60, 97)]
        images = np.stack([cv2.imdecode(cv2.imencode(".jpg", i, quality)[1], cv2.IMREAD_GRAYSCALE) for i in images])
    return images


@one_thread()
def gray_block(seed: int, block: int, count: int, side: int) -> list[GrayStack]:
    """Render block number ``block`` of ``count`` stacks, a function of seed and number."""
    bank = texture_bank(RandomSource(seed, block, 0), 30, 448)
    return [gray_stack(RandomSource(seed, block, 1, index), bank, side) for index in range(count)]
