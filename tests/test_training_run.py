"""Losses, the loop, its state and what feeds it."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

from fossa_ros.commands.cli import main
from fossa_ros.core.errors import InputError
from fossa_ros.estimators.fossa import vit
from fossa_ros.training.config import TrainingConfig, load_config
from fossa_ros.training.evidence_config import load_evidence_config
from fossa_ros.training.loop import Run, find_frames, render_block
from fossa_ros.training.losses import (
    LossWeights,
    gradient_matching,
    plane_spacing,
    silog,
    total_loss,
)
from fossa_ros.training.optimisers import learning_rate
from fossa_ros.training.pool import choose_planes, draw_batch
from fossa_ros.training.random_source import RandomSource
from fossa_ros.training.rgbd import HYPERSIM_FX, TARTANAIR_FX, RgbdFrames
from fossa_ros.training.state import load_state, save_state

SMALL = {"dim": 32, "depth": 4, "heads": 2, "taps": (0, 1, 2, 3), "features": 8, "channels": (8, 8, 8, 8)}
TINY = TrainingConfig(
    architecture={**SMALL, "stack_blocks": 1, "fuse_block": 1},
    steps=8,
    batch=2,
    crop=32,
    planes=(2, 3),
    block=2,
    pool=1,
    reuse=2,
    side=40,
    rendered=3,
    textures=4,
    texture_side=64,
    warm_up=2,
)
CONFIGS = Path(__file__).parent.parent / "config" / "training"


@pytest.fixture(autouse=True)
def few_tokens(monkeypatch):
    """Let the network see images of 48 px as 4 x 4 tokens instead of 37 x 37."""
    monkeypatch.setattr(vit, "SHORT_EDGE", 56)


def written(config, path):
    """Write a configuration as YAML."""
    path.write_text(yaml.safe_dump(json.loads(json.dumps(dataclasses.asdict(config)))))
    return str(path)


def test_silog_by_hand():
    depth = torch.tensor([[[[2.0, 4.0, 9.0]]]])
    truth = torch.ones(1, 1, 1, 3)
    known = torch.tensor([[[[True, True, False]]]])
    a, b = math.log(2), math.log(4)
    expected = math.sqrt((a * a + b * b) / 2 - 0.5 * ((a + b) / 2) ** 2)
    assert float(silog(depth, truth, known)) == pytest.approx(expected, rel=1e-5)


def test_gradient_matching_by_hand():
    residual = torch.tensor([[[[0.0, 1.0, 5.0], [0.0, 0.0, 0.0]]]])
    known = torch.tensor([[[[True, True, False], [True, True, True]]]])
    # Down: |0|, |-1| over two known pairs; right: 1, 0, 0 over three; at every second pixel: one pair (0, 0) unknown.
    assert float(gradient_matching(residual, known, scales=1)) == pytest.approx(1 / 2 + 1 / 3)
    assert float(gradient_matching(residual, known, scales=2)) == pytest.approx(1 / 2 + 1 / 3)


def test_plane_spacing_is_the_mean_in_any_order():
    torch.testing.assert_close(plane_spacing(torch.tensor([[1.0, 3.0, 2.0]])), torch.tensor([1.0]))


def test_losses_of_a_perfect_prediction_are_nothing():
    truth = torch.rand(2, 8, 8) + 0.5
    truth[0, 0, 0] = torch.nan
    depth = 1 / truth.nan_to_num(3.0)[:, None]
    weights = LossWeights(silog=1.0, gradient=1.0, log=1.0, planes=1.0, edges=1.0)
    parts = total_loss(weights, depth, truth, torch.tensor([[0.5, 1.0], [0.5, 1.5]]))
    assert float(parts["total"]) < 5e-4 and set(parts) == {"silog", "gradient", "log", "planes", "edges", "total"}
    worse = total_loss(weights, 1.1 * depth, truth, torch.tensor([[0.5, 1.0], [0.5, 1.5]]))
    assert float(worse["log"]) == pytest.approx(math.log(1.1), rel=1e-4)


def test_learning_rate_rises_and_falls():
    config = dataclasses.replace(TINY, steps=100, warm_up=10, learning_rate=1e-3)
    rates = [learning_rate(config, step) for step in range(101)]
    assert rates[0] == pytest.approx(1e-4) and max(rates) == rates[9] == pytest.approx(1e-3)
    assert config.full_rate == 70 and set(rates[9:71]) == {1e-3}
    assert rates[100] == pytest.approx(1e-5) and (np.diff(rates[70:]) < 0).all()


def test_steps_lower_the_loss_on_one_batch(tmp_path):
    """The same stacks again and again: what there is to learn in them is learnt."""
    config = dataclasses.replace(TINY, steps=100, learning_rate=4e-3)
    run = Run(config, tmp_path, "cpu")
    batch = draw_batch(config, render_block(config, 0, "cpu", 0), 0, 0, 2)
    losses = []
    for _ in range(80):
        losses.append(run._update(batch)["total"])
        run.step += 1
    assert losses[-1] < 0.6 * losses[0]


def curve(config, folder, until, **options):
    seen = []
    run = Run(config, folder, "cpu")
    run.train(until, after_step=lambda losses: seen.append(losses["total"]) or True, **options)
    run.save()
    return seen, run


@pytest.mark.parametrize(("optimiser", "workers"), [("adamw", 1), ("muon", 0)])
def test_resumed_run_is_the_run(tmp_path, optimiser, workers):
    """Stopped in the middle of a round and resumed, also with rendering workers: the same losses to the bit."""
    config = dataclasses.replace(TINY, optimiser=optimiser)
    whole, run = curve(config, tmp_path / "whole", 8)
    first, _ = curve(config, tmp_path / "parts", 3)
    second, resumed = curve(config, tmp_path / "parts", 8, workers=workers)
    assert first + second == whole
    for key, value in run.average.state_dict().items():
        assert torch.equal(value, resumed.average.state_dict()[key]), key


def test_resuming_needs_the_same_configuration(tmp_path):
    curve(TINY, tmp_path, 1)
    with pytest.raises(InputError, match="another seed, learning_rate"):
        Run(dataclasses.replace(TINY, seed=5, learning_rate=1e-4), tmp_path, "cpu")


def test_a_run_begun_before_a_setting_existed_had_its_default(tmp_path):
    curve(TINY, tmp_path, 1)
    index = tmp_path / "state.json"
    state = json.loads(index.read_text())
    del state["config"]["optimiser"]
    index.write_text(json.dumps(state))
    assert Run(TINY, tmp_path, "cpu").step == 1
    with pytest.raises(InputError, match="another optimiser"):
        Run(dataclasses.replace(TINY, optimiser="muon"), tmp_path, "cpu")


def test_run_can_be_lengthened_while_its_rate_is_constant(tmp_path):
    config = dataclasses.replace(TINY, steps=10, warm_up=2, decay=0.4)
    curve(config, tmp_path, 4)
    longer = dataclasses.replace(config, steps=20)
    assert Run(longer, tmp_path, "cpu").step == 4
    curve(config, tmp_path, 7)  # in the decay of the shorter run
    with pytest.raises(InputError, match="another steps"):
        Run(longer, tmp_path, "cpu")


def test_state_travels_in_small_files_and_is_whole_or_absent(tmp_path, monkeypatch):
    tensors = {f"t{i}": torch.arange(1000.0) + i for i in range(5)}
    monkeypatch.setattr("fossa_ros.training.state.MAX_BYTES", 9000)
    assert load_state(tmp_path) is None
    save_state(tmp_path, tensors, {"step": 1})
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    save_state(tmp_path, {**tensors, "t0": torch.zeros(3)}, {"step": 2})
    back, values = load_state(tmp_path)
    assert values == {"step": 2} and torch.equal(back["t0"], torch.zeros(3)) and torch.equal(back["t4"], tensors["t4"])
    assert all("00000002" in path.name for path in tmp_path.glob("*.safetensors"))
    next(tmp_path.glob("*-1.safetensors")).write_bytes(b"half")
    with pytest.raises(InputError, match="delete it to start a new run"):
        load_state(tmp_path)


def test_batches_cover_the_pool_and_thin_out_the_planes():
    config = dataclasses.replace(TINY, block=4, crop=24)
    pool = render_block(config, 0, "cpu", 0)
    images, focus, truth = draw_batch(config, pool, 5, 2, 2)
    again = draw_batch(config, pool, 5, 2, 2)[0]
    assert torch.equal(images, again)
    assert images.shape == (2, focus.shape[1], 3, 24, 24) and truth.shape == (2, 24, 24)
    assert images.min() >= 0 and images.max() <= 1.2
    assert choose_planes(RandomSource(0), 8, 8).tolist() == list(range(8))


def test_configuration_errors_name_the_field(tmp_path):
    path = tmp_path / "c.yaml"
    for text, message in (
        ("stepz: 3", "unknown field stepz"),
        ("steps: many", 'steps must be a whole number, not "many"'),
        ("model: huge", "model must be one of"),
        ("loss: {logg: 1}", "unknown field loss.logg"),
        ("- 1", "must be a YAML mapping"),
        ("planes: [5, 2]", "planes must be two numbers"),
        ("{", "is not valid YAML"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            load_config(path)
    with pytest.raises(InputError, match="does not exist"):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_can_be_read(path):
    read = load_evidence_config if path.stem.startswith("lens_aware") else load_config
    assert read(path).steps > 0


def test_command_trains_reports_and_goes_on(tmp_path):
    config = written(dataclasses.replace(TINY, steps=4), tmp_path / "c.yaml")
    out = tmp_path / "run"
    arguments = ["train", config, "--out", str(out), "--device", "cpu", "--workers", "0", "--log-every", "1"]
    for extra in (["--steps", "2"], []):
        result = CliRunner().invoke(main, [*arguments, *extra])
        assert result.exit_code == 0, result.output
    with (out / "log.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [1, 2, 3, 4]
    with (out / "figures.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [2, 4] and 0 < float(rows[-1]["abs_rel"]) < 5
    assert cv2.imread(str(out / "unseen.jpg")).std() > 10
    assert (out / "weights.safetensors").stat().st_size > 10_000
    ended = CliRunner().invoke(main, arguments)
    assert ended.exit_code == 1 and "reached its last step" in ended.output


def test_preview_shows_the_stacks(tmp_path):
    config = written(TINY, tmp_path / "c.yaml")
    result = CliRunner().invoke(main, ["train", config, "--preview", str(tmp_path / "stacks.png")])
    assert result.exit_code == 0, result.output
    picture = cv2.imread(str(tmp_path / "stacks.png"))
    assert picture.shape[1] > 4 * TINY.side and picture.std() > 20
    assert CliRunner().invoke(main, ["train", config]).exit_code == 2


def test_several_processes_train_one_model(tmp_path):
    """Two processes by torchrun end with one state; each saw its own stacks."""
    config = written(dataclasses.replace(TINY, steps=2, reuse=1), tmp_path / "c.yaml")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    program = ["-m", "fossa_ros.commands.cli", "train", config, "--out", str(tmp_path / "run"), "--device", "cpu"]
    done = subprocess.run(
        [*torchrun, *program, "--workers", "0"], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    _tensors, values = load_state(tmp_path / "run")
    assert values["step"] == 2 and values["world"] == 2


def test_tartanair_layout(tmp_path):
    rng = np.random.default_rng(1)
    folder = tmp_path / "office" / "Easy" / "P001"
    for name in ("image_left", "depth_left"):
        (folder / name).mkdir(parents=True)
    depth = rng.uniform(1, 9, (48, 64)).astype(np.float32)
    depth[0, 0] = np.inf
    cv2.imwrite(str(folder / "image_left" / "000003_left.png"), rng.integers(0, 255, (48, 64, 3), np.uint8))
    np.save(folder / "depth_left" / "000003_left_depth.npy", depth)
    cv2.imwrite(str(folder / "image_left" / "000004_left.png"), np.zeros((48, 64, 3), np.uint8))  # its depth is missing
    frames = RgbdFrames("tartanair", tmp_path)
    assert len(frames) == 1 and frames[0].focal_length == TARTANAIR_FX
    np.testing.assert_array_equal(frames[0].depth[1:], depth[1:])
    assert np.isnan(frames[0].depth[0, 0])
    config = dataclasses.replace(TINY, rgbd={"tartanair": str(tmp_path)}, rgbd_share=1.0)
    stacks = render_block(config, 0, "cpu", 0)
    assert stacks.truth.isfinite().float().mean() > 0.9


def test_hypersim_layout(tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py reads Hypersim's depth; install fossa_ros[training]")
    images = tmp_path / "ai_001_001" / "images"
    for name in ("scene_cam_00_final_preview", "scene_cam_00_geometry_hdf5"):
        (images / name).mkdir(parents=True)
    picture = np.full((48, 64, 3), (10, 20, 200), np.uint8)
    cv2.imwrite(str(images / "scene_cam_00_final_preview" / "frame.0007.tonemap.jpg"), picture)
    focal = HYPERSIM_FX * 64
    y, x = np.mgrid[:48, :64]
    ray = np.sqrt(1 + ((x - 31.5) / focal) ** 2 + ((y - 23.5) / focal) ** 2)
    with h5py.File(images / "scene_cam_00_geometry_hdf5" / "frame.0007.depth_meters.hdf5", "w") as file:
        file["dataset"] = (3.0 * ray).astype(np.float16)  # a wall 3 m away, by distance as the dataset has it
    frame = RgbdFrames("hypersim", tmp_path)[0]
    np.testing.assert_allclose(frame.depth, 3.0, rtol=2e-3)
    assert frame.colour[20, 20, 0] > 150  # red stays red


def test_rgbd_folder_without_frames(tmp_path):
    with pytest.raises(InputError, match="holds no image with a depth in the layout of tartanair"):
        find_frames("tartanair", str(tmp_path))
    with pytest.raises(InputError, match="no RGB-D layout"):
        RgbdFrames("nyu", tmp_path)
