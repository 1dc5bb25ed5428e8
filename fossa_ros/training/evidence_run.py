"""Training of the lens-aware network on cached evidence; it can be stopped and resumed at any step."""

from __future__ import annotations

import copy
import csv
import math
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

from fossa_ros.estimators.lens_aware.network import EvidenceNetwork, NetworkConfig
from fossa_ros.training.evidence_cache import EvidenceCache
from fossa_ros.training.optimisers import make_optimisers
from fossa_ros.training.posterior_losses import posterior_losses
from fossa_ros.training.random_source import RandomSource
from fossa_ros.training.state import load_state, save_state

SAVE_EVERY = 100  # steps
MOMENTS = {"first": "exp_avg", "second": "exp_avg_sq"}


@dataclass(frozen=True)
class EvidenceTraining:
    """Settings of a run.

    Attributes:
        network: sizes of the network.
        seed: of all random numbers.
        batch, crop: crops per step, and their side (px of half resolution), a multiple of 16.
        optimiser, learning_rate, encoder_rate, weight_decay: as in ``TrainingConfig``.
        warm_up: steps over which the rate rises.
        clip: largest norm of the gradient.
        ema: decay of the averaged weights, which are evaluated and shipped.
        precision: ``fp32`` or ``bf16`` (autocast).
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    seed: int = 0
    batch: int = 8
    crop: int = 112
    optimiser: str = "muon"
    learning_rate: float = 1.5e-3
    encoder_rate: float = 1.0
    weight_decay: float = 0.01
    warm_up: int = 100
    clip: float = 1.0
    ema: float = 0.995
    precision: str = "bf16"


class EvidenceRun:
    """A run in a folder."""

    def __init__(self, config: EvidenceTraining, folder: Path):
        self.config, self.folder, self.step = config, folder, 0
        torch.manual_seed(config.seed)
        self.model = EvidenceNetwork(config.network).to(memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimisers = make_optimisers(self.model, config)
        self._restore()

    def train(self, cache: EvidenceCache, until: float, *, decay_over: float = 0.35, least: int = 400) -> None:
        """Train until a time (``time.time()``); the rate falls over the last ``decay_over`` of the time that is left."""
        began = time.time()
        while time.time() < until:
            if self.step % 50 == 0:
                while cache.refresh() < least:
                    time.sleep(5)
            along = (time.time() - began) / (until - began)
            losses = self._update(cache, max(0.0, (along - 1 + decay_over) / decay_over))
            self.step += 1
            self._log(losses)
            if self.step % SAVE_EVERY == 0:
                self.save()
        self.save()

    def _update(self, cache: EvidenceCache, decayed: float) -> dict[str, float]:
        c = self.config
        rate = c.learning_rate * min(1.0, (self.step + 1) / c.warm_up)
        rate *= 0.01 + 0.99 * (1 + math.cos(math.pi * min(decayed, 1.0))) / 2
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * group["factor"]
        inputs, truth, scale = cache.draw(RandomSource(c.seed, 3, self.step), c.batch, c.crop)
        with torch.autocast("cpu", torch.bfloat16) if c.precision == "bf16" else nullcontext():
            outputs = self.model(inputs)
        losses = posterior_losses(outputs, truth, scale)
        self.model.zero_grad(set_to_none=True)
        losses["total"].backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)
        if torch.isfinite(norm):
            for optimiser in self.optimisers:
                optimiser.step()
        decay = min(c.ema, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        return {**{name: float(value.detach()) for name, value in losses.items()}, "norm": float(norm), "rate": rate}

    def _log(self, losses: dict[str, float]) -> None:
        file = self.folder / "log.csv"
        new = not file.exists()
        with file.open("a", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            if new:
                writer.writerow(["step", "time", *losses])
            writer.writerow([self.step, round(time.time()), *(f"{value:.5g}" for value in losses.values())])

    def save(self) -> None:
        """Write the state of the run."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for optimiser in self.optimisers:
                state = optimiser.state.get(parameter, {})
                tensors |= {f"{moment}.{name}": state[key] for moment, key in MOMENTS.items() if key in state}
        save_state(self.folder, tensors, {"step": self.step, "config": asdict(self.config)})

    def _restore(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        saved = load_state(self.folder)
        if saved is None:
            return
        tensors, values = saved
        for prefix, model in (("model.", self.model), ("average.", self.average)):
            model.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        self.step = values["step"]
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        for optimiser in self.optimisers:
            for parameter in (p for group in optimiser.param_groups for p in group["params"]):
                found = {key: tensors.get(f"{moment}.{names[parameter]}") for moment, key in MOMENTS.items()}
                state = {key: value for key, value in found.items() if value is not None}
                if state:
                    optimiser.state[parameter] = {"step": torch.tensor(float(self.step)), **state}
