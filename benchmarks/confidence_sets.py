"""Stacks with known depth by which confidence is fitted and measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from fossa_ros.core import optics
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.evaluation.datasets import open_set
from fossa_ros.training.gray_stacks import gray_block
from fossa_ros.training.lenses import IMAGE_WIDTH

GENERATOR = "generator"  # kind of the procedural stacks, seed 0; their number stands for the folder
F_NUMBERS = (1.4, 2.8, 4.0)  # of photographs
BLOCK, SIDE = 8, 248  # procedural stacks: number of a block, and px
VIEW = 0.875  # focal length of the procedural stacks, in widths of the image of which they are a crop
FOCAL_LENGTH = 0.004  # m, likewise: short, as their blur per dioptre hardly differs from plane to plane


def samples(kind: str, folder: str) -> Iterator[tuple[str, FocusStack, np.ndarray]]:
    """Yield name, stack and (H, W) truth in metres of a set of ``fossa evaluate``, or of procedural stacks."""
    if kind == GENERATOR:
        yield from _procedural(int(folder))
        return
    data = open_set(kind, Path(folder))
    for f_number in F_NUMBERS if kind == "photographs" else (data.protocol.f_number,):
        for index, name in enumerate(data.names):
            sample = data.sample(index, replace(data.protocol, f_number=f_number))
            if sample is not None:
                yield name, sample.stack, sample.truth


def _procedural(count: int) -> Iterator[tuple[str, FocusStack, np.ndarray]]:
    focal_length = VIEW * IMAGE_WIDTH
    intrinsics = np.array([[focal_length, 0.0, SIDE / 2], [0.0, focal_length, SIDE / 2], [0.0, 0.0, 1.0]])
    for number in range(count):
        if number % BLOCK == 0:
            block = gray_block(0, number // BLOCK, BLOCK, SIDE)
        made = block[number % BLOCK]
        planes = [
            FocusPlane(np.repeat(image[..., None], 3, axis=2), float(distance))
            for image, distance in zip(made.images, optics.metres(made.focus), strict=True)
        ]
        # The stated blur, radius per dioptre, is that of an aperture of focal length over f-number.
        f_number = FOCAL_LENGTH * focal_length / (2.0 * float(np.mean(made.gains)))
        yield str(number), FocusStack(tuple(planes), intrinsics, f_number, FOCAL_LENGTH), 1.0 / made.truth
