"""``fossa view``: what the viewer rerun gets, read back from its files by its own program."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from fossa_ros.commands.cli import main
from fossa_ros.core.stack import DepthMap, FocusPlane, FocusStack
from fossa_ros.evaluation.replay_bag import ResultBag
from fossa_ros.evaluation.rerun_messages import VIEWED
from fossa_ros.messages import topics
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.pipeline.result_format import ResultFormat
from fossa_ros.pipeline.result_messages import result_messages
from fossa_ros.ros import environment
from fossa_ros.ros.conversions import build_message, focus_stack_message, image_message, message_class
from fossa_ros.ros.endpoints import create_publisher
from fossa_ros.ros.isolated_node import IsolatedNode
from fossa_ros.sweep import CapturedSweep, Frame

WIDTH, HEIGHT, PLANES = 64, 48, 3
K = np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]])
RNG = np.random.default_rng(0)
SECOND = 1_000_000_000
BEGAN = 1_700_000_000 * SECOND
FOUND = {f"sweep/plane_{place}" for place in range(PLANES)} | {"camera/depth", "points", "all_in_focus", "confidence"}


def result(number: int, accepted: bool = True) -> SweepResult:
    """Return a sweep whose planes are a tenth of a second apart, with depth or rejected."""
    info = CameraInfo(header=Header(frame_id="optical"), width=WIDTH, height=HEIGHT, k=K.ravel().tolist())
    stamps = [BEGAN + number * SECOND + place * SECOND // 10 for place in range(PLANES)]
    pixels = RNG.integers(0, 256, (PLANES, HEIGHT, WIDTH, 3), dtype=np.uint8)
    planes = tuple(FocusPlane(image, 0.5 + place, stamps[place]) for place, image in enumerate(pixels))
    frames = tuple(
        Frame(stamp, stamp, None, (), image_message(image, "rgb8", Header(frame_id="optical")), info)
        for stamp, image in zip(stamps, pixels, strict=True)
    )
    sweep = CapturedSweep(
        number, FocusStack(planes, K), "", (0.5, 1.5, 2.5), tuple(stamps), frames, {}, stamps[0], SECOND // 2
    )
    if not accepted:
        return SweepResult(sweep, "rejected", "planes 1 and 2 moved by 9.0 px", 9.0)
    depth = np.full((HEIGHT, WIDTH), 1.5, np.float32)
    depth[:4] = np.nan
    confidence = np.isfinite(depth).astype(np.float32)
    return SweepResult(sweep, "still", "", 0.1, DepthMap(depth, confidence, pixels[1], K, stamps[1]))


def read_back(file) -> tuple[Counter, str]:
    """Return how many rows of each entity a file holds, and all that it holds in words."""
    read = [sys.executable, "-m", "rerun", "rrd"]
    subprocess.run([*read, "verify", str(file)], check=True, capture_output=True, timeout=60)
    done = subprocess.run([*read, "print", "-vvv", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows: Counter = Counter()
    for count, entity in re.findall(r"^Chunk\(\w+\) with (\d+) rows .* - /(\S+) - ", done.stdout, re.MULTILINE):
        rows[entity] += int(count)
    return rows, done.stdout


@pytest.fixture
def viewer():
    pytest.importorskip("rerun", reason="rerun-sdk is not installed: pip install 'fossa-ros[rerun]' (600 MB)")


def test_the_results_in_a_bag_are_on_one_timeline(viewer, tmp_path):
    with ResultBag(tmp_path / "out" / "bag", "/robot", ResultFormat()) as bag:
        for number in range(4):
            bag.write(result(number, accepted=number != 2), BEGAN + number * SECOND + SECOND // 2)
    file = tmp_path / "log.rrd"
    done = CliRunner().invoke(main, ["view", str(tmp_path / "out"), "--save", str(file)])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == (
        f"3 depth/camera_info, 3 depth/image, 3 all_in_focus/image, 3 confidence/image, 4 sweep: {file}."
    )
    rows, words = read_back(file)
    seen = {"camera", "camera/depth", "points", "all_in_focus", "confidence"}
    assert {entity: rows[entity] for entity in (*seen, "verdict", "motion_px")} == {
        **dict.fromkeys(seen, 3),
        **dict.fromkeys(("verdict", "motion_px"), 4),
    }
    assert "sweep 2 rejected planes 1 and 2 moved by 9.0 px" in words and "sweep 3 still" in words
    assert not list(tmp_path.glob(".*"))


@pytest.mark.real_time
def test_the_topics_of_a_running_node_are_shown_until_ctrl_c(viewer, tmp_path):
    file = tmp_path / "live.rrd"
    command = [sys.executable, "-m", "fossa_ros.commands.cli", "view", "--namespace", "robot", "--save", str(file)]
    own = IsolatedNode("publishing")
    publishers = {}
    for topic in VIEWED:
        named = type(topic)(f"/robot/{topic.name}", topic.type, topic.profile)
        publishers[topic] = create_publisher(own.node, named)
    viewing = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment.child_environment())
    try:
        deadline = time.monotonic() + 30
        while any(not publisher.get_subscription_count() for publisher in publishers.values()):
            assert viewing.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        for number in range(3):
            one = result(number)
            publishers[topics.FOCUS_STACK].publish(focus_stack_message(one.sweep))
            for topic, fields in result_messages(one, ResultFormat()):
                if topic in publishers:
                    publishers[topic].publish(build_message(message_class(topic.type), fields()))
            time.sleep(0.3)
        viewing.send_signal(signal.SIGINT)
        said, _ = viewing.communicate(timeout=30)
    finally:
        viewing.kill()
        own.close()
    assert viewing.returncode == 0
    assert said == (
        "3 focus_stack, 3 depth/camera_info, 3 depth/image, 3 all_in_focus/image, 3 confidence/image, 3 sweep: "
        f"{file}.\n"
    )
    rows, _ = read_back(file)
    assert {entity: rows[entity] for entity in FOUND} == dict.fromkeys(FOUND, 3)
    assert rows["lens/focus_distance"] == 3 * PLANES


def test_what_cannot_be_viewed_is_a_sentence(viewer, tmp_path):
    with ResultBag(tmp_path / "bag", "/robot", ResultFormat()) as bag:
        bag.write(result(0), BEGAN)
    file = tmp_path / "new" / "log.rrd"
    done = CliRunner().invoke(main, ["view", str(tmp_path / "bag"), "--save", str(tmp_path)])
    assert done.exit_code == 1
    assert f"{tmp_path} cannot be written: it is a folder; give another path." in " ".join(done.output.split())
    for arguments, words in (
        ([tmp_path / "none"], "does not exist; give a bag, or what fossa replay wrote"),
        ([tmp_path / "bag", "--namespace", "other"], "holds no results of a node in other (no topic sweep); replay it"),
    ):
        done = CliRunner().invoke(main, ["view", *map(str, arguments), "--save", str(file)])
        assert done.exit_code == 1 and words in " ".join(done.output.split()), done.output
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]


def test_no_viewer_is_one_line(viewer, tmp_path, monkeypatch):
    with ResultBag(tmp_path / "bag", "/robot", ResultFormat()) as bag:
        bag.write(result(0), BEGAN)
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(main, ["view", str(tmp_path / "bag")])
    assert done.exit_code == 1
    assert re.search(
        r"^fossa: The viewer does not start \([^\n]+\); write a file with --save FILE\.rrd\.$", done.output
    )


def test_without_the_package_a_sentence_says_what_to_install(tmp_path):
    program = (
        "import sys; sys.modules['rerun'] = None\n"
        "from fossa_ros.commands.cli import main; main(['view', '--save', sys.argv[1]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "log.rrd")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == "fossa: This needs the package rerun-sdk; install it: pip install rerun-sdk.\n"
