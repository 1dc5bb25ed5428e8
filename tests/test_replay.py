"""fossa replay and fossa report as they are used, on bags of a rig in virtual time."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from fossa_ros.commands.cli import main
from fossa_ros.commands.replay import _table
from fossa_ros.core.errors import InputError
from fossa_ros.core.geometry import POINT
from fossa_ros.core.optics import dioptre_space
from fossa_ros.evaluation.replay import Replay, kind_of_reason, read_replay
from fossa_ros.evaluation.replay_figures import SweepFigures
from fossa_ros.evaluation.replay_many import find_bags, shard_of
from fossa_ros.evaluation.replay_sweeps import replayed_sweeps, with_optics
from fossa_ros.evaluation.replay_topics import find_topics
from fossa_ros.evaluation.results import read_results
from fossa_ros.io.ply import read_ply
from fossa_ros.messages.bags import BagReader
from fossa_ros.messages.fields import depth_from_message, nanoseconds
from fossa_ros.motion import MotionCheck
from fossa_ros.parameters.node_config import FossaNodeConfig
from fossa_ros.parameters.parameter_file import read_config
from fossa_ros.pipeline.steps import check_motion, estimate_depth
from fossa_ros.pipeline.still_average import StillAverage
from fossa_ros.pipeline.temporal_filter import TemporalFilter
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack
from fossa_ros.simulation.virtual_recording import Recording, write_recording
from fossa_ros.sweep import CapturedSweep

ROOT = Path(__file__).parent.parent
WIDTH, HEIGHT = 160, 120
RIG = ROOT / "config" / "rig.yaml"
PARAMETERS = ["--params", str(RIG), "--set", "sweep.settling=0.018", "--set", "sweep.exposure=0.008"]
PARAMETERS += ["--set", "depth.min_confidence=0"]  # small images of a deep scene: most of their depth is doubtful
RECORDING = Recording(seconds=3.0, knocked_at=1.8, knock=25, namespace="/robot")
STORAGES = {
    "mcap": (StoragePlugin.MCAP, CompressionMode.NONE),
    "mcap-zstd": (StoragePlugin.MCAP, CompressionMode.STORAGE),
    "mcap-file-zstd": (StoragePlugin.MCAP, CompressionMode.FILE),
    "mcap-message-zstd": (StoragePlugin.MCAP, CompressionMode.MESSAGE),
    "sqlite3": (StoragePlugin.SQLITE3, CompressionMode.NONE),
    "sqlite3-file-zstd": (StoragePlugin.SQLITE3, CompressionMode.FILE),
    "sqlite3-message-zstd": (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
}
# Whatever of ROS is imported ends the process: replay must do without.
WITHOUT_ROS = """
import sys
class NoRos:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("rclpy", "rcl_interfaces", "sensor_msgs", "std_msgs", "builtin_interfaces",
                                  "ament_index_python", "rosidl_runtime_py") or name.startswith("fossa_ros.msg"):
            raise ImportError(name + " is ROS")
