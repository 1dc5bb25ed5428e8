"""From evidence to the tensors of the network."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fossa_ros.estimators.classical.bands import gaussian
from fossa_ros.estimators.evidence import Evidence
from fossa_ros.estimators.lens_aware.network import Inputs, squash

SHARP_REACH = 3.0  # px at half resolution over which evidence is summed to choose the sharpest plane


def network_inputs(evidence: Evidence) -> Inputs:
    """Return the inputs of one stack, B = 1; height and width of the images are even."""
    total = evidence.total - evidence.total.max(axis=0)
    finest = evidence.finest - evidence.finest.max(axis=0)
    strength = np.log1p(np.maximum(evidence.total.max(axis=0), 0.0)) / 4
    first, step = evidence.levels[0], evidence.levels[1] - evidence.levels[0]
    surface = surface_in_levels(evidence)
    sides = np.stack([strength, evidence.steepness / 4, evidence.surfaces.support, np.log1p(surface[1]) / 2])
    planes = len(evidence.focus)
    guides = np.stack([all_in_focus(evidence), *(evidence.gray[i] for i in (0, planes // 2, planes - 1))])
    return Inputs(
        torch.from_numpy(total)[None],
        squash(torch.from_numpy(finest))[None],
        torch.from_numpy(guides.clip(0, 255) / 255).float()[None],
        torch.from_numpy(surface)[None],
        torch.from_numpy(sides.astype(np.float32))[None],
        settings(evidence)[None],
        torch.tensor([first / step], dtype=torch.float32),
    )


def surface_in_levels(evidence: Evidence) -> np.ndarray:
    """Return (2, h, w) float32: depth along surfaces and its standard deviation, in levels."""
    first, step = evidence.levels[0], evidence.levels[1] - evidence.levels[0]
    position = (evidence.surfaces.power - first) / step
    return np.stack([position, np.sqrt(evidence.surfaces.variance) / step]).astype(np.float32)


def settings(evidence: Evidence) -> Tensor:
    """Return (L + 4,) numbers: the planes among the levels, blur per level, planes, noise, levels per plane."""
    step = evidence.levels[1] - evidence.levels[0]
    place = (evidence.focus - evidence.levels[0]) / step
    level = np.arange(len(evidence.levels))
    planes = np.maximum(1 - np.abs(level[:, None] - place), 0).sum(1)
    numbers = [
        np.log(np.mean(evidence.gains) * step) / 2,
        np.log(len(evidence.focus)) - 1.5,
        np.log(evidence.noise) / 2,
        np.log(len(evidence.levels) / len(evidence.focus)) - 2,
    ]
    return torch.tensor(np.concatenate([planes, numbers]), dtype=torch.float32)


def all_in_focus(evidence: Evidence) -> np.ndarray:
    """Return the (H, W) float32 luminance, each pixel from the plane nearest to its most likely depth."""
    pooled = np.stack([gaussian(level, SHARP_REACH) for level in evidence.total])
    power = evidence.levels[pooled.argmax(axis=0)]
    nearest = np.abs(power[..., None] - evidence.focus).argmin(axis=-1)
    nearest = nearest.repeat(2, axis=0).repeat(2, axis=1)[: evidence.gray.shape[1], : evidence.gray.shape[2]]
    return np.take_along_axis(evidence.gray, nearest[None], axis=0)[0]
