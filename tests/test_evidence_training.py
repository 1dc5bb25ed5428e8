"""Training on cached evidence: stacks as they claim to be, a whole cache, and a run that resumes exactly."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from fossa_ros.commands.cli import main
from fossa_ros.core.errors import InputError
from fossa_ros.estimators.lens_aware.network import EvidenceNetwork, NetworkConfig, Outputs
from fossa_ros.training.evidence_cache import EvidenceCache, block_file, encoded, fill_cache
from fossa_ros.training.evidence_config import EvidenceTraining, load_evidence_config
from fossa_ros.training.evidence_run import EvidenceRun
from fossa_ros.training.gray_stacks import gray_block, gray_stack
from fossa_ros.training.lenses import draw_focus
from fossa_ros.training.optimisers import learning_rate
from fossa_ros.training.posterior_losses import posterior_losses
from fossa_ros.training.random_source import RandomSource
from fossa_ros.training.rooms import Solid, make_room, rotation
from fossa_ros.training.textures import texture_bank

CONFIG = EvidenceTraining(
    network=NetworkConfig(channels=(16, 16, 16, 16, 16), blocks=(1,) * 5, decoder_blocks=(1,) * 4),
    stacks=3,
    block=2,
    side=72,
    crop=16,
    batch=2,
    steps=4,
    warm_up=2,
    precision="fp32",
)
YAML = """
model: lens_aware
stacks: 3
block: 2
side: 72
crop: 16
batch: 2
steps: 4
warm_up: 2
precision: fp32
network: {channels: [16, 16, 16, 16, 16], blocks: [1, 1, 1, 1, 1], decoder_blocks: [1, 1, 1, 1]}
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evidence")
    assert list(fill_cache(folder, CONFIG, 1))[-1] == 3  # two blocks, and the held-out one
    return folder


def test_a_solid_is_met_where_it_is_and_its_normal_points_outwards():
    level = rotation(0.0, 0.3, 0.0)
    for kind in ("box", "sphere", "cylinder"):
        solid = Solid(kind, torch.tensor([0.0, 0.0, 2.0]), level.T, torch.tensor([0.5, 0.4, 0.5]))
        ray = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.2]])
        met = solid.meet(torch.zeros(3), ray)
        expected = 2 - 0.5 / np.cos(0.3) if kind == "box" else 1.5
        assert float(met[0]) == pytest.approx(expected, abs=1e-5) and float(met[1]) > 1e5
        normal = solid.normal(ray[:1] * met[0])
        assert float(normal.norm()) == pytest.approx(1, abs=1e-5) and float(normal[0, 2]) < -0.9


def test_a_room_is_nearer_than_its_far_wall_and_objects_hide_what_is_behind_them():
    bank = texture_bank(RandomSource(3), 6, 64)
    for seed in range(6):
        scene = make_room(RandomSource(seed), bank, 96, 0.5, 4.0)
        assert scene.colour.shape == (len(scene.cover), 1, 96, 96) and scene.cover.shape == scene.power.shape
        assert scene.colour.isfinite().all() and (scene.cover[0] == 1).all()
        power = scene.visible_power()
        assert float(power.min()) > 1 / 4.0 / 1.8 and float(power.max()) <= 3.0  # a corner is farther than the wall
        hit = scene.cover[1:] >= 0.5
        behind = scene.power[:1].expand_as(hit)
        assert (scene.power[1:][hit] >= behind[hit] - 1e-4).all()


def test_a_stack_is_a_function_of_its_seed_and_states_its_lens():
    first, again = (gray_block(5, 7, 2, 72) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.truth, b.truth)
        assert a.images.dtype == np.uint8 and a.images.shape == (len(a.focus), 72, 72) == (len(a.gains), *a.truth.shape)
        assert (np.diff(a.focus) <= 1e-2).all() and (a.gains > 0).all()  # near to far, but for misread foci


def test_planes_in_front_of_a_flat_wall_are_focused_at_different_distances():
    wall = torch.full((40, 40), 2.1)
    for seed in range(300):
        focus = draw_focus(RandomSource(seed), wall, 5, (0.1, 0.8))
        assert (np.diff(focus) > 0).all() and 1 / focus[0] - 1 / focus[-1] > 0.005


def test_the_cache_holds_what_the_estimator_would_compute(cache):
    stack = gray_stack(RandomSource(CONFIG.seed, 0, 1, 1), texture_bank(RandomSource(CONFIG.seed, 0, 0), 30, 448), 72)
    fields = encoded(stack, 32)
    block = {name: np.load(block_file(cache, 0, name)) for name in fields}
    for name, value in fields.items():
        np.testing.assert_allclose(block[name][1], value, rtol=1e-3, atol=1e-3)
    assert block["total"].max() == 0 and block["total"].shape == (2, 32, 36, 36)


