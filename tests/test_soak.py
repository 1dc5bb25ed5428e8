"""The soak of benchmarks/soak.py, short: nothing crashes, nothing is wrong, every sweep has an end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fossa_ros.ros import environment

SOAK = Path(__file__).parents[1] / "benchmarks" / "soak.py"


def soak(tmp_path, *arguments):
    out = tmp_path / "figures.json"
    command = [sys.executable, str(SOAK), *arguments, "--out", str(out)]
    result = subprocess.run(command, env=environment.child_environment(), capture_output=True, text=True, timeout=110)
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(out.read_text())


def test_600_sweeps_with_everything_wrong_at_once_are_right_or_have_a_reason(tmp_path):
    figures = soak(tmp_path, "virtual", "--sweeps", "600", "--seed", "2")
    assert figures["sweeps_commanded"] == 600 == figures["accepted"] + figures["reported"]
    assert figures["accepted"] > 150 and figures["wrong_planes"] == figures["unaccounted"] == figures["crashes"] == 0


@pytest.mark.real_time
def test_a_rig_with_random_faults_ends_well(tmp_path):
    figures = soak(tmp_path, "rig", "--minutes", "0.3", "--seed", "4")
    assert figures["planes_compared"] >= 10 and figures["depth_after_all_that"]
    assert figures["wrong_planes"] == figures["unaccounted"] == figures["crashes"] == 0
    assert figures["sweeps_commanded"] == sum(figures["by_verdict"].values())
