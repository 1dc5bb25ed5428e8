"""The lens-aware network: pooled evidence when untrained, and any number, order and size of planes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.estimators import create_estimator
from fossa_ros.estimators.evidence import resampled_evidence, stack_evidence
from fossa_ros.estimators.lens_aware.estimator import (
    BARE_WIDTH,
    LensAwareEstimator,
    padded,
    processed_widths,
    texture,
)
from fossa_ros.estimators.lens_aware.network import (
    EvidenceNetwork,
    Inputs,
    NetworkConfig,
    enlarged,
    evidence_sums,
    median_position,
    position_evidence,
    sharpened,
    squash,
)
from fossa_ros.estimators.lens_aware.reading import TOGETHER, closeness, position_and_variance, together
from fossa_ros.evaluation.metrics import depth_metrics
from fossa_ros.io.stack_files import load_stack

DATA = Path(__file__).parent / "data" / "path_traced"
SMALL = NetworkConfig(levels=8, channels=(16, 16, 16, 16, 16), blocks=(1,) * 5, decoder_blocks=(1,) * 4)


def drawn_inputs(height, width, levels=8, seed=0, batch=1) -> Inputs:
    draw = torch.Generator().manual_seed(seed)
    rand = lambda *shape: torch.rand(shape, generator=draw)  # noqa: E731
    total = -200 * rand(batch, levels, height, width)
    return Inputs(
        total - total.amax(1, keepdim=True),
        squash(-50 * rand(batch, levels, height, width)),
        rand(batch, 4, 2 * height, 2 * width),
        torch.cat([levels * rand(batch, 1, height, width), 4 * rand(batch, 1, height, width)], 1),
        rand(batch, 4, height, width),
        rand(batch, levels + 4),
        5 + rand(batch),
    )


def test_untrained_it_is_a_fixed_mixture_of_the_evidence_summed_at_each_scale():
    inputs = drawn_inputs(32, 48)
    with torch.inference_mode():
        outputs = EvidenceNetwork(SMALL).eval()(inputs)
        found, deviation = inputs.surface.split(1, 1)
        expected = np.log1p(np.exp(2.0)) * position_evidence(found, deviation.clamp(0.5, 3.0), 8)
        for part, bias in zip(evidence_sums(inputs.total, 5), (-3.0, -1.5, -1.5, -3.0, -3.0), strict=True):
            weight = np.log1p(np.exp(bias))
            expected += 4 * weight * torch.nn.functional.interpolate(squash(part), (32, 48), mode="bilinear")
    torch.testing.assert_close(outputs.logits, expected, rtol=1e-4, atol=1e-3)


def test_sums_of_evidence_add_log_likelihoods_and_their_best_level_is_0():
    total = drawn_inputs(16, 16).total
    sums = evidence_sums(total, 3)
    four = total[..., 2:4, 4:6].sum((2, 3))
    torch.testing.assert_close(sums[1][..., 1, 2], four - four.amax(1, keepdim=True))
    sixteen = total[..., 4:8, 0:4].sum((2, 3))
    torch.testing.assert_close(sums[2][..., 1, 0], sixteen - sixteen.amax(1, keepdim=True))


def test_a_position_is_evidence_as_wide_as_its_deviation():
    position, deviation = torch.full((1, 1, 1, 2), 4.0), torch.tensor([0.5, 3.0])
    found = position_evidence(position, deviation, 8)[0, :, 0]
    apart = torch.arange(8) - 4.0
    for column, each in enumerate(deviation):
        torch.testing.assert_close(found[:, column], 1 - (1 + (apart / each) ** 2).sqrt())


def test_depth_is_the_one_with_the_least_expected_relative_error():
    logits = 3 * torch.randn(1, 12, 4, 5, generator=torch.Generator().manual_seed(0))
    origin = torch.tensor([2.5])
    position = median_position(logits.softmax(1), origin)
    share, level = logits.softmax(1), torch.linspace(-0.5, 11.5, 1201)[1:] - 0.005  # each level a bin of one step
    density = share.repeat_interleave(100, 1) / 100

    def expected_error(at):
        return (density * ((2.5 + level.view(1, -1, 1, 1)) / (2.5 + at[:, None]) - 1).abs()).sum(1)

    least = expected_error(position)
    for other in (-0.3, -0.1, 0.1, 0.3):
        assert (expected_error((position + other).clamp(0, 11)) >= least - 5e-4).all()


def test_of_two_modes_the_heavier_in_dioptres_is_taken_and_nothing_between():
    logits = torch.full((1, 12, 1, 2), -30.0)
    logits[0, 2], logits[0, 10] = 0.0, torch.tensor([0.2, -1.5])  # 1.22 and 0.22 times the mass, 12 D against 4 D
    assert median_position(logits.softmax(1), torch.tensor([2.0])).flatten().tolist() == pytest.approx(
        [9.864, 2.335], abs=0.01
    )


def test_full_resolution_is_a_convex_combination_of_neighbours():
    half = torch.zeros(1, 6, 6)
    half[:, :, 3:] = 8.0
    weights = torch.zeros(1, 9, 4, 6, 6)
    weights[:, 4] = 1.0  # the parent itself
    torch.testing.assert_close(sharpened(half, weights), half.repeat_interleave(2, 1).repeat_interleave(2, 2))
    mixed = sharpened(half, torch.rand(1, 9, 4, 6, 6).softmax(1))
    assert float(mixed.min()) >= 0 and float(mixed.max()) <= 8 + 1e-5


@pytest.mark.parametrize("size", [(30, 44), (33, 47), (16, 16)])
def test_what_is_added_to_reach_a_size_the_network_takes_is_no_evidence(size):
    inputs = drawn_inputs(*size)
    cut = inputs._replace(guides=inputs.guides[..., : 2 * size[0] - 1, :])  # an odd height
    out = padded(cut)
    assert out.total.shape[2] % 16 == 0 and out.total.shape[3] % 16 == 0
    assert out.guides.shape[2:] == (2 * out.total.shape[2], 2 * out.total.shape[3])
    assert not out.total[..., size[0] :, :].any() and not out.total[..., size[1] :].any()
    torch.testing.assert_close(out.total[..., : size[0], : size[1]], inputs.total)


@pytest.mark.parametrize(("height", "width", "planes"), [(120, 160, 2), (121, 163, 3), (96, 700, 5)])
def test_any_size_number_and_order_of_planes(height, width, planes):
    rng = np.random.default_rng(planes)
    focus = np.linspace(2.0, 1.0, planes)
    images = [rng.integers(0, 255, (height, width, 3), np.uint8) for _ in focus]
    estimator = LensAwareEstimator(EvidenceNetwork())

    def stack(order):
        chosen = tuple(FocusPlane(images[i], float(optics.metres(focus[i]))) for i in order)
        K = np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1.0]])
        return FocusStack(chosen, K=K, f_number=1.4, focal_length=0.025)

    first, second = estimator.estimate(stack(range(planes))), estimator.estimate(stack(reversed(range(planes))))
    assert first.depth.shape == (height, width) and np.isfinite(first.depth).all()
    nearest = focus[0] + max(0.6, 1 / (planes - 1))  # of the levels, dioptres
    assert 0.999 / nearest <= first.depth.min() and first.depth.max() <= 1.5
    assert first.confidence.min() >= 0 and first.confidence.max() <= 1
    np.testing.assert_allclose(first.depth, second.depth, rtol=1e-3)


@pytest.mark.parametrize(
    ("width", "widths"),
    [(512, [512, 240]), (420, [420, 240]), (320, [480, 240]), (300, [450, 240]), (200, [300, 200]), (32, [48, 32])],
)
def test_small_images_are_enlarged_and_all_are_reduced(width, widths):
    assert processed_widths(width) == widths


def test_a_bare_surface_is_judged_at_the_smaller_width():
    rng = np.random.default_rng(0)
    image = np.full((360, 500, 3), 128, np.uint8)
    image[:, :250] = rng.integers(0, 255, (360, 250, 1), np.uint8)
    sharp = [image, cv2.GaussianBlur(image, (0, 0), 1.5), cv2.GaussianBlur(image, (0, 0), 3.0)]
    planes = tuple(FocusPlane(each, distance) for each, distance in zip(sharp, (0.4, 0.6, 1.2), strict=True))
    stack = FocusStack(planes, np.diag([500.0, 500.0, 1.0]), f_number=1.4, focal_length=0.025)
    estimator = create_estimator("lens_aware", device="cpu")
    fine = stack_evidence(stack, 32, 500)
    bare = resampled_evidence(fine, stack, BARE_WIDTH)
    textured = texture(fine)
    assert textured[:, :100].min() > 0.9 and textured[:, 150:].max() < 0.1
    with torch.inference_mode():
        joined, _ = estimator.log_posterior([fine, bare])
        for evidence, part in ((fine, np.s_[..., :100]), (bare, np.s_[..., 150:])):
            alone, _ = estimator.log_posterior([evidence])
            alone = enlarged(alone, joined.shape[2:])
            apart = joined[part].softmax(1) - (TOGETHER * alone[part]).softmax(1)
            assert (apart.abs().sum(1) < 0.2).float().mean() > 0.99  # of 2


@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_what_nothing_tells_has_no_confidence(noise):
    """A view without texture; and a bare half whose planes differ by noise alone, beside texture."""
    rng = np.random.default_rng(0)
    bare = [np.clip(128 + noise * rng.standard_normal((480, 640, 3)), 0, 255).astype(np.uint8) for _ in range(5)]
    sharp = rng.integers(0, 255, (480, 320, 3), np.uint8)
    half = [image.copy() for image in bare]
    for i, image in enumerate(half):
        image[:, :320] = cv2.GaussianBlur(sharp, (0, 0), 0.5 + 0.4 * abs(i - 2))
    estimator = create_estimator("lens_aware", device="cpu")
    for images, part in ((bare, np.s_[:]), (half, np.s_[:, 400:])):
        planes = tuple(FocusPlane(each, d) for each, d in zip(images, (0.35, 0.46, 0.66, 1.19, 6.0), strict=True))
        K = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])
        found = estimator.estimate(FocusStack(planes, K, f_number=1.4, focal_length=0.012))
        assert (found.confidence[part] >= 0.5).mean() < 0.01
    assert (found.confidence[:, :240] >= 0.5).mean() > 0.9  # the texture


def test_on_another_device_nothing_is_made_on_the_cpu():
    # A tensor of the CPU beside one of this device, which computes shapes only, is an error, as beside one of a GPU.
    network = EvidenceNetwork(SMALL).eval().to("meta")
    inputs = Inputs(*(part.to("meta") for part in drawn_inputs(32, 48)))
    logits, weights = network.log_posterior(inputs)
    both = together(logits, logits, logits[:, :1])
    position, variance = position_and_variance(both, inputs.surface, 10.0)
    close = closeness(both, position, inputs.surface, 1.0, 0.1)
    made = sharpened(position[:, 0], weights), sharpened(close[:, 0], weights), variance[:, 0]
    assert all(each.device.type == "meta" for each in made)
    assert made[0].shape == made[1].shape == (1, 64, 96) and made[2].shape == (1, 32, 48)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, and this machine has none")
def test_on_a_gpu_depth_is_that_of_the_cpu():
    stack = load_stack(DATA / "workbench.npz").stack
    cpu, gpu = (create_estimator("lens_aware", device=device).estimate(stack) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(gpu.depth, cpu.depth, rtol=5e-3)
    np.testing.assert_allclose(gpu.confidence, cpu.confidence, atol=5e-3)


def test_weights_from_a_file_load_and_warm_up_for_any_size(tmp_path):
    save_file(EvidenceNetwork().half().state_dict(), tmp_path / "weights.safetensors")
    estimator = create_estimator("lens_aware", checkpoint=str(tmp_path / "weights.safetensors"), device="cpu")
    assert estimator.name == "lens_aware" and estimator.description.startswith("lens_aware on cpu")
    assert all(parameter.dtype == torch.float32 for parameter in estimator.network.parameters())
    for size, planes in (((3, 5), 1), ((480, 641), 4)):
        estimator.warm_up(size, planes)


def test_the_shipped_weights_are_better_than_depth_along_surfaces():
    files = [load_stack(DATA / f"{name}.npz") for name in ("breakfast", "living_room", "workbench")]

    def mean_error(name, **options):
        estimator = create_estimator(name, **options)
        return np.mean([depth_metrics(estimator.estimate(f.stack).depth, f.truth)["abs_rel"] for f in files])

    found = mean_error("lens_aware", device="cpu")
    assert found < 0.95 * mean_error("classical") and found < 0.08


@pytest.mark.parametrize(("name", "height"), [("classical", 2), ("lens_aware", 6), ("lens_aware", 2)])
def test_images_that_are_too_narrow_are_refused(name, height):
    images = np.random.default_rng(0).integers(0, 255, (3, height, 640, 3), np.uint8)
    planes = tuple(FocusPlane(image, distance) for image, distance in zip(images, (0.5, 1.0, 3.0), strict=True))
    stack = FocusStack(planes, np.diag([640.0, 640.0, 1.0]), f_number=1.8, focal_length=0.025)
    with pytest.raises(InputError, match=r"Images of \d+x2 px, .* are too small for depth; give larger ones"):
        create_estimator(name).estimate(stack)


def test_weights_of_another_network_are_refused(tmp_path):
    save_file(EvidenceNetwork(SMALL).state_dict(), tmp_path / "small.safetensors")
    with pytest.raises(InputError, match=r"small\.safetensors"):
        create_estimator("lens_aware", checkpoint=str(tmp_path / "small.safetensors"), device="cpu")
