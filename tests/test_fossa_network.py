"""The published architecture at a small width, against the straightforward implementation in benchmarks/."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from fossa_ros.estimators.fossa.self_attention import attend_in_tiles
from fossa_ros.estimators.fossa.vit import Fossa, ViTConfig, network_size

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from straightforward import StraightforwardFossa

SIZES = (64, 6, 2, (2, 3, 4, 5), 16, (8, 16, 32, 64))


@pytest.fixture(scope="module")
def pair():
    """The same random weights in both implementations."""
    torch.manual_seed(0)
    reference, model = StraightforwardFossa(SIZES).eval(), Fossa(ViTConfig(*SIZES)).eval()
    state = {}
    for key, value in reference.state_dict().items():
        spread = value[0].numel() ** -0.5 if value.ndim > 1 else 0.02
        state[key] = spread * torch.randn_like(value) + float(value.ndim == 1 and key.endswith(("weight", "gamma")))
    reference.load_state_dict(state)
    model.load_state_dict(state)
    return reference, model


def stack_of(seed, batch, planes, height, width):
    generator = torch.Generator().manual_seed(seed)
    stack = torch.randn(batch, planes, 3, height, width, generator=generator)
    return stack, 0.3 + 5 * torch.rand(batch, planes, generator=generator)


@pytest.mark.parametrize("shape", [(1, 2, 60, 80), (2, 3, 90, 50), (1, 1, 37, 37), (1, 7, 28, 30)])
def test_agrees_with_the_straightforward_implementation(pair, shape):
    reference, model = pair
    stack, focus = stack_of(1, *shape)
    with torch.inference_mode():
        expected, depth = reference(stack, focus), model(stack, focus)
    assert depth.shape == (shape[0], 1, *shape[2:])
    assert expected.std() > 0.05  # a constant would agree with anything
    torch.testing.assert_close(depth, expected, atol=2e-5, rtol=0)


def test_tiles_in_place_and_whole_arrays_agree(pair):
    _, model = pair
    stack, focus = stack_of(2, 2, 3, 42, 56)
    with torch.no_grad():
        tiled = model(stack, focus)
    whole = model(stack, focus)
    assert whole.requires_grad
    torch.testing.assert_close(whole.detach(), tiled, atol=2e-5, rtol=0)


def test_order_of_planes_changes_nothing(pair):
    _, model = pair
    stack, focus = stack_of(4, 1, 4, 30, 40)
    order = [2, 0, 3, 1]
    with torch.inference_mode():
        torch.testing.assert_close(model(stack[:, order], focus[:, order]), model(stack, focus), atol=2e-5, rtol=0)


def test_focus_distance_matters(pair):
    _, model = pair
    stack, focus = stack_of(5, 1, 3, 28, 28)
    with torch.inference_mode():
        assert (model(stack, focus) - model(stack, 2 * focus)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (518, 700)),  # the long edge truncated to 690, then rounded up
        ((96, 128), (518, 700)),
        ((120, 90), (700, 518)),
        ((518, 518), (518, 518)),
        ((1216, 1824), (518, 784)),
    ],
)
def test_network_size(size, expected):
    assert network_size(*size) == expected


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 2e-2)])
def test_attention_in_tiles_is_attention(dtype, tolerance):
    q, k, v = (
        torch.randn(2, 3, 600, 16, generator=torch.Generator().manual_seed(seed)).to(dtype) for seed in (6, 7, 8)
    )
    k = k + 4  # a shift that all keys share changes nothing
    expected = F.scaled_dot_product_attention(q.float(), k.float(), v.float())
    assert expected.std() > 0.05
    with torch.no_grad():
        torch.testing.assert_close(attend_in_tiles(q, k, v).float(), expected, atol=tolerance, rtol=0)
