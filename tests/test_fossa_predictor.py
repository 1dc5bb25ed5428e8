"""From FocusStack to DepthMap by network: units, unusable input, options."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.estimators.factory import create_estimator
from fossa_ros.estimators.fossa.confidence import bracketing_confidence
from fossa_ros.estimators.fossa.factory import MODELS
from fossa_ros.estimators.fossa.predictor import Predictor, create_predictor
from fossa_ros.estimators.fossa.preprocessing import normalise
from small_fossa import SMALL, small_fossa

K = np.array([[80.0, 0, 31.5], [0, 78, 23.5], [0, 0, 1]])


def make_stack(distances=(0.5, 1.0, 2.0), size=(48, 64), K=K, **fields):
    random = np.random.default_rng(3)
    images = random.integers(0, 256, (len(distances), *size, 3), dtype=np.uint8)
    planes = tuple(FocusPlane(image, d, i) for i, (image, d) in enumerate(zip(images, distances, strict=True)))
    return FocusStack(planes, K=K, **fields)


@pytest.fixture(scope="module")
def model():
    return small_fossa()


class Readback(nn.Module):
    """A network that records its input, to show the units it sees, and gives one depth everywhere."""

    dtype = torch.float32

    def __init__(self, answer):
        super().__init__()
        self.answer = nn.Parameter(torch.tensor(answer))

    def forward(self, stack, focus):
        self.frames, self.focus = stack[0], focus
        return self.answer.expand(1, 1, *stack.shape[3:]).clone()


def test_units():
    stack = make_stack()
    network = Readback(4.0)
    depth = Predictor(network, name="readback").estimate(stack)
    # Canonical metres are metres * width / max(fx, fy) = metres * 64 / 80.
    np.testing.assert_allclose(network.focus.numpy(), [[0.4, 0.8, 1.6]], rtol=1e-6)
    np.testing.assert_allclose(depth.depth, np.full((48, 64), 5.0), rtol=1e-6)
    expected = (stack.images() / 255.0 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    np.testing.assert_allclose(network.frames.numpy(), expected.transpose(0, 3, 1, 2), atol=1e-5)
    assert depth.depth.dtype == depth.confidence.dtype == np.float32
    assert (depth.estimator, depth.stamp_ns) == ("readback", 1)
    np.testing.assert_array_equal(depth.K, K)
    np.testing.assert_array_equal(depth.all_in_focus, stack.planes[2].image)  # 5 m is nearest to the plane at 2 m


def test_unrounded_planes_reach_the_network_as_they_are():
    model = Readback(1.0)
    stack = make_stack()
    unrounded = stack.images() + np.float32(0.25)
    Predictor(model).estimate_unrounded(stack, unrounded)
    expected = (unrounded / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert torch.allclose(model.frames.permute(0, 2, 3, 1), torch.from_numpy(expected).float(), atol=1e-5)


@pytest.mark.parametrize("answer", [np.nan, np.inf, -1.0, 0.0])
def test_what_is_no_depth_is_nan(answer):
    depth = Predictor(Readback(answer)).estimate(make_stack())
    assert np.isnan(depth.depth).all()
    assert (depth.confidence == 0).all()


def test_intrinsics_are_required(model):
    with pytest.raises(InputError, match=r"stack\.json.*--fx.*camera_info"):
        Predictor(model).estimate(make_stack(K=None))


def test_focus_at_infinity(model):
    with pytest.raises(InputError, match="hyperfocal"):
        Predictor(model).estimate(make_stack((0.5, 1.0, np.inf)))


def test_warm_up_leaves_no_trace(model):
    predictor = Predictor(model)
    predictor.warm_up((48, 64), 3)
    stack = make_stack()
    np.testing.assert_array_equal(predictor.estimate(stack).depth, Predictor(model).estimate(stack).depth)


def test_normalise_is_exact_at_the_ends():
    images = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 2, 1).expand(1, 1, 2, 3)
    low, high = normalise(images)[0, :, 0].T
    np.testing.assert_allclose(low, [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-6)
    np.testing.assert_allclose(high, [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225], rtol=1e-5)


def test_bracketing_confidence():
    depth = np.float32([[0.5, 1.0, 2.0, 1 / 3.0, 1e9, np.nan]])
    trust = bracketing_confidence(depth, np.array([2.0, 0.5, 1.0]))
    # Planes at 0.5, 1 and 2 dioptres, 0.75 apart: 3 dioptres lie one too near, infinity half a dioptre too far.
    np.testing.assert_allclose(trust, [[1, 1, 1, np.exp(-1 / 0.75), np.exp(-0.5 / 0.75), 0]], rtol=1e-5)


def test_the_factory_wants_trained_weights(model, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="give checkpoint"):
        create_estimator("fossa", model="vits", device="cpu", checkpoint=None)
    torch.save(model.state_dict(), tmp_path / "small.pth")
    with pytest.raises(InputError, match="choose the model"):
        create_predictor(model="vits", checkpoint=tmp_path / "small.pth", device="cpu")
    monkeypatch.setitem(MODELS, "vits", SMALL)
    options = {"model": "vits", "checkpoint": str(tmp_path / "small.pth"), "device": "cpu", "compile": None}
    estimator = create_estimator("fossa", **options)
    assert estimator.name == "fossa-vits"
    assert estimator.description.startswith("fossa-vits on cpu (") and estimator.description.endswith(", fp32")
    depth = estimator.estimate(make_stack())
    assert depth.estimator == "fossa-vits" and depth.depth.shape == (48, 64)


def test_compile_without_a_compiler_says_so(model, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"g\+\+"):
        Predictor(model, compile=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU, and this machine has none")
def test_cuda_graphs_give_the_same_depth(model):
    stacks = [make_stack(), make_stack((0.4, 0.9)), make_stack()]
    expected = [Predictor(model).estimate(stack).depth for stack in stacks]
    try:
        predictor = Predictor(model.to("cuda"))
        for stack, depth in zip(stacks, expected, strict=True):
            np.testing.assert_allclose(predictor.estimate(stack).depth, depth, rtol=2e-3)
    finally:
        model.to("cpu")
