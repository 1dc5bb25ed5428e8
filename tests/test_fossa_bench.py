"""fossa bench: figures that hang together, on a network small enough to time in a test."""

from __future__ import annotations

import pytest
import torch
from click.testing import CliRunner
from torch.utils.flop_counter import FlopCounterMode

from fossa_ros.commands.cli import main
from fossa_ros.core.errors import InputError
from fossa_ros.estimators.fossa import vit
from fossa_ros.estimators.fossa.bench import bench, count_gflop
from fossa_ros.estimators.fossa.factory import MODELS, create_model
from small_fossa import SMALL


@pytest.fixture(autouse=True)
def small_vits(monkeypatch):
    monkeypatch.setitem(MODELS, "vits", SMALL)
    monkeypatch.setattr(vit, "SHORT_EDGE", 56)  # px: few tokens


def test_figures_hang_together(monkeypatch):
    monkeypatch.setattr("fossa_ros.estimators.fossa.bench.MATMUL", 512)  # as fast, and sooner done
    steps = []
    row = bench("vits", device="cpu", planes=3, size=(48, 64), runs=4, warm_up=1, progress=lambda: steps.append(1))
    assert len(steps) == 1 + 4
    assert 0 < row.stack.p50 <= row.stack.p95 and row.stack.runs == 4
    assert 0 < row.peak_share < 1.5
    assert row.peak_memory > 50 * 2**20


def test_more_planes_are_more_work():
    network = create_model("vits", device="cpu")
    three, six = (count_gflop(network, planes, (48, 64)) for planes in (3, 6))
    assert 1.2 * three < six < 2.0 * three  # the planes' share doubles, the fused part stays


def test_no_operator_goes_uncounted():
    network = create_model("vits", device="cpu")
    stack, focus = torch.zeros(1, 3, 3, 48, 64), torch.ones(1, 3)
    with FlopCounterMode(display=False) as counter:  # recording gradients, a CPU runs PyTorch's own operators
        network(stack, focus)
    with torch.inference_mode():
        gflop = count_gflop(network, 3, (48, 64))
    assert 1.0 <= gflop / (counter.get_total_flops() / 1e9) < 1.1  # the counter misses a CPU's fused attention


WIDE = {"COLUMNS": "200"}


def test_the_table_has_a_row_for_each_precision(monkeypatch):
    monkeypatch.setattr("fossa_ros.estimators.fossa.bench.MATMUL", 512)
    arguments = ["bench", "--model", "vits", "--device", "cpu", "--height", "48", "--width", "64", "--runs", "2"]
    result = CliRunner().invoke(main, [*arguments, "--precision", "fp32", "--precision", "bf16"], env=WIDE)
    assert result.exit_code == 0, result.output
    assert result.output.count("64x48") == 2 and "bf16" in result.output and "of matmul" in result.output


def test_an_unknown_model_is_refused():
    with pytest.raises(InputError, match="vitb"):
        bench("huge", device="cpu")
