"""The nodes as they are used: processes of their own, real DDS, a lens behind a pseudo-terminal."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_srvs.srv import SetBool, Trigger

from fossa_ros.core.geometry import POINT
from fossa_ros.evaluation.metrics import depth_metrics
from fossa_ros.messages.fields import nanoseconds
from fossa_ros.msg import FocusStack, LensState, SweepReport
from fossa_ros.ros import environment, qos
from node_processes import is_unbroken, process, simulated_rig

pytestmark = pytest.mark.real_time

WIDTH, HEIGHT, FX = 320, 240, 300.0


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    with simulated_rig(tmp_path_factory.mktemp("rig"), WIDTH, HEIGHT, FX) as link:
        yield link


def _reported_depths(listener):
    """Return the depth images whose reports have arrived; the two topics do not keep a common order."""
    stamps = {nanoseconds(report.header.stamp) for report in listener.heard["sweep"] if report.accepted}
    return [image for image in listener.heard["depth/image"] if nanoseconds(image.header.stamp) in stamps]


def test_depth_of_real_sweeps_arrives_on_every_topic_as_documented(rig, listener, tmp_path):
    for topic, kind in {
        "depth/image": Image,
        "depth/camera_info": CameraInfo,
        "points": PointCloud2,
        "all_in_focus/image": Image,
        "confidence/image": Image,
        "motion/debug_image": Image,
        "/diagnostics": DiagnosticArray,
    }.items():
        listener.subscribe(kind, topic)
    listener.subscribe(SweepReport, "sweep", qos.REPORTS)
    listener.subscribe(FocusStack, "focus_stack", qos.REPORTS)
    listener.subscribe(Image, "truth/depth", qos.LATCHED)
    with process("fossa_node", tmp_path / "node.log", lens__port=rig):
        listener.wait_for("sweep", 4)
        listener.wait_until(lambda: len(_reported_depths(listener)) >= 3, "three depths with their reports")
        results = ("depth/camera_info", "points", "all_in_focus/image", "confidence/image")
        for topic in (*results, "focus_stack", "motion/debug_image"):
            listener.wait_for(topic)
        latched, joined_ns = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL), time.time_ns()
        listener.subscribe(LensState, "lens/state", latched)  # joins late and still hears the last one, and that alone
        lens = listener.wait_for("lens/state", 20)[0]
        assert sum(nanoseconds(one.header.stamp) < joined_ns for one in listener.heard["lens/state"]) <= 1
        assert lens.header.frame_id == "camera_optical_frame"
        statuses = listener.heard["/diagnostics"]
        listener.wait_until(lambda: any(_status(one, DiagnosticStatus.OK) for one in statuses), "status OK")
    truth = _pixels(listener.wait_for("truth/depth")[0])
    reports = {nanoseconds(report.header.stamp): report for report in listener.heard["sweep"] if report.accepted}
    matched = _reported_depths(listener)
    assert len(matched) >= 3
    for image in matched:
        report = reports[nanoseconds(image.header.stamp)]
        assert (image.width, image.height, image.encoding) == (WIDTH, HEIGHT, "32FC1")
        assert image.header.frame_id == report.header.frame_id == "camera_optical_frame"
        assert image.header.stamp in report.stamps  # acquisition time of one of its planes
        assert len(report.focus_distances) == 5 and report.verdict in ("still", "repaired")
        assert report.sweep_ms > 5 * 18 and report.inference_ms > 0 and report.motion_ms > 0
        assert 0 < report.motion_uncertainty_px < 2 and report.moving_share <= 0.02
        metrics = depth_metrics(_pixels(image), truth)
        assert metrics["abs_rel"] < 0.15 and metrics["coverage"] > 0.8
        assert not (_pixels(image) <= 0).any()  # unknown is NaN, never 0
    orders = [list(report.focus_distances) for report in listener.heard["sweep"]]
    assert any(order == sorted(order) for order in orders) and any(order == sorted(order)[::-1] for order in orders)
    why = listener.heard["motion/debug_image"][0]
    assert why.encoding == "rgb8" and why.width > WIDTH  # panels of five planes
    info = listener.heard["depth/camera_info"][0]
    assert (info.width, info.height, info.k[0]) == (WIDTH, HEIGHT, FX)
    stamps = {nanoseconds(image.header.stamp): image for image in listener.heard["depth/image"]}
    assert nanoseconds(info.header.stamp) in stamps
    cloud = next(cloud for cloud in listener.heard["points"] if nanoseconds(cloud.header.stamp) in stamps)
    depth = _pixels(stamps[nanoseconds(cloud.header.stamp)])
    points = np.frombuffer(cloud.data, POINT).reshape(cloud.height, cloud.width)
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "rgb"] and cloud.row_step == 16 * WIDTH
    np.testing.assert_array_equal(points["z"], depth)
    known = np.isfinite(depth)
    x = (np.arange(WIDTH) - info.k[2]) / FX * depth
    np.testing.assert_allclose(points["x"][known], x[known], rtol=1e-5, atol=1e-5)
    stack = listener.heard["focus_stack"][0]
    assert len(stack.planes) == 5 and stack.f_number == 1.4
    assert [plane.header.stamp for plane in stack.planes][stack.reference] == stack.header.stamp
    assert lens.backend == "optotune_ld4" and lens.reachable and lens.temperature == pytest.approx(25, abs=5)


def test_a_lens_with_distortion_gives_the_rectified_view(listener, tmp_path):
    for topic, kind in {"depth/image": Image, "depth/camera_info": CameraInfo, "camera_info": CameraInfo}.items():
        listener.subscribe(kind, f"bent/{topic}")
    listener.subscribe(Image, "bent/truth/depth", qos.LATCHED)
    distortion = "[-0.35, 0.12, 0.001, -0.001, 0.0]"
    with (
        simulated_rig(tmp_path, WIDTH, HEIGHT, FX, "bent", camera__distortion=distortion) as link,
        process("fossa_node", tmp_path / "node.log", "bent", lens__port=link, estimator="classical"),
    ):
        listener.wait_for("bent/depth/image", 2)
        raw, published = (listener.wait_for(f"bent/{name}")[0] for name in ("camera_info", "depth/camera_info"))
        truth = _pixels(listener.wait_for("bent/truth/depth")[0])
    assert raw.d[0] == -0.35 and not any(published.d) and np.array_equal(raw.k, published.k)
    for image in listener.heard["bent/depth/image"]:
        metrics = depth_metrics(_pixels(image), truth)
        assert metrics["abs_rel"] < 0.15 and metrics["coverage"] > 0.8
    why = "Images on /bent/image are taken for raw (its name has no 'rect' and camera.image is auto): K and D"
    assert (tmp_path / "node.log").read_text().count(why) == 1


def test_a_bump_is_rejected_and_sweeps_go_on(rig, listener, tmp_path):
    listener.subscribe(SweepReport, "sweep", qos.REPORTS)
    with process("fossa_node", tmp_path / "node.log", autostart=False, lens__port=rig):
        # Its answers show that it has found this node's subscription, without which a first report could be lost.
        assert listener.change("fossa_node", Transition.TRANSITION_CONFIGURE)
        assert listener.change("fossa_node", Transition.TRANSITION_ACTIVATE)
        listener.wait_until(lambda: sum(r.accepted for r in listener.heard["sweep"]) >= 2, "two accepted sweeps")
        before = len(listener.heard["sweep"])
        for _ in range(10):  # on a busy machine a bump may meet no complete sweep
            assert listener.call(Trigger, "bump", Trigger.Request()).success
            heard = len(listener.heard["sweep"])
            listener.wait_until(lambda since=heard: len(listener.heard["sweep"]) >= since + 4, "four more reports")
            if any(report.verdict == "rejected" for report in listener.heard["sweep"][before:]):
                break
        rejected = next(r for r in listener.heard["sweep"][before:] if r.verdict == "rejected")
        assert not rejected.accepted and rejected.reason
        after = len(listener.heard["sweep"])
        listener.wait_until(lambda: any(r.accepted for r in listener.heard["sweep"][after:]), "depth after the bump")
        listener.wait_until(lambda: is_unbroken(listener.heard["sweep"]), "one report of each sweep")


def test_an_unplugged_lens_is_an_error_at_once_and_no_stack_straddles_the_gap(rig, listener, tmp_path):
    listener.subscribe(SweepReport, "sweep", qos.REPORTS)
    listener.subscribe(DiagnosticArray, "/diagnostics")
    reports, log = listener.heard["sweep"], tmp_path / "node.log"
    with process("fossa_node", log, lens__port=rig):
        listener.wait_until(lambda: any(r.accepted for r in reports), "depth")
        _unplug_and_plug(listener)
        listener.wait_until(lambda: reports[-1].accepted, "depth again")
        assert listener.call(SetBool, "set_enabled", SetBool.Request(data=False)).success
        listener.wait_until(_quiet(reports), "rest")
        _unplug_and_plug(listener)  # nobody uses the lens, and still it is missed
        assert listener.call(Trigger, "capture", Trigger.Request()).success
    assert log.read_text().count("The lens is back") >= 2  # on a busy machine it may be late, and so lost, once more


def _unplug_and_plug(listener):
    """Pull the lens's cable, hold the node to what it promises, and plug the lens in again."""
    reports, statuses = listener.heard["sweep"], listener.heard["/diagnostics"]
    heard = len(statuses)
    assert listener.call(SetBool, "plug_lens", SetBool.Request(data=False)).success
    gone_ns = time.time_ns()  # at the latest: until some moment of the call the lens still answered for its sweep
    lost = partial(_status, level=DiagnosticStatus.ERROR)
    listener.wait_until(lambda: any(map(lost, statuses[heard:])), "ERROR")
    error = next(filter(lost, statuses[heard:]))
    print(f"ERROR {(nanoseconds(error.header.stamp) - gone_ns) / 1e6:.0f} ms after the cable was pulled")
    assert any(
        status.name == "/fossa_node: lens" and status.message.startswith("lens lost: Port ") for status in error.status
    )
    answer = listener.call(Trigger, "capture", Trigger.Request())
    assert not answer.success and "lens" in answer.message.lower()
    seen, back_ns = len(reports), time.time_ns()
    assert listener.call(SetBool, "plug_lens", SetBool.Request(data=True)).success
    listener.wait_until(lambda: not lost(statuses[-1]), "no more ERROR")
    listener.wait_until(lambda: any(report.accepted for report in reports[seen:]), "the sweep asked for")
    for report in filter(lambda report: report.accepted, reports):
        stamps = [nanoseconds(stamp) for stamp in report.stamps]
        assert max(stamps) < gone_ns or min(stamps) > back_ns, f"sweep {report.sweep} straddles the gap"


