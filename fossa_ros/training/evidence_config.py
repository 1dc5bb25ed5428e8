"""Settings of a training run of the lens-aware network, read from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.lens_aware.network import NetworkConfig
from fossa_ros.io.documents import convert, load_yaml

SIDE_MULTIPLE = 16  # of crops at half resolution, which the network halves four times


@dataclass(frozen=True)
class EvidenceTraining:
    """Settings of ``fossa train`` for ``model: lens_aware``.

    Attributes:
        model: ``lens_aware``.
        network: sizes of the network.
        seed: seed of all random numbers.
        stacks: stacks to render; their evidence is cached and drawn from again and again.
        block: stacks that are rendered together and share a bank of textures.
        side: side of the rendered stacks (px); side + 40 should be a product of small primes.
        steps: optimiser steps of the whole run.
        batch: crops per step.
        crop: side of the crops (px of half resolution), a multiple of 16.
        optimiser, learning_rate, encoder_rate, weight_decay, clip: as in ``TrainingConfig``.
        warm_up: steps over which the learning rate rises linearly.
        decay: share of the steps, at the end, over which the rate falls to one hundredth along half a cosine.
        ema: decay of the averaged weights, which are evaluated and shipped.
        precision: ``fp32`` or ``bf16`` (autocast).
    """

    model: str = "lens_aware"
    network: NetworkConfig = field(default_factory=NetworkConfig)
    seed: int = 0
    stacks: int = 4000
    block: int = 40
    side: int = 248
    steps: int = 10000
    batch: int = 8
    crop: int = 112
    optimiser: str = "muon"
    learning_rate: float = 1.5e-3
    encoder_rate: float = 1.0
    weight_decay: float = 0.01
    clip: float = 1.0
    warm_up: int = 100
    decay: float = 0.35
    ema: float = 0.995
    precision: str = "bf16"

    def __post_init__(self) -> None:
        checks = (
            (self.model == "lens_aware", "model must be lens_aware"),
            (
                min(self.stacks, self.block, self.steps, self.batch) > 0,
                "stacks, block, steps and batch must be above 0",
            ),
            (self.side >= 32 and self.side % 2 == 0, "side must be an even number, at least 32"),
            (self.crop > 0 and self.crop % SIDE_MULTIPLE == 0, f"crop must be a multiple of {SIDE_MULTIPLE}"),
            (2 * self.crop <= self.side, "crop must be at most half of side"),
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

    @property
    def blocks(self) -> int:
        """Number of blocks to render."""
        return -(-self.stacks // self.block)


def load_evidence_config(path: str | Path, **changes: Any) -> EvidenceTraining:
    """Read a configuration from YAML; fields that the file leaves out keep their defaults.

    Raises:
        InputError: the file cannot be read, or a field is unknown or has a value of another type.
    """
    content = load_yaml(path, "give a file of fields and values such as those in config/training")
    return convert({**content, **changes}, EvidenceTraining, path, only_known=True)
