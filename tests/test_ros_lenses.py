"""Lenses that a ROS node drives: by a parameter, by a topic; over real DDS, with nodes as the drivers make them."""

from __future__ import annotations

import math
import threading
import time
from functools import partial

import pytest
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import Float32, Float64, Int32

from fossa_ros.core.errors import InputError, LensError
from fossa_ros.lens import CommandRange, open_lens
from fossa_ros.msg import LensState
from fossa_ros.ros import qos, remote_parameters, topic_lens
from fossa_ros.ros.ros_parameter_lens import PRESETS
from node_processes import process, spinning

pytestmark = pytest.mark.real_time

TIMEOUT = 1.0


class Driver(Node):
    """A camera driver: parameters, of which ``focus`` moves the lens once manual focus is on.

    Attributes:
        positions: where the lens was sent.
    """

    def __init__(self, name, focus, descriptor, manual, value=10, **kwargs):
        super().__init__(name, **kwargs)
        self._focus, (self._manual, self._on) = focus, manual
        self.positions = []
        self.declare_parameter(focus, value, descriptor)
        self.declare_parameter(self._manual, not self._on)
        self.declare_parameter("label", "text")
        self.add_on_set_parameters_callback(self._on_set)

    def _on_set(self, parameters):
        for parameter in parameters:
            if parameter.name == self._focus:
                if self.get_parameter(self._manual).value != self._on:
                    return SetParametersResult(successful=False, reason="")  # as v4l2_camera: without a reason
                self.positions.append(parameter.value)
        return SetParametersResult(successful=True)


def whole(least, greatest, step=0):
    return ParameterDescriptor(integer_range=[IntegerRange(from_value=least, to_value=greatest, step=step)])


