"""Evidence of rendered stacks on disk, computed once and drawn from many times.

A block of stacks is one file per field, so that a draw reads only the rows it needs from mapped memory. A stack of
248 px takes 2 MB.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.evidence import gray_evidence
from fossa_ros.estimators.lens_aware.inputs import network_inputs
from fossa_ros.estimators.lens_aware.network import Inputs
from fossa_ros.io.atomic import replacing
from fossa_ros.training.evidence_config import EvidenceTraining
from fossa_ros.training.gray_stacks import GrayStack, gray_block
from fossa_ros.training.pool import prepare_worker
from fossa_ros.training.random_source import RandomSource

# The total is written last: a block that has it is whole.
FIELDS = ("finest", "guides", "surface", "sides", "settings", "truth", "scale", "total")
FINEST_STEPS = 60.0  # of a squashed log-likelihood, which lies in -4.2..0, as a byte
LEAST = -6e4  # of a log-likelihood, as float16
HELD_OUT = 10**6  # number of the block that no run trains on


def encoded(stack: GrayStack, levels: int) -> dict[str, np.ndarray]:
    """Return the inputs of the network and the true depth of one stack, in the number formats of the cache."""
    evidence = gray_evidence(stack.images.astype(np.float32), stack.focus, stack.gains, levels)
    inputs = Inputs(*(part[0].numpy() for part in network_inputs(evidence)))
    first, step = evidence.levels[0], evidence.levels[1] - evidence.levels[0]
    return {
        "total": np.maximum(inputs.total, LEAST).astype(np.float16),
        "finest": np.clip(np.rint(-FINEST_STEPS * inputs.finest), 0, 255).astype(np.uint8),
        "guides": np.rint(255 * inputs.guides).astype(np.uint8),
        "surface": inputs.surface.astype(np.float16),
        "sides": inputs.sides.astype(np.float16),
        "settings": inputs.settings,
        "truth": ((stack.truth - first) / step).astype(np.float32),
        "scale": np.array([first, step], np.float32),
    }


def write_block(folder: Path, config: EvidenceTraining, block: int) -> None:
    """Render a block and write its evidence; a function of seed and number."""
    cv2.setNumThreads(1)
    levels = config.network.levels
    stacks = [encoded(stack, levels) for stack in gray_block(config.seed, block, config.block, config.side)]
    for name in FIELDS:
        with replacing(block_file(folder, block, name)) as partial, open(partial, "wb") as file:
            np.save(file, np.stack([stack[name] for stack in stacks]))


def block_file(folder: Path, block: int, name: str) -> Path:
    """Return the file of a field of a block."""
    return folder / f"{block:04d}.{name}.npy"


def fill_cache(folder: Path, config: EvidenceTraining, workers: int) -> Iterator[int]:
    """Render the blocks that are missing, in ``workers`` processes; yield the number of whole blocks as it grows."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [*range(config.blocks), HELD_OUT]
    missing = [block for block in wanted if not block_file(folder, block, FIELDS[-1]).exists()]
    done = len(wanted) - len(missing)
    yield done
    if not missing:
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), prepare_worker, (os.getpid(),)) as executor:
        futures = [executor.submit(write_block, folder, config, block) for block in missing]
        try:
            for future in as_completed(futures):
                future.result()
                done += 1
                yield done
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


class EvidenceCache:
    """The evidence of a run's stacks, mapped from disk."""

    def __init__(self, folder: str | Path, blocks: int):
        """Open blocks 0 to ``blocks`` - 1.

        Raises:
            InputError: a block is missing or cannot be read.
        """
        self._blocks = [open_block(Path(folder), block) for block in range(blocks)]

    def draw(self, rng: RandomSource, count: int, crop: int) -> tuple[Inputs, Tensor, Tensor]:
        """Draw crops of ``crop`` px of half resolution, flipped, turned, and changed in brightness.

        Returns:
            The inputs, (B, 2 crop, 2 crop) true depth in levels, and (B, 2) level 0 and the step of levels in dioptres.
        """
        samples = [self._sample(rng, rng.choice(self._blocks), crop) for _ in range(count)]
        *inputs, truth, scale = (torch.stack(parts) for parts in zip(*samples, strict=True))
        return Inputs(*inputs, origin=scale[:, 0] / scale[:, 1]), truth, scale

    def _sample(self, rng: RandomSource, block: dict[str, np.ndarray], crop: int) -> tuple[Tensor, ...]:
        index = rng.integer(0, len(block["truth"]) - 1)
        side = block["total"].shape[-1]
        top, left = (rng.integer(0, side - crop) for _ in range(2))
        half = (slice(top, top + crop), slice(left, left + crop))
        full = (slice(2 * top, 2 * (top + crop)), slice(2 * left, 2 * (left + crop)))
        *maps, settings, truth, scale = decoded(block, index, half, full)
        maps.append(truth)
        flips = [axis for axis in (-1, -2) if rng.chance(0.5)]
        turned = rng.chance(0.5)
        maps = [m.flip(flips) if flips else m for m in maps]
        total, finest, guides, surface, sides, truth = (m.transpose(-1, -2) if turned else m for m in maps)
        guides = (1 - guides if rng.chance(0.3) else guides) * rng.uniform(0.6, 1.3)
        return total, finest, guides, surface, sides, settings, truth, scale


def open_block(folder: Path, block: int) -> dict[str, np.ndarray]:
    """Map the fields of a block.

    Raises:
        InputError: a file is missing or cannot be read.
    """
    try:
        return {name: np.load(block_file(folder, block, name), mmap_mode="r", allow_pickle=False) for name in FIELDS}
    except (OSError, ValueError) as error:
        raise InputError(
            f"Block {block} of the cache '{folder}' cannot be read; delete the folder to render it again."
        ) from error


def decoded(block: dict[str, np.ndarray], index: int, half=(slice(None),) * 2, full=(slice(None),) * 2) -> list[Tensor]:
    """Return one stack of a block as float32 tensors: total, finest, guides, surface, sides, settings, truth, scale."""

    def part(name: str, *window) -> Tensor:
        return torch.from_numpy(block[name][index][window].astype(np.float32))

    return [
        part("total", slice(None), *half),
        part("finest", slice(None), *half) / -FINEST_STEPS,
        part("guides", slice(None), *full) / 255,
        part("surface", slice(None), *half),
        part("sides", slice(None), *half),
        part("settings"),
        part("truth", *full),
        part("scale"),
    ]
