"""Muon: what it does to a matrix, which weights it takes, and that it learns what plain momentum has not got to yet."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from fossa_ros.estimators.lens_aware.network import EvidenceNetwork
from fossa_ros.training.config import TrainingConfig
from fossa_ros.training.optimisers import STEP, Muon, is_matrix, make_optimisers, orthogonalised

MUON = TrainingConfig(optimiser="muon")


@pytest.mark.parametrize("shape", [(24, 24), (16, 90), (90, 16)])
def test_singular_values_become_alike_and_vectors_stay(shape):
    generator = torch.Generator().manual_seed(3)
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    values = torch.logspace(0, -1.5, min(shape))
    for scale in (1e-3, 1.0, 1e3):
        made = u.T @ orthogonalised(scale * u @ torch.diag(values) @ v) @ v.T
        assert made.diagonal().min() > 0.65 and made.diagonal().max() < 1.25
        assert (made - made.diagonal().diag()).abs().max() < 1e-4


def test_of_no_gradient_nothing_is_made():
    assert torch.equal(orthogonalised(torch.zeros(16, 20)), torch.zeros(16, 20))


@pytest.mark.parametrize("shape", [(64, 64), (32, 24, 3, 3)])
def test_a_step_is_of_half_the_learning_rate_and_down_the_gradient(shape):
    generator = torch.Generator().manual_seed(4)
    weight = torch.nn.Parameter(torch.zeros(shape))
    weight.grad = torch.randn(shape, generator=generator)
    Muon([weight], lr=0.01).step()
    step = weight.detach()
    assert float(step.square().mean().sqrt()) == pytest.approx(STEP * 0.01, rel=0.15)
    assert float((step * weight.grad).sum()) < 0


def test_decay_shrinks_by_rate_times_decay():
    weight = torch.nn.Parameter(torch.ones(16, 16))
    weight.grad = torch.zeros(16, 16)
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    assert torch.allclose(weight, torch.tensor(0.95))


def test_every_weight_of_a_network_has_one_optimiser():
    model = EvidenceNetwork()
    muon, adamw = make_optimisers(model, MUON)
    taken = [{id(p) for group in optimiser.param_groups for p in group["params"]} for optimiser in (muon, adamw)]
    names = {name: id(p) for name, p in model.named_parameters()}
    assert taken[0].isdisjoint(taken[1]) and taken[0] | taken[1] == set(names.values())
    matrices = {name for name, number in names.items() if number in taken[0]}
    assert "encode.0.0.first.weight" in matrices and "look.weight" in matrices
    assert not any(name.endswith("bias") or "norm" in name for name in matrices)
    assert sum(p.numel() for name, p in model.named_parameters() if name in matrices) > 1.9e6
    (alone,) = make_optimisers(model, dataclasses.replace(MUON, optimiser="adamw"))
    assert sum(len(group["params"]) for group in alone.param_groups) == len(names)
    assert not is_matrix(torch.zeros(1, 64)) and is_matrix(torch.zeros(32, 8, 3, 3))
    assert not is_matrix(torch.zeros(32, 1, 3, 3))  # a kernel for each channel alone


def distance_left(make) -> float:
    """Return how far a linear map is, after 150 steps, from the one it fits: its inputs differ in scale by 100."""
    generator = torch.Generator().manual_seed(5)
    target = torch.randn(32, 32, generator=generator)
    inputs = torch.randn(256, 32, generator=generator) * torch.logspace(0, -2, 32)
    weight = torch.nn.Parameter(torch.zeros(32, 32))
    optimiser = make(weight)
    for step in range(150):
        optimiser.param_groups[0]["lr"] = 0.1 * (1 - step / 150)
        weight.grad = (weight @ inputs.T - target @ inputs.T) @ inputs / len(inputs)
        optimiser.step()
    return float((weight.detach() - target).square().mean().sqrt())


def test_weak_inputs_are_learnt_too():
    muon = distance_left(lambda weight: Muon([weight], lr=0.1))
    sgd = distance_left(lambda weight: torch.optim.SGD([weight], lr=0.1, momentum=0.95))
    assert muon < 0.2 and sgd > 0.5
