"""A node ends with the launch that started it, however that ended, and never with another parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fossa_ros.ros import environment, launcher
from fossa_ros.ros.launcher import Launcher

ENDS_S = 20.0
LAUNCH = """
import subprocess, sys, time
from fossa_ros.ros import environment, launcher
node = [sys.executable, "-m", "fossa_ros.ros.depth_node"]
print(subprocess.Popen(node, env=environment.child_environment(**launcher.variables())).pid, flush=True)
time.sleep(600)
"""


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.real_time
@pytest.mark.parametrize("moment", [0.0, 3.0])  # seconds: while the node imports, and while it runs
def test_a_node_ends_when_its_launch_is_killed(moment, tmp_path):
    environ = environment.child_environment()
    with (tmp_path / "log").open("w") as log:
        launch = subprocess.Popen(
            [sys.executable, "-c", LAUNCH], stdout=subprocess.PIPE, stderr=log, env=environ, text=True
        )
        pid = int(launch.stdout.readline())
        try:
            time.sleep(moment)
            assert is_running(pid)
            launch.kill()
            launch.wait()
            deadline = time.monotonic() + ENDS_S
            while is_running(pid):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            launch.kill()
            launch.wait()
            launch.stdout.close()
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
    words = (tmp_path / "log").read_text()
    assert "The launch that started this node is gone; the node ends too." in words and "Traceback" not in words


def test_without_a_launch_a_node_has_nobody_to_follow(monkeypatch):
    monkeypatch.delenv(launcher.VARIABLE, raising=False)
    assert not Launcher().is_gone
    monkeypatch.setenv(launcher.VARIABLE, "not a number")
    assert not Launcher().is_gone
    monkeypatch.setenv(launcher.VARIABLE, str(os.getpid()))
    assert not Launcher().is_gone
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    monkeypatch.setenv(launcher.VARIABLE, str(ended.pid))
    assert Launcher().is_gone
