"""What every run saves and restores beside its network: the moments of its optimisers, and its configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fossa_ros.core.errors import InputError
from fossa_ros.io.documents import convert
from fossa_ros.training.config import TrainingConfig
from fossa_ros.training.evidence_config import EvidenceTraining

Config = TypeVar("Config", TrainingConfig, EvidenceTraining)
MOMENTS = {"first": "exp_avg", "second": "exp_avg_sq"}  # name in a state to name in an optimiser; Muon has one


def run_tensors(model: nn.Module, average: nn.Module, optimisers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Return the tensors of a run by name: ``model.*``, ``average.*`` and the moments ``first.*`` and ``second.*``."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    for name, parameter in model.named_parameters():
        for optimiser in optimisers:
            state = optimiser.state.get(parameter, {})
            tensors |= {f"{moment}.{name}": state[key] for moment, key in MOMENTS.items() if key in state}
    return tensors


def part_of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def restore_moments(
    model: nn.Module, optimisers: Sequence[torch.optim.Optimizer], tensors: Mapping[str, Tensor], step: int
) -> None:
    """Give the optimisers the moments that ``run_tensors`` returned after ``step`` steps."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    for optimiser in optimisers:
        for parameter in (parameter for group in optimiser.param_groups for parameter in group["params"]):
            found = {key: tensors.get(f"{moment}.{names[parameter]}") for moment, key in MOMENTS.items()}
            state = {key: value.to(parameter.device) for key, value in found.items() if value is not None}
            if state:
                optimiser.state[parameter] = {"step": torch.tensor(float(step)), **state}


def check_same_run(config: Config, values: Mapping[str, Any], folder: Path) -> None:
    """Compare the configuration of a run with that of its state; only ``steps`` may differ, before the rate falls.

    Raises:
        InputError: they differ; the message names the fields.
    """
    started_with = convert(values["config"], type(config), folder, only_known=True)
    # Through JSON, since a file has lists instead of tuples.
    now, then = (json.loads(json.dumps(asdict(c))) for c in (config, started_with))
    changed = [name for name in now if now[name] != then[name]]
    if changed == ["steps"] and values["step"] <= min(config.full_rate, started_with.full_rate):
        changed = []  # up to this step the length of the run has no effect
    if changed:
        raise InputError(
            f"The run in '{folder}' was started with another {', '.join(changed)}; give another --out, or the "
            "configuration it was started with."
        )
