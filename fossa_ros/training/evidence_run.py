"""Training of the lens-aware network on cached evidence; it can be stopped and resumed at any step."""

from __future__ import annotations

import copy
import json
import logging
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.fossa.devices import resolve_device
from fossa_ros.estimators.lens_aware.network import EvidenceNetwork, Inputs
from fossa_ros.io.documents import convert
from fossa_ros.training.evidence_cache import EvidenceCache
from fossa_ros.training.evidence_config import EvidenceTraining
from fossa_ros.training.optimisers import make_optimisers
from fossa_ros.training.posterior_losses import posterior_losses
from fossa_ros.training.random_source import RandomSource
from fossa_ros.training.state import load_state, save_state

log = logging.getLogger(__name__)

MOMENTS = {"first": "exp_avg", "second": "exp_avg_sq"}  # name in a state to name in an optimiser; Muon has one


class EvidenceRun:
    """A run in a folder: network, averaged weights, optimisers and current step."""

    def __init__(self, config: EvidenceTraining, folder: Path, device: str = "auto"):
        """Start a run, or resume from the state in the folder.

        Raises:
            InputError: the configuration differs from that of the state.
        """
        self.config, self.folder, self.step = config, folder, 0
        self.device = resolve_device(device)
        torch.manual_seed(config.seed)
        network = EvidenceNetwork(config.network)
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
        inputs, truth, scale = cache.draw(RandomSource(c.seed, 3, self.step), c.batch, c.crop)
        inputs = Inputs(*(part.to(self.device) for part in inputs))
        bf16 = c.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16) if bf16 else nullcontext():
            outputs = self.model(inputs)
        losses = posterior_losses(outputs, truth.to(self.device), scale.to(self.device))
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
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for optimiser in self.optimisers:
                state = optimiser.state.get(parameter, {})
                tensors |= {f"{moment}.{name}": state[key] for moment, key in MOMENTS.items() if key in state}
        save_state(self.folder, tensors, {"step": self.step, "config": asdict(self.config)})

    def _restore(self) -> None:
        saved = load_state(self.folder, self.device)
        if saved is None:
            return
        tensors, values = saved
        started_with = convert(values["config"], EvidenceTraining, self.folder, only_known=True)
        # Through JSON, since a file has lists instead of tuples.
        now, then = (json.loads(json.dumps(asdict(c))) for c in (self.config, started_with))
        changed = [name for name in now if now[name] != then[name]]
        if changed == ["steps"] and values["step"] <= min(self.config.full_rate, started_with.full_rate):
            changed = []  # up to this step the length of the run has no effect
        if changed:
            raise InputError(
                f"The run in '{self.folder}' was started with another {', '.join(changed)}; give another --out, or the "
                "configuration it was started with."
            )
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


def learning_rate(config: EvidenceTraining, step: int) -> float:
    """Return the rate at a step: linear warm-up, constant, then half a cosine down to one hundredth."""
    if step < config.warm_up:
        return config.learning_rate * (step + 1) / config.warm_up
    along = max(step - config.full_rate, 0) / max(config.steps - config.full_rate, 1)
    return config.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * min(along, 1.0))) / 2)