def test_one_sweep_on_request(rig, listener, tmp_path):
    listener.subscribe(SweepReport, "sweep", qos.REPORTS)
    # An exposure that no frame can have had when it arrived; the camera tells what it was.
    exposure = {"sweep__exposure": 5.0, "sweep__exposure_topic": "metadata"}
    with process("fossa_node", tmp_path / "node.log", lens__port=rig, **exposure):
        listener.wait_for("sweep")
        assert listener.call(SetBool, "set_enabled", SetBool.Request(data=False)).success
        listener.wait_until(_quiet(listener.heard["sweep"]), "rest")
        for _ in range(10):  # frames are late where the machine is busy, and the answer says so
            before = len(listener.heard["sweep"])
            answer = listener.call(Trigger, "capture", Trigger.Request())
            listener.wait_for("sweep", before + 1)
            listener.wait_until(_quiet(listener.heard["sweep"]), "rest again")
            assert len(listener.heard["sweep"]) == before + 1
            if answer.success:
                break
            assert "late" in answer.message or "No frame" in answer.message, answer.message
        report = listener.heard["sweep"][-1]
        assert answer.success and report.accepted, answer.message  # nothing moves before the rig
        assert str(report.sweep) in answer.message


def test_a_capture_in_waiting_is_answered_when_the_node_is_shut_down(rig, listener, tmp_path):
    active = State.PRIMARY_STATE_ACTIVE
    with process("fossa_node", tmp_path / "node.log", autostart=False, lens__port=rig, sweep__settling=10.0):
        # Answered, so that both ends of the service have found each other: a later request is taken at once.
        assert "not active" in listener.call(Trigger, "capture", Trigger.Request()).message
        assert listener.change("fossa_node", Transition.TRANSITION_CONFIGURE)
        assert listener.change("fossa_node", Transition.TRANSITION_ACTIVATE)
        answer = listener.client(Trigger, "capture").call_async(Trigger.Request())
        for _ in range(3):  # the node goes on serving meanwhile
            assert listener.state("fossa_node") == active
        assert not answer.done()
        assert listener.change("fossa_node", Transition.TRANSITION_ACTIVE_SHUTDOWN)
        listener.wait_until(answer.done, "answer of capture")
        assert not answer.result().success and "deactivated" in answer.result().message
        assert listener.state("fossa_node") == State.PRIMARY_STATE_FINALIZED


