"""Training of the lens-aware network on cached evidence; it can be stopped and resumed at any step."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from fossa_ros.estimators.fossa.checkpoints import load_weights
from fossa_ros.estimators.fossa.devices import resolve_device
from fossa_ros.estimators.lens_aware.network import EvidenceNetwork, Inputs, NetworkConfig
from fossa_ros.estimators.shipped import SHIPPED
from fossa_ros.training.evidence_cache import EvidenceCache
from fossa_ros.training.evidence_config import EvidenceTraining
from fossa_ros.training.optimisers import learning_rate, make_optimisers
from fossa_ros.training.posterior_losses import posterior_losses
from fossa_ros.training.random_source import RandomSource
from fossa_ros.training.run_state import check_same_run, part_of, restore_moments, run_tensors
from fossa_ros.training.state import load_state, save_state

log = logging.getLogger(__name__)


class EvidenceRun:
    """A run in a folder: network, averaged weights, optimisers and current step."""

    def __init__(
        self,
        config: EvidenceTraining,
        folder: Path,
        device: str = "auto",
        make: Callable[[NetworkConfig], EvidenceNetwork] = EvidenceNetwork,
    ):
        """Start a run, or resume from the state in the folder.

        Args:
            config: of the run.
            folder: of the run.
            device: as of ``create_lens_aware``.
            make: makes the network.

        Raises:
            InputError: the configuration differs from that of the state.
        """
        self.config, self.folder, self.step = config, folder, 0
        self.device = resolve_device(device)
        torch.manual_seed(config.seed)
        network = make(config.network)
        if config.weights is not None:
            load_weights(network, SHIPPED["lens_aware"] if config.weights == "shipped" else config.weights)
        self.model = network.to(self.device, memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimisers = make_optimisers(self.model, config)
        self._restore()

    def train(self, cache: EvidenceCache, until: int, after_step: Callable[[dict[str, float]], bool]) -> None:
        """Train up to step ``until``; ``after_step`` gets the losses of every step and returns False to stop."""
        while self.step < min(until, self.config.steps):
            losses = self._update(cache)
            self.step += 1
            if not after_step(losses):
                break

    def _update(self, cache: EvidenceCache) -> dict[str, float]:
        c = self.config
        rate = learning_rate(c, self.step)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * group["factor"]
        inputs, truth, scale, possible = cache.draw(RandomSource(c.seed, 3, self.step), c.batch)
        inputs = Inputs(*(part.to(self.device) for part in inputs))
        bf16 = c.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16) if bf16 else nullcontext():
            outputs = self.model(inputs)
        losses = posterior_losses(outputs, *(part.to(self.device) for part in (truth, scale, possible)))
        self.model.zero_grad(set_to_none=True)
        losses["total"].backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)
        if torch.isfinite(norm):  # one bad batch must not ruin a long run
            for optimiser in self.optimisers:
                optimiser.step()
        else:
            log.warning("step %d: the gradient is not finite; the step is skipped", self.step)
        decay = min(c.ema, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        return {**{name: float(value.detach()) for name, value in losses.items()}, "norm": float(norm), "rate": rate}

    def save(self) -> None:
        """Write the state of the run."""
        tensors = run_tensors(self.model, self.average, self.optimisers)
        save_state(self.folder, tensors, {"step": self.step, "config": asdict(self.config)})

    def _restore(self) -> None:
        saved = load_state(self.folder, self.device)
        if saved is None:
            return
        tensors, values = saved
        check_same_run(self.config, values, self.folder)
        for prefix, model in (("model.", self.model), ("average.", self.average)):
            model.load_state_dict(part_of(tensors, prefix))
        self.step = values["step"]
        restore_moments(self.model, self.optimisers, tensors, self.step)
