"""Sweeps of a board from where people have them: a lens and a camera in real time, and bags."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from urllib.request import urlopen

import numpy as np
import pytest
from click.testing import CliRunner
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from board_sweeps import BOARD, COMMANDS, LENS, PLACES, STEP
from fossa_ros.calibration.calibration_file import read_calibration
from fossa_ros.calibration.recording import read_recording
from fossa_ros.commands.cli import main
from fossa_ros.lens import open_lens
from fossa_ros.ros import environment, qos
from fossa_ros.ros.conversions import image_message, time_message
from fossa_ros.ros.isolated_node import IsolatedNode
from fossa_ros.simulation.board_rig import BoardRig, facing
from fossa_ros.simulation.ld4_device import SimulatedLd4
from fossa_ros.simulation.lens_dynamics import LensDynamics, LensModel
from fossa_ros.simulation.pseudo_terminal import PseudoTerminal

PERIOD_S, EXPOSURE_NS = 0.033, 8_000_000
LOWEST, PLANES = 1.0, 15  # D of the first plane, and how many that are STEP apart
MIDDLE = LOWEST + STEP * (PLANES - 1) / 2
STORE = get_typestore(Stores.ROS2_JAZZY)


@pytest.fixture(scope="module")
def planes() -> list[list[np.ndarray]]:
    """Return the images of the board at each place, focused on each plane, with the noise of a sensor.

    The noise does not depend on when a frame is taken, so that the calibration does not either.
    """
    rig, rng = BoardRig(LENS, BOARD, seed=5), np.random.default_rng(0)

    def taken(place, plane: int) -> np.ndarray:
        image = rig.image(facing(rig, *place), LOWEST + STEP * plane)
        return np.clip(image + rng.normal(0, 0.5, image.shape), 0, 255).round().astype(np.uint8)

    return [[taken(place, plane) for plane in range(PLANES)] for place in PLACES]


class BoardCamera:
    """Publish what a camera sees of the board while a program drives its lens; ``place`` counts from 0."""

    def __init__(self, dynamics: LensDynamics, planes: list[list[np.ndarray]]):
        self.place = 0
        self._dynamics, self._planes = dynamics, planes
        self.own = IsolatedNode("board_camera")
        self._publisher = self.own.node.create_publisher(Image, "/camera/image_raw", qos.FRAMES)
        self.own.node.create_timer(PERIOD_S, self._expose)
        self.own.start()

    def _expose(self) -> None:
        start = time.time_ns()
        time.sleep(EXPOSURE_NS / 1e9)
        power = self._dynamics.power_at(start + EXPOSURE_NS // 2) + MIDDLE
        plane = int(np.clip(round((power - LOWEST) / STEP), 0, PLANES - 1))
        header = Header(stamp=time_message(start), frame_id="camera")
        self._publisher.publish(image_message(self._planes[self.place][plane], "mono8", header))


MOST = f"{292.84 * (MIDDLE - LOWEST) / 3:.4f}"
LENS_OPTIONS = ("--camera", "topic:/camera/image_raw", "--option", "control=current")
LIVE = ("board", "live", *LENS_OPTIONS, "--sweeps", str(len(PLACES)), "--steps", str(PLANES), "--measured", "280")
LIVE = (*LIVE, "--from", f"-{MOST}", "--to", MOST)


@contextmanager
def rig(planes):
    """Yield a lens behind a pseudo-terminal, the port, and the camera before which the board is."""
    dynamics = LensDynamics(LensModel(ringing=0.0))
    with PseudoTerminal(SimulatedLd4(dynamics)) as terminal:
        view = BoardCamera(dynamics, planes)
        try:
            yield dynamics, terminal.port, view
        finally:
            view.own.close()


@contextmanager
def calibrating(*arguments: str):
    """Run ``fossa calibrate`` as a person does; end it if it takes minutes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fossa_ros.commands.cli", "calibrate", *arguments],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment.child_environment(),
    )
    watchdog = threading.Timer(200, process.kill)
    watchdog.start()
    try:
        with process:
            yield process
    finally:
        watchdog.cancel()
        process.kill()


def enter(process: subprocess.Popen) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def shown(line: str) -> str | None:
    """Return the address of the live view, if a line tells it."""
    found = re.search(r"The live view is at (http://127\.0\.0\.1:\d+/)", line)
    return found and found[1]


def state(address: str) -> dict:
    with urlopen(address + "state.json", timeout=20) as reply:
        return json.load(reply)