def test_lifecycle_by_hand_with_parameters_that_change_only_between(rig, listener, tmp_path):
    listener.subscribe(SweepReport, "sweep", qos.REPORTS)
    with process("fossa_node", tmp_path / "node.log", autostart=False, lens__port=rig, sweep__planes=3):
        assert listener.state("fossa_node") == State.PRIMARY_STATE_UNCONFIGURED
        assert "not active" in listener.call(Trigger, "capture", Trigger.Request()).message
        assert "not configured" in listener.call(SetBool, "set_enabled", SetBool.Request()).message
        for _ in range(2):
            assert listener.change("fossa_node", Transition.TRANSITION_CONFIGURE)
            assert "applied at configure" in listener.set("fossa_node", "sweep.mode", "ramp").reason
            assert listener.change("fossa_node", Transition.TRANSITION_ACTIVATE)
            seen = len(listener.heard["sweep"])
            listener.wait_for("sweep", seen + 2)
            assert listener.change("fossa_node", Transition.TRANSITION_DEACTIVATE)
            assert listener.change("fossa_node", Transition.TRANSITION_CLEANUP)
        assert listener.set("fossa_node", "sweep.planes", 4).successful
        assert listener.change("fossa_node", Transition.TRANSITION_CONFIGURE)
        assert listener.change("fossa_node", Transition.TRANSITION_ACTIVATE)
        seen = len(listener.heard["sweep"])
        reports = listener.heard["sweep"]
        listener.wait_until(lambda: any(report.accepted for report in reports[seen:]), "a sweep of four planes")
        # A sweep that a busy machine ended early reports only the planes it has.
        assert all(len(report.focus_distances) == 4 for report in reports[seen:] if report.accepted)


