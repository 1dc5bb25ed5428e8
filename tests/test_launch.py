"""The launch files, run for real where a ROS distribution provides launch_ros."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState

from fossa_ros.msg import SweepReport
from fossa_ros.ros import environment, qos

# The folder launch/ of this project is importable as an empty package, so ask for something inside.
MISSING = [name for name in ("launch_ros", "launch_testing_ros", "ros2cli") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)}: not installed, comes with a ROS distribution"),
]
ROOT = Path(__file__).parents[1]
COMMON = {"namespace", "params_file", "use_sim_time", "autostart", "rviz", "log_level"}
TIMEOUT_S = 30.0


@contextmanager
def launched(log, file, *arguments, **environ):
    """Run ``ros2 launch`` as from a shell where nothing was set up, and end it as Ctrl-C does."""
    child_environment = environment.child_environment(**environ)
    if (Path(sys.prefix) / "share" / "ament_index").is_dir():  # an environment of wheels, which have no setup.bash
        child_environment.pop("AMENT_PREFIX_PATH", None)
    command = [sys.executable, "-c", "from ros2cli.cli import main; main()", "launch", str(ROOT / "launch" / file)]
    with log.open("wb") as output:
        launch = subprocess.Popen([*command, *arguments], env=child_environment, stdout=output, stderr=output)
        try:
            yield launch
            assert launch.poll() is None, log.read_text()
            launch.send_signal(signal.SIGINT)
            launch.wait(TIMEOUT_S)
        finally:
            launch.kill()
    assert log.read_text().count("process has finished cleanly") == log.read_text().count("process started with pid")


def wait_for(log, words):
    deadline = time.monotonic() + TIMEOUT_S
    while words not in log.read_text():
        assert time.monotonic() < deadline, f"no '{words}' in:\n{log.read_text()}"
        time.sleep(0.1)


def lifecycle_state(node_name):
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("asking", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    try:
        client = node.create_client(GetState, f"{node_name}/get_state")
        assert client.wait_for_service(TIMEOUT_S)
        answer = client.call_async(GetState.Request())
        executor.add_node(node)
        executor.spin_until_future_complete(answer, TIMEOUT_S)
        return answer.result().current_state.id
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


@pytest.mark.parametrize(
    ("file", "own"),
    [
        ("fossa.launch.py", {"image", "camera_info", "imu", "lens_port", "rviz_config"}),
        (
            "replay.launch.py",
            {"bag", "stacks", "rate", "delay", "image", "camera_info", "lens_state", "imu", "focus_stack"},
        ),
        ("split.launch.py", {"half", "image", "camera_info", "imu", "lens_port"}),
        ("sim.launch.py", {"scene", "lens_link"}),
    ],
)
def test_arguments_are_declared_and_described(file, own):
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument
    from launch.launch_description_sources import PythonLaunchDescriptionSource

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


def test_a_missing_lens_is_said_once_and_the_node_waits_for_it(tmp_path):
    log, port = tmp_path / "launch.log", str(tmp_path / "no_lens")
    with launched(log, "fossa.launch.py", f"lens_port:={port}"):
        wait_for(log, port)
        time.sleep(3.0)  # the node tries every second
    words = log.read_text()
    assert words.count(port) == 1 and "Trying again" in words and "Traceback" not in words
    assert words.count("Estimator classical") == 1


def test_without_autostart_the_node_waits_for_a_lifecycle_manager(tmp_path):
    log = tmp_path / "launch.log"
    with launched(log, "fossa.launch.py", "autostart:=false", "namespace:=waiting", f"lens_port:={tmp_path}/no_lens"):
        wait_for(log, "process started with pid")
        time.sleep(3.0)
        assert lifecycle_state("/waiting/fossa_node") == State.PRIMARY_STATE_UNCONFIGURED
    assert "no_lens" not in log.read_text()


@pytest.mark.parametrize(("half", "started"), [("sweep", 1), ("depth", 1), ("both", 2)])
def test_each_half_starts_where_it_is_wanted(tmp_path, half, started):
    log = tmp_path / "launch.log"
    with launched(log, "split.launch.py", f"half:={half}", "autostart:=false", f"namespace:=split_{half}"):
        for node in ("sweep_node", "depth_node"):
            if half in ("both", node.removesuffix("_node")):
                assert lifecycle_state(f"/split_{half}/{node}") == State.PRIMARY_STATE_UNCONFIGURED
    assert log.read_text().count("process started with pid") == started


def test_ending_while_the_scene_is_rendered_leaves_nothing_behind(tmp_path, tmp_path_factory):
    log, link = tmp_path / "launch.log", tmp_path / "lens"
    small = f"params_file:={ROOT}/tests/data/small_rig.yaml"
    nothing_cached = tmp_path_factory.mktemp("cache")
    with launched(log, "sim.launch.py", f"lens_link:={link}", small, XDG_CACHE_HOME=str(nothing_cached)):
        wait_for(log, "Rendering the scene")
        assert not link.exists()
    assert not link.is_symlink() and os.listdir(tmp_path) == ["launch.log"]
    assert "Lens driver at" not in log.read_text() and "Traceback" not in log.read_text()


@pytest.mark.timeout(300)
def test_two_cameras_in_two_namespaces_on_one_machine_give_depth_each(tmp_path):
    logs = {name: tmp_path / f"{name}.log" for name in ("left", "right")}
    small = f"params_file:={ROOT}/tests/data/small_rig.yaml"
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("watching_both", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    accepted = dict.fromkeys(logs, 0)

    def on_sweep(report, name):
        accepted[name] += report.accepted

    for name in logs:
        node.create_subscription(SweepReport, f"/{name}/sweep", partial(on_sweep, name=name), qos.REPORTS)
    arguments = {name: (f"namespace:={name}", f"lens_link:={tmp_path}/{name}", small) for name in logs}
    try:
        with (
            launched(logs["left"], "sim.launch.py", *arguments["left"]),
            launched(logs["right"], "sim.launch.py", *arguments["right"]),
        ):
            deadline = time.monotonic() + 8 * TIMEOUT_S  # two scenes are rendered at once
            while min(accepted.values()) < 2:
                assert time.monotonic() < deadline, accepted
                executor.spin_once(timeout_sec=0.1)
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert all("Traceback" not in log.read_text() for log in logs.values())
