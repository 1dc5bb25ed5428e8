"""Sweeps of a board from where people have them: a lens and a camera in real time, and bags."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time

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


@pytest.mark.real_time
def test_a_person_moves_the_board_before_a_lens_and_gets_a_calibration(planes, tmp_path):
    dynamics = LensDynamics(LensModel(ringing=0.0))
    out = tmp_path / "lens.yaml"
    most = f"{292.84 * (MIDDLE - LOWEST) / 3:.4f}"
    command = [sys.executable, "-m", "fossa_ros.commands.cli", "calibrate", "board", "live"]
    command += ["--camera", "topic:/camera/image_raw", "--option", "control=current", "--sweeps", str(len(PLACES))]
    command += ["--steps", str(PLANES), "--from", f"-{most}", "--to", most, "--measured", "280", "--out", str(out)]
    with PseudoTerminal(SimulatedLd4(dynamics)) as terminal:
        view = BoardCamera(dynamics, planes)
        process = subprocess.Popen(
            [*command, "--port", terminal.port],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment.child_environment(),
        )
        said = ""
        try:
            with process:
                watchdog = threading.Timer(200, process.kill)
                watchdog.start()
                for line in process.stderr:
                    said += line
                    if asked := re.search(r"Place (\d+) of 6: let the board stand still there", line):
                        view.place = int(asked[1]) - 1
                        process.stdin.write("\n")
                        process.stdin.flush()
                watchdog.cancel()
            assert process.returncode == 0, said
        finally:
            view.own.close()
    assert len(re.findall(r"Still missing: ", said)) >= 3
    assert "a board tilted by 20 to 40 degrees, to another side each time (1 of 4)" in said
    calibration = read_calibration(out)
    curve = calibration.rising
    truth = MIDDLE + 3 * curve.commands / 292.84
    assert curve.dioptres == pytest.approx(truth, abs=0.05)
    assert calibration.hysteresis < 0.03
    recording = read_recording(tmp_path / "lens-recording")
    assert [len(each.frames) for each in recording.series] == [2 * PLANES - 1] * len(PLACES)
    assert all(each.distance is None for each in recording.series)
    assert out.with_name("lens-report.html").exists()


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
