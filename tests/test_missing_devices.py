"""A lens or camera that is missing when a node starts: said at once, on /diagnostics in every state, and not only once.

The node goes on answering meanwhile.
"""

from __future__ import annotations

import threading
import time

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from fossa_ros.lens import usb_serial_number as usb
from fossa_ros.msg import SweepReport
from fossa_ros.ros import qos
from fossa_ros.ros.camera_subscription import DISCOVERY_S
from node_processes import process, simulated_rig

FIRST_S = 2.5  # the first second of a node, that its process needs to start included, as its neighbours discover it
ANSWER_S = 0.5  # of a node whose lens is being looked for: far below the 5 s that this takes


def named(listener, name, since=0):
    return [one for array in listener.heard["/diagnostics"][since:] for one in array.status if one.name == name]


@pytest.mark.real_time
def test_a_missing_lens_is_an_error_at_once_and_the_node_answers_while_it_is_looked_for(listener, tmp_path):
    listener.subscribe(DiagnosticArray, "/diagnostics")
    log = tmp_path / "node.log"
    # A camera node is waited for, 5 s at each attempt.
    lens = {"lens__backend": "camera_ros", "lens__port": "/no_camera", "lens__power_offset": 0.0}
    with process("fossa_node", log, **lens):
        listener.wait_until(lambda: named(listener, "/fossa_node"), "the first status")
        first = named(listener, "/fossa_node")[0]
        assert (first.level, first.message) == (DiagnosticStatus.OK, "unconfigured")  # no attempt has failed yet
        until = time.monotonic() + 8.0
        slowest = listener.slowest_answer("/fossa_node", lambda: time.monotonic() > until)
        assert listener.state("/fossa_node") == State.PRIMARY_STATE_UNCONFIGURED
        print(f"slowest answer {slowest:.3f} s")
        assert slowest < ANSWER_S
        node, part = named(listener, "/fossa_node")[-1], named(listener, "/fossa_node: lens")[-1]
        assert node.level == part.level == DiagnosticStatus.ERROR
        assert part.message.startswith("There is no camera node '/no_camera'; start camera_ros")
        assert node.message == f"unconfigured: {part.message}"
        assert len(named(listener, "/fossa_node")) >= 6  # one each second, while the executor had nothing else to do
        assert named(listener, "/fossa_node: depth")[-1].message == "unconfigured"
    words = log.read_text()
    assert words.count("There is no camera node") == 1 and words.count("Estimator classical") == 1, words


@pytest.mark.real_time
def test_a_node_answers_while_it_parks_and_closes_a_lens_that_no_longer_answers(listener, tmp_path):
    listener.subscribe(SweepReport, "sweep", qos.REPORTS)
    log, patient = tmp_path / "node.log", {"autostart": False, "lens__options": "timeout=1.0"}  # silence lasts

    def change(*transitions):
        for transition in transitions:
            assert listener.change("/fossa_node", transition)

    def change_silently(transition):
        """Make a transition while the lens says nothing."""
        assert listener.set("/sim_rig_node", "fault", "lens_silent").successful
        time.sleep(0.1)  # the rig injects a fault with its next frame
        slowest, took = listener.slowest_during("/fossa_node", transition)
        assert listener.set("/sim_rig_node", "fault", "none").successful
        print(f"transition {transition} took {took:.2f} s, slowest answer {slowest:.3f} s")
        assert slowest < ANSWER_S < took

    with simulated_rig(tmp_path, 64, 64, 150.0) as link, process("fossa_node", log, lens__port=link, **patient):
        change(Transition.TRANSITION_CONFIGURE)
        change_silently(Transition.TRANSITION_CLEANUP)
        change(Transition.TRANSITION_CONFIGURE)
        for end in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVE_SHUTDOWN):
            change(Transition.TRANSITION_ACTIVATE)
            listener.wait_for("sweep", len(listener.heard["sweep"]) + 2)
            change_silently(end)
    assert "Traceback" not in log.read_text()
    assert "The lens was closed without being parked" in log.read_text()


@pytest.mark.real_time
def test_a_serial_lens_is_found_once_it_is_there_and_the_estimator_was_loaded_once(listener, tmp_path):
    listener.subscribe(DiagnosticArray, "/diagnostics")
    log, link = tmp_path / "node.log", tmp_path / "lens"
    with process("fossa_node", log, lens__port=link) as child:
        listener.wait_until(lambda: named(listener, "/fossa_node: lens"), "the first status")
        began = time.monotonic()
        listener.wait_until(
            lambda: named(listener, "/fossa_node: lens")[-1].level == DiagnosticStatus.ERROR, "ERROR", FIRST_S
        )
        print(f"ERROR {time.monotonic() - began:.2f} s after the first status")
        time.sleep(2.0)  # two more attempts
        with simulated_rig(tmp_path, 64, 64, 150.0):
            listener.subscribe(Image, "depth/image")
            listener.wait_for("depth/image")
            heard = len(listener.heard["/diagnostics"])
            listener.wait_until(lambda: len(named(listener, "/fossa_node: camera", heard)) > 1, "two more statuses")
            assert named(listener, "/fossa_node")[-1].message == "active"
            hardware = named(listener, "/fossa_node: lens")[-1].hardware_id
            assert hardware == f"optotune_ld4 {link}"  # a pseudo-terminal has no serial number
            assert named(listener, "/fossa_node: camera")[-1].hardware_id == "camera_optical_frame"
            child.send_signal(2)
            child.wait(20)
    assert log.read_text().count("Estimator classical") == 1


