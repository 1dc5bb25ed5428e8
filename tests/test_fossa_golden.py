"""The networks against the published architecture's conformance vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fossa_golden import CASES, case, recipe_input, recipe_state_dict, reference_shapes
from fossa_ros.fossa import create_model

TOLERANCE = 2e-4


@pytest.fixture(scope="module")
def vits():
    return create_model("vits", device="cpu", weights=recipe_state_dict("vits"))


def run(model, stack, focus):
    with torch.inference_mode():
        return model(stack, focus).numpy()


@pytest.mark.parametrize("vector", [vector for model, vector in CASES if model == "vits"])
def test_vits_gives_the_golden_depth(vits, vector):
    stack, focus, expected = case("vits", vector)
    depth = run(vits, stack, focus)
    assert depth.dtype == np.float32 and depth.shape == expected.shape
    assert np.abs(depth - expected).max() < TOLERANCE


def test_vitb_gives_the_golden_depth():
    model = create_model("vitb", device="cpu", weights=recipe_state_dict("vitb"))
    stack, focus, expected = case("vitb", "landscape_n5")
    assert np.abs(run(model, stack, focus) - expected).max() < TOLERANCE


@pytest.mark.parametrize("name", ["vits", "vitb"])
def test_parameters_are_those_of_the_checkpoints(name):
    with torch.device("meta"):
        from fossa_ros.fossa.network import ARCHITECTURES, Fossa

        model = Fossa(ARCHITECTURES[name])
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == reference_shapes(name)


def test_order_of_planes_changes_nothing(vits):
    stack, focus, expected = case("vits", "portrait_n3")
    order = [2, 0, 1]
    assert np.abs(run(vits, stack[:, order], focus[:, order]) - expected).max() < TOLERANCE


def test_a_batch_is_its_members(vits):
    first, focus = recipe_input(5, (1, 2, 3, 42, 56), (0.7, 2.0))
    second, other_focus = recipe_input(6, (1, 2, 3, 42, 56), (1.1, 4.0))
    both = run(vits, torch.cat([first, second]), torch.cat([focus, other_focus]))
    assert both.shape == (2, 1, 42, 56)
    apart = np.concatenate([run(vits, first, focus), run(vits, second, other_focus)])
    assert np.abs(both - apart).max() < TOLERANCE
    assert np.abs(both[0] - both[1]).max() > 0.01  # or the comparison says nothing


def test_bf16_stays_near_fp32():
    model = create_model("vits", device="cpu", precision="bf16", weights=recipe_state_dict("vits"))
    stack, focus, expected = case("vits", "portrait_n3")
    depth = run(model, stack, focus)
    assert depth.dtype == np.float32
    assert np.median(np.abs(depth - expected) / expected) < 2e-2
