"""ONNX export: the file gives PyTorch's depth on another runtime."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from fossa_ros.cli import main
from fossa_ros.errors import InputError
from fossa_ros.fossa import create_model
from fossa_ros.fossa.export import export_onnx

onnxruntime = pytest.importorskip("onnxruntime", reason="the export is optional: pip install 'fossa-ros[export]'")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_model("nano", device="cpu")


def test_an_exported_network_gives_the_same_depth_for_other_input(model, tmp_path):
    path = tmp_path / "nano.onnx"
    assert export_onnx(model, path, size=(48, 64), planes=3) < 1e-4
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [entry.name for entry in session.get_inputs()] == ["stack", "focus"]
    stack = torch.randn(1, 3, 3, 48, 64, generator=torch.Generator().manual_seed(7))
    focus = torch.tensor([[0.7, 0.4, 3.0]])
    (depth,) = session.run(None, {"stack": stack.numpy(), "focus": focus.numpy()})
    with torch.inference_mode():
        np.testing.assert_allclose(depth, model(stack, focus).numpy(), atol=1e-4)
    assert [file.name for file in tmp_path.iterdir()] == ["nano.onnx"]


def test_only_fp32_on_the_cpu_is_exported(tmp_path):
    with pytest.raises(InputError, match="fp32 on the CPU"):
        export_onnx(create_model("nano", device="cpu", precision="bf16"), tmp_path / "x.onnx", size=(48, 64), planes=2)
    assert list(tmp_path.iterdir()) == []


def test_random_weights_are_not_exported_by_the_command(tmp_path):
    result = CliRunner().invoke(main, ["export", str(tmp_path / "x.onnx"), "--model", "nano"])
    assert result.exit_code == 1 and "--checkpoint" in result.output
