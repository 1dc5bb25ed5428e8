"""ONNX export: the file gives PyTorch's depth on another runtime."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from fossa_ros.commands.cli import main
from fossa_ros.core.errors import InputError
from fossa_ros.estimators.fossa import export
from fossa_ros.estimators.fossa.export import export_onnx
from fossa_ros.estimators.fossa.factory import create_model
from small_fossa import SMALL, small_fossa

onnxruntime = pytest.importorskip("onnxruntime", reason="the export is optional: pip install 'fossa-ros[export]'")


@pytest.fixture(scope="module")
def model():
    return small_fossa()


def test_an_exported_network_gives_the_same_depth_for_other_input(model, tmp_path):
    path = tmp_path / "a.onnx"
    assert export_onnx(model, path, size=(40, 50), planes=3) < 1e-4
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [entry.name for entry in session.get_inputs()] == ["stack", "focus"]
    stack = torch.randn(1, 3, 3, 40, 50, generator=torch.Generator().manual_seed(7))
    focus = torch.tensor([[0.7, 0.4, 3.0]])
    (depth,) = session.run(None, {"stack": stack.numpy(), "focus": focus.numpy()})
    with torch.inference_mode():
        np.testing.assert_allclose(depth, model(stack, focus).numpy(), atol=1e-4)
    assert [file.name for file in tmp_path.iterdir()] == ["a.onnx"]


def test_a_file_that_disagrees_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(InputError, match="not kept"):
        export_onnx(create_model(SMALL, device="cpu"), tmp_path / "a.onnx", size=(32, 32), planes=2)
    assert list(tmp_path.iterdir()) == []


def test_only_fp32_on_the_cpu_is_exported(tmp_path):
    with pytest.raises(InputError, match="fp32 on the CPU"):
        export_onnx(create_model(SMALL, device="cpu", precision="bf16"), tmp_path / "x.onnx", size=(48, 64), planes=2)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_there_are_not_exported_by_the_command(tmp_path):
    result = CliRunner().invoke(main, ["export", str(tmp_path / "x.onnx"), "--model", "vits"])
    assert result.exit_code == 1 and "give checkpoint" in result.output


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_a_sentence(package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"needs the package {package}; install fossa-ros\[export\]"):
        export_onnx(create_model(SMALL, device="cpu"), tmp_path / "a.onnx", size=(32, 32), planes=2)
