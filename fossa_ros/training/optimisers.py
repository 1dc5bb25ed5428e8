"""The optimisers of a run: AdamW for all weights, or Muon for matrices and AdamW for the rest.

Muon: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/. torch.optim.Muon (since 2.9) supports only two
dimensions and computes in bfloat16; most weights of lens_aware are convolution kernels, and CPUs are slow in bfloat16.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from fossa_ros.training.config import TrainingConfig
from fossa_ros.training.evidence_config import EvidenceTraining

MOMENTUM = 0.95
STEP = 0.5  # root mean square of a Muon step in units of the learning rate; that of AdamW is 0.2 to 0.4
MIN_SIDE = 16  # rows and columns of a matrix, below which AdamW is used
QUINTIC = 3.4445, -4.7750, 2.0315  # Jordan's: maps 0.003..1 to 0.68..1.21 in ROUNDS iterations
ROUNDS = 5


def make_optimisers(model: nn.Module, config: TrainingConfig | EvidenceTraining) -> list[torch.optim.Optimizer]:
    """Return AdamW, or Muon and AdamW; vectors have no weight decay, and the encoder has its own learning rate.

    Each parameter group has a ``factor``, with which the loop multiplies the learning rate.
    """
    matrices: dict[float, list[Tensor]] = {}
    others: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        factor = config.encoder_rate if name.startswith("pretrained.") else 1.0
        if config.optimiser == "muon" and is_matrix(parameter):
            matrices.setdefault(factor, []).append(parameter)
        else:
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            others.setdefault((factor, decay), []).append(parameter)
    adamw = torch.optim.AdamW(
        [{"params": params, "factor": factor, "weight_decay": decay} for (factor, decay), params in others.items()],
        lr=config.learning_rate,
        betas=(0.9, 0.98),
    )
    if not matrices:
        return [adamw]
    groups = [{"params": params, "factor": factor} for factor, params in matrices.items()]
    return [Muon(groups, config.learning_rate, config.weight_decay), adamw]


def learning_rate(config: TrainingConfig | EvidenceTraining, step: int) -> float:
    """Return the rate at a step: linear warm-up, constant, then half a cosine down to one hundredth."""
    if step < config.warm_up:
        return config.learning_rate * (step + 1) / config.warm_up
    along = max(step - config.full_rate, 0) / max(config.steps - config.full_rate, 1)
    return config.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * min(along, 1.0))) / 2)


def is_matrix(parameter: Tensor) -> bool:
    """Return whether a weight mixes channels: matrices and kernels do, depthwise kernels do not."""
    if parameter.ndim < 2 or (parameter.ndim > 2 and parameter.shape[1] == 1):
        return False
    return min(parameter.shape[0], parameter[0].numel()) >= MIN_SIDE


class Muon(torch.optim.Optimizer):
    """Momentum with equalised singular values; a kernel is treated as a matrix with one row per output channel."""

    def __init__(self, params: Iterable[Tensor] | list[dict], lr: float, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """Take one step."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["exp_avg"] = torch.zeros_like(parameter)
                momentum = state["exp_avg"].lerp_(parameter.grad, 1 - MOMENTUM)
                ahead = parameter.grad.lerp(momentum, MOMENTUM).flatten(1)  # Nesterov's
                direction = orthogonalised(ahead)
                rate = group["lr"] * STEP * max(direction.shape) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(direction.reshape(parameter.shape), alpha=-rate)


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return a matrix with the same singular vectors and all singular values near 1, except those near 0."""
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T
    x = x / x.norm().clamp_min(1e-7)
    a, b, c = QUINTIC
    for _ in range(ROUNDS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.T