# As the drivers declare them: their sources are named in ros_parameter_lens.py.
DRIVERS = {
    "depthai": partial(Driver, "oak", "rgb.r_focus", whole(0, 255), ("rgb.r_set_man_focus", True)),
    "v4l2_camera": partial(Driver, "webcam", "focus_absolute", whole(0, 250), ("focus_automatic_continuous", False)),
    "usb_cam": partial(Driver, "usb_cam", "focus", ParameterDescriptor(), ("autofocus", False), -1),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_drives_the_node_that_it_is_named_after(preset):
    with spinning(DRIVERS[preset]) as (driver,):
        name, manual = driver.get_name(), PRESETS[preset].first.split(":")[0]
        automatic = driver.get_parameter(manual).value
        with open_lens("ros_parameter", name, preset=preset, timeout=TIMEOUT, settling=0.2) as lens:
            greatest = 250 if preset == "v4l2_camera" else 255
            assert lens.capabilities.command == CommandRange(PRESETS[preset].parameter, "steps", 0, greatest, 1)
            assert driver.get_parameter(manual).value != automatic and driver.positions == []
            for value in (0, 120.4, 250):
                move = lens.move_to_command(value)
                assert move.command == driver.positions[-1] == round(value)
                assert move.settling_ns == 200_000_000 and move.sent_ns < move.acknowledged_ns
                lens.verify()
                assert lens.state().command == round(value)
            with pytest.raises(InputError, match="outside the lens's range of 0 to"):
                lens.move_to_command(300)
            with pytest.raises(InputError, match="fossa calibrate"):
                lens.move_to(0.5)
        assert driver.positions[-1] == 0  # parked
        assert driver.get_parameter(manual).value == automatic  # and automatic focus is as it was


def test_a_power_in_dioptres_is_metric_without_a_calibration():
    power = ParameterDescriptor(floating_point_range=[FloatingPointRange(from_value=-2.0, to_value=3.0)])
    options = {"parameter": "power", "unit": "D", "power_offset": 2.0, "timeout": TIMEOUT}
    with (
        spinning(partial(Driver, "liquid", "power", power, ("manual", True), 0.0)) as (driver,),
        open_lens("ros_parameter", "/liquid", first="manual:true", **options) as lens,
    ):
        assert (lens.capabilities.nearest, lens.capabilities.farthest) == (pytest.approx(0.2), math.inf)
        assert lens.move_to(0.5).focus_distance == pytest.approx(0.5)
        assert driver.positions == [pytest.approx(0.0)] and isinstance(driver.positions[0], float)
        assert lens.move_to(0.3).command == pytest.approx(1.33)  # in steps of 0.01 D


def test_another_program_that_changes_focus_or_mode_is_found_out():
    with (
        spinning(DRIVERS["v4l2_camera"]) as (driver,),
        open_lens("ros_parameter", "webcam", preset="v4l2_camera", timeout=TIMEOUT) as lens,
    ):
        lens.move_to_command(100)
        driver.set_parameters([Parameter("focus_absolute", value=30)])
        with pytest.raises(LensError, match="commanded to a focus_absolute of 100 steps but holds 30 steps"):
            lens.verify()
        lens.move_to_command(100)
        driver.set_parameters([Parameter("focus_automatic_continuous", value=True)])
        said = "The parameter 'focus_automatic_continuous' of the node '/webcam' is True, not False"
        assert lens.state().faults[0] == said
        with pytest.raises(LensError, match=f"{said}; check that nothing else sets it"):
            lens.move_to_command(50)


def test_what_cannot_be_used_is_a_sentence(monkeypatch):
    def refuses(error, words, port="webcam", **options):
        with pytest.raises(error, match=words):
            open_lens("ros_parameter", port, timeout=TIMEOUT, **options)

    refuses(InputError, "There is no preset 'kinect'; choose one of: depthai, v4l2_camera, usb_cam", preset="kinect")
    refuses(InputError, "Name the parameter that sets the focus, or set preset")
    refuses(InputError, "'manual' cannot be set first; write NAME:VALUE", parameter="focus", first="manual")
    refuses(InputError, "power_offset needs unit=D", preset="usb_cam", power_offset=2.0)
    with spinning(DRIVERS["v4l2_camera"], DRIVERS["usb_cam"]):
        refuses(LensError, "'zoom' of the node '/webcam' does not exist; 'ros2 param list /webcam'", parameter="zoom")
        refuses(LensError, "'label' of the node '/webcam' is no number", parameter="label")
        refuses(LensError, "declares no range; give the options least and greatest", "usb_cam", parameter="focus")
        refuses(InputError, "least, greatest and step cannot be 9, 3 and 1", preset="v4l2_camera", least=9, greatest=3)
        refuses(
            InputError,
            "holds True; set it first to a value of that kind, not '7'",
            preset="v4l2_camera",
            first="focus_automatic_continuous:7",
        )
        with open_lens("ros_parameter", "webcam", parameter="focus_absolute", timeout=TIMEOUT) as lens:
            with pytest.raises(LensError, match="'/webcam' refused focus_absolute = 5: no reason given"):
                lens.move_to_command(5)
            refuses(LensError, "is driven by another program of this machine", parameter="focus_absolute")
    monkeypatch.setattr(remote_parameters, "DISCOVERY_S", 0.5)
    refuses(LensError, "There is no camera node '/webcam'; start the driver of the camera", preset="v4l2_camera")


def test_a_node_that_goes_away():
    with spinning(DRIVERS["v4l2_camera"]):
        lens = open_lens("ros_parameter", "webcam", preset="v4l2_camera", timeout=0.3)
        lens.move_to_command(100)
    with pytest.raises(LensError, match=r"'/webcam' did not answer within 0\.3 s; check that it still runs"):
        lens.verify()
    began = time.monotonic()
    lens.close()
    assert time.monotonic() - began < 1.5  # two attempts to park, none to restore
    with pytest.raises(LensError, match="is closed; open it again"):
        lens.state()


class TopicDriver(Node):
    """A lens driver: takes set-points, moves 40 ms later, and reports its position at 100 Hz.

    Attributes:
        heard: the set-points.
        stuck: whether it no longer moves.
    """

    def __init__(self, kind, reports=True, error=0.0, **kwargs):
        super().__init__("lens_driver", **kwargs)
        self.heard, self.stuck, self._position, self._error = [], False, 0, error
        self._kind = kind
        self.create_subscription(kind, "lens/set_point", self._on_set_point, 10)
        if reports:
            self._publisher = self.create_publisher(kind, "lens/position", qos.FRAMES_BEST_EFFORT)
            self.create_timer(0.01, self._report)

    def _on_set_point(self, message):
        self.heard.append(message.data)
        if not self.stuck:
            threading.Timer(0.04, partial(setattr, self, "_position", message.data + self._error)).start()

    def _report(self):
        self._publisher.publish(self._kind(data=self._position))


@pytest.mark.parametrize(("type", "kind"), [("float32", Float32), ("float64", Float64)])
def test_a_topic_with_feedback_acknowledges_when_the_lens_is_there(type, kind):
    options = {"type": type, "least": 0.0, "greatest": 4.0, "unit": "D", "feedback": "lens/position"}
    with (
        spinning(partial(TopicDriver, kind, error=0.002)) as (driver,),
        open_lens("topic", "lens/set_point", timeout=TIMEOUT, **options) as lens,
    ):
        for distance in (0.5, 1.0, 0.25):
            move = lens.move_to(distance)
            assert driver.heard[-1] == pytest.approx(1 / distance) == move.command
            assert 0.04 <= (move.acknowledged_ns - move.sent_ns) / 1e9 < 0.5
            lens.verify()
            assert lens.state().focus_distance == pytest.approx(distance, rel=0.01)
        driver.stuck = True
        with pytest.raises(LensError, match=r"'/lens/set_point' was set to 2 but reports 4\.002; check that nothing"):
            lens.move_to(0.5)
        driver.stuck = False
        lens.move_to(0.5)
        driver._position = 1.0
        time.sleep(0.1)
        with pytest.raises(LensError, match="commanded to a set-point of 2 D but holds 1 D"):
            lens.verify()
    assert driver.heard[-1] == 0.0  # parked


def test_a_topic_without_feedback_needs_somebody_who_listens(monkeypatch):
    options = {"type": "int32", "least": 0, "greatest": 1000, "timeout": TIMEOUT, "settling": 0.4}
    with spinning(partial(TopicDriver, Int32, reports=False)) as (driver,):
        lens = open_lens("topic", "lens/set_point", **options)
        move = lens.move_to_command(120.3)
        deadline = time.monotonic() + 5
        while not driver.heard and time.monotonic() < deadline:
            time.sleep(0.01)
        assert driver.heard == [120] and move.command == 120 and move.settling_ns == 400_000_000
        assert lens.state().command == 120
        with pytest.raises(LensError, match="is driven by another program of this machine"):
            open_lens("topic", "lens/set_point", **options)
    deadline = time.monotonic() + 20
    while lens._publisher.get_subscription_count() and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(LensError, match="No node subscribes to the set-point '/lens/set_point' as Int32; start the"):
        lens.move_to_command(5)
    lens.close()
    monkeypatch.setattr(topic_lens, "DISCOVERY_S", 0.3)
    with pytest.raises(LensError, match="No node subscribes to the set-point '/lens/set_point' as Int32"):
        open_lens("topic", "lens/set_point", **options)


def test_feedback_that_ends_is_no_position():
    with spinning(partial(TopicDriver, Float64)):
        options = {"least": 0.0, "greatest": 4.0, "feedback": "lens/nowhere", "timeout": 0.3}
        with (
            open_lens("topic", "lens/set_point", **options) as lens,
            pytest.raises(LensError, match=r"reported nothing on '/lens/nowhere' within 0\.3 s; check its driver"),
        ):
            lens.move_to_command(1.0)


def test_options_of_a_topic_that_cannot_be_used():
    for words, options in (
        ("type must be one of float32, float64, int32, not 'text'", {"type": "text"}),
        ("Give the range of the set-point: the options least and greatest", {"least": 1}),
        ("least, greatest and step cannot be 4, 2 and 0.01", {"least": 4, "greatest": 2}),
        ("port and feedback must be names of topics", {"least": 0, "greatest": 2, "feedback": "no topic"}),
    ):
        with pytest.raises(InputError, match=words):
            open_lens("topic", "lens/set_point", **options)


def test_the_node_drives_a_parameter_beside_its_own_context(listener, tmp_path):
    listener.subscribe(LensState, "/robot/lens/state", qos.LATCHED)
    power = ParameterDescriptor(floating_point_range=[FloatingPointRange(from_value=0.0, to_value=10.0)])
    lens = {
        "lens__backend": "ros_parameter",
        "lens__port": "/liquid",
        "lens__power_offset": 0.0,
        "lens__options": "parameter=power first=manual:true unit=D settling=0.02",
    }
    with (
        spinning(partial(Driver, "liquid", "power", power, ("manual", True), 0.0)) as (driver,),
        process("fossa_node", tmp_path / "node.log", namespace="robot", autostart=False, **lens),
    ):
        assert listener.change("/robot/fossa_node", Transition.TRANSITION_CONFIGURE)
        assert listener.change("/robot/fossa_node", Transition.TRANSITION_ACTIVATE)
        state = listener.wait_for("/robot/lens/state")[-1]
        assert state.backend == "ros_parameter" and state.reachable and not state.measured
        assert max(driver.positions) == pytest.approx(1 / 0.35, abs=0.01)  # sweep.near: it waits for a frame
