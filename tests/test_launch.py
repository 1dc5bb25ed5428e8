"""The launch files, run for real where a ROS distribution provides launch_ros."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from lifecycle_msgs.msg import State

from fossa_ros.msg import SweepReport
from fossa_ros.ros import environment, qos

# The folder launch/ of this project is importable as an empty package, so ask for something inside.
MISSING = [name for name in ("launch_ros", "launch_testing_ros", "ros2cli") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)}: not installed, comes with a ROS distribution"),
]
ROOT = Path(__file__).parents[1]
COMMON = {
    "namespace",
    "params_file",
    "use_sim_time",
    "autostart",
    "respawn",
    "respawn_delay",
    "rviz",
    "fixed_frame",
    "log_level",
}
ROS2_LAUNCH = [sys.executable, "-c", "from ros2cli.cli import main; import sys; sys.exit(main())", "launch"]
TIMEOUT_S = 30.0


def launch_environment(**environ):
    """Return the environment of a shell where nothing was set up."""
    variables = environment.child_environment(**environ)
    if (Path(sys.prefix) / "share" / "ament_index").is_dir():  # an environment of wheels, which have no setup.bash
        variables.pop("AMENT_PREFIX_PATH", None)
    return variables


def launch_alone(file, *arguments):
    """Run ``ros2 launch`` until it ends by itself."""
    command = [*ROS2_LAUNCH, str(ROOT / "launch" / file), *arguments]
    return subprocess.run(command, env=launch_environment(), capture_output=True, text=True, timeout=TIMEOUT_S)


def processes(word):
    """Return the processes that have ``word`` among their arguments."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if word in (folder / "cmdline").read_text().split("\0"):
                found.append(int(folder.name))
    return found


@contextmanager
def launched(log, file, *arguments, clean=True, **environ):
    """Run ``ros2 launch`` as from a shell where nothing was set up, and end it as Ctrl-C does."""
    command = [*ROS2_LAUNCH, str(ROOT / "launch" / file), *arguments]
    with log.open("wb") as output:
        launch = subprocess.Popen(command, env=launch_environment(**environ), stdout=output, stderr=output)
        try:
            yield launch
            assert launch.poll() is None, log.read_text()
            launch.send_signal(signal.SIGINT)
            launch.wait(TIMEOUT_S)
        finally:
            launch.kill()
    words = log.read_text()
    assert not clean or words.count("process has finished cleanly") == words.count("process started with pid")


def wait_for(log, words):
    deadline = time.monotonic() + TIMEOUT_S
    while words not in log.read_text():
        assert time.monotonic() < deadline, f"no '{words}' in:\n{log.read_text()}"
        time.sleep(0.1)


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


def test_without_rviz2_one_sentence_is_said_and_nothing_is_started(tmp_path):
    done = launch_alone("sim.launch.py", "rviz:=true", f"lens_link:={tmp_path}/lens")
    words = done.stdout + done.stderr
    assert done.returncode == 1 and "process started" not in words and os.listdir(tmp_path) == []
    assert words.count("rviz:=true needs the package rviz2, which is not installed; install it, or leave rviz") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("split.launch.py", "half:=middle"), "half must be one of sweep, depth, both, not 'middle'."),
        (("fossa.launch.py", "respawn_delay:=soon"), "respawn_delay must be a number of seconds, not 'soon'."),
        (("replay.launch.py",), "Say which bag to play: bag:=FOLDER."),
    ],
)
def test_arguments_that_cannot_be_used_are_a_sentence(arguments, sentence):
    done = launch_alone(*arguments)
    assert done.returncode == 1 and sentence in done.stdout + done.stderr
    assert "process started" not in done.stdout + done.stderr


def test_the_transport_for_images_is_given_to_the_packages_own_nodes_only(tmp_path):
    for name in environment.PROFILE_VARIABLES:
        assert name not in os.environ
    file = tmp_path / "both.launch.py"
    file.write_text(
        "import sys\n"
        "from launch import LaunchDescription\n"
        "from launch.actions import ExecuteProcess, IncludeLaunchDescription\n"
        f"fossa = IncludeLaunchDescription({str(ROOT / 'launch' / 'fossa.launch.py')!r},"
        " launch_arguments=[('autostart', 'false')])\n"
        'own = \'print([name for name in __import__("os").environ if "PROFILES_FILE" in name or "FOSSA" in name])\'\n'
        "show = [sys.executable, '-c', own]\n"
        "def generate_launch_description():\n"
        "    return LaunchDescription([fossa, ExecuteProcess(cmd=show, output='screen')])\n"
    )
    log = tmp_path / "launch.log"
    with launched(log, file, clean=False):  # the node may still be importing when it ends
        wait_for(log, "[]")
        pid = re.search(r"fossa_node-\d+\]: process started with pid \[(\d+)\]", log.read_text())[1]
        own = Path(f"/proc/{pid}/environ").read_text().split("\0")
        assert any(one.startswith("FASTRTPS_DEFAULT_PROFILES_FILE=") for one in own)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("moment", [0.0, 1.0, 4.0])  # seconds after the first process: not imported yet, and running
