"""Training on cached evidence: stacks as they claim to be, a whole cache, and a run that resumes exactly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from fossa_ros.commands.cli import main
from fossa_ros.core.errors import InputError
from fossa_ros.estimators.classical import ClassicalEstimator
from fossa_ros.estimators.evidence import stack_evidence
from fossa_ros.estimators.lens_aware.estimator import WIDTH
from fossa_ros.estimators.lens_aware.network import EvidenceNetwork, NetworkConfig, Outputs
from fossa_ros.estimators.shipped import SHIPPED
from fossa_ros.evaluation.metrics import depth_metrics
from fossa_ros.io.stack_files import load_stack
from fossa_ros.training.evidence_cache import EvidenceCache, encoded, field_file, fill_cache
from fossa_ros.training.evidence_config import EvidenceTraining, load_evidence_config
from fossa_ros.training.evidence_run import EvidenceRun
from fossa_ros.training.evidence_sources import find_sources
from fossa_ros.training.lenses import draw_focus
from fossa_ros.training.optimisers import learning_rate
from fossa_ros.training.posterior_losses import posterior_losses
from fossa_ros.training.random_source import RandomSource
from fossa_ros.training.variations import varied

ROOMS = Path(__file__).parent / "data" / "path_traced"  # three stacks, of which the last is held out
CONFIG = EvidenceTraining(
    network=NetworkConfig(channels=(16, 16, 16, 16, 16), blocks=(1,) * 5, decoder_blocks=(1,) * 4),
    variations=2,
    held_out=1,
    batch=2,
    steps=4,
    warm_up=2,
    precision="fp32",
)
YAML = """
model: lens_aware
variations: 2
held_out: 1
batch: 2
steps: 4
warm_up: 2
precision: fp32
network: {channels: [16, 16, 16, 16, 16], blocks: [1, 1, 1, 1, 1], decoder_blocks: [1, 1, 1, 1]}
"""
NAMES = ["breakfast", "living_room", "workbench"]
SEEN = NAMES[:2]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evidence")
    sources = find_sources(ROOMS, CONFIG)
    assert [source.name for source in sources] == NAMES
    assert list(fill_cache(folder, CONFIG, sources, 1)) == [0, 1, 2, 3]
    return folder


def test_planes_are_focused_in_front_of_a_flat_wall_at_different_distances():
    wall = torch.full((40, 40), 2.1)
    for seed in range(300):
        focus = draw_focus(RandomSource(seed), wall, 5, (0.1, 0.8))
        assert (np.diff(focus) > 0).all() and 1 / focus[0] - 1 / focus[-1] > 0.005


def test_a_variation_has_planes_of_the_stack_and_differs_as_a_sensor_and_a_lens_differ():
    stack = load_stack(ROOMS / "breakfast.npz").stack
    counts, focus_errors = set(), []
    for seed in range(40):
        one, again = (varied(stack, np.random.default_rng(seed)) for _ in range(2))
        for a, b in zip(one.planes, again.planes, strict=True):
            np.testing.assert_array_equal(a.image, b.image)
            assert a.image.dtype == np.uint8 and a.image.shape == stack.planes[0].image.shape
        near_to_far = one.focus_distances[:, None] / stack.focus_distances
        nearest = np.abs(np.log(near_to_far)).argmin(axis=1)
        assert (np.diff(nearest) > 0).all()
        focus_errors += np.abs(near_to_far[np.arange(len(nearest)), nearest] - 1).tolist()
        counts.add(len(one.planes))
        assert one.f_number == pytest.approx(stack.f_number, rel=0.2)
    assert counts == {2, 3, 4, 5}
    assert 0 < np.mean(focus_errors) < 0.03 and np.max(focus_errors) < 0.12


def test_the_cache_holds_what_the_estimator_would_compute(cache):
    file = load_stack(ROOMS / "living_room.npz")
    fields = encoded(stack_evidence(file.stack, 32, WIDTH), file.truth)
    stored = {name: np.load(field_file(cache, "living_room", name)) for name in fields}
    for name, value in fields.items():
        np.testing.assert_allclose(stored[name][0], value, rtol=1e-3, atol=1e-3)
    assert stored["total"].max() == 0 and stored["total"].shape == (2, 32, 60, 80)
    error = depth_metrics(ClassicalEstimator().estimate(file.stack).depth, file.truth)["abs_rel"]
    assert stored["possible"][0] == pytest.approx(error, rel=0.1)  # at half resolution, with other levels


def test_draws_are_whole_stacks_continued_to_a_size_the_network_takes(cache):
    drawn = EvidenceCache(cache, SEEN, 1.0)
    inputs, truth, scale, possible = drawn.draw(RandomSource(1), 6)
    assert inputs.total.shape == (6, 32, 64, 80) and inputs.guides.shape == (6, 4, 128, 160)
    assert truth.shape == (6, 128, 160) and scale.shape == (6, 2) and possible.shape == (6,)
    assert (inputs.total.amax(1) == 0).all() and (truth.isnan().sum((1, 2)) >= 8 * 160).all()
    torch.testing.assert_close(inputs.origin, scale[:, 0] / scale[:, 1])
    again = drawn.draw(RandomSource(1), 6)
    torch.testing.assert_close(again[1], truth, equal_nan=True)


def test_depth_that_cannot_be_known_is_left_out(cache):
    worst = max(float(np.load(field_file(cache, name, "possible")).max()) for name in SEEN)
    draw = EvidenceCache(cache, SEEN, 0.99 * worst).draw
    assert max(float(draw(RandomSource(step), 4)[3].max()) for step in range(20)) < worst
    with pytest.raises(InputError, match="raise hardest"):
        EvidenceCache(cache, SEEN, 1e-6)


def test_evidence_that_is_missing_or_cut_short_is_refused(cache, tmp_path):
    with pytest.raises(InputError, match="evidence of garden"):
        EvidenceCache(cache, ["garden"], 1.0)
    for file in cache.glob("breakfast.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match="delete the folder to compute it again"):
        EvidenceCache(tmp_path, ["breakfast"], 1.0)


def test_a_folder_with_too_few_stacks_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"3 \.npz stacks, and 3 are held out"):
        find_sources(ROOMS, replace(CONFIG, held_out=3))


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
        return posterior_losses(Outputs(logits, full[:, ::2, ::2], full, weights), truth, scale, torch.tensor([0.1]))

    at_truth = loss(3)
    assert float(at_truth["entropy"]) == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)), abs=1e-3)
    assert float(at_truth["position"]) == float(at_truth["relative"]) == 0
    one_off = loss(4)
    assert float(one_off["position"]) == pytest.approx(1.0)
    assert float(one_off["relative"]) == pytest.approx(1 - 1.325 / 1.425, rel=1e-4)


def test_a_run_that_is_stopped_continues_as_if_it_had_not_been(cache, tmp_path):
    torch.set_num_threads(1)
    losses = {"whole": [], "parts": []}

    def train(name, until):
        run = EvidenceRun(CONFIG, tmp_path / name, "cpu")
        run.train(EvidenceCache(cache, SEEN, 1.0), until, lambda found: losses[name].append(found["total"]) or True)
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


def test_a_run_may_start_from_the_weights_that_ship(tmp_path):
    run = EvidenceRun(EvidenceTraining(weights="shipped"), tmp_path, "cpu")
    shipped = load_file(SHIPPED["lens_aware"])
    assert all(torch.equal(value, shipped[name].float()) for name, value in run.average.state_dict().items())


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
    asked = ["train", str(tmp_path / "small.yaml"), "--rooms", str(ROOMS), "--out", str(folder)]
    asked += ["--log-every", "1", "--device", "cpu"]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    network = EvidenceNetwork(load_evidence_config(tmp_path / "small.yaml").network)
    network.load_state_dict(load_file(folder / "weights.safetensors"))
    assert json.loads((folder / "state.json").read_text())["step"] == 4
    assert len((folder / "log.csv").read_text().splitlines()) == 5 and (folder / "unseen.jpg").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: lens_aware\nheld_out: 0", "held_out, steps and batch must be above 0"),
        ("model: lens_aware\nstacs: 5", "stacs"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_a_sentence(tmp_path, text, said):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        load_evidence_config(tmp_path / "bad.yaml")


@pytest.mark.parametrize(
    ("model", "asked", "said"),
    [
        ("lens_aware", ["--preview", "stacks.png"], "path_traced --sheet"),
        ("vits", ["--rooms", str(ROOMS)], "--rooms is for model: lens_aware"),
    ],
)
def test_an_option_of_the_other_kind_of_training_is_refused(tmp_path, model, asked, said):
    (tmp_path / "run.yaml").write_text(f"model: {model}\n")
    done = CliRunner().invoke(main, ["train", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "run"), *asked])
    assert done.exit_code == 2 and said in " ".join(done.output.replace("│", " ").split())
    assert not (tmp_path / "run").exists()
