"""The stacks of a round of training, rendered in advance, and the batches drawn from them.

Everything is a function of the seed and the step, so that a resumed run continues with the same stacks.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

import torch
from torch import Tensor

from fossa_ros.training.config import TrainingConfig
from fossa_ros.training.random_source import RandomSource
from fossa_ros.training.stacks import TrainingStacks, concatenated

BlockMaker = Callable[[int], TrainingStacks]  # block number to stacks on the CPU or the training device


class Rounds:
    """Renders the pool of the next round while the current one is used."""

    def __init__(self, make_block: BlockMaker, pool: int, workers: int):
        """Start the workers.

        Args:
            make_block: a picklable function.
            pool: blocks per round.
            workers: processes that render; 0 renders in the calling process when the stacks are needed.
        """
        self._make, self._pool = make_block, pool
        context = get_context("spawn")  # a fork would inherit torch's threads in an undefined state
        self._executor = ProcessPoolExecutor(workers, context, prepare_worker, (os.getpid(),)) if workers else None
        self._ahead: dict[int, list[Future]] = {}

    def stacks(self, number: int, last: int) -> TrainingStacks:
        """Return the pool of a round, and start rendering the next unless this is the ``last``."""
        blocks = range(number * self._pool, (number + 1) * self._pool)
        if self._executor is None:
            return concatenated([self._make(block) for block in blocks])
        futures = self._ahead.pop(number, None) or self._start(number)
        if number < last:
            self._ahead.setdefault(number + 1, self._start(number + 1))
        return concatenated([future.result() for future in futures])

    def _start(self, number: int) -> list[Future]:
        blocks = range(number * self._pool, (number + 1) * self._pool)
        return [self._executor.submit(self._make, block) for block in blocks]

    def close(self) -> None:
        """Stop the workers and discard what they were rendering."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)


def prepare_worker(parent: int) -> None:
    """Limit a worker to one core, since there are several, and end it when its parent has ended for any reason."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and closes its workers

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def draw_batch(config: TrainingConfig, pool: TrainingStacks, step: int, first: int, count: int, rank: int = 0):
    """Draw the batch of a step: (images (B, N, 3, c, c) in 0..1, disparity (B, N), truth (B, c, c)).

    Args:
        config: configuration of the run.
        pool: stacks of the round.
        step: step of the whole run; determines the number of planes and, with ``rank``, all other random choices.
        first: position of the batch in the round (stacks); determines which stacks are drawn.
        count: number of stacks to draw.
        rank: number of this process.
    """
    planes = RandomSource(config.seed, 2, step).integer(*config.planes)
    rng = RandomSource(config.seed, 3, step, rank)
    passes, places = divmod(first, len(pool))
    order = torch.cat([RandomSource(config.seed, 4, passes + i, rank).permutation(len(pool)) for i in range(2)])
    samples = [augmented(rng, config, pool, int(i), planes) for i in order[places : places + count]]
    return tuple(torch.stack(parts) for parts in zip(*samples, strict=True))


def augmented(rng: RandomSource, config: TrainingConfig, pool: TrainingStacks, index: int, planes: int):
    """Return one stack cropped, flipped, reduced to ``planes`` planes, tinted and scaled in depth."""
    images, focus, truth = pool.images[index], pool.disparity[index], pool.truth[index]
    chosen = choose_planes(rng, images.shape[0], planes).to(images.device)
    top, left = (rng.integer(0, truth.shape[axis] - config.crop) for axis in (0, 1))
    window = (..., slice(top, top + config.crop), slice(left, left + config.crop))
    images, truth = images[chosen][window].float() / 255, truth[window]
    for axis in (-1, -2):
        if rng.chance(0.5):
            images, truth = images.flip(axis), truth.flip(axis)
    if rng.chance(0.5):
        images, truth = images.transpose(-1, -2), truth.transpose(-1, -2)
    images = tinted(rng, images)
    # Without the aperture, defocus does not determine scale: depth and focus may be scaled together.
    scale = rng.log_uniform(0.7, 1.4)
    return images, focus[chosen] * scale, truth * scale


def choose_planes(rng: RandomSource, available: int, count: int) -> Tensor:
    """Return ``count`` indices, mostly evenly spaced from end to end, otherwise random."""
    if rng.chance(0.8):
        return torch.linspace(0, available - 1, count).round().long()
    return rng.permutation(available)[:count].sort().values


def tinted(rng: RandomSource, images: Tensor) -> Tensor:
    """Change brightness, contrast and colour of a (N, 3, H, W) stack, equally for all planes."""
    images = images[:, rng.permutation(3).to(images.device)]
    if rng.chance(0.15):
        images = images.mean(1, keepdim=True).expand_as(images)
    gain = rng.uniform(0.6, 1.3) * (0.85 + 0.3 * rng.rand(3, 1, 1)).to(images.device)
    return ((images * gain).clamp(0, 1) + 1e-4) ** rng.log_uniform(0.7, 1.4)