def test_no_node_outlives_its_launch(tmp_path, number, moment):
    log, small = tmp_path / "launch.log", f"params_file:={ROOT}/tests/data/small_rig.yaml"
    namespace = f"mortal_{number}_{moment:.0f}"
    command = [*ROS2_LAUNCH, str(ROOT / "launch" / "sim.launch.py"), f"namespace:={namespace}", small]
    with log.open("wb") as output:
        launch = subprocess.Popen(
            [*command, f"lens_link:={tmp_path}/lens"], env=launch_environment(), stdout=output, stderr=output
        )
    try:
        # Both, as launch itself misses a process that it is starting when the signal comes.
        deadline = time.monotonic() + TIMEOUT_S
        while log.read_text().count("process started with pid") < 2:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        time.sleep(moment)
        launch.send_signal(number)
        launch.wait(TIMEOUT_S)
        deadline = time.monotonic() + TIMEOUT_S
        while left := processes(f"__ns:=/{namespace}"):
            assert time.monotonic() < deadline, left
            time.sleep(0.1)
    finally:
        launch.kill()
    assert not (tmp_path / "lens").is_symlink() and "Traceback" not in log.read_text()


def test_a_node_that_crashed_is_started_again(tmp_path, listener):
    log = tmp_path / "launch.log"
    with launched(log, "fossa.launch.py", "respawn:=true", "respawn_delay:=0.5", "autostart:=false", clean=False):
        wait_for(log, "process started with pid")
        pid = int(re.search(r"process started with pid \[(\d+)\]", log.read_text())[1])
        time.sleep(2.0)
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + TIMEOUT_S
        while log.read_text().count("process started with pid") < 2:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        assert listener.state("/fossa/fossa_node") == State.PRIMARY_STATE_UNCONFIGURED


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


def test_without_autostart_the_node_waits_for_a_lifecycle_manager(tmp_path, listener):
    log = tmp_path / "launch.log"
    with launched(log, "fossa.launch.py", "autostart:=false", "namespace:=waiting", f"lens_port:={tmp_path}/no_lens"):
        wait_for(log, "process started with pid")
        time.sleep(3.0)
        assert listener.state("/waiting/fossa_node") == State.PRIMARY_STATE_UNCONFIGURED
    assert "no_lens" not in log.read_text()


@pytest.mark.parametrize(("half", "started"), [("sweep", 1), ("depth", 1), ("both", 2)])
def test_each_half_starts_where_it_is_wanted(tmp_path, listener, half, started):
    log = tmp_path / "launch.log"
    with launched(log, "split.launch.py", f"half:={half}", "autostart:=false", f"namespace:=split_{half}"):
        for node in ("sweep_node", "depth_node"):
            if half in ("both", node.removesuffix("_node")):
                assert listener.state(f"/split_{half}/{node}") == State.PRIMARY_STATE_UNCONFIGURED
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
def test_two_cameras_in_two_namespaces_of_one_launch_give_depth_each(tmp_path, listener):
    names, log, file = ("left", "right"), tmp_path / "launch.log", tmp_path / "two.launch.py"
    file.write_text(
        "from launch import LaunchDescription\n"
        "from launch.actions import IncludeLaunchDescription\n"
        f"sim = {str(ROOT / 'launch' / 'sim.launch.py')!r}\n"
        f"small = {str(ROOT / 'tests' / 'data' / 'small_rig.yaml')!r}\n"
        "def generate_launch_description():\n"
        "    return LaunchDescription([IncludeLaunchDescription(sim, launch_arguments=[('namespace', name),"
        f" ('params_file', small)]) for name in {names}])\n"
    )
    for name in names:
        listener.subscribe(SweepReport, f"/{name}/sweep", qos.REPORTS)

    def two_accepted():
        return all(sum(report.accepted for report in listener.heard[f"/{name}/sweep"]) >= 2 for name in names)

    with launched(log, file):
        listener.wait_until(two_accepted, "two sweeps of each", 8 * TIMEOUT_S)  # two scenes are rendered at once
    assert "Traceback" not in log.read_text()
    assert len(set(re.findall(r"Lens driver at (\S+)", log.read_text()))) == 2
