"""Evidence of rendered stacks on disk, computed once and drawn from many times.

The stacks of a source are one file per field, so that a draw reads only the rows it needs from mapped memory. One
of 240x180 px takes 2 MB.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.estimators.evidence import Evidence, stack_evidence
from fossa_ros.estimators.lens_aware.estimator import MULTIPLE, WIDTH, padded
from fossa_ros.estimators.lens_aware.inputs import network_inputs
from fossa_ros.estimators.lens_aware.network import Inputs
from fossa_ros.io.atomic import replacing
from fossa_ros.training.evidence_config import EvidenceTraining
from fossa_ros.training.evidence_sources import Source
from fossa_ros.training.pool import prepare_worker
from fossa_ros.training.random_source import RandomSource

# The total is written last: a source that has it is whole.
FIELDS = ("finest", "guides", "surface", "sides", "settings", "truth", "scale", "possible", "total")
FINEST_STEPS = 60.0  # of a squashed log-likelihood, which lies in -4.2..0, as a byte
LEAST = -6e4  # of a log-likelihood, as float16


def encoded(evidence: Evidence, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Return the inputs of the network and the true depth of one stack, in the number formats of the cache."""
    inputs = Inputs(*(part[0].numpy() for part in network_inputs(evidence)))
    first, step = evidence.levels[0], evidence.levels[1] - evidence.levels[0]
    true_power = optics.dioptres(truth)
    return {
        "total": np.maximum(inputs.total, LEAST).astype(np.float16),
        "finest": np.clip(np.rint(-FINEST_STEPS * inputs.finest), 0, 255).astype(np.uint8),
        "guides": np.rint(255 * inputs.guides).astype(np.uint8),
        "surface": inputs.surface.astype(np.float16),
        "sides": inputs.sides.astype(np.float16),
        "settings": inputs.settings,
        "truth": ((true_power - first) / step).astype(np.float32),
        "scale": np.array([first, step], np.float32),
        "possible": possible_error(evidence, truth),
    }


def possible_error(evidence: Evidence, truth: np.ndarray) -> np.ndarray:
    """Return the () float32 mean relative error of depth along surfaces, the one that is possible without a network."""
    half = optics.dioptres(truth)[::2, ::2]
    return np.array(np.nanmean(np.abs(half / evidence.surfaces.power - 1)), np.float32)


def write_evidence(folder: Path, config: EvidenceTraining, source: Source) -> None:
    """Compute the evidence of the stacks of a source."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    stacks, truth = source.stacks(config)
    write_fields(
        folder, source.name, [encoded(stack_evidence(stack, config.network.levels, WIDTH), truth) for stack in stacks]
    )


def write_fields(folder: Path, source: str, made: list[dict[str, np.ndarray]]) -> None:
    """Write what ``encoded`` returned for the stacks of a source."""
    for name in FIELDS:
        with replacing(field_file(folder, source, name)) as partial, open(partial, "wb") as out:
            np.save(out, np.stack([one[name] for one in made]))


def field_file(folder: Path, source: str, name: str) -> Path:
    """Return the file of a field of the stacks of a source."""
    return folder / f"{source}.{name}.npy"


def fill_cache(
    folder: Path,
    config: EvidenceTraining,
    sources: list[Source],
    workers: int,
    write: Callable[[Path, EvidenceTraining, Source], None] = write_evidence,
) -> Iterator[int]:
    """``write`` what is missing, in ``workers`` processes; yield the number of whole stacks as it grows."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [source for source in sources if not field_file(folder, source.name, FIELDS[-1]).exists()]
    done = len(sources) - len(missing)
    yield done
    if not missing:
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), prepare_worker, (os.getpid(),)) as executor:
        futures = [executor.submit(write, folder, config, source) for source in missing]
        try:
            for future in as_completed(futures):
                future.result()
                done += 1
                yield done
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


class EvidenceCache:
    """The evidence of a run's stacks, mapped from disk."""

    def __init__(self, folder: str | Path, stacks: list[str], hardest: float):
        """Open the stacks of these names.

        Args:
            folder: of the cache.
            stacks: names.
            hardest: mean relative error of depth along surfaces above which variations are left out.

        Raises:
            InputError: a stack is missing or cannot be read, or all variations are left out.
        """
        opened = [open_evidence(Path(folder), stack) for stack in stacks]
        self._samples = [
            (fields, index) for fields in opened for index in np.flatnonzero(fields["possible"] <= hardest).tolist()
        ]
        if not self._samples:
            raise InputError(f"The inputs of all stacks in '{folder}' have an error above {hardest:g}; raise hardest.")

    def draw(self, rng: RandomSource, count: int) -> tuple[Inputs, Tensor, Tensor, Tensor]:
        """Draw whole stacks, mirrored, and changed in brightness; all are continued to the size of the largest.

        Returns:
            The inputs, (B, H, W) true depth in levels, NaN where unknown, (B, 2) level 0 and the step of levels in
            dioptres, and (B,) the error that is possible without the network.
        """
        drawn = [rng.choice(self._samples) for _ in range(count)]
        shapes = [fields["total"].shape[2:] for fields, _ in drawn]
        size = tuple(-(-max(sides) // MULTIPLE) * MULTIPLE for sides in zip(*shapes, strict=True))
        samples = [_sample(rng, fields, index, size) for fields, index in drawn]
        inputs, truth, scale, possible = zip(*samples, strict=True)
        return Inputs(*map(torch.cat, zip(*inputs, strict=True))), *map(torch.stack, (truth, scale, possible))


def _sample(rng: RandomSource, fields, index: int, size: tuple[int, ...]) -> tuple[Inputs, Tensor, Tensor, Tensor]:
    inputs, truth, scale, possible = decoded(fields, index)
    inputs = padded(inputs, size)
    below, right = (2 * whole - side for whole, side in zip(size, truth.shape, strict=True))
    truth = F.pad(truth, (0, right, 0, below), value=torch.nan)
    axes = [axis for axis, share in ((-1, 0.5), (-2, 0.15)) if rng.chance(share)]
    if axes:
        maps = ("total", "finest", "guides", "surface", "sides")
        inputs = inputs._replace(**{name: getattr(inputs, name).flip(axes) for name in maps})
        truth = truth.flip(axes)
    guides = (1 - inputs.guides if rng.chance(0.3) else inputs.guides) * rng.uniform(0.6, 1.3)
    return inputs._replace(guides=guides), truth, scale, possible


def open_evidence(folder: Path, stack: str) -> dict[str, np.ndarray]:
    """Map the fields of a stack.

    Raises:
        InputError: a file is missing or cannot be read.
    """
    try:
        return {name: np.load(field_file(folder, stack, name), mmap_mode="r", allow_pickle=False) for name in FIELDS}
    except (OSError, ValueError) as error:
        raise InputError(
            f"The evidence of {stack} in '{folder}' cannot be read; delete the folder to compute it again."
        ) from error


def decoded(fields: dict[str, np.ndarray], index: int) -> tuple[Inputs, Tensor, Tensor, Tensor]:
    """Return the inputs of one variation (B = 1), its truth and scale, and the error that is possible."""

    def part(name: str) -> Tensor:
        return torch.from_numpy(np.array(fields[name][index], np.float32))

    scale = part("scale")
    inputs = Inputs(
        part("total")[None],
        part("finest")[None] / -FINEST_STEPS,
        part("guides")[None] / 255,
        part("surface")[None],
        part("sides")[None],
        part("settings")[None],
        (scale[0] / scale[1])[None],
    )
    return inputs, part("truth"), scale, part("possible")