def test_draws_are_crops_of_the_stacks_and_their_depth(cache):
    inputs, truth, scale = EvidenceCache(cache, 2).draw(RandomSource(1), 6, 16)
    assert (
        inputs.total.shape == (6, 32, 16, 16) and inputs.guides.shape == (6, 4, 32, 32) and truth.shape == (6, 32, 32)
    )
    assert (inputs.total.amax(1) == 0).all() and scale.shape == (6, 2)
    again = EvidenceCache(cache, 2).draw(RandomSource(1), 6, 16)
    torch.testing.assert_close(again[1], truth)


def test_a_block_that_is_missing_or_cut_short_is_refused(cache, tmp_path):
    with pytest.raises(InputError, match="Block 2 of the cache"):
        EvidenceCache(cache, 3)
    for file in cache.glob("0000.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match="delete the folder to render it again"):
        EvidenceCache(tmp_path, 1)


def test_the_loss_is_least_at_the_truth_and_ignores_what_is_unknown():
    truth = torch.full((1, 8, 8), 3.25)
    truth[0, :2] = torch.nan
    scale = torch.tensor([[1.0, 0.1]])
    weights = torch.zeros(1, 9, 4, 4, 4)

    def loss(level, sharp=1.0):
        logits = torch.full((1, 8, 4, 4), -12.0 * sharp)
        logits[:, 3], logits[:, 4] = float(np.log(0.75)), float(np.log(0.25))
        logits = logits.roll(level - 3, 1)
        full = torch.full((1, 8, 8), level + 0.25)
        return posterior_losses(Outputs(logits, full[:, ::2, ::2], full, weights), truth, scale)

    at_truth = loss(3)
    assert float(at_truth["entropy"]) == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)), abs=1e-3)
    assert float(at_truth["position"]) == float(at_truth["relative"]) == 0
    one_off = loss(4)
    assert float(one_off["position"]) == pytest.approx(1.0)
    assert float(one_off["relative"]) == pytest.approx(np.log(1.425 / 1.325), rel=1e-4)


def test_a_run_that_is_stopped_continues_as_if_it_had_not_been(cache, tmp_path):
    torch.set_num_threads(1)
    losses = {"whole": [], "parts": []}

    def train(name, until):
        run = EvidenceRun(CONFIG, tmp_path / name, "cpu")
        run.train(EvidenceCache(cache, 2), until, lambda found: losses[name].append(found["total"]) or True)
        run.save()
        return run

    whole = train("whole", 4)
    train("parts", 2)
    parts = train("parts", 4)
    assert losses["whole"] == losses["parts"] and len(losses["parts"]) == 4
    for a, b in zip(whole.average.parameters(), parts.average.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    with pytest.raises(InputError, match="was started with another batch"):
        EvidenceRun(EvidenceTraining(**{**CONFIG.__dict__, "batch": 3}), tmp_path / "whole", "cpu")


def test_the_rate_rises_stays_and_falls():
    config = EvidenceTraining(steps=1000, warm_up=100, decay=0.3)
    rates = [learning_rate(config, step) for step in (0, 99, 100, 700, 850, 1000)]
    expected = np.array([0.01, 1, 1, 1, 0.505, 0.01]) * config.learning_rate
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_the_command_trains_and_leaves_weights_that_load(cache, tmp_path):
    (tmp_path / "small.yaml").write_text(YAML)
    folder = tmp_path / "run"
    (folder / "evidence").mkdir(parents=True)
    for file in cache.iterdir():
        (folder / "evidence" / file.name).write_bytes(file.read_bytes())
    asked = ["train", str(tmp_path / "small.yaml"), "--out", str(folder), "--log-every", "1", "--device", "cpu"]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    network = EvidenceNetwork(load_evidence_config(tmp_path / "small.yaml").network)
    network.load_state_dict(load_file(folder / "weights.safetensors"))
    assert json.loads((folder / "state.json").read_text())["step"] == 4
    assert len((folder / "log.csv").read_text().splitlines()) == 5 and (folder / "unseen.jpg").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [("model: lens_aware\ncrop: 20", "crop must be a multiple of 16"), ("model: lens_aware\nstacs: 5", "stacs")],
)
def test_a_configuration_that_cannot_be_used_is_a_sentence(tmp_path, text, said):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        load_evidence_config(tmp_path / "bad.yaml")
