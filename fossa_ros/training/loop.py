"""The training loop, for one or several processes; it can be resumed at any step."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.fossa.checkpoints import load_weights
from fossa_ros.estimators.fossa.devices import resolve_device
from fossa_ros.estimators.fossa.factory import MODELS, create_model
from fossa_ros.estimators.fossa.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from fossa_ros.estimators.fossa.vit import ViTConfig
from fossa_ros.io.documents import convert
from fossa_ros.training.config import TrainingConfig
from fossa_ros.training.losses import LossWeights, total_loss
from fossa_ros.training.optimisers import learning_rate, make_optimisers
from fossa_ros.training.pool import Rounds, draw_batch
from fossa_ros.training.random_source import RandomSource
from fossa_ros.training.rgbd import RgbdFrames
from fossa_ros.training.run_state import check_same_run, part_of, restore_moments, run_tensors
from fossa_ros.training.stacks import TrainingStacks, make_block
from fossa_ros.training.state import load_state, save_state

log = logging.getLogger(__name__)

FINITE_FOCUS = 100.0  # canonical metres, to which focus distances are clipped


class TrainingStep(nn.Module):
    """Maps a batch to its losses; the part of a step that runs in parallel."""

    def __init__(self, model: nn.Module, weights: LossWeights):
        super().__init__()
        self.model, self.weights = model, weights
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def forward(self, images: Tensor, disparity: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """Return the losses of a batch, by name.

        Args:
            images: (B, N, 3, H, W) in 0..1.
            disparity: (B, N) disparities the planes are focused at, 1 / canonical metres.
            truth: (B, H, W) true disparity, NaN where unknown.
        """
        stack = (images - self.mean) / self.std
        depth = self.model(stack, (1 / disparity).clamp_max(FINITE_FOCUS))
        return total_loss(self.weights, depth.float(), truth, disparity)


class Run:
    """A training run in a folder: model, averaged weights, optimisers and current step."""

    def __init__(self, config: TrainingConfig, folder: Path, device: str = "auto"):
        """Start a run, or resume from the state in the folder.

        Raises:
            InputError: the configuration is invalid, or differs from that of the state.
        """
        self.config, self.folder = config, folder
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.device = resolve_device(device)
        if self.world > 1:
            if self.device.type == "cuda":
                self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
                torch.cuda.set_device(self.device)
            if not dist.is_initialized():
                dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
        if config.batch % self.world:
            raise InputError(f"batch {config.batch} is not divisible by the {self.world} processes; change it.")
        torch.manual_seed(config.seed)
        self.model = initial_model(config).to(self.device, memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimisers = make_optimisers(self.model, config)
        self.step = 0
        self._restore()
        self._losses = TrainingStep(self.model, config.loss).to(self.device)
        self._parallel: nn.Module = self._losses
        if self.world > 1:
            # The published checkpoints have weights that the network does not use.
            self._parallel = DistributedDataParallel(self._losses, find_unused_parameters=True)

    def train(self, until: int, *, workers: int = 0, after_step: Callable[[dict[str, float]], bool]) -> None:
        """Train up to step ``until`` or the end of the run.

        Args:
            until: step to stop at.
            workers: processes that render in advance; 0 renders on the training device.
            after_step: called with the losses after every step; returns False to stop.
        """
        config = self.config
        share = config.batch // self.world
        a_round = config.pool * config.block * config.reuse // share  # steps
        until = min(until, config.steps)
        where = "cpu" if workers else str(self.device)
        make = partial(render_block, config, self.rank, where)
        rounds = Rounds(make, config.pool, workers)
        current, pool = None, None
        try:
            while self.step < until:
                number, place = divmod(self.step, a_round)
                if number != current:
                    current, pool = number, rounds.stacks(number, (until - 1) // a_round)
                batch = draw_batch(config, pool, self.step, place * share, share, self.rank)
                losses = self._update(batch)
                self.step += 1
                if not after_step(losses):
                    break
        finally:
            rounds.close()

    def _update(self, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, float]:
        config = self.config
        rate = learning_rate(config, self.step)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * group["factor"]
        batch = [part.to(self.device, non_blocking=True) for part in batch]
        bf16 = config.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16) if bf16 else nullcontext():
            losses = self._parallel(*batch)
        self.model.zero_grad(set_to_none=True)
        losses["total"].backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        if torch.isfinite(norm):  # one bad batch must not ruin a long run
            for optimiser in self.optimisers:
                optimiser.step()
        else:
            log.warning("step %d: the gradient is not finite; the step is skipped", self.step)
        decay = min(config.ema, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        return {**{name: float(value.detach()) for name, value in losses.items()}, "norm": float(norm), "rate": rate}

    def save(self) -> None:
        """Write the state of the run, in the first process only."""
        if self.rank:
            return
        tensors = run_tensors(self.model, self.average, self.optimisers)
        save_state(self.folder, tensors, {"step": self.step, "world": self.world, "config": asdict(self.config)})

    def _restore(self) -> None:
        saved = load_state(self.folder, self.device)
        if saved is None:
            return
        tensors, values = saved
        check_same_run(self.config, values, self.folder)
        if values["world"] != self.world:
            log.warning("the run was started with %d processes: the data will differ", values["world"])
        for prefix, model in (("model.", self.model), ("average.", self.average)):
            load_weights(model, part_of(tensors, prefix))
        self.step = values["step"]
        restore_moments(self.model, self.optimisers, tensors, self.step)


def initial_model(config: TrainingConfig) -> nn.Module:
    """Return the network of a run with its initial weights."""
    sizes = {**asdict(MODELS[config.model]), **config.architecture}
    model = create_model(convert(sizes, ViTConfig, "architecture", only_known=True), device="cpu")
    if config.weights is not None:
        load_weights(model, config.weights)
    return model


def render_block(config: TrainingConfig, rank: int, device: str, block: int) -> TrainingStacks:
    """Render a block of the run's stacks; a module-level function, so that it can be pickled for workers."""
    seed = config.seed * 1009 + rank
    rng = RandomSource(seed, block, 6)
    frames = ()
    if config.rgbd and rng.chance(config.rgbd_share):
        layout = rng.choice(sorted(config.rgbd))
        frames = find_frames(layout, config.rgbd[layout])
    bank = (config.textures, config.texture_side)
    return make_block(seed, block, config.block, config.side, config.rendered, device, bank=bank, frames=frames)


@lru_cache
def find_frames(layout: str, folder: str) -> RgbdFrames:
    """Search the folder of a data set, once per process."""
    return RgbdFrames(layout, folder)