sys.meta_path.insert(0, NoRos())
from fossa_ros.commands.cli import main
from fossa_ros.commands.replay import _table
main()
"""


@pytest.fixture(scope="module")
def scene():
    camera = SimulatedCamera(width=WIDTH, height=HEIGHT, fx=150.0)
    return render_stack(0, camera, dioptre_space(0.35, 6.0, 5), views=24)


@pytest.fixture(scope="module")
def bags(scene, tmp_path_factory):
    """One recording in every kind of storage."""
    folder = tmp_path_factory.mktemp("bags")
    for name, (storage, compression) in STORAGES.items():
        write_recording(folder / name, *scene, RECORDING, storage=storage, compression=compression)
    return folder


def test_the_exposure_that_the_bag_tells_is_used_in_place_of_the_configured(scene, tmp_path):
    path = tmp_path / "bag"
    recording = Recording(seconds=2.0, namespace="/robot", metadata=True)
    write_recording(path, *scene, recording)

    def stamps(exposure, topic):
        pairs = ["sweep.settling=0.018", f"sweep.exposure={exposure}", f"sweep.exposure_topic={topic}"]
        config = read_config(FossaNodeConfig, "fossa_node", RIG, pairs)
        with BagReader(path) as bag:
            sweeps = replayed_sweeps(bag, find_topics(bag, {}, exposure_topic=topic), config)
            return [one.sweep.stamps_ns for one in sweeps if one.sweep.stack is not None]

    assert len(stamps(0.008, "")) == 5
    assert stamps(1.0, "") == []  # every frame comes before it can have been exposed
    assert stamps(1.0, "metadata") == stamps(1.0, "/robot/metadata") == stamps(0.008, "")
    with pytest.raises(InputError, match="/robot/nothing"):
        stamps(1.0, "nothing")


def test_the_sweeps_of_a_triggered_rig_are_counted_and_one_that_lost_a_frame_is_refused(scene, tmp_path):
    path = tmp_path / "bag"
    recording = Recording(seconds=3.0, namespace="/robot", triggered=True, lost_frame=12)
    write_recording(path, *scene, recording)
    pairs = ["sweep.mode=counted", "sweep.trigger_order=source", "sweep.exposure=0.008"]
    config = read_config(FossaNodeConfig, "fossa_node", RIG, pairs)
    with BagReader(path) as bag:
        topics = find_topics(bag, {}, triggered=True)
        assert topics.lens_trigger == "/robot/lens/trigger" and topics.lens_state is None
        sweeps = [one.sweep for one in replayed_sweeps(bag, topics, config)]
    distances = config.sweep.plan.focus_distances
    assert len(sweeps) == 12  # seven periods each
    for number, sweep in enumerate(sweeps):
        if number == 2:
            assert "no frame came for the planes at 0.66 m" in sweep.reason
            continue
        assert sweep.stack is not None, sweep.reason
        assert sweep.focus_distances == (distances if number % 2 == 0 else distances[::-1])
        begin = recording.start_ns + round(number * 7e9 / 30)
        assert sweep.stamps_ns == pytest.approx([begin + index * 1e9 / 30 for index in range(5)], abs=1000)
        for plane in sweep.stack.planes:
            expected = scene[0].planes[distances.index(plane.focus_distance)].image
            assert np.abs(plane.image.astype(float) - expected).mean() < 2.0
    with BagReader(path) as bag, pytest.raises(InputError, match=r"neither focus_stack nor all of .* and lens/state"):
        find_topics(bag, {})


def fossa(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def accepted_stamps(folder):
    return [sweep.stamp_ns for sweep in read_replay(folder / "replay.json").sweeps if sweep.accepted]


@pytest.fixture(scope="module")
def replayed(bags, tmp_path_factory):
    """The plain bag, replayed by a process that has no ROS."""
    out = tmp_path_factory.mktemp("replayed") / "out"
    command = [sys.executable, "-c", WITHOUT_ROS, "replay", str(bags / "mcap"), "--out", str(out), *PARAMETERS]
    done = subprocess.run([*command, "--pictures", "2"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr + done.stdout
    return out, done


def test_without_ros_a_bag_becomes_depth_figures_and_pictures(replayed, scene):
    out, done = replayed
    assert "x real time" in done.stderr and "x real time" in done.stdout
    result = read_replay(out / "replay.json")
    assert len(result.sweeps) >= 7 and result.seconds == pytest.approx(RECORDING.seconds, abs=0.1)
    refused = [sweep for sweep in result.sweeps if not sweep.accepted]
    assert [sweep.verdict for sweep in refused] == ["rejected"] and "moved" in refused[0].reason  # the knock
    before = [sweep.metrics["abs_rel"] for sweep in result.sweeps[:4]]
    assert all(error < 0.25 for error in before)  # small images of a deep scene
    assert read_results(out / "metrics.json").runs[0].mean["abs_rel"] == pytest.approx(result.metrics()["abs_rel"])
    first = result.sweeps[0]
    pixels = np.isfinite(scene[1]).sum()
    assert 0.5 * pixels < sum(first.by_depth.counts) <= pixels and sum(first.by_blur.counts) > 0.5 * pixels
    mean = sum(first.by_depth.sums) / sum(first.by_depth.counts)
    assert mean == pytest.approx(first.metrics["abs_rel"], rel=0.02)  # few pixels lie outside the bins
    for plane, focus in enumerate(dioptre_space(0.35, 6.0, 5)):
        image = cv2.imread(str(out / "pictures" / f"000000-plane-{plane:02d}-{focus:.4g}m.jpg"))
        assert cv2.PSNR(image, cv2.cvtColor(scene[0].planes[plane].image, cv2.COLOR_RGB2BGR)) > 28
    cloud = read_ply(out / "pictures" / "000000-cloud.ply")
    assert 0.5 * WIDTH * HEIGHT < len(cloud) <= WIDTH * HEIGHT and 0.3 < np.median(cloud["z"]) < 6
    for picture in ("depth", "all_in_focus", "confidence", "error"):
        assert cv2.imread(str(out / "pictures" / f"000000-{picture}.png")).std() > 1
    assert len(list((out / "pictures").glob("*-depth.png"))) == (len(result.sweeps) - len(refused) + 1) // 2


def test_a_region_of_interest_is_all_that_is_written(bags, replayed, tmp_path):
    roi = [each for pair in ("x=40", "y=30", "width=80", "height=60") for each in ("--set", f"roi.{pair}")]
    done = fossa("replay", bags / "mcap", "--out", tmp_path / "out", *PARAMETERS, *roi)
    assert done.exit_code == 0, done.output
    whole, part = (read_replay(folder / "replay.json") for folder in (replayed[0], tmp_path / "out"))
    assert [sweep.verdict for sweep in part.sweeps] == [sweep.verdict for sweep in whole.sweeps]
    assert all(0 < sweep.metrics["abs_rel"] < 0.25 for sweep in part.sweeps if sweep.accepted)
    with AnyReader([tmp_path / "out" / "bag"]) as reader:
        sizes = {
            connection.topic: (message.width, message.height)
            for connection, _, data in reader.messages()
            if hasattr(message := reader.deserialize(data, connection.msgtype), "width")
        }
        assert "/robot/depth/camera_info" in sizes and "/robot/points" in sizes
    assert set(sizes.values()) == {(80, 60)}


def test_a_recording_is_not_replaced_by_its_results(bags, tmp_path):
    recording = tmp_path / "run" / "bag"
    shutil.copytree(bags / "mcap", recording)
    before = {file.name: file.read_bytes() for file in recording.iterdir()}
    for source in (recording, next(recording.glob("*.mcap"))):
        done = fossa("replay", source, "--out", tmp_path / "run", *PARAMETERS)
        assert done.exit_code != 0 and "would replace the recording" in str(done.exception or "") + done.output
        assert {file.name: file.read_bytes() for file in recording.iterdir()} == before
    done = fossa("replay", recording, "--out", tmp_path / "run", "--no-bag", *PARAMETERS)
    assert done.exit_code == 0, done.output
    assert {file.name: file.read_bytes() for file in recording.iterdir()} == before


@pytest.mark.parametrize("name", ["pictures", "bag"])
def test_a_folder_that_is_of_no_replay_is_not_replaced(bags, tmp_path, name):
    kept = tmp_path / "out" / name / "holiday.jpg"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    done = fossa("replay", bags / "mcap", "--out", tmp_path / "out", *PARAMETERS)
    assert done.exit_code != 0 and "is of no earlier replay" in str(done.exception or "") + done.output
    assert kept.read_text() == "mine" and [file.name for file in (tmp_path / "out").iterdir()] == [name]


@pytest.mark.parametrize("depth", [0, 1])
def test_a_recording_within_the_folder_of_pictures_is_kept(bags, tmp_path, depth):
    recording = tmp_path / "rec" / "pictures" / "run" if depth else tmp_path / "rec" / "pictures"
    shutil.copytree(bags / "mcap", recording)
    (tmp_path / "rec" / "replay.json").write_text("{}")  # as if it were of an earlier replay
    done = fossa("replay", recording, "--out", tmp_path / "rec", "--no-bag", *PARAMETERS)
    assert done.exit_code != 0 and "would replace the recording" in str(done.exception or "") + done.output
    assert next(recording.glob("*.mcap")).stat().st_size > 0


def test_optics_that_are_given_take_the_place_of_those_of_recorded_stacks(scene):
    recorded = CapturedSweep(0, scene[0], "", (), (), (), {}, 0, 1)

    def optics(*pairs):
        camera = read_config(FossaNodeConfig, "fossa_node", None, pairs).camera
        stack = with_optics(recorded, camera).stack
        assert stack.planes == scene[0].planes
        return stack.focal_length, stack.f_number

    own = scene[0].focal_length, scene[0].f_number
    assert optics() == own and own[1] == 1.4
    assert optics("camera.f_number=2.8") == (own[0], 2.8)
    assert optics("camera.f_number=2.8", "camera.focal_length=0.016") == (0.016, 2.8)


def test_a_name_that_no_topic_has_cannot_be_remapped(bags, tmp_path):
    done = fossa("replay", bags / "mcap", "--out", tmp_path / "out", *PARAMETERS, "--remap", "images:=/robot/image")
    assert done.exit_code != 0 and "No topic images" in str(done.exception or "") + done.output


def test_depth_that_needs_the_sweeps_before_is_made_in_their_order(bags, tmp_path):
    """As the node makes it, with as many workers as there are: its own worker, sweep by sweep, is the expectation."""
    pairs = ["depth.still_sweeps=4", "depth.temporal_memory=0.7"]
    done = fossa("replay", bags / "mcap", "--out", tmp_path / "out", *PARAMETERS, *(f"--set={pair}" for pair in pairs))
    assert done.exit_code == 0, done.output
    config = read_config(FossaNodeConfig, "fossa_node", RIG, [*PARAMETERS[3::2], *pairs])
    expected, alone = [], []
    with BagReader(bags / "mcap") as bag:
        sweeps = [one.sweep for one in replayed_sweeps(bag, find_topics(bag, {}), config)]
    for results, still, temporal in (
        (expected, StillAverage(config.depth.still_sweeps), TemporalFilter(config.depth.temporal)),
        (alone, None, None),
    ):
        motion, estimator = MotionCheck(config.motion), config.estimator.create()
        for sweep in sweeps:
            checked = check_motion(sweep, motion)
            if checked.stack is not None:
                results.append(estimate_depth(checked, estimator, temporal, config.limits, still=still).depth.depth)
    with AnyReader([tmp_path / "out" / "bag"]) as reader:
        found = [
            depth_from_message(reader.deserialize(data, connection.msgtype))
            for connection, _, data in reader.messages()
            if connection.topic == "/robot/depth/image"
        ]
    assert len(found) == len(expected) >= 6
    for depth, right, single in zip(found[1:], expected[1:], alone[1:], strict=True):
        np.testing.assert_array_equal(depth, right)
        assert np.nanmean(np.abs(depth - single)) > 1e-4


def test_the_bag_of_results_is_what_the_node_would_have_published(replayed):
    out, _ = replayed
    depths, clouds, reports = {}, {}, []
    with AnyReader([out / "bag"]) as bag:
        kinds = {connection.topic: connection.msgtype for connection in bag.connections}
        for connection, recorded_ns, raw in bag.messages():
            message = bag.deserialize(raw, connection.msgtype)
            assert message.header.frame_id == "camera_optical_frame"
            assert recorded_ns >= nanoseconds(message.header.stamp)
            match connection.topic:
                case "/robot/depth/image":
                    depths[nanoseconds(message.header.stamp)] = depth_from_message(message)
                case "/robot/points":
                    clouds[nanoseconds(message.header.stamp)] = np.frombuffer(message.data, POINT)
                case "/robot/depth/camera_info":
                    assert message.k[0] == 150.0 and nanoseconds(message.header.stamp) in depths
                case "/robot/sweep":
                    reports.append(message)
    images = [f"{kind}/{part}" for kind in ("depth", "all_in_focus", "confidence") for part in ("image", "camera_info")]
    names = (*images, "points", "sweep")
    assert set(kinds) == {f"/robot/{name}" for name in names}
    assert [nanoseconds(r.header.stamp) for r in reports if r.accepted] == accepted_stamps(out) == list(depths)
    for report in reports:
        stamps = [nanoseconds(stamp) for stamp in report.stamps]
        assert len(stamps) == 5 and stamps == sorted(stamps)
        assert all((stamp - RECORDING.start_ns - 5_000_000) % 33_333_333 == 0 for stamp in stamps)
        assert not report.accepted or nanoseconds(report.header.stamp) == stamps[2]
    for stamp, depth in depths.items():
        assert depth.shape == (HEIGHT, WIDTH)
        np.testing.assert_array_equal(clouds[stamp]["z"].reshape(depth.shape), depth)


@pytest.mark.parametrize("name", STORAGES)
def test_every_storage_holds_the_same(bags, name):
    with BagReader(bags / "mcap") as plain, BagReader(bags / name) as bag:
        assert bag.counts == plain.counts and not bag.damage
        messages = [(m.topic, m.recorded_ns, m.raw) for m in bag.messages(bag.types)]
        assert messages == [(m.topic, m.recorded_ns, bytes(m.raw)) for m in plain.messages(plain.types)]


@pytest.mark.parametrize("name", STORAGES)
def test_a_bag_that_breaks_off_is_read_as_far_as_it_goes(bags, name, tmp_path):
    with BagReader(bags / name) as bag:
        whole = [(m.topic, m.recorded_ns, bytes(m.raw)) for m in bag.messages(bag.types)]
    shutil.copytree(bags / name, tmp_path / "bag")
    file = max((tmp_path / "bag").iterdir(), key=lambda path: path.stat().st_size)
    os.truncate(file, file.stat().st_size * 6 // 10)
    for with_metadata in (True, False):
        if not with_metadata:
            (tmp_path / "bag" / "metadata.yaml").unlink()  # a recorder that was killed wrote none
        with BagReader(tmp_path / "bag") as bag:
            read = [(m.topic, m.recorded_ns, bytes(m.raw)) for m in bag.messages(bag.types)]
            assert 0.3 * len(whole) < len(read) < 0.7 * len(whole)
            assert sorted(read) == sorted(whole[: len(read)])
            seconds = (bag.end_ns - bag.begin_ns) / 1e9
            assert f"the first {seconds:.1f} s" in bag.damage and "damaged" in bag.damage


@pytest.mark.parametrize("written", ["nothing", "half"])  # of the messages to the database; the log has the rest
def test_the_bag_of_a_killed_sqlite_recorder_is_read_with_its_log(bags, written, tmp_path):
    with BagReader(bags / "sqlite3") as bag:
        whole = [(m.topic, m.recorded_ns, bytes(m.raw)) for m in bag.messages(bag.types)]
    killed = tmp_path / "bag"
    killed.mkdir()
    with (
        contextlib.closing(sqlite3.connect(next((bags / "sqlite3").glob("*.db3")))) as source,
        contextlib.closing(sqlite3.connect(tmp_path / "live.db3", isolation_level=None)) as recorder,
    ):
        recorder.execute("PRAGMA journal_mode = WAL")
        recorder.execute("PRAGMA wal_autocheckpoint = 0")
        statements = list(source.iterdump())
        half = len(statements) // 2 if written == "half" else 0
        recorder.executescript("\n".join(statements[:half] + (["COMMIT;"] if half else [])))
        recorder.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        recorder.executescript("\n".join((["BEGIN;"] if half else []) + statements[half:]))
        for suffix in ("", "-wal", "-shm"):  # as a killed process leaves them
            shutil.copyfile(tmp_path / f"live.db3{suffix}", killed / f"killed_0.db3{suffix}")
    before = {file.name: file.read_bytes() for file in killed.iterdir()}
    with BagReader(killed) as bag:
        assert [(m.topic, m.recorded_ns, bytes(m.raw)) for m in bag.messages(bag.types)] == whole
        assert not bag.damage and bag.counts.total() == len(whole)
    shutil.copy(bags / "sqlite3" / "metadata.yaml", killed)
    with BagReader(killed) as bag:  # also where an index says otherwise
        assert len(list(bag.messages(bag.types))) == len(whole)
    (killed / "metadata.yaml").unlink()
    assert {file.name: file.read_bytes() for file in killed.iterdir()} == before


def test_a_damaged_bag_is_replayed_around_the_damage_and_the_report_says_so(bags, replayed, tmp_path):
    file = tmp_path / "broken.mcap"
    content = bytearray((bags / "mcap-zstd" / "mcap-zstd.mcap").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200_000] = bytes(200_000)
    file.write_bytes(content)
    done = fossa("replay", file, "--out", tmp_path / "out", *PARAMETERS, "--no-bag")
    assert done.exit_code == 0, done.output
    assert "messages from 1.2 s to 1.8 s cannot be read" in " ".join(done.output.split())
    stamps, whole = accepted_stamps(tmp_path / "out"), accepted_stamps(replayed[0])
    assert stamps[:2] == whole[:2] and 3 <= len(stamps) < len(whole)
    assert not any(1.2 < (stamp - RECORDING.start_ns) / 1e9 < 1.75 for stamp in stamps)
    assert "cannot be read" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_valid_closed_bag(bags, tmp_path, number):
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "fossa_ros.commands.cli",
        "replay",
        str(bags / "mcap"),
        "--out",
        str(out),
        "--rate",
        "0.3",
    ]
    child = subprocess.Popen([*command, *PARAMETERS, "--pictures", "1"], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("out/.partial-*/pictures/*-depth.png"))) < 2:
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        child.send_signal(number)
        _, words = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 130 and "Traceback" not in words
    result = read_replay(out / "replay.json")
    assert result.interrupted and 2 <= len(result.sweeps) < 7
    with AnyReader([out / "bag"]) as bag:
        counts = {topic: info.msgcount for topic, info in bag.topics.items()}
    assert counts["/robot/sweep"] == len(result.sweeps) and counts["/robot/depth/image"] >= 2
    assert not list(out.glob(".partial*")) and (out / "report.html").is_file()


@pytest.mark.timeout(240)  # five processes that each import everything: slow on a busy machine
def test_many_bags_by_processes_and_shards_become_one_report(bags, replayed, tmp_path):
    for name in ("a/one", "a/two", "b"):
        shutil.copytree(bags / "mcap-zstd", tmp_path / "bags" / name)
    (tmp_path / "bags" / "c").mkdir()
    (tmp_path / "bags" / "c" / "none.mcap").write_bytes(b"not a bag")
    assert len(find_bags(tmp_path / "bags")) == 4
    outs = [tmp_path / "machine0", tmp_path / "machine1"]
    for index, out in enumerate(outs):
        done = fossa(
            "replay", tmp_path / "bags", "--out", out, *PARAMETERS, "--jobs", 2, "--shard", f"{index}/2", "--no-bag"
        )
        assert done.exit_code == (0 if index == 0 else 1), done.output  # the last one is not a bag
    assert "cannot be read as a bag" in " ".join(done.output.split())
    assert "1 of 2 bags could not be replayed" in done.output
    done = fossa("report", *outs, "--out", tmp_path / "all.html")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "all.html").read_text()
    assert "Replay of 3 bags" in page and page.count("<td>classical</td>") == 3
    one = read_replay(replayed[0] / "replay.json")
    assert f"<td>{3 * len(one.sweeps)}</td>" in page  # of all of them
    for out in ("machine0/a/one", "machine1/a/two", "machine0/b"):
        assert accepted_stamps(tmp_path / out) == accepted_stamps(replayed[0])


@pytest.mark.parametrize("shard", ["abc", "5/2", "0/2"])
def test_one_bag_has_no_shards(bags, tmp_path, shard):
    done = fossa("replay", bags / "mcap", "--out", tmp_path / "out", *PARAMETERS, "--shard", shard)
    assert done.exit_code == 2 and "replay a single bag without it" in done.output


def test_the_reasons_of_sweeps_without_depth_are_counted_by_kind(capsys):
    reasons = ["the lens moved 1.5 px", "no frame", "the lens moved 22 px", "the lens moved 3 px"]
    sweeps = [
        SweepFigures(number, 0, "failed", reason, False, math.nan, math.nan, math.nan, math.nan)
        for number, reason in enumerate(reasons)
    ]
    Console(width=100).print(_table(Replay("bag", "classical", sweeps), Path("out")))
    shown = capsys.readouterr().out
    assert shown.index("the lens moved 1.5 px (3 of 4 sweeps)") < shown.index("no frame (1 of 4 sweeps)")
    sweeps[1].accepted = True
    Console(width=100).print(_table(Replay("bag", "classical", sweeps), Path("out")))
    shown = capsys.readouterr().out
    assert "the lens moved 1.5 px (3 of 4 sweeps)" in shown and "no frame" not in shown
    planes = (
        "0.35, 6.00 m (frames not used: 4 it (a); 2 that (b)); check",
        "6.00 m (frames not used: 1 it (a)); check",
    )
    assert kind_of_reason(planes[0]) == kind_of_reason(planes[1]) == "N m; check"


def test_a_lens_that_is_not_as_described_is_a_warning_and_one_that_does_not_move_has_no_depth(bags, scene, tmp_path):
    wrong = [*PARAMETERS, "--set", "camera.f_number=0.7", "--set", "estimator=classical", "--no-bag"]
    done = fossa("replay", bags / "mcap", "--out", tmp_path / "warned", *wrong)
    assert done.exit_code == 0 and "as fast as focal length" in " ".join(done.output.split())
    sweeps = read_replay(tmp_path / "warned" / "replay.json").sweeps
    assert any(sweep.accepted and "camera.f_number" in sweep.warning for sweep in sweeps)

    stack, truth = scene
    camera = SimulatedCamera(width=WIDTH, height=HEIGHT, fx=150.0)
    stuck, _ = render_stack(0, camera, [0.6] * len(stack), views=24)
    write_recording(tmp_path / "stuck", stack.with_images(stuck.images()), truth, Recording(seconds=2.0))
    done = fossa("replay", tmp_path / "stuck", "--out", tmp_path / "refused", *PARAMETERS, "--no-bag")
    sweeps = read_replay(tmp_path / "refused" / "replay.json").sweeps
    assert len(sweeps) >= 4 and {sweep.verdict for sweep in sweeps} == {"inconsistent"}
    assert all("The lens does not move" in sweep.reason or "the same frame" in sweep.reason for sweep in sweeps)


@pytest.mark.parametrize("text,part", [("0/4", (0, 4)), ("3/4", (3, 4)), ("auto", (2, 8))])
def test_shards(text, part):
    assert shard_of(text, {"RANK": "2", "WORLD_SIZE": "8"}) == part
    slurm = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_MIN": "1"}
    assert shard_of(text, slurm) == part


@pytest.mark.parametrize("text", ["4/4", "1", "a/b", "-1/2", "auto"])
def test_a_shard_that_cannot_be_is_a_sentence(text):
    with pytest.raises(InputError, match="shard"):
        shard_of(text, {})


# What the browser made of the page, in its title: its images; the plane that is seen at the ends of the first slider;
# and for the first cloud the pixels that are not background, at rest, turned, nearer and back again.
SEEN_BY_THE_BROWSER = """<script>addEventListener('load', async () => {
  const frame = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  const images = [...document.images].map(i => [i.className, i.alt, i.naturalWidth, i.naturalHeight, i.width]);
  const box = document.querySelector('.planes'), slider = box.querySelector('input'), planes = [];
  for (const value of [0, slider.max]) {
    slider.value = value;
    slider.dispatchEvent(new Event('input'));
    const seen = [...box.querySelectorAll('img')].filter(i => i.offsetWidth > 0).map(i => i.alt);
    planes.push([seen, box.querySelector('figcaption').textContent]);
  }
  const canvas = document.querySelector('canvas.cloud'), clouds = [];
  const look = async event => {
    if (event) canvas.dispatchEvent(event);
    await frame();
    const data = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    let sum = 0, count = 0;
    data.forEach((value, i) => {
      if (value !== 0xff1c1814) { count++; sum = (sum + value % 65521 * (i % 251)) % 1e9; }
    });
    clouds.push([count / data.length, sum]);
  };
  await look();
  await look(new PointerEvent('pointermove', {buttons: 1, movementX: 60, movementY: 20}));
  await look(new PointerEvent('pointermove', {buttons: 0, movementX: 60}));
  await look(new WheelEvent('wheel', {deltaY: 2000, cancelable: true}));
  await look(new MouseEvent('dblclick'));
  document.title = JSON.stringify({images, planes, clouds});
})</script></body>"""
# A browser that only prints the page draws no frames.
AT_ONCE = "<head><script>requestAnimationFrame = call => setTimeout(call)</script>"


def browse(page, folder, *more):
    """Open a page in a headless Chromium and return what it prints; skip the test where there is none."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile"]
    options += ["--virtual-time-budget=20000", *more]
    done = subprocess.run([browser, *options, page.as_uri()], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_files_of_others_among_the_pictures_and_a_place_that_is_a_file_do_not_end_the_report(replayed, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(replayed[0], out)
    pictures = out / "pictures"
    for name in ("mine", "0x1"):
        shutil.copy(next(pictures.glob("*-depth.png")), pictures / f"{name}-depth.png")
    next(pictures.glob("*-cloud.ply")).write_text("cut off")
    next(pictures.glob("*-plane-00-*.jpg")).write_bytes(b"")
    done = fossa("report", out, "--out", tmp_path / "new" / "page.html")
    assert done.exit_code == 0, done.output
    shown = [page.read_text().count("<p>Sweep ") for page in (out / "report.html", tmp_path / "new" / "page.html")]
    assert shown[0] == shown[1] > 0
    nameless = fossa("report", out, "--out", ".")
    assert nameless.exit_code != 0 and "is a folder" in str(nameless.exception or "") + nameless.output
    refused = fossa("report", out, "--out", out / "replay.json" / "page.html")
    assert refused.exit_code == 1
    assert "page.html cannot be written (not a directory); give another path" in " ".join(refused.output.split())


def test_the_report_shows_its_plots_pictures_planes_and_clouds_in_a_browser(replayed, tmp_path):
    page = replayed[0] / "report.html"
    assert "http" not in page.read_text().replace('xmlns="http', "").replace("http://www.w3.org", "")
    copy = tmp_path / "page.html"
    copy.write_text(page.read_text().replace("<head>", AT_ONCE).replace("</body>", SEEN_BY_THE_BROWSER))
    title = browse(copy, tmp_path, "--dump-dom").partition("<title>")[2].partition("</title>")[0]
    seen = json.loads(title)
    images = seen["images"]
    plots = {alt for kind, alt, *_ in images if kind == "plot"}
    assert plots == {"latency", "verdicts and reasons", "error against depth", "error against blur"}
    pictures = [alt for kind, alt, *_ in images if kind == "picture"]
    assert {alt: pictures.count(alt) for alt in pictures} == dict.fromkeys(
        ("all_in_focus", "depth", "error", "confidence"), 3
    )
    assert all(width > 100 and height > 100 and shown > 100 for *_, width, height, shown in images)
    first, last = "plane 1 of 5, focused at 0.35 m", "plane 5 of 5, focused at 6 m"
    assert seen["planes"] == [[[first], first], [[last], last]]
    rest, turned, untouched, farther, again = seen["clouds"]
    assert rest[0] > 0.95 and rest == again and turned == untouched  # a pointer without a button turns nothing
    assert turned[1] != rest[1] and farther[0] < 0.3 * rest[0]
    browse(copy, tmp_path, f"--screenshot={tmp_path / 'page.png'}", "--window-size=1250,2600")
    screenshot = cv2.imread(str(tmp_path / "page.png"))
    assert screenshot.shape[0] == 2600 and screenshot.reshape(-1, 3).std() > 30


def test_rerun_gets_planes_depth_points_and_verdicts(bags, tmp_path):
    pytest.importorskip("rerun", reason="rerun-sdk is optional: pip install rerun-sdk")
    file = tmp_path / "log.rrd"
    options = ["--no-bag", "--pictures", 0, "--rerun", file]
    done = fossa("replay", bags / "mcap", "--out", tmp_path / "out", *PARAMETERS, *options)
    assert done.exit_code == 0, done.output
    content = file.read_bytes()
    assert content[:4] == b"RRF2" and len(content) > 100_000 and not list(tmp_path.glob(".*"))
    for entity in ("sweep/plane_4", "camera/depth", "points", "verdict", "all_in_focus"):
        assert entity.encode() in content


def test_what_cannot_be_replayed_is_a_sentence(bags, tmp_path):
    (tmp_path / "empty").mkdir()
    cases = [
        (["replay", tmp_path / "none"], "does not exist"),
        (["replay", tmp_path / "empty"], "no bag below"),
        (["replay", bags / "mcap", "--params", ROOT / "config" / "rig.yaml"], "sweep.settling"),
        (["replay", bags / "mcap", "--remap", "image:=/nowhere"], "no topic /nowhere"),
        (["replay", bags / "mcap", "--remap", "image"], "NAME:=TOPIC"),
        (["replay", bags / "mcap", "--set", "sweep.planes=many"], "sweep.planes"),
        (["replay", bags / "mcap", "--set", "sweep.planes=1"], "2 .. 64"),
        (["replay", bags / "mcap", "--set", "sweep.near=[1"], "sweep.near in the command line must be like 0.35"),
        (["replay", bags / "mcap", "--set", "no.parameter=1"], "docs/parameters.md"),
        (
            ["replay", bags / "mcap", "--params", tmp_path / "none.yaml"],
            "none.yaml does not exist; give a",
        ),
        (["report", tmp_path / "empty"], "run fossa replay first"),
    ]
    for arguments, words in cases:
        out = [] if arguments[0] == "report" else ["--out", tmp_path / "out"]
        done = fossa(*arguments, *out)
        assert done.exit_code == 1 and words in " ".join(done.output.split()), done.output
    assert not (tmp_path / "out").exists()


def test_parameter_files_are_read_as_the_node_reads_them(tmp_path):
    file = tmp_path / "parameters.yaml"
    file.write_text(
        "/**:\n  ros__parameters: {sweep.planes: 3, use_sim_time: true}\n"
        "/left/fossa_node:\n  ros__parameters:\n    sweep: {near: 1.0, far: .inf}\n    lens: {options: 'a=1'}\n"
        "/left/sim_rig_node:\n  ros__parameters: {sweep.planes: 9}\n"
    )
    pairs = ["sweep.focus_distances=[1, 2.5]", "lens.port="]
    config = read_config(FossaNodeConfig, "fossa_node", file, pairs)
    assert (config.sweep.planes, config.sweep.near, config.lens.options) == (3, 1.0, "a=1")
    assert config.sweep.far == float("inf") and list(config.sweep.focus_distances) == [1.0, 2.5]
    assert config.lens.port == "" and config.estimator.name == "auto"
    assert config.sweep.plan.focus_distances == (1.0, 2.5)
