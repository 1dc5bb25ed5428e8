"""Evidence of rendered stacks on disk, computed once and drawn from many times.

A block of stacks is one file per field, so that a draw reads only the rows it needs from mapped memory.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fossa_ros.estimators.lens_aware.network import Inputs
from fossa_ros.training.random_source import RandomSource

FIELDS = ("total", "finest", "guides", "sides", "settings", "truth", "scale")
FINEST_STEPS = 60.0  # of a squashed log-likelihood, which lies in -4.2..0, as a byte


class EvidenceCache:
    """The blocks of evidence in a folder; more may arrive while it is used."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self._blocks: dict[str, dict[str, np.ndarray]] = {}

    def refresh(self) -> int:
        """Find new blocks, and return the number of stacks."""
        for file in sorted(self.folder.glob("[0-9]*.total.npy")):
            name = file.name.split(".")[0]
            if name not in self._blocks:
                paths = {field: self.folder / f"{name}.{field}.npy" for field in FIELDS}
                self._blocks[name] = {f: np.load(path, mmap_mode="r") for f, path in paths.items()}
        return sum(len(block["truth"]) for block in self._blocks.values())

    def draw(self, rng: RandomSource, count: int, crop: int) -> tuple[Inputs, Tensor, Tensor]:
        """Draw crops of ``crop`` px of half resolution, flipped, turned, and changed in brightness.

        Returns:
            The inputs, (B, 2 crop, 2 crop) true depth in levels, and (B, 2) level 0 and the step of levels in dioptres.
        """
        names = list(self._blocks)
        samples = [self._sample(rng, self._blocks[rng.choice(names)], crop) for _ in range(count)]
        *inputs, truth, scale = (torch.stack(parts) for parts in zip(*samples, strict=True))
        return Inputs(*inputs), truth, scale

    def _sample(self, rng: RandomSource, block: dict[str, np.ndarray], crop: int) -> tuple[Tensor, ...]:
        index = rng.integer(0, len(block["truth"]) - 1)
        side = block["total"].shape[-1]
        top, left = (rng.integer(0, side - crop) for _ in range(2))
        half = (slice(None), slice(top, top + crop), slice(left, left + crop))
        full = (..., slice(2 * top, 2 * (top + crop)), slice(2 * left, 2 * (left + crop)))
        maps = [
            torch.from_numpy(block["total"][index][half].astype(np.float32)),
            torch.from_numpy(block["finest"][index][half].astype(np.float32)) / -FINEST_STEPS,
            torch.from_numpy(block["guides"][index][full].astype(np.float32)) / 255,
            torch.from_numpy(block["sides"][index][half].astype(np.float32)),
            torch.from_numpy(np.array(block["truth"][index][full])),
        ]
        flips = [axis for axis in (-1, -2) if rng.chance(0.5)]
        turned = rng.chance(0.5)
        maps = [m.flip(flips) if flips else m for m in maps]
        maps = [m.transpose(-1, -2) if turned else m for m in maps]
        total, finest, guides, sides, truth = maps
        guides = (1 - guides if rng.chance(0.3) else guides) * rng.uniform(0.6, 1.3)
        settings, scale = (torch.from_numpy(np.array(block[f][index])) for f in ("settings", "scale"))
        return total, finest, guides, sides, settings, truth, scale
