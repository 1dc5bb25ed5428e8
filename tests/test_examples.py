"""launch/examples: the programs they start hear depth, colour and points by the names they know.

The programs themselves come with a ROS distribution. Stand-ins take their places in a prefix of their own: nodes that
subscribe to the same names, are started by the real launch with the example's remappings, and say what they hear.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest

from fossa_ros.ros import environment
from node_processes import process, simulated_rig
from test_launch import MISSING, ROOT, ROS2_LAUNCH, launch_environment

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)}: not installed, comes with a ROS distribution"),
]
IMAGE, INFO, CLOUD = "Image", "CameraInfo", "PointCloud2"
# What each program subscribes to: rtabmap_slam with subscribe_depth, nvblox_ros with one camera, depth_image_proc, and
# nav2_costmap_2d, whose topic is a parameter.
EXAMPLES = {
    "rtabmap": (
        "rtabmap_slam/rtabmap",
        {"rgb/image": IMAGE, "rgb/camera_info": INFO, "depth/image": IMAGE},
    ),
    "nvblox": (
        "nvblox_ros/nvblox_node",
        {
            "camera_0/depth/image": IMAGE,
            "camera_0/depth/camera_info": INFO,
            "camera_0/color/image": IMAGE,
            "camera_0/color/camera_info": INFO,
        },
    ),
    "point_cloud_xyzrgb": (
        "depth_image_proc/point_cloud_xyzrgb_node",
        {"rgb/camera_info": INFO, "rgb/image_rect_color": IMAGE, "depth_registered/image_rect": IMAGE},
    ),
    "nav2_voxel_layer": ("nav2_costmap_2d/nav2_costmap_2d", {"voxel_layer.fossa.topic": CLOUD}),
}
STAND_IN = """#!{python}
import sys
from fossa_ros.ros import environment
environment.complete()
import rclpy
from rclpy.executors import ExternalShutdownException
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

rclpy.init()
node = rclpy.create_node("stand_in", automatically_declare_parameters_from_overrides=True)


def hear(name, message):
    size = f"{{message.width}}x{{message.height}} {{getattr(message, 'encoding', '')}}"
    stamp = message.header.stamp
    print("heard", name, stamp.sec * 10**9 + stamp.nanosec, message.header.frame_id, size, flush=True)


for name, kind in {topics!r}.items():
    topic = node.get_parameter(name).value if node.has_parameter(name) else name
    node.create_subscription(globals()[kind], topic, lambda message, name=name: hear(name, message), 5)
try:
    rclpy.spin(node)
except (KeyboardInterrupt, ExternalShutdownException):
    pass
"""


def stand_in(prefix, program, topics):
    """Put a program into a prefix that launch finds."""
    package, name = program.split("/")
    (prefix / "share" / "ament_index" / "resource_index" / "packages").mkdir(parents=True)
    (prefix / "share" / "ament_index" / "resource_index" / "packages" / package).touch()
    (prefix / "lib" / package).mkdir(parents=True)
    script = prefix / "lib" / package / name
    script.write_text(STAND_IN.format(python=sys.executable, topics=topics))
    script.chmod(0o755)


def heard(text):
    """Return what each name heard: stamps, and the frames and sizes that came."""
    stamps, forms = {}, {}
    for name, stamp, frame, form in re.findall(r"heard (\S+) (\d+) (\S+) (.*)", text):
        stamps.setdefault(name, set()).add(int(stamp))
        forms.setdefault(name, set()).add((frame, form.strip()))
    return stamps, forms


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    folder = tmp_path_factory.mktemp("camera")
    with (
        simulated_rig(folder, 64, 64, 150.0, "fossa") as link,
        process("fossa_node", folder / "node.log", "fossa", lens__port=link),
    ):
        yield


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_program_hears_what_it_needs_of_one_sweep(camera, tmp_path, example):
    program, topics = EXAMPLES[example]
    stand_in(tmp_path / "prefix", program, topics)
    log, environ = tmp_path / "launch.log", launch_environment()
    environ["AMENT_PREFIX_PATH"] = f"{tmp_path / 'prefix'}:{environ.get('AMENT_PREFIX_PATH') or sys.prefix}"
    command = [*ROS2_LAUNCH, str(ROOT / "launch" / "examples" / f"{example}.launch.py")]
    with log.open("wb") as output:
        launch = subprocess.Popen(command, env=environ, stdout=output, stderr=output)
        try:
            deadline, common = time.monotonic() + 60, set()
            while len(common) < 3:
                assert time.monotonic() < deadline and launch.poll() is None, log.read_text()
                time.sleep(0.1)
                stamps, forms = heard(log.read_text())
                common = set.intersection(*stamps.values()) if set(stamps) == set(topics) else set()
            launch.send_signal(2)
            assert launch.wait(30) == 0, log.read_text()
        finally:
            launch.kill()
    assert "Traceback" not in log.read_text()
    kinds = {IMAGE: {"64x64 32FC1", "64x64 rgb8"}, INFO: {"64x64"}, CLOUD: {"64x64"}}
    for name, kind in topics.items():
        ((frame, form),) = forms[name]
        assert frame == "camera_optical_frame" and form in kinds[kind], name
        assert ("32FC1" in form) == ("depth" in name and kind == IMAGE), name


def test_a_program_that_is_not_there_is_a_sentence():
    environment.find_packages()
    for example, (program, _) in EXAMPLES.items():
        package = program.split("/")[0]
        if package_is_installed(package):
            continue
        command = [*ROS2_LAUNCH, str(ROOT / "launch" / "examples" / f"{example}.launch.py")]
        done = subprocess.run(command, env=launch_environment(), capture_output=True, text=True, timeout=60)
        said = done.stdout + done.stderr
        assert done.returncode == 1 and f"This example needs the package {package}, which is not installed" in said
        assert "process started" not in said


def package_is_installed(package):
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        return bool(get_package_prefix(package))
    except PackageNotFoundError:
        return False


def test_every_example_is_tested_and_described():
    files = {file.name.removesuffix(".launch.py") for file in (ROOT / "launch" / "examples").glob("*.launch.py")}
    page = (ROOT / "docs" / "nodes.md").read_text()
    assert files == set(EXAMPLES)
    assert all(f"`{name}.launch.py`" in page for name in files)
