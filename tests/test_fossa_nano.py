"""The small network: size, invariances, the focus-volume head, and that it can learn."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.fossa.factory import create_model
from fossa_ros.estimators.fossa.focus_volume import concentration, reading_weights
from fossa_ros.estimators.fossa.nano import Nano, NanoConfig, network_size
from fossa_ros.estimators.fossa.sharpness import CHANNELS, log_sharpness

SMALL = NanoConfig(stem=(8, 16), dim=32, stack_blocks=2, window=4, fused_dim=32, fused_blocks=1, features=(16, 8))


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    model = Nano(SMALL).eval()
    for attention in model.stack_attention:
        torch.nn.init.normal_(attention.proj_out.weight, std=0.1)
    for layer in (model.depth_head.refine.leave, model.depth_head.logit):
        torch.nn.init.normal_(layer.weight, std=0.1)
    return model


def stack_of(seed, batch, planes, height, width):
    generator = torch.Generator().manual_seed(seed)
    stack = torch.randn(batch, planes, 3, height, width, generator=generator)
    return stack, 0.3 + 4 * torch.rand(batch, planes, generator=generator)


def test_fits_a_small_machine():
    assert sum(parameter.numel() for parameter in Nano().parameters()) <= 10e6


@pytest.mark.parametrize("shape", [(1, 5, 48, 64), (2, 2, 50, 37), (1, 1, 16, 16)])
def test_shapes_and_ranges(small, shape):
    stack, focus = stack_of(1, *shape)
    with torch.inference_mode():
        depth, confidence = small.predict(stack, focus)
        assert torch.equal(small(stack, focus), depth)
    assert depth.shape == confidence.shape == (shape[0], 1, *shape[2:])
    assert depth.dtype == torch.float32 and depth.isfinite().all() and (depth > 0).all()
    assert confidence.min() >= 0 and confidence.max() <= 1


def test_order_of_planes_changes_nothing(small):
    stack, focus = stack_of(2, 1, 4, 48, 32)
    order = [3, 1, 0, 2]
    with torch.inference_mode():
        torch.testing.assert_close(small(stack[:, order], focus[:, order]), small(stack, focus), atol=1e-5, rtol=1e-5)


def test_a_batch_is_its_members(small):
    stack, focus = stack_of(3, 2, 3, 40, 48)
    with torch.inference_mode():
        both = small(stack, focus)
        for i in range(2):
            torch.testing.assert_close(both[i : i + 1], small(stack[i : i + 1], focus[i : i + 1]), atol=1e-5, rtol=1e-5)


def test_tiles_in_place_and_whole_arrays_agree(small):
    stack, focus = stack_of(4, 1, 3, 64, 72)
    with torch.no_grad():
        tiled = small(stack, focus)
    torch.testing.assert_close(small(stack, focus).detach(), tiled, atol=1e-5, rtol=1e-5)


def test_planes_see_each_other(small):
    """Another picture in one plane changes the depth by way of stack attention even where scores stay put."""
    stack, focus = stack_of(5, 1, 3, 32, 32)
    with torch.inference_mode():
        half, quarter, tokens = (part[None] for part in small.embed(stack[0]))
        before = small.decode([half, quarter, tokens], focus).depth
        tokens = tokens.clone()
        tokens[:, 0] = tokens[:, 0].roll(5, dims=2)
        after = small.decode([half, quarter, tokens], focus).depth
    assert (before - after).abs().max() > 1e-3


def test_head_reads_depth_off_the_planes(small, monkeypatch):
    """Scores of certainty give the planes' own distances, shared scores a mean that leans to the nearer plane."""
    head = small.depth_head
    disparity = torch.tensor([[2.0, 1.0, 0.5]])
    logits = torch.full((1, 3, 1, 2, 4), -60.0)
    logits[0, 0, ..., 0] = logits[0, 2, ..., 1] = 0  # first column: first plane; second: third plane
    logits[0, :2, ..., 2:] = 0  # the others: between the first two
    half = torch.zeros(1, 3, SMALL.stem[0] + CHANNELS, 2, 4)
    features = torch.zeros(1, 3, SMALL.features[0], 1, 2)
    monkeypatch.setattr(head, "scores", lambda *maps: (logits, features))
    monkeypatch.setattr(head.refine, "forward", lambda features: torch.zeros(1, 1, 2, 4))
    volume = head(half, None, None, None, disparity)
    nearer, farther = 2.75**0.75, 1.75**0.75  # planes are 0.75 apart on average
    between = (nearer + farther) / (2 * nearer + farther)
    expected = torch.tensor([0.5, 2.0, between, between]).expand(2, 4)
    torch.testing.assert_close(volume.depth[0, 0], expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(volume.confidence, torch.ones(1, 1, 2, 4))
    torch.testing.assert_close(volume.scores.exp().sum(1), torch.ones(1, 2, 4))


def test_untrained_it_is_shape_from_focus():
    """With its first weights the head trusts the plane that shows most detail."""
    torch.manual_seed(0)
    sharp = torch.rand(1, 3, 64, 64)
    soft = torch.nn.functional.avg_pool2d(sharp, 7, stride=1, padding=3)
    left = torch.arange(64) < 32
    planes = torch.stack([torch.where(left, sharp, soft), torch.where(left, soft, sharp)], 1)
    with torch.inference_mode():
        depth = Nano().eval()((planes - 0.5) / 0.22, torch.tensor([[0.5, 2.0]]))[0, 0]
    torch.testing.assert_close(depth[16:48, 8:20].mean(), torch.tensor(0.5), rtol=0.15, atol=0)
    torch.testing.assert_close(depth[16:48, 44:56].mean(), torch.tensor(2.0), rtol=0.15, atol=0)


def test_sharpness_is_the_energy_of_octaves():
    """A grating of a finer period shows in a finer band; twice the contrast is log 4 everywhere it shows."""
    x = torch.arange(128)
    fine, coarse = (torch.cos(2 * math.pi * x / period).expand(1, 3, 128, 128) for period in (4, 24))
    of_fine, of_coarse = (log_sharpness(g)[0, :, 20:-20, 20:-20].mean((1, 2)) for g in (fine, coarse))
    assert of_fine[:3].argmax() == 0 and of_coarse[:3].argmax() == 2
    louder = log_sharpness(2 * fine)[0, :, 20:-20, 20:-20].mean((1, 2))
    torch.testing.assert_close(louder[0] - of_fine[0], torch.tensor(math.log(4.0)), rtol=1e-2, atol=0)


@pytest.mark.parametrize("change", [{"focus": "film"}, {"focus": "index"}, {"focus": "none"}, {"fusion": "max"}])
def test_ablations_still_order_planes_freely(change):
    torch.manual_seed(1)
    model = Nano(dataclasses.replace(SMALL, **change)).eval()
    for attention in model.stack_attention:
        torch.nn.init.normal_(attention.proj_out.weight, std=0.1)
    stack, focus = stack_of(8, 1, 3, 32, 32)
    with torch.inference_mode():
        turned = model(stack[:, [2, 0, 1]], focus[:, [2, 0, 1]])
        torch.testing.assert_close(turned, model(stack, focus), rtol=1e-4, atol=0)


def test_only_a_known_ablation():
    with pytest.raises(InputError, match="fusion"):
        Nano(dataclasses.replace(SMALL, fusion="sum"))
    assert len(Nano(dataclasses.replace(SMALL, stack_attention=False)).stack_attention) == 0


def test_concentration():
    # Mass one spacing from the mean counts in full, at 1.5 spacings half, at two and beyond not at all.
    weights = torch.tensor([0.4, 0.3, 0.2, 0.1]).view(1, 4, 1, 1, 1)
    offset = torch.tensor([0.0, -1.0, 1.5, 2.5]).view(1, 4, 1, 1, 1)
    torch.testing.assert_close(concentration(weights, offset).flatten(), torch.tensor([0.8]))


def test_starts_without_disturbing_frames():
    """Untrained, stack attention adds nothing: its output layer starts at zero."""
    model = Nano(SMALL)
    tokens = torch.randn(1, 3, 6, 32)
    assert torch.equal(model.stack_attention[0](tokens, torch.ones(1, 3)), tokens)


def test_depth_is_read_off_by_sharpened_weights_that_lean_to_the_nearer_planes():
    """By hand: w^2.5 (p + 1)^0.75 of planes a spacing of 1 apart."""
    planes = torch.arange(3.0)[None, :, None, None, None]
    weights = torch.tensor([[0.25, 0.5, 0.25], [0.4, 0.2, 0.4]]).T[None, :, None, :, None]
    read = reading_weights(weights.log(), planes, torch.ones(1, 1, 1, 1))[0, :, 0, :, 0].T
    expected = torch.tensor([[0.03125, 0.176777 * 1.681793, 0.03125 * 2.279507],
                             [0.101193, 0.0178885 * 1.681793, 0.101193 * 2.279507]])  # fmt: skip
    torch.testing.assert_close(read, expected / expected.sum(1, keepdim=True), atol=1e-6, rtol=1e-4)


def test_learns_one_stack():
    """Some steps on one stack with a known depth lower the error, and every parameter takes part."""
    torch.manual_seed(0)
    model = Nano(SMALL).train()
    stack, focus = stack_of(6, 1, 3, 32, 32)
    target = torch.linspace(0.5, 3.0, 32).expand(1, 1, 32, 32)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    errors = []
    for _ in range(40):
        error = (model(stack, focus).log() - target.log()).abs().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(error.item())
    assert errors[-1] < 0.5 * errors[0]
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_near(precision):
    torch.manual_seed(0)
    model = create_model("nano", device="cpu")
    lower = create_model("nano", device="cpu", precision=precision, weights=model.state_dict())
    stack, focus = stack_of(7, 1, 3, 48, 48)
    with torch.inference_mode():
        expected, depth = model(stack, focus), lower(stack, focus)
    assert depth.dtype == torch.float32
    assert ((depth - expected) / expected).abs().median() < 2e-2


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (480, 640)),
        ((400, 640), (480, 768)),
        ((240, 320), (368, 480)),
        ((100, 130), (160, 208)),
        ((1080, 1920), (480, 864)),
    ],
)
def test_network_size(size, expected):
    assert network_size(*size) == expected


def test_crops_are_trained_on_as_they_are(small):
    frame = torch.rand(1, 3, 64, 48)
    assert small.embed(frame)[0].shape[2:] == (48, 40)
    half = small.train().embed(frame)[0]
    small.eval()
    assert half.shape[2:] == (32, 24)
