"""A node starts fast: what only some configurations need is not imported before they need it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fossa_ros.ros import environment

HEAVY = {"h5py", "matplotlib", "rosbags", "scipy", "torch"}


@pytest.mark.parametrize("node", ["depth_node", "fossa_node", "sim_rig_node", "sweep_node"])
def test_a_node_imports_nothing_heavy_when_it_starts(node):
    program = f"import sys, fossa_ros.ros.{node}; print(*sorted({HEAVY!r} & {{*sys.modules}}))"
    environ = environment.child_environment()
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.strip() == "", done.stdout + done.stderr
