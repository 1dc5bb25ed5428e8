"""The optimisers of a run: AdamW for all weights, or Muon for the matrices among them and AdamW for the others.

Muon: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/. torch.optim has one since 2.9, for two
dimensions and in bfloat16 only; most of nano is convolution kernels, and CPUs are slow at bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from fossa_ros.training.config import TrainingConfig

MOMENTUM = 0.95
STEP = 0.5  # root mean square of a step of Muon over the learning rate; AdamW's is 0.2 to 0.4
NARROWEST = 16  # rows or columns of a matrix below which AdamW takes it
QUINTIC = 3.4445, -4.7750, 2.0315  # Jordan's: what is between 0.003 and 1 comes between 0.68 and 1.21 in ROUNDS
ROUNDS = 5


def make_optimisers(model: nn.Module, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    """Return one optimiser, or two with Muon; no decay on vectors, the encoder at its own rate.

    Their groups have a ``factor`` of the learning rate, which the loop sets.
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


def is_matrix(parameter: Tensor) -> bool:
    """Return whether a weight maps several channels to several: a kernel does, one for each channel alone does not."""
    if parameter.ndim < 2 or (parameter.ndim > 2 and parameter.shape[1] == 1):
        return False
    return min(parameter.shape[0], parameter[0].numel()) >= NARROWEST


class Muon(torch.optim.Optimizer):
    """Momentum, its singular values made alike; a kernel counts as a matrix with a row for each channel it gives."""

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
    """Return a matrix of the same singular vectors; its singular values are near 1 but for those next to none."""
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T
    x = x / x.norm().clamp_min(1e-7)
    a, b, c = QUINTIC
    for _ in range(ROUNDS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.T
