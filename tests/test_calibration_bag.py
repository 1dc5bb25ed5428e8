"""Bags: of every command the frame that is certain, and through the command line to a calibration."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from fossa_ros.calibration.bag import read_bag
from fossa_ros.calibration.calibration_file import read_calibration
from fossa_ros.calibration.series import Direction
from fossa_ros.commands.cli import main
from fossa_ros.core.errors import InputError
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.flat_target import FlatTarget

STORE = get_typestore(Stores.ROS2_JAZZY)
START, PERIOD = 10**15, 10**8
CAMERA = SimulatedCamera(width=128, height=96, fx=300.0)


def write_bag(path, moves, frames):
    """Write commands (ns, value) and frames (stamp ns, (H, W) uint8) on /moved and /image."""
    types = STORE.types
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        moved = writer.add_connection("/moved", "std_msgs/msg/Float64", typestore=STORE)
        image = writer.add_connection("/image", "sensor_msgs/msg/Image", typestore=STORE)
        messages = [(t, moved, types["std_msgs/msg/Float64"](value)) for t, value in moves]
        for t, pixels in frames:
            stamp = types["builtin_interfaces/msg/Time"](t // 10**9, t % 10**9)
            header = types["std_msgs/msg/Header"](stamp, "camera")
            height, width = pixels.shape
            parts = header, height, width, "mono8", 0, width, pixels.ravel()
            messages.append((t + 20_000_000, image, types["sensor_msgs/msg/Image"](*parts)))
        for t, connection, message in sorted(messages, key=lambda each: each[0]):
            writer.write(connection, t, STORE.serialize_cdr(message, connection.msgtype))


def options(**changes):
    return {"image_topic": "/image", "command_topic": "/moved", "settling": 0.03, "exposure": 0.01} | changes


def decode(message):
    return np.repeat(message.data.reshape(message.height, message.width, 1), 3, axis=2)


def test_only_frames_exposed_while_a_command_held_are_taken(tmp_path):
    moves = [(START, 1.0), (START + PERIOD, 2.0), (START + 2 * PERIOD, 3.0)]
    offsets = {
        -20: 9,  # before the first command
        10: 10,  # settling
        40: 11,  # taken
        70: 12,  # a second one
        125: 20,  # settling
        195: 21,  # the next command came during its exposure
        240: 30,  # taken
    }
    frames = [(START + at * 10**6, np.full((48, 64), value, np.uint8)) for at, value in offsets.items()]
    write_bag(tmp_path / "bag", moves, frames)
    series = read_bag(tmp_path / "bag", 0.5, decode, **options())
    assert [(frame.command, int(frame.load()[0, 0])) for frame in series.frames] == [(1.0, 11), (3.0, 30)]
    with pytest.raises(InputError, match="correct --settling"):
        read_bag(tmp_path / "bag", 0.5, decode, **options(settling=0.5))
    with pytest.raises(InputError, match="no topic /lens; it has /image, /moved"):
        read_bag(tmp_path / "bag", 0.5, decode, **options(command_topic="/lens"))
    with pytest.raises(InputError, match="/image is of type sensor_msgs/msg/Image"):
        read_bag(tmp_path / "bag", 0.5, decode, **options(command_topic="/image"))
    with pytest.raises(InputError, match="cannot be read as a bag"):
        read_bag(tmp_path / "none", 0.5, decode, **options())


def test_bags_become_a_calibration(tmp_path):
    target = FlatTarget(CAMERA)
    steps = [*range(0, 101, 5), *range(95, -1, -5)]
    bags = []
    for distance in (0.25, 0.4, 1.0):
        moves = [(START + n * PERIOD, float(step)) for n, step in enumerate(steps)]
        frames = [(t + 50_000_000, target.image(0.4 + 0.05 * step, distance)[..., 0]) for t, step in moves]
        bags.append(f"{distance}={tmp_path / str(distance)}")
        write_bag(tmp_path / str(distance), moves, frames)
    out = tmp_path / "lens.yaml"
    settings = ["--command-topic", "/moved", "--settling", "0.03", "--no-breathing", "--backend", "v4l2"]
    done = CliRunner().invoke(main, ["calibrate", "bag", *bags, *settings, "--out", str(out)])
    assert done.exit_code == 0, done.output
    calibration = read_calibration(out)
    for way in Direction:
        assert calibration.dioptres(np.array([20.0, 42.0, 70.0]), way) == pytest.approx([1.4, 2.5, 3.9], abs=0.03)
    assert calibration.device.backend == "v4l2" and (tmp_path / "lens.png").stat().st_size > 10_000
