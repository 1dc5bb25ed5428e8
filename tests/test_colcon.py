"""Build the package with colcon, as on a ROS distribution, and run what it installs.

colcon and ament come from PyPI into an environment of their own, .venv-colcon, so that this needs no distribution.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from lifecycle_msgs.msg import State

import builds
import sweep_report_exchange as exchange
from builds import ROOT, run

pytestmark = [pytest.mark.build, pytest.mark.timeout(900)]  # the first test waits for the environment and the build


@pytest.fixture(scope="session")
def colcon_env() -> dict[str, str]:
    """Return the environment variables of .venv-colcon."""
    try:
        return builds.colcon_env()
    except builds.Unreachable as error:
        pytest.skip(f"the colcon wheels cannot be had: {error}")


@pytest.fixture(scope="session")
def workspace(colcon_env) -> Path:
    """Build this working tree in a workspace of its own and return the workspace."""
    return builds.colcon_workspace()


@pytest.fixture(scope="session")
def sourced(colcon_env, workspace) -> dict[str, str]:
    """Return the environment variables after ``source install/local_setup.bash``."""
    text = run("bash", "-c", ". install/local_setup.bash && env -0", env=colcon_env, cwd=workspace)
    return dict(line.split("=", 1) for line in text.split("\0") if line)


def files_below(root, folder):
    return {f.relative_to(root) for f in (root / folder).rglob("*") if f.is_file() and "__pycache__" not in f.parts}


def test_everything_is_found_in_the_install_space(workspace, sourced):
    looked_up = json.loads(
        run("python", "-c", """if True:
            import json, fossa_ros.action, fossa_ros.msg, fossa_ros.srv
            from ament_index_python import get_package_share_directory
            from importlib.metadata import distribution
            package = distribution("fossa-ros")
            lenses = package.entry_points.select(group="fossa_ros.lenses")
            print(json.dumps({
                "module": fossa_ros.__file__,
                "messages": fossa_ros.msg.__file__,
                "services": fossa_ros.srv.__file__,
                "actions": fossa_ros.action.__file__,
                "metadata": str(package.locate_file("fossa_ros")),
                "share": get_package_share_directory("fossa_ros"),
                "version": package.version,
                "lenses": {lens.name: lens.value for lens in lenses},
            }))
        """, env=sourced, cwd=workspace)
    )  # fmt: skip
    install = workspace / "install" / "fossa_ros"
    for found in ("module", "messages", "services", "actions", "metadata", "share"):
        assert Path(looked_up[found]).is_relative_to(install), found
    assert looked_up["version"] == version("fossa-ros")
    assert looked_up["lenses"]["optotune_ld4"] == "fossa_ros.lens.optotune_ld4:OptotuneLd4"
    for folder in ("foxglove", "launch", "config", "urdf"):
        share = install / "share" / "fossa_ros"
        assert files_below(share, folder) == files_below(ROOT, folder)


def test_type_hashes_are_those_of_the_pip_build(workspace):
    colcon = workspace / "install" / "fossa_ros" / "share" / "fossa_ros"
    pip = Path(sys.prefix, "share", "fossa_ros")
    for name in ("msg/LensState", "msg/FocusStack", "msg/SweepReport", "srv/LensInfo", "action/Capture"):
        built = [json.loads((folder / f"{name}.json").read_text())["type_hashes"] for folder in (colcon, pip)]
        assert built[0] == built[1]
        assert f"fossa_ros/{name}" in {entry["type_name"] for entry in built[0]}


def test_messages_reach_the_pip_build(sourced):
    assert exchange.received_from(["python", exchange.__file__], sourced) == exchange.report()


def test_command_line_runs_from_the_path(workspace, sourced):
    command = shutil.which("fossa", path=sourced["PATH"])
    assert Path(command).is_relative_to(workspace)
    assert run(command, "--version", env=sourced, cwd=workspace).split()[-1] == version("fossa-ros")


def test_node_answers_on_the_graph_and_ends_in_order(workspace, sourced, listener):
    executable = workspace / "install" / "fossa_ros" / "lib" / "fossa_ros" / "fossa_node"
    process = subprocess.Popen([executable], env=sourced, cwd=workspace)
    try:
        assert listener.state("/fossa_node") == State.PRIMARY_STATE_UNCONFIGURED
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
