"""Settings of a training run of the lens-aware network, read from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.lens_aware.network import NetworkConfig
from fossa_ros.io.documents import convert, load_yaml


@dataclass(frozen=True)
class EvidenceTraining:
    """Settings of ``fossa train`` for ``model: lens_aware``.

    Attributes:
        model: ``lens_aware``.
        network: sizes of the network.
        weights: file to start from, or ``shipped``; None starts from random weights.
        seed: seed of all random numbers.
        variations: of every stack: itself, and with other planes, noise and faults. Their evidence is cached and drawn
            from again and again.
        rgbd: images with depth that further stacks are made of, ``{layout: folder}``, see ``fossa_ros.training.rgbd``.
        refocused: stacks of every such image.
        held_out: stacks, the last ones by name, that are not trained on.
        hardest: mean relative error of depth along surfaces above which a stack is left out: its depth cannot be known.
        steps: optimiser steps of the whole run.
        batch: stacks per step.
        optimiser, learning_rate, encoder_rate, weight_decay, clip: as in ``TrainingConfig``.
        warm_up: steps over which the learning rate rises linearly.
        decay: share of the steps, at the end, over which the rate falls to one hundredth along half a cosine.
        ema: decay of the averaged weights, which are evaluated and shipped.
        precision: ``fp32`` or ``bf16`` (autocast).
    """

    model: str = "lens_aware"
    network: NetworkConfig = field(default_factory=NetworkConfig)
    weights: str | None = None
    seed: int = 0
    variations: int = 3
    rgbd: dict[str, str] = field(default_factory=dict)
    refocused: int = 4
    held_out: int = 8
    hardest: float = 0.5
    steps: int = 2000
    batch: int = 6
    optimiser: str = "muon"
    learning_rate: float = 1.0e-3
    encoder_rate: float = 1.0
    weight_decay: float = 0.01
    clip: float = 1.0
    warm_up: int = 50
    decay: float = 0.4
    ema: float = 0.99
    precision: str = "bf16"

    def __post_init__(self) -> None:
        checks = (
            (self.model == "lens_aware", "model must be lens_aware"),
            (
                min(self.variations, self.refocused, self.held_out, self.steps, self.batch) > 0,
                "variations, refocused, held_out, steps and batch must be above 0",
            ),
            (self.hardest > 0, "hardest must be above 0"),
            (self.optimiser in ("adamw", "muon"), "optimiser must be adamw or muon"),
            (0 < self.learning_rate < 1, "learning_rate must be between 0 and 1"),
            (0 <= self.decay <= 1, "decay must be from 0 to 1"),
            (0 <= self.ema < 1, "ema must be from 0 to below 1"),
            (self.precision in ("fp32", "bf16"), "precision must be fp32 or bf16"),
        )
        for passed, sentence in checks:
            if not passed:
                raise InputError(f"Training configuration: {sentence}.")

    @property
    def full_rate(self) -> int:
        """Step up to which the run does not depend on its length."""
        return max(self.warm_up, round((1 - self.decay) * self.steps))


def load_evidence_config(path: str | Path, **changes: Any) -> EvidenceTraining:
    """Read a configuration from YAML; fields that the file leaves out keep their defaults.

    Raises:
        InputError: the file cannot be read, or a field is unknown or has a value of another type.
    """
    content = load_yaml(path, "give a file of fields and values such as those in config/training")
    return convert({**content, **changes}, EvidenceTraining, path, only_known=True)