@pytest.mark.real_time
def test_a_person_moves_the_board_before_a_lens_and_gets_a_calibration(planes, tmp_path):
    out = tmp_path / "lens.yaml"
    with rig(planes) as (dynamics, port, view):
        said, address, states, picture = "", None, [], b""
        with calibrating(*LIVE, "--out", str(out), "--port", port) as process:
            for line in process.stderr:
                said += line
                address = address or shown(line)
                if asked := re.search(r"Place (\d+) of 6: let the board stand still there", line):
                    view.place = int(asked[1]) - 1
                    states.append(state(address))
                    if view.place:
                        with urlopen(address + "view.jpg", timeout=20) as reply:
                            picture = reply.read()
                    enter(process)
        assert process.returncode == 0, said
        assert dynamics.set_point == 0
        # A board at one place is enough to check it, one way.
        with calibrating("check", *LENS_OPTIONS, "--calibration", str(out), "--port", port, "--no-view") as process:
            enter(process)
            answer, words = process.communicate()
        assert process.returncode == 0, words
        assert re.search(r"The calibration holds: the focus is off by [+-]0\.0[0-2]\d D at 0\.[67]\d m", answer)
        assert "live view" not in words and dynamics.set_point == 0
    assert len(re.findall(r"Still missing: ", said)) >= 3
    assert "a board tilted by 20 to 40 degrees, to another side each time (1 of 4)" in said
    assert [each["seen"] for each in states] == list(range(6))
    for each in states:  # the page says what the terminal says
        assert each["ask"] in said
        assert not each["missing"] or f"Still missing: {'; '.join(each['missing'])}.\n" in said
    assert picture[:2] == b"\xff\xd8"
    calibration = read_calibration(out)
    curve = calibration.rising
    truth = MIDDLE + 3 * curve.commands / 292.84
    assert curve.dioptres == pytest.approx(truth, abs=0.05)
    assert calibration.hysteresis < 0.03
    recording = read_recording(tmp_path / "lens-recording")
    assert [len(each.frames) for each in recording.series] == [2 * PLANES - 1] * len(PLACES)
    assert all(each.distance is None for each in recording.series)
    assert out.with_name("lens-report.html").exists()


@pytest.mark.real_time
@pytest.mark.parametrize(("number", "sweeping"), [(signal.SIGTERM, True), (signal.SIGINT, False)])
def test_a_signal_parks_the_lens_and_says_what_is_kept(planes, tmp_path, number, sweeping):
    """In the first sweep, and while the person moves the board before the second one."""
    out = tmp_path / "lens.yaml"
    with rig(planes) as (dynamics, port, _):
        said, address = "", None
        with calibrating(*LIVE, "--out", str(out), "--port", port) as process:
            for line in process.stderr:
                said += line
                address = address or shown(line)
                if f"Place {1 + (not sweeping)} of 6" in line:
                    if sweeping:
                        enter(process)
                        while state(address)["frame"] < 3:
                            time.sleep(0.05)
                        assert dynamics.set_point != 0
                    process.send_signal(number)
                elif "Place 1 of 6" in line:
                    enter(process)
            assert process.wait() == 130
        again = f"'fossa calibrate board folder {tmp_path}/lens-recording' calibrates from them"
        kept = "" if sweeping else f"; the sweeps so far are kept: {again}"
        assert said.endswith(f"\nfossa: interrupted{kept}.\n"), said
        assert dynamics.set_point == 0  # without current
        with open_lens("optotune_ld4", port, control="current") as lens:  # the port is free
            assert lens.state().temperature == pytest.approx(25, abs=2)
    assert not out.exists()


def write_bag(path, images: list[np.ndarray]) -> None:
    """Write a sweep: each command held for 0.1 s, and a frame 60 ms after it."""
    types = STORE.types
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        moved = writer.add_connection("/lens/command", "std_msgs/msg/Float64", typestore=STORE)
        image = writer.add_connection("/image", "sensor_msgs/msg/Image", typestore=STORE)
        for number, command in enumerate(COMMANDS):
            sent = 10**15 + number * 10**8
            writer.write(moved, sent, STORE.serialize_cdr(types["std_msgs/msg/Float64"](command), moved.msgtype))
            exposed = sent + 60_000_000
            pixels = images[round(command)]
            stamp = types["builtin_interfaces/msg/Time"](exposed // 10**9, exposed % 10**9)
            header = types["std_msgs/msg/Header"](stamp, "camera")
            message = types["sensor_msgs/msg/Image"](header, *pixels.shape, "mono8", 0, pixels.shape[1], pixels.ravel())
            writer.write(image, exposed + 20_000_000, STORE.serialize_cdr(message, image.msgtype))


def test_bags_one_for_each_place_become_a_calibration(planes, tmp_path):
    bags = [tmp_path / f"place{number}" for number in range(len(PLACES))]
    for path, images in zip(bags, planes, strict=True):
        write_bag(path, images)
    out = tmp_path / "lens.yaml"
    arguments = ["calibrate", "board", "bag", *map(str, bags), "--settling", "0.03", "--out", str(out)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "The bar of the board was not measured" in done.output
    calibration = read_calibration(out)
    curve = calibration.rising
    assert curve.dioptres == pytest.approx(LOWEST + STEP * curve.commands, abs=0.05)
    assert calibration.device.unit == "steps"
    arguments = ["calibrate", "check", "--calibration", str(out), "--measured", "280", "--settling", "0.03"]
    checked = CliRunner().invoke(main, [*arguments, str(bags[3])])
    assert checked.exit_code == 0, checked.output
    assert "The calibration holds: the focus is off by" in checked.output
    assert "0.50 m" in checked.output
    nowhere = CliRunner().invoke(main, [*arguments, "today"])
    assert nowhere.exit_code == 1
    assert "fossa: today does not exist; give a folder of sweeps with calibration.json, or a bag.\n" in nowhere.output
    neither = CliRunner().invoke(main, arguments)
    assert neither.exit_code == 2
    assert "give recordings of the board, or --port of the lens that is to be swept now." in neither.output
