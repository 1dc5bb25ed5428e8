"""The demo as a user runs it: figures, files, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import Reader

from fossa_ros.evaluation.replay import ReplayOptions, replay
from fossa_ros.io.installed import share
from fossa_ros.messages.bags import BagReader
from fossa_ros.messages.definitions import typestore
from fossa_ros.messages.fields import depth_from_message, nanoseconds
from fossa_ros.parameters.node_config import FossaNodeConfig
from fossa_ros.parameters.parameter_file import read_config
from fossa_ros.ros import environment
from fossa_ros.ros.recorder import BAG_TOPICS

pytestmark = pytest.mark.real_time

COMMAND = [sys.executable, "-m", "fossa_ros.commands.cli", "demo"]


def children_of(out: Path) -> list[str]:
    """Return the command lines of the processes that write their log below ``out``'s folder."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            logs = (os.readlink(process / "fd" / "1"), (process / "cmdline").read_bytes().decode())
        except OSError:
            continue
        if str(out) in logs[0]:
            lines.append(logs[1])
    return lines


@pytest.mark.timeout(200)
def test_a_short_run_ends_with_figures_pictures_a_cloud_and_a_bag(tmp_path):
    out = tmp_path / "demo"
    environ = environment.child_environment()
    del environ["ROS_DOMAIN_ID"], environ["ROS_AUTOMATIC_DISCOVERY_RANGE"]  # the demo reserves a domain
    result = subprocess.run(
        [*COMMAND, "--out", str(out), "--seconds", "8"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert result.returncode == 0, result.stderr + result.stdout
    summary = json.loads((out / "summary.json").read_text())
    assert summary["sweeps_accepted"] >= 3 and summary["sweeps_rejected"] >= 1
    assert summary["abs_rel"] <= 0.12 and summary["coverage"] > 0.8
    assert summary["depth_rate_hz"] > 0 and summary["sweep_ms"] > 90 and summary["inference_ms"] > 0
    assert "depth AbsRel" in result.stdout
    assert cv2.imread(str(out / "all_in_focus.png")).shape == (480, 640, 3)
    for picture in ("depth.png", "confidence.png", "overview.jpg"):
        assert cv2.imread(str(out / picture)).std() > 5
    header, _, body = (out / "cloud.ply").read_bytes().partition(b"end_header\n")
    points = int(header.split(b"element vertex ")[1].split()[0])
    assert points > 0.7 * 640 * 480 and len(body) == 15 * points
    types = typestore()
    with Reader(out / "bag") as bag:
        topics = {connection.topic.lstrip("/"): connection.msgcount for connection in bag.connections}
        assert set(topics) == {topic.name for topic in BAG_TOPICS}
        assert topics["sweep"] >= summary["sweeps"] and topics["depth/image"] >= summary["sweeps_accepted"]
        connection, _, raw = next(entry for entry in bag.messages() if entry[0].topic == "/focus_stack")
        assert len(types.deserialize_cdr(raw, connection.msgtype).planes) == 5
    assert children_of(tmp_path) == []
    _check_replay(out / "bag", tmp_path / "replayed")


def _check_replay(bag, out):
    """Replay the stacks of the run: every sweep that the node accepted is accepted again, and has the same depth."""
    config = read_config(FossaNodeConfig, "fossa_node", share() / "config" / "rig.yaml")
    done = replay(bag, out, ReplayOptions(config, picture_every=0))
    assert done.metrics()["abs_rel"] <= 0.12
    (reports, depths), (again, depths_again) = _results(bag), _results(out / "bag")
    # The bag may have begun or ended within a sweep.
    recorded = {sweep for sweep in depths if sweep in again and _same_past(sweep, reports, again)}
    assert len(recorded) >= 3
    for sweep in recorded:
        assert (again[sweep].verdict, again[sweep].stamps) == (reports[sweep].verdict, reports[sweep].stamps)
        # A confidence at the limit may fall on either side of it.
        assert np.mean(np.isfinite(depths_again[sweep]) != np.isfinite(depths[sweep])) < 2e-4
        both = np.isfinite(depths_again[sweep]) & np.isfinite(depths[sweep])
        np.testing.assert_allclose(depths_again[sweep][both], depths[sweep][both], rtol=0, atol=1e-4)
    rejected = {sweep for sweep, report in reports.items() if report.verdict == "rejected" and sweep in again}
    assert rejected and all(again[sweep].verdict == "rejected" for sweep in rejected)


def _same_past(sweep, reports, again):
    """Return whether node and replay compared the motion of a sweep with that of the same one before it.

    On a busy machine the node may have left the one before unchecked, for a newer one; the replay never does.
    """
    unchecked = [number for number in reports if number < sweep and reports[number].verdict == "superseded"]
    if reports[sweep].verdict == "repaired":
        return not unchecked  # the estimate that it is warped by is handed on from sweep to sweep
    before = max(
        (number for number in reports if number < sweep and reports[number].verdict != "incomplete"), default=None
    )
    return before is None or (before in again and before not in unchecked)


def _results(path):
    """Return the reports of a bag, and the depths of those accepted, by sweep."""
    reports, images = {}, {}
    with BagReader(path) as bag:
        for recorded in bag.messages({"/sweep", "/depth/image"}):
            message = bag.read(recorded)
            if recorded.topic == "/sweep":
                reports[message.sweep] = message
            else:
                images[nanoseconds(message.header.stamp)] = depth_from_message(message)
    stamps = {sweep: nanoseconds(report.header.stamp) for sweep, report in reports.items() if report.accepted}
    return reports, {sweep: images[stamp] for sweep, stamp in stamps.items() if stamp in images}


def test_a_bag_that_is_of_no_demo_is_not_replaced(tmp_path):
    kept = tmp_path / "bag" / "bag_0.mcap"
    kept.parent.mkdir()
    kept.write_text("mine")
    result = subprocess.run([*COMMAND, "--out", str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert result.returncode != 0 and "is of no earlier demo" in result.stderr + result.stdout
    assert kept.read_text() == "mine" and [file.name for file in tmp_path.iterdir()] == ["bag"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_process_and_no_half_written_output(tmp_path, number):
    out = tmp_path / "demo"
    demo = subprocess.Popen(
        [*COMMAND, "--out", str(out)],
        env=environment.child_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 30
        while len(children_of(tmp_path)) < 2:
            assert demo.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1.0)
        demo.send_signal(number)
        _, words = demo.communicate(timeout=40)
    finally:
        demo.kill()
    assert demo.returncode == 130 and "interrupted" in words and "Traceback" not in words
    assert children_of(tmp_path) == []
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.timeout(120)
def test_a_node_that_refuses_to_start_ends_the_demo_with_its_reason(tmp_path):
    result = subprocess.run(
        [*COMMAND, "--out", str(tmp_path / "demo"), "--set", "sweep.near=5", "--set", "sweep.far=1"],
        env=environment.child_environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode == 1 and "fossa_node does not start" in result.stderr, result.stderr
    assert "sweep.near" in result.stderr and "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments_are_sentences(tmp_path):
    for arguments, words in (
        (["--seconds", "-1"], "positive"),
        (["--set", "estimator"], "NAME=VALUE"),
        (["--set", "sweep.plans=3"], "did you mean sweep.planes?"),
        (["--set", "roi.x=64"], "whole view"),
        (["--set", "sweep.planes=many"], "sweep.planes"),
    ):
        result = subprocess.run(
            [*COMMAND, "--out", str(tmp_path / "x"), *arguments],
            env=environment.child_environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 1 and words in result.stderr and "Traceback" not in result.stderr
        assert not (tmp_path / "x").exists()
