"""The networks against the published architecture's conformance vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fossa_golden import CASES, case, recipe_state_dict, reference_shapes
from fossa_ros.estimators.fossa.factory import MODELS, create_model
from fossa_ros.estimators.fossa.vit import Fossa

TOLERANCE = 2e-4


@pytest.fixture(scope="module")
def vits():
    return create_model("vits", device="cpu", weights=recipe_state_dict("vits"))


@pytest.mark.parametrize("vector", [vector for model, vector in CASES if model == "vits"])
def test_vits_gives_the_golden_depth(vits, vector):
    stack, focus, expected = case("vits", vector)
    with torch.inference_mode():
        depth = vits(stack, focus).numpy()
    assert depth.dtype == np.float32 and depth.shape == expected.shape
    assert np.abs(depth - expected).max() < TOLERANCE


def test_vitb_gives_the_golden_depth():
    model = create_model("vitb", device="cpu", weights=recipe_state_dict("vitb"))
    stack, focus, expected = case("vitb", "landscape_n5")
    with torch.inference_mode():
        assert np.abs(model(stack, focus).numpy() - expected).max() < TOLERANCE


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_near(precision):
    model = create_model("vits", device="cpu", precision=precision, weights=recipe_state_dict("vits"))
    stack, focus, expected = case("vits", "square_n1")
    with torch.inference_mode():
        depth = model(stack, focus).numpy()
    assert depth.dtype == np.float32
    assert np.median(np.abs(depth - expected) / expected) < 2e-2


@pytest.mark.parametrize("name", ["vits", "vitb"])
def test_parameters_are_those_of_the_checkpoints(name):
    with torch.device("meta"):
        model = Fossa(MODELS[name])
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == reference_shapes(name)
