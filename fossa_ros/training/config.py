"""Settings of a training run: one frozen dataclass, read from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.fossa.factory import MODELS
from fossa_ros.io.documents import convert, load_yaml
from fossa_ros.training.losses import LossWeights


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of ``fossa train``.

    Attributes:
        model: network to train, a name of ``create_model``.
        architecture: fields of ``ViTConfig`` that differ from those of the model.
        weights: checkpoint to start from; None starts from random weights.
        seed: seed of all random numbers.
        steps: optimiser steps of the whole run.
        batch: stacks per step, over all processes.
        crop: side of the square crops (px).
        planes: smallest and largest number of planes of a batch.
        block: stacks that are rendered together and share a bank of textures.
        pool: blocks from which one round of training draws its stacks.
        reuse: passes of a round over its pool, each with other crops, flips and planes.
        side: side of the rendered stacks (px), at least ``crop``; side + 40 should be a product of small primes.
        rendered: planes rendered of each stack, at least ``planes[1]``.
        textures, texture_side: number of textures in the bank of a block, and their side (px).
        optimiser: ``adamw``, or ``muon`` for matrices and kernels with AdamW for the rest.
        learning_rate: largest learning rate of either optimiser.
        encoder_rate: factor of the learning rate for the ``pretrained`` encoder.
        warm_up: steps over which the learning rate increases linearly.
        decay: share of the steps, at the end, over which the learning rate falls to one hundredth along half a cosine.
            Until then it is constant, so that a run can be extended or finished early.
        weight_decay: weight decay of matrices and kernels.
        clip: largest norm of the gradient.
        ema: decay of the averaged weights, which are evaluated and shipped.
        precision: ``fp32`` or ``bf16`` (autocast).
        loss: weights of the losses.
        rgbd: additional sources of stacks, ``{layout: folder}``, see ``fossa_ros.training.rgbd``.
        rgbd_share: share of the blocks from these sources.
    """

    model: str = "vits"
    architecture: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    seed: int = 0
    steps: int = 10000
    batch: int = 8
    crop: int = 160
    planes: tuple[int, int] = (2, 8)
    block: int = 32
    pool: int = 8
    reuse: int = 6
    side: int = 184
    rendered: int = 8
    textures: int = 40
    texture_side: int = 448
    optimiser: str = "adamw"
    learning_rate: float = 8e-4
    encoder_rate: float = 1.0
    warm_up: int = 200
    decay: float = 0.3
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.998
    precision: str = "fp32"
    loss: LossWeights = field(default_factory=lambda: LossWeights(log=1.0, planes=0.3, edges=0.3))
    rgbd: dict[str, str] = field(default_factory=dict)
    rgbd_share: float = 0.5

    def __post_init__(self) -> None:
        checks = (
            (self.model in MODELS, f"model must be one of {', '.join(MODELS)}"),
            (self.steps > 0 and self.batch > 0 and self.block > 0 and self.pool > 0 and self.reuse > 0, "steps, batch, "
             "block, pool and reuse must be above 0"),
            (16 <= self.crop <= self.side, "crop must be from 16 to side"),
            (2 <= self.planes[0] <= self.planes[1] <= self.rendered, "planes must be two numbers from 2 to rendered"),
            (self.textures > 0 and self.texture_side >= 32, "textures must be above 0, texture_side at least 32"),
            (self.optimiser in ("adamw", "muon"), "optimiser must be adamw or muon"),
            (0 < self.learning_rate < 1, "learning_rate must be between 0 and 1"),
            (0 <= self.decay <= 1, "decay must be from 0 to 1"),
            (0 <= self.ema < 1, "ema must be from 0 to below 1"),
            (self.precision in ("fp32", "bf16"), "precision must be fp32 or bf16"),
            (0 <= self.rgbd_share <= 1, "rgbd_share must be from 0 to 1"),
        )  # fmt: skip
        for passed, sentence in checks:
            if not passed:
                raise InputError(f"Training configuration: {sentence}.")

    @property
    def full_rate(self) -> int:
        """Step up to which the run does not depend on its length."""
        return max(self.warm_up, round((1 - self.decay) * self.steps))


def load_config(path: str | Path, **changes: Any) -> TrainingConfig:
    """Read a configuration from YAML; fields that the file leaves out keep their defaults.

    Args:
        path: of the file.
        changes: values that replace those of the file.

    Raises:
        InputError: the file cannot be read, or a field is unknown or has a value of another type.
    """
    content = load_yaml(path, "give a file of fields and values such as those in config/training")
    return convert({**content, **changes}, TrainingConfig, path, only_known=True)
