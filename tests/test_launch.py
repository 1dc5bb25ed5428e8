"""The launch files, run for real where a ROS distribution provides launch_ros."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fossa_ros.ros import environment

# The folder launch/ of this project is importable as an empty package, so ask for something inside.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("launch_ros") is None or importlib.util.find_spec("launch_testing_ros") is None,
    reason="launch_ros and launch_testing_ros come with a ROS distribution",
)
ROOT = Path(__file__).parents[1]
COMMON = {"namespace", "params_file", "use_sim_time", "autostart", "rviz", "log_level"}


@pytest.mark.parametrize(
    ("file", "own"),
    [("fossa.launch.py", {"image", "camera_info"}), ("sim.launch.py", {"scene", "lens_link"})],
)
def test_arguments_are_declared_and_described(file, own):
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    environment.complete()
    description = PythonLaunchDescriptionSource(str(ROOT / "launch" / file)).get_launch_description(LaunchContext())
    arguments = [entity for entity in description.entities if isinstance(entity, DeclareLaunchArgument)]
    assert {argument.name for argument in arguments} == COMMON | own
    for argument in arguments:
        assert len(argument.description) > 10 and argument.default_value is not None


def test_the_simulated_graph_gives_depth_and_ends_in_order():
    result = subprocess.run(
        [sys.executable, "-m", "launch_testing.launch_test", str(ROOT / "tests" / "sim_graph.py")],
        env=environment.child_environment(),
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_missing_lens_is_said_once_and_the_node_waits_for_it():
    ros2 = [sys.executable, "-c", "from ros2cli.cli import main; main()"]
    launch = subprocess.Popen(
        [*ros2, "launch", str(ROOT / "launch" / "fossa.launch.py")],
        env=environment.child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            launch.wait(8)
        os.killpg(launch.pid, 2)
        words, _ = launch.communicate(timeout=20)
    finally:
        launch.kill()
    assert words.count("/dev/ttyACM0") == 1 and "Traceback" not in words
