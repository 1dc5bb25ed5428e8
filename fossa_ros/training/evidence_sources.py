"""What the lens-aware network is trained on: rendered stacks, and sharp images with depth that are refocused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from zlib import crc32

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusStack
from fossa_ros.io.stack_files import load_stack
from fossa_ros.training.evidence_config import EvidenceTraining
from fossa_ros.training.random_source import RandomSource
from fossa_ros.training.refocused import SharpScene
from fossa_ros.training.rgbd import RgbdFrames
from fossa_ros.training.variations import varied

FAULTY = 3  # every third stack of a sharp image has noise and faults as the variations of a rendered one


class Source(Protocol):
    """A scene that gives stacks, always the same."""

    @property
    def name(self) -> str:
        """Name of its files in a cache."""

    def stacks(self, config: EvidenceTraining) -> tuple[list[FocusStack], np.ndarray]:
        """Return the stacks, a function of the seed and of the name, and their (H, W) depth in m, NaN where unknown."""


@dataclass(frozen=True)
class RenderedStack:
    """A stack in a file: itself, and its variations."""

    path: Path

    @property
    def name(self) -> str:
        """Name of its files in a cache."""
        return self.path.stem

    def stacks(self, config: EvidenceTraining) -> tuple[list[FocusStack], np.ndarray]:
        """Return the stack and its variations.

        Raises:
            InputError: the stack has no depth, or cannot be read.
        """
        file = load_stack(self.path)
        if file.truth is None:
            raise InputError(f"'{self.path}' has no depth; give a folder of stacks that were rendered with depth.")
        generators = (_generator(config, self.name, index) for index in range(config.variations))
        return [varied(file.stack, rng) if index else file.stack for index, rng in enumerate(generators)], file.truth


@dataclass(frozen=True)
class RefocusedImage:
    """An image of an RGB-D data set, refocused with lenses drawn at random."""

    frames: RgbdFrames
    index: int

    @property
    def name(self) -> str:
        """Name of its files in a cache."""
        return f"{self.frames.layout}_{self.index:05d}"

    def stacks(self, config: EvidenceTraining) -> tuple[list[FocusStack], np.ndarray]:
        """Return stacks of the image.

        Raises:
            InputError: the image or its depth cannot be read, or has no known depth.
        """
        scene = SharpScene(self.frames[self.index])
        stacks = []
        for number in range(config.refocused):
            stack = scene.stack(RandomSource(config.seed, crc32(self.name.encode()), number))
            faulty = number % FAULTY == FAULTY - 1
            stacks.append(varied(stack, _generator(config, self.name, number)) if faulty else stack)
        return stacks, scene.depth


def _generator(config: EvidenceTraining, name: str, index: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, crc32(name.encode()), index])


def find_sources(rooms: Path, config: EvidenceTraining) -> list[Source]:
    """Return the images of ``config.rgbd``, then the .npz stacks of a folder, those that are held out last.

    Raises:
        InputError: there are no more stacks than are held out, or a folder of images has none.
    """
    found = sorted(rooms.glob("*.npz"))
    if len(found) <= config.held_out:
        raise InputError(
            f"'{rooms}' has {len(found)} .npz stacks, and {config.held_out} are held out; render more with "
            "python -m fossa_ros.evaluation.path_traced --rooms, or lower held_out."
        )
    sets = [RgbdFrames(layout, folder) for layout, folder in sorted(config.rgbd.items())]
    images = [RefocusedImage(frames, index) for frames in sets for index in range(len(frames))]
    return [*images, *(RenderedStack(path) for path in found)]
