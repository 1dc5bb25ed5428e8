"""A Python package that is missing is a sentence that names it, in commands and nodes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fossa_ros.core.missing_package import missing_package
from fossa_ros.ros import environment

ROOT = Path(__file__).parents[1]


def without(package, program, *arguments, **how):
    """Run a program in a process that cannot import ``package``."""
    hidden = f"import sys; sys.modules[{package!r}] = None; {program}"
    return subprocess.run(
        [sys.executable, "-c", hidden, *arguments],
        capture_output=True,
        text=True,
        env=environment.child_environment(),
        **how,
    )


@pytest.mark.parametrize(("package", "command"), [("msgspec", "predict"), ("mcap", "replay"), ("rosbags", "replay")])
def test_a_command_names_the_package(package, command, tmp_path):
    run = "from fossa_ros.commands.cli import main; main()"
    done = without(package, run, command, str(tmp_path), timeout=60)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert (
        f"fossa: The Python package {package!r} is not installed; run: pip install {package} (on a robot" in done.stderr
    )
    traced = without(package, run, "--debug", command, str(tmp_path), timeout=60)
    assert "Traceback" in traced.stderr


@pytest.mark.real_time
@pytest.mark.parametrize(
    ("package", "parameters"),
    [("safetensors", ("estimator:=fossa",)), ("msgspec", ("estimator:=classical", "lens.calibration:=lens.yaml"))],
)
def test_a_node_names_the_package_and_waits_for_it(package, parameters):
    run = "from fossa_ros.ros.fossa_node import main; main()"
    arguments = ["--ros-args"]
    for parameter in ("autostart:=true", *parameters):
        arguments += ["-p", parameter]
    with pytest.raises(subprocess.TimeoutExpired) as ended:
        without(package, run, *arguments, timeout=15)
    words = (ended.value.stderr or b"").decode() + (ended.value.stdout or b"").decode()
    assert words.count(f"The Python package {package!r} is not installed; run: pip install {package}") == 1, words
    assert "Traceback" not in words and "Trying again until it succeeds" in words


def test_names_on_pypi_and_our_own_modules():
    assert "pip install pillow" in str(missing_package(ModuleNotFoundError(name="PIL.Image")))
    assert "pip install backports.zstd" in str(missing_package(ModuleNotFoundError(name="backports.zstd")))
    assert missing_package(ModuleNotFoundError(name="fossa_ros.no_such_module")) is None
