"""The stacks of a round of training, rendered ahead, and the batches drawn from them.

Everything is a function of the seed and the step, so a run that is stopped and resumed sees what it would have seen.
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
from fossa_ros.training.stacks import TrainingStacks, joined
from fossa_ros.training.textures import Dice

BlockMaker = Callable[[int], TrainingStacks]  # block number to stacks on the CPU or the training device


class Rounds:
    """Renders each round's pool while the one before is trained on."""

    def __init__(self, make_block: BlockMaker, pool: int, workers: int):
        """Start the workers.

        Args:
            make_block: a picklable call.
            pool: blocks a round.
            workers: processes to render in; 0 renders where it is called from, when it is needed.
        """
        self._make, self._pool = make_block, pool
        context = get_context("spawn")  # a fork would inherit torch's threads in the middle of their work
        self._executor = ProcessPoolExecutor(workers, context, prepare_worker, (os.getpid(),)) if workers else None
        self._ahead: dict[int, list[Future]] = {}

    def stacks(self, number: int, last: int) -> TrainingStacks:
        """Return the pool of a round and begin with the next, unless this is the ``last``."""
        blocks = range(number * self._pool, (number + 1) * self._pool)
        if self._executor is None:
            return joined([self._make(block) for block in blocks])
        futures = self._ahead.pop(number, None) or self._start(number)
        if number < last:
            self._ahead.setdefault(number + 1, self._start(number + 1))
        return joined([future.result() for future in futures])

    def _start(self, number: int) -> list[Future]:
        blocks = range(number * self._pool, (number + 1) * self._pool)
        return [self._executor.submit(self._make, block) for block in blocks]

    def close(self) -> None:
        """End the workers; what they were rendering is dropped."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)


def prepare_worker(parent: int) -> None:
    """Keep a worker to one core, since there are several of them, and end it with its parent, however that ends."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes its workers

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def draw_batch(config: TrainingConfig, pool: TrainingStacks, step: int, first: int, count: int, rank: int = 0):
    """Draw the batch of a step: (images (B, N, 3, c, c) in 0..1, disparity (B, N), truth (B, c, c)).

    Args:
        config: of the run.
        pool: the round's stacks.
        step: of the whole run; decides the number of planes, and with ``rank`` all else that is random.
        first: place of the batch in the round, in stacks; decides which stacks.
        count: stacks to draw.
        rank: number of this process.
    """
    planes = Dice(config.seed, 2, step).integer(*config.planes)
    dice = Dice(config.seed, 3, step, rank)
    passes, places = divmod(first, len(pool))
    order = torch.cat([Dice(config.seed, 4, passes + i, rank).permutation(len(pool)) for i in range(2)])
    samples = [augmented(dice, config, pool, int(i), planes) for i in order[places : places + count]]
    return tuple(torch.stack(parts) for parts in zip(*samples, strict=True))


def augmented(dice: Dice, config: TrainingConfig, pool: TrainingStacks, index: int, planes: int):
    """Return one stack cropped, turned, thinned out, tinted and scaled in depth."""
    images, focus, truth = pool.images[index], pool.disparity[index], pool.truth[index]
    chosen = choose_planes(dice, images.shape[0], planes).to(images.device)
    top, left = (dice.integer(0, truth.shape[axis] - config.crop) for axis in (0, 1))
    window = (..., slice(top, top + config.crop), slice(left, left + config.crop))
    images, truth = images[chosen][window].float() / 255, truth[window]
    for axis in (-1, -2):
        if dice.chance(0.5):
            images, truth = images.flip(axis), truth.flip(axis)
    if dice.chance(0.5):
        images, truth = images.transpose(-1, -2), truth.transpose(-1, -2)
    images = tinted(dice, images)
    # Without the aperture, defocus has no scale of its own: depth and focus may be scaled together.
    scale = dice.log_uniform(0.7, 1.4)
    return images, focus[chosen] * scale, truth * scale


def choose_planes(dice: Dice, available: int, count: int) -> Tensor:
    """Return ``count`` indices: mostly evenly spread from end to end, else any."""
    if dice.chance(0.8):
        return torch.linspace(0, available - 1, count).round().long()
    return dice.permutation(available)[:count].sort().values


def tinted(dice: Dice, images: Tensor) -> Tensor:
    """Change brightness, contrast and colour of a whole (N, 3, H, W) stack alike."""
    images = images[:, dice.permutation(3).to(images.device)]
    if dice.chance(0.15):
        images = images.mean(1, keepdim=True).expand_as(images)
    gain = dice.uniform(0.6, 1.3) * (0.85 + 0.3 * dice.rand(3, 1, 1)).to(images.device)
    return ((images * gain).clamp(0, 1) + 1e-4) ** dice.log_uniform(0.7, 1.4)
