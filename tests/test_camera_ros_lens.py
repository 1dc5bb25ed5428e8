"""The camera_ros lens against a camera node of ours, over real DDS."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import threading
import time
from functools import partial

import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter

from fossa_ros.core.errors import InputError, LensError
from fossa_ros.lens import CommandRange, open_lens
from fossa_ros.msg import LensState
from fossa_ros.ros import environment, qos
from fossa_ros.ros.sim_libcamera_node import START, SimulatedLibcamera
from node_processes import process, spinning

pytestmark = pytest.mark.real_time

TIMEOUT = 1.5


def running(*names, **options):
    """Run camera nodes in a thread and a context of their own."""
    return spinning(*(partial(SimulatedLibcamera, name, **options) for name in names))


@pytest.fixture(scope="module")
def camera():
    with running("camera", rate=60.0) as (node,):
        yield node


@pytest.fixture(scope="module")
def opened(camera):
    with open_lens("camera_ros", "camera", timeout=TIMEOUT) as lens:
        yield lens


@pytest.fixture
def lens(camera, opened):
    camera.reverts_after, camera.publishes_metadata = 0, True
    opened.park()
    return opened


def test_what_the_camera_offers(camera, lens):
    assert lens.capabilities.command == CommandRange("LensPosition", "D", 0.0, 15.0, 0.01)
    assert lens.capabilities.nearest == pytest.approx(1 / 15) and lens.capabilities.farthest == math.inf
    assert "/camera" in lens.capabilities.identity
    with pytest.raises(InputError, match=r"outside the lens's range of 0\.06667 m"):
        lens.move_to(0.05)
    assert math.isnan(lens.state().focus_distance)


def test_a_move_returns_when_frames_have_shown_it_and_what_they_show_stays(camera, lens):
    for distance in (0.2, 1.0, math.inf, 0.5):  # 5 D, 1 D, 0 D, 2 D: some frames away at 1.5 D a frame
        move = lens.move_to(distance)
        frames = len(camera.positions)
        assert move.command == pytest.approx(1 / distance)
        assert camera.positions[-1] == pytest.approx(move.command)
        assert lens.state().focus_distance == pytest.approx(distance)
        lens.verify()
        assert camera.positions[frames - 1 :] == pytest.approx([move.command] * (len(camera.positions) - frames + 1))
        assert move.acknowledged_ns - move.sent_ns > 4e9 / 60  # the pipeline's latency and the second confirmation


def test_held_although_the_camera_reverts_what_is_set_only_once(camera, lens):
    camera.reverts_after = 8  # frames: longer than the period of holding
    lens.move_to(0.25)
    frames = len(camera.positions)
    time.sleep(0.5)
    assert set(camera.positions[frames:]) == {4.0}
    lens.verify()
    lens.park()
    time.sleep(0.5)
    assert camera.positions[-1] == START  # parked: no program holds it any more


def test_one_driver_at_a_time_in_any_process(camera, lens):
    taken = "The lens of '/camera' is driven by another program of this machine .* close it or set another port"
    with pytest.raises(LensError, match=taken):
        open_lens("camera_ros", "/camera")
    command = [
        sys.executable,
        "-m",
        "fossa_ros.commands.cli",
        "lens",
        "info",
        "--backend",
        "camera_ros",
        "--port",
        "camera",
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment.child_environment())
    assert result.returncode == 1
    on_the_command_line = taken.replace("another port", "another --port")
    assert re.fullmatch(f"fossa: {on_the_command_line}.\n", result.stderr)
    lens.move_to(0.5)


def test_a_camera_that_lets_go_is_found_out(camera, lens):
    lens.move_to(0.25)
    camera.reverts_after = 1
    time.sleep(0.3)
    with pytest.raises(LensError, match="commanded to a LensPosition of 4 D but holds"):
        lens.verify()
    assert lens.state().faults
    camera.reverts_after = 0
    with pytest.raises(LensError, match="without a command; check that nothing else sets its AfMode or LensPosition"):
        lens.move_to(0.5)
    assert lens.move_to(0.5).command == 2.0
    lens.verify()


def test_a_camera_that_never_holds_is_never_confirmed(camera, lens):
    camera.reverts_after = 1
    with pytest.raises(LensError, match=r"was commanded to LensPosition 6 D but reports"):
        lens.move_to_command(6.0)


def test_a_camera_that_tells_nothing(camera, lens):
    camera.publishes_metadata = False
    time.sleep(0.3)  # what it said last has arrived
    with pytest.raises(LensError, match=r"reported no LensPosition in /diagnostics .* 0\.7\.0 or newer"):
        lens.move_to(0.5)


def test_an_integer_and_two_sets_in_a_row_are_the_traps_they_are_on_the_real_camera(camera):
    """The simulated camera itself."""
    result = camera.set_parameters_atomically([Parameter("LensPosition", value=2)])
    assert not result.successful and "expected 'double', got 'integer'" in result.reason
    with running("own", rate=1.0) as (slow,):  # so slow that no frame comes between
        slow.set_parameters([Parameter("AfMode", value=0)])
        slow.set_parameters([Parameter("LensPosition", value=3.0)])
        assert slow._pending == {"LensPosition": 3.0}  # AfMode was discarded


def test_no_camera_and_no_focus_motor(camera, monkeypatch):
    monkeypatch.setattr("fossa_ros.ros.remote_parameters.DISCOVERY_S", 1.0)
    for _ in range(10):  # a busy machine may take longer to see the node that is there
        with pytest.raises(LensError, match=r"no camera node '/front/camera'; start camera_ros") as failure:
            open_lens("camera_ros", "/front/camera")
        if "/camera." in str(failure.value):
            break
    assert str(failure.value).endswith("Nodes seen: /camera.")
    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    node = rclpy.create_node("fixed_focus", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    try:
        monkeypatch.undo()
        with pytest.raises(LensError, match="'/fixed_focus' has no parameter LensPosition with a range"):
            open_lens("camera_ros", "/fixed_focus")
    finally:
        executor.shutdown()
        thread.join()
        node.destroy_node()
        rclpy.shutdown(context=context)


def test_two_cameras_under_one_frame_cannot_be_distinguished():
    several = pytest.raises(LensError, match=r"Several cameras report under the frame 'camera' .* own frame_id")
    with running("left", "right", rate=60.0), open_lens("camera_ros", "left", timeout=TIMEOUT) as lens, several:
        deadline = time.monotonic() + 20
        while not lens._camera.ambiguity() and time.monotonic() < deadline:  # until both have published
            time.sleep(0.05)
        lens.move_to(0.2)


def test_a_camera_that_goes_away():
    with running("brief", rate=60.0, frame_id="brief"):
        lens = open_lens("camera_ros", "brief", timeout=0.4)
        lens.move_to(0.2)
    time.sleep(0.3)  # what it said last has arrived
    with pytest.raises(LensError, match="'/brief' reported no"):
        lens.verify()
    with pytest.raises(LensError, match="'/brief' did not answer within"):
        lens.move_to(0.5)
    before = threading.active_count()
    lens.close()
    assert threading.active_count() == before - 1
    with pytest.raises(LensError, match="is closed; open it again"):
        lens.state()


def test_the_node_drives_it_beside_its_own_context(listener, tmp_path):
    """Its own node name, namespace and remappings are not the lens's."""
    listener.subscribe(LensState, "/robot/lens/state", qos.LATCHED)
    lens = {"lens__backend": "camera_ros", "lens__port": "/pi", "lens__power_offset": 0.0}
    with (
        running("pi", rate=60.0, frame_id="pi") as (camera,),
        process("fossa_node", tmp_path / "node.log", namespace="robot", autostart=False, **lens),
    ):
        assert listener.change("/robot/fossa_node", Transition.TRANSITION_CONFIGURE)
        assert listener.change("/robot/fossa_node", Transition.TRANSITION_ACTIVATE)
        state = listener.wait_for("/robot/lens/state")[-1]
        assert state.backend == "camera_ros" and state.reachable and not state.measured
        nearest = max(camera.positions)
        assert nearest == pytest.approx(1 / 0.35, abs=0.01)  # sweep.near: the plane that waits for a frame