@pytest.mark.real_time
def test_a_missing_camera_is_an_error_in_the_first_seconds_and_in_the_log(listener, tmp_path):
    listener.subscribe(DiagnosticArray, "/diagnostics")
    log = tmp_path / "node.log"
    remap = {"image": "/no_camera/image"}
    with process("fossa_node", log, "alone", remap=remap, sweep__mode="external"):
        name = "/alone/fossa_node: camera"
        listener.wait_until(lambda: named(listener, name), "the first status")
        error = DiagnosticStatus.ERROR
        listener.wait_until(lambda: named(listener, name)[-1].level == error, "ERROR", FIRST_S + DISCOVERY_S)
        said = named(listener, name)[-1].message
        assert said == "no node publishes /no_camera/image: start the camera, or remap image"
        time.sleep(3.0)
    assert log.read_text().count("No node publishes") == 1


@pytest.mark.real_time
def test_a_transition_that_is_prepared_is_one_transition_for_a_lifecycle_manager(listener, tmp_path):
    log = tmp_path / "node.log"
    with process("fossa_node", log, autostart=False, lens__port=tmp_path / "absent"):
        listener.subscribe(DiagnosticArray, "/diagnostics")
        listener.wait_until(lambda: named(listener, "/fossa_node"), "status")
        assert {one.message for one in named(listener, "/fossa_node")} == {"unconfigured"}
        configure = Transition.TRANSITION_CONFIGURE
        client = listener.client(ChangeState, "/fossa_node/change_state")
        both = [client.call_async(ChangeState.Request(transition=Transition(id=configure))) for _ in range(2)]
        listener.wait_until(lambda: all(answer.done() for answer in both), "two answers")
        assert [answer.result().success for answer in both] == [False, False]
        assert not listener.change("/fossa_node", Transition.TRANSITION_ACTIVATE)
        heard = len(listener.heard["/diagnostics"])
        listener.wait_until(lambda: named(listener, "/fossa_node: lens", heard), "status")
        assert named(listener, "/fossa_node: lens", heard)[-1].level == DiagnosticStatus.ERROR
    assert "Traceback" not in log.read_text()


class Camera:
    """Publish images and calibrations by a thread of its own while the block lasts."""

    def __init__(self, node, *, frame_id="optical", infos_every=1):
        self._image, self._info = (
            node.create_publisher(Image, "image", 5),
            node.create_publisher(CameraInfo, "camera_info", 5),
        )
        self._node, self._frame_id, self._every = node, frame_id, infos_every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._ended.set()
        self._thread.join()
        self._node.destroy_publisher(self._image)
        self._node.destroy_publisher(self._info)

    def _run(self):
        number = 0
        while not self._ended.wait(0.03):
            header = Header(stamp=self._node.get_clock().now().to_msg(), frame_id=self._frame_id)
            self._image.publish(
                Image(header=header, width=64, height=48, step=64, encoding="mono8", data=bytes(64 * 48))
            )
            if number % self._every == 0:
                k = [60.0, 0.0, 32.0, 0.0, 60.0, 24.0, 0.0, 0.0, 1.0]
                self._info.publish(CameraInfo(header=header, width=64, height=48, k=k))
            number += 1


@pytest.mark.real_time
def test_a_camera_that_is_used_wrongly_is_named_with_the_cure(listener, tmp_path):
    listener.subscribe(DiagnosticArray, "/diagnostics")
    log = tmp_path / "node.log"

    name = "/fossa_node: camera"

    def says(words):
        heard = len(listener.heard["/diagnostics"])
        listener.wait_until(lambda: any(words in one.message for one in named(listener, name, heard)), words)

    with process("fossa_node", log, sweep__mode="external"):
        with Camera(listener.node, frame_id=""):
            says("there is no frame_id in camera_info, so that nobody can place the depth: set camera.frame_id")
        with Camera(listener.node, infos_every=10):
            says("images on /image have a message of their stamp on /camera_info: let the driver publish one with each")
        with Camera(listener.node), Camera(listener.node):
            says("2 nodes publish /image, ")
        with Camera(listener.node):
            heard, good = len(listener.heard["/diagnostics"]), DiagnosticStatus.OK
            listener.wait_until(lambda: good in {one.level for one in named(listener, name, heard)}, "no fault")
    words = log.read_text()
    assert "There is no frame_id" in words and "Only " in words and "2 nodes publish /image" in words


@pytest.mark.real_time
def test_simulated_time_without_a_clock_is_an_error_that_says_so(listener, tmp_path):
    listener.subscribe(DiagnosticArray, "/diagnostics")
    log = tmp_path / "node.log"
    with process("fossa_node", log, sweep__mode="external", use_sim_time="true"), Camera(listener.node):
        listener.wait_until(
            lambda: any("nothing arrived on /clock" in one.message for one in named(listener, "/fossa_node: camera")),
            "no clock",
        )
    assert log.read_text().count("Nothing arrived on /clock, and use_sim_time is true") == 1


def test_the_serial_number_is_that_of_the_usb_device_behind_a_port(tmp_path, monkeypatch):
    port = "/dev/null"  # character device 1:3
    device = tmp_path / "devices" / "usb1" / "1-2"
    node = device / "1-2:1.0" / "tty" / "ttyACM0"
    node.mkdir(parents=True)
    (tmp_path / "dev" / "char").mkdir(parents=True)
    (tmp_path / "dev" / "char" / "1:3").symlink_to(node)
    monkeypatch.setattr(usb, "SYSFS", tmp_path)
    assert usb.usb_serial_number(port) == ""  # not on USB
    (device / "idVendor").write_text("03eb\n")
    assert usb.usb_serial_number(port) == ""  # a device without one
    (device / "serial").write_text("7F3A\n")
    assert usb.usb_serial_number(port) == "7F3A"
    assert usb.usb_serial_number("/dev/no_such_port") == usb.usb_serial_number("/camera") == ""