def test_a_start_up_value_that_cannot_be_ends_the_process_with_a_sentence(tmp_path):
    for value in ("estimator:=magic", "sweep.planes:=1"):
        result = subprocess.run(
            [sys.executable, "-m", "fossa_ros.ros.fossa_node", "--ros-args", "-p", value],
            env=environment.child_environment(),
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert result.returncode == 1
        assert value.split(":=")[0] in result.stderr and "Traceback" not in result.stderr
        assert "[fossa_node]: " in result.stderr  # the logger of all other lines


def test_a_node_that_waits_for_its_lens_logs_the_estimator_once(tmp_path):
    log = tmp_path / "node.log"
    with process("fossa_node", log, lens__port=tmp_path / "no_lens"):
        deadline = time.monotonic() + 20
        while "Trying again" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(2.5)  # it tries every second
    words = log.read_text()
    assert words.count("Trying again") == 1 and words.count("Estimator classical") == 1, words


def test_sigterm_in_mid_sweep_parks_the_lens_and_frees_the_port(rig, listener, tmp_path):
    listener.subscribe(SweepReport, "sweep", qos.REPORTS)
    for number in range(2):  # the second could not open the port if the first had kept it
        log = tmp_path / f"node{number}.log"
        with process("fossa_node", log, lens__port=rig) as child:
            deadline = time.monotonic() + 20
            while "Estimator classical" not in log.read_text() and time.monotonic() < deadline:
                time.sleep(0.05)  # the last report of the first node may come while the second one starts
            seen = len(listener.heard["sweep"])
            listener.wait_for("sweep", seen + 1)
            child.send_signal(signal.SIGTERM)
            began = time.monotonic()
            assert child.wait(20) == 0
            assert time.monotonic() - began < 10


def _status(message: DiagnosticArray, level: bytes) -> bool:
    levels = [s.level for s in message.status if s.name.startswith("/fossa_node")]
    return bool(levels) and max(levels) == level


def _pixels(image: Image) -> np.ndarray:
    assert image.encoding == "32FC1"
    return np.frombuffer(image.data, np.float32).reshape(image.height, image.width)


def _quiet(heard, seconds=1.5):
    """Return a condition: nothing was heard for some seconds."""
    last = [len(heard), time.monotonic()]

    def condition():
        if len(heard) != last[0]:
            last[:] = [len(heard), time.monotonic()]
        return time.monotonic() - last[1] > seconds

    return condition
