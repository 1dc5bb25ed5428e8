"""``import fossa_ros``: its names, what importing it costs, and the README's way from photographs to depth."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest

import fossa_ros
from fossa_ros.io.stack_files import save_folder
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.scenes import make_scene
from fossa_ros.simulation.stack_renderer import render_stack

README = Path(__file__).parents[1] / "README.md"


def test_importing_the_package_imports_nothing_else():
    program = (
        "import sys; import fossa_ros; print(*sorted({'cv2', 'numpy', 'rclpy', 'scipy', 'torch'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_only_a_network_imports_torch():
    program = "import sys; from fossa_ros import *; create_estimator('classical'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_name_is_the_librarys_own():
    assert sorted(fossa_ros._MODULES) == sorted(fossa_ros.__all__)
    for name, module in fossa_ros._MODULES.items():
        assert getattr(fossa_ros, name) is getattr(import_module(f"fossa_ros.{module}"), name)
        assert name in dir(fossa_ros)
    with pytest.raises(AttributeError, match="module 'fossa_ros' has no attribute 'depth'"):
        _ = fossa_ros.depth


def test_the_readme_goes_from_photographs_to_depth(tmp_path, monkeypatch, capsys):
    camera = SimulatedCamera(width=160, height=120, fx=150.0, f_number=1.0)
    stack, truth = render_stack(make_scene(1, "table"), camera, [0.4, 0.6, 0.9, 1.5, 4.0], rng=1, views=24)
    save_folder(tmp_path / "photographs", stack)
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(program.strip().splitlines()) <= 10
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(program, "README.md", "exec"), names)

    depth = names["depth"]
    assert depth.shape == truth.shape and depth.dtype == np.float32
    error = np.abs(depth - truth) / truth
    assert np.isfinite(depth).mean() > 0.95 and np.nanmedian(error) < 0.08 and np.nanmean(error) < 0.12
    assert re.search(rf"median {np.nanmedian(depth):.2f} m, known for \d+% of the pixels", capsys.readouterr().out)
    picture = cv2.imread("depth.png")
    assert picture.shape[1] == truth.shape[1] and picture.shape[0] >= truth.shape[0]
    near, far = (picture[:120][region].mean(axis=0) for region in (truth < 0.6, truth > 2.0))
    assert near[2] > near[0] and far[0] > far[2]  # BGR: red is near, blue is far
