"""One bag through the real node over DDS, and through fossa replay: the same sweeps, the same depths."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionMode
from sensor_msgs.msg import Image

from bag_player import play
from fossa_ros.core.optics import dioptre_space
from fossa_ros.evaluation.replay import ReplayOptions, replay
from fossa_ros.evaluation.replay_sweeps import replayed_sweeps
from fossa_ros.evaluation.replay_topics import find_topics
from fossa_ros.messages.bags import BagReader
from fossa_ros.messages.fields import depth_from_message, nanoseconds
from fossa_ros.msg import SweepReport
from fossa_ros.parameters.node_config import FossaNodeConfig
from fossa_ros.parameters.parameter_file import read_config
from fossa_ros.ros import qos
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack
from fossa_ros.simulation.virtual_recording import Recording, write_recording
from node_processes import Listener, process

pytestmark = pytest.mark.real_time

CONFIG = Path(__file__).parent.parent / "config" / "rig.yaml"
OURS = {"sweep.settling": 0.018, "sweep.exposure": 0.008}
MISSED = 10.0  # s that the player waits for the node's report of a sweep


@pytest.mark.timeout(200)
def test_the_node_and_the_replay_make_the_same_of_a_bag(tmp_path):
    camera = SimulatedCamera(width=320, height=240, fx=300.0)
    stack, truth = render_stack(0, camera, dioptre_space(0.35, 6.0, 5), views=24)
    recording = Recording(seconds=4.0, knocked_at=2.1, knock=40)
    write_recording(tmp_path / "bag", stack, truth, recording, compression=CompressionMode.STORAGE)
    pairs = [f"{name}={value}" for name, value in OURS.items()]
    config = read_config(FossaNodeConfig, "fossa_node", CONFIG, pairs)
    with BagReader(tmp_path / "bag") as bag:
        topics = find_topics(bag, {})
        ends = [(one.recorded_ns, one.sweep.stamps_ns[-1]) for one in replayed_sweeps(bag, topics, config)]
    done = replay(tmp_path / "bag", tmp_path / "out", ReplayOptions(config, picture_every=0))
    assert [sweep.accepted for sweep in done.sweeps].count(False) == 1  # the knock

    reports, depths = _through_the_node(tmp_path, topics.names - {topics.truth}, ends)

    replayed_reports, replayed_depths = _results(tmp_path / "out" / "bag")
    assert [report[:3] for report in reports] == [report[:3] for report in replayed_reports]
    assert len(replayed_depths) >= 8 and set(depths) == set(replayed_depths)
    for stamp, depth in replayed_depths.items():
        np.testing.assert_array_equal(np.isfinite(depths[stamp]), np.isfinite(depth))
        np.testing.assert_allclose(depths[stamp], depth, rtol=0, atol=1e-4)
    for one, other in zip(reports, replayed_reports, strict=True):
        assert one[3] == pytest.approx(other[3], abs=0.01, nan_ok=True)  # px of motion


def _through_the_node(folder, topics, ends):
    """Return what the node says of every sweep with planes, and its depths by stamp."""
    listener = Listener()
    heard = listener.heard
    listener.subscribe(SweepReport, "sweep", qos.REPORTS)
    listener.subscribe(Image, "depth/image", qos.REPORTS)
    ours = {name.replace(".", "__"): value for name, value in OURS.items()}
    waiting = list(ends)

    def pause(now_ns: int) -> None:
        """Let the node finish every sweep before the next goes on: none is superseded, however slow the machine."""
        while waiting and waiting[0][0] < now_ns:
            _, last_stamp = waiting.pop(0)
            deadline = time.monotonic() + MISSED
            while time.monotonic() < deadline and not any(
                nanoseconds(report.stamps[-1]) >= last_stamp for report in _told(heard["sweep"])
            ):
                listener.executor.spin_once(timeout_sec=0.02)

    try:
        with process("fossa_node", folder / "node.log", use_sim_time="true", sweep__mode="external", **ours):
            play(listener.node, folder / "bag", topics, 0.5, pause)
            pause(2**63)
            listener.wait_until(lambda: len(heard["depth/image"]) >= sum(r.accepted for r in heard["sweep"]), "depths")
    finally:
        listener.close()
    depths = {nanoseconds(image.header.stamp): depth_from_message(image) for image in heard["depth/image"]}
    return sorted(map(_essence, _told(heard["sweep"]))), depths


def _told(reports):
    """Leave out the sweep that began before there was time, and the one that the end of the bag cut off."""
    return [report for report in reports if report.verdict != "incomplete"]


def _results(bag_path):
    reports, depths = [], {}
    with BagReader(bag_path) as bag:
        for recorded in bag.messages({"/sweep", "/depth/image"}):
            message = bag.read(recorded)
            if recorded.topic == "/sweep":
                reports.append(message)
            else:
                depths[nanoseconds(message.header.stamp)] = depth_from_message(message)
    return sorted(map(_essence, _told(reports))), depths


def _essence(report):
    stamps = tuple(nanoseconds(stamp) for stamp in report.stamps)
    return stamps, nanoseconds(report.header.stamp) if report.accepted else 0, report.verdict, report.motion_px
