"""The conformance recipe of the FOSSA networks: weights and inputs made from seeds, expected depth from files."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parent / "data" / "fossa"
CASES = {
    # model, vector: height, width, seed, focus distances
    ("vits", "landscape_n5"): (96, 128, 1, (0.82, 1.51, 2.5, 4.2, 8.1)),
    ("vits", "portrait_n3"): (120, 90, 2, (0.5, 1.0, 3.0)),
    ("vits", "square_n1"): (70, 70, 3, (2.0,)),
    ("vitb", "landscape_n5"): (64, 80, 11, (0.8, 1.7, 3.0, 4.7, 8.0)),
}


def reference_shapes(model: str) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter of a published checkpoint."""
    return {key: tuple(shape) for key, shape in json.loads((DATA / f"state_dict_{model}.json").read_text()).items()}


def recipe_state_dict(model: str) -> dict[str, torch.Tensor]:
    """Weights that are a function of their names."""
    return {key: torch.from_numpy(recipe_array(key, shape)) for key, shape in reference_shapes(model).items()}


def recipe_array(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """One parameter of the recipe, float32."""
    random = np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF)
    a = random.standard_normal(int(np.prod(shape)) or 1).reshape(shape).astype(np.float32)
    if len(shape) >= 2 and key.endswith("weight"):
        a = a / np.sqrt(np.prod(shape[1:]))
    elif len(shape) == 1 and key.endswith("weight"):
        a = 1 + 0.1 * a
    elif key.endswith("gamma"):
        a = 0.3 + 0.05 * a
    elif key.endswith("scale"):
        a = 1 + 0.1 * a
    else:
        a = 0.02 * a
    return np.asarray(a, dtype=np.float32).reshape(shape)


def case(model: str, vector: str) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Stack (1, N, 3, H, W), focus (1, N) and expected depth (1, 1, H, W) of a conformance vector."""
    height, width, seed, focus = CASES[model, vector]
    stack, distances = recipe_input(seed, (1, len(focus), 3, height, width), focus)
    with np.load(DATA / f"golden_{model}.npz") as golden:
        return stack, distances, golden[vector]


def recipe_input(seed: int, shape: tuple[int, ...], focus) -> tuple[torch.Tensor, torch.Tensor]:
    """Normally distributed planes, taken as already normalised, and their canonical focus distances."""
    stack = np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
    return torch.from_numpy(stack), torch.tensor([focus], dtype=torch.float32)
