"""fossa_node in two halves, as processes over DDS: the same depth, and every sweep has one report."""

from __future__ import annotations

import signal
import threading
import time
from functools import partial

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State, Transition
from sensor_msgs.msg import Image, Imu
from std_srvs.srv import SetBool, Trigger

from fossa_ros.messages.fields import depth_from_message, nanoseconds
from fossa_ros.msg import FocusStack, LensState, SweepReport
from fossa_ros.parameters.thresholds import OK
from fossa_ros.ros import qos
from fossa_ros.ros.conversions import time_message
from node_processes import process, simulated_rig

pytestmark = pytest.mark.real_time

DEPTHS = ("depth/image", "confidence/image", "all_in_focus/image")


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    with simulated_rig(tmp_path_factory.mktemp("rig"), 320, 240, 300.0) as link:
        yield link


@pytest.fixture
def imu(listener):
    """A gyroscope that says 0.25 rad/s about its z."""
    publisher = listener.node.create_publisher(Imu, "imu", qos.SENSOR)
    ended = threading.Event()

    def publish():
        message = Imu()
        message.angular_velocity.z = 0.25
        while not ended.wait(0.005):
            message.header.stamp = time_message(time.time_ns())
            publisher.publish(message)

    thread = threading.Thread(target=publish)
    thread.start()
    yield
    ended.set()
    thread.join()


def test_depth_node_gives_the_very_depth_of_fossa_node_for_the_same_stacks(rig, listener, tmp_path):
    listener.subscribe(FocusStack, "focus_stack", qos.STACKS)
    listener.subscribe(SweepReport, "sweep", qos.REPORTS)
    for topic in DEPTHS:
        listener.subscribe(Image, topic)
    heard = listener.heard
    with process("fossa_node", tmp_path / "node.log", lens__port=rig):
        listener.wait_until(lambda: len(_by_stamp(heard["all_in_focus/image"])) >= 3, "three depths")
        listener.wait_until(lambda: len(heard["focus_stack"]) >= 4, "stacks")
    listener.wait_until(_quiet(heard["sweep"], 0.5), "its last report")
    whole = {topic: _by_stamp(heard[topic]) for topic in DEPTHS}
    reports = {report.sweep: report for report in heard["sweep"]}
    # The node may end after it published a stack and before it reported it. While it ends nothing is taken here, and
    # more depths may come than are kept.
    stacks = [stack for stack in heard["focus_stack"] if _arrived(reports.get(stack.sweep), whole)]
    for messages in heard.values():
        messages.clear()
    with process("depth_node", tmp_path / "depth.log", autostart=False):
        # Its answers show that it has found this node's subscriptions, without which a first report could be lost.
        assert listener.change("depth_node", Transition.TRANSITION_CONFIGURE)
        assert listener.change("depth_node", Transition.TRANSITION_ACTIVATE)
        publisher = listener.node.create_publisher(FocusStack, "focus_stack", qos.STACKS)
        listener.wait_until(lambda: publisher.get_subscription_count() == 2, "depth_node subscribes")  # and we do
        for index, stack in enumerate(stacks):
            publisher.publish(stack)
            listener.wait_for("sweep", index + 1)
        again = [report for report in heard["sweep"] if report.accepted and reports[report.sweep].accepted]
        stamps = {nanoseconds(report.header.stamp) for report in again}
        listener.wait_until(lambda: all(stamps <= _by_stamp(heard[t]).keys() for t in DEPTHS), "the last depth")
    assert [report.sweep for report in heard["sweep"]] == [stack.sweep for stack in stacks]
    assert len(again) >= 3
    for report in again:
        before = reports[report.sweep]
        assert report.header == before.header and report.stamps == before.stamps
        assert (report.drop_reasons, report.drop_counts) == (before.drop_reasons, before.drop_counts)
        assert report.sweep_ms == before.sweep_ms and report.focus_distances == before.focus_distances
        if report.verdict == before.verdict == "still":  # a repair depends on what was seen before
            stamp = nanoseconds(report.header.stamp)
            for topic in DEPTHS:
                image, other = _by_stamp(heard[topic])[stamp], whole[topic][stamp]
                assert image.data == other.data and image.header == other.header, topic
    assert sum(report.verdict == "still" for report in again) >= 2


def test_both_halves_together_answer_report_and_diagnose_as_one_node(rig, imu, listener, tmp_path):
    listener.subscribe(SweepReport, "sweep", qos.REPORTS)
    listener.subscribe(FocusStack, "focus_stack", qos.STACKS)
    listener.subscribe(Image, "depth/image")
    listener.subscribe(Image, "truth/depth", qos.LATCHED)
    listener.subscribe(DiagnosticArray, "/diagnostics")
    reports = listener.heard["sweep"]
    sweeping = process("sweep_node", tmp_path / "sweep.log", lens__port=rig)
    with sweeping, process("depth_node", tmp_path / "depth.log"):
        listener.wait_until(lambda: any(report.accepted for report in reports), "depth")
        listener.subscribe(LensState, "lens/state", qos.LATCHED)
        assert listener.wait_for("lens/state")[0].backend == "optotune_ld4"
        assert listener.call(SetBool, "set_enabled", SetBool.Request(data=False)).success
        listener.wait_until(_quiet(reports), "rest")
        states = listener.heard["lens/state"]
        # A parked lens is without current and holds no focus.
        listener.wait_until(lambda: np.isnan(states[-1].focus_distance), "the lens is parked")
        resting = len(states)
        for _ in range(10):  # frames are late where the machine is busy, and the answer says so
            answer = listener.call(Trigger, "capture", Trigger.Request())
            if answer.success:
                break
            assert "late" in answer.message or "No frame" in answer.message, answer.message
        assert answer.success, answer.message
        listener.wait_until(lambda: reports[-1].accepted and str(reports[-1].sweep) in answer.message, "its report")
        listener.wait_until(
            lambda: len(states) > resting + 2 and np.isnan(states[-1].focus_distance), "the lens is parked again"
        )
        faults = partial(_faults, listener, "sweep_node", "depth_node")
        listener.wait_until(lambda: not faults(), lambda: f"both are well, but {faults()}")
        last = reports[-1]
        stack = next(one for one in listener.heard["focus_stack"] if one.sweep == last.sweep)
    numbers = [report.sweep for report in reports]
    assert sorted(set(numbers)) == sorted(numbers), "a sweep was reported twice"
    depth = next(image for image in listener.heard["depth/image"] if image.header.stamp == last.header.stamp)
    truth = depth_from_message(listener.wait_for("truth/depth")[0])
    error = np.abs(depth_from_message(depth) - truth) / truth
    assert np.nanmean(error) < 0.15 and np.isfinite(error).mean() > 0.8
    # How the camera turned came along, over the whole sweep.
    stamps = np.array(stack.gyro_stamps)
    exposures = [nanoseconds(plane.header.stamp) for plane in stack.planes]
    assert stamps[0] < min(exposures) and stamps[-1] >= max(exposures) and np.diff(stamps).max() < 100_000_000
    assert np.reshape(stack.gyro_rates, (-1, 3))[:, 2] == pytest.approx(0.25)


def test_a_depth_node_that_goes_away_is_said_at_once_and_missed_by_no_one_who_waits(rig, listener, tmp_path):
    reports = listener.heard.setdefault("sweep", [])
    listener.subscribe(SweepReport, "sweep", qos.REPORTS)
    with process("sweep_node", tmp_path / "sweep.log", lens__port=rig, sweep__planes=3):

        def failed():
            return [report for report in reports if report.verdict == "failed"]

        listener.wait_until(lambda: len(failed()) >= 2, "sweeps that failed")
        assert all("depth_node" in report.reason for report in failed())
        assert {report.verdict for report in reports} <= {"failed", "incomplete"}  # a busy rig skips exposures
        assert not any(report.accepted for report in reports)
        answer = listener.call(Trigger, "capture", Trigger.Request())
        assert not answer.success and "depth_node" in answer.message
        with process("depth_node", tmp_path / "depth.log", autostart=False) as child:
            assert listener.change("depth_node", Transition.TRANSITION_CONFIGURE)
            # What it reports before the listener has found it is lost to the listener, though not to sweep_node.
            listener.wait_until(lambda: listener.node.count_publishers("sweep") == 2, "both publishers of reports")
            assert listener.change("depth_node", Transition.TRANSITION_ACTIVATE)
            listener.wait_until(lambda: reports[-1].accepted, "depth")
            child.send_signal(signal.SIGSTOP)  # it hangs, and still subscribes
            waiting = listener.client(Trigger, "capture").call_async(Trigger.Request())
            time.sleep(1.0)
            child.send_signal(signal.SIGCONT)
            listener.wait_until(waiting.done, "answer of capture")
            assert waiting.result().success, waiting.result().message
        listener.wait_until(lambda: reports[-1].verdict == "failed", "failed again")
        # Each sweep is reported, those too that were lost while depth_node hung or ended.
        listener.wait_until(lambda: _without_gap({report.sweep for report in reports}), "every report")
    numbers = [report.sweep for report in reports]
    assert len(numbers) == len(set(numbers)), "a sweep was reported twice"
    assert all(report.accepted or report.reason for report in reports)


def test_the_halves_keep_to_their_own_parameters_and_lifecycle(rig, listener, tmp_path):
    with process("depth_node", tmp_path / "depth.log", autostart=False):
        assert not listener.set("depth_node", "sweep.planes", 4).successful  # not one of its own
        for transition in ("CONFIGURE", "ACTIVATE", "DEACTIVATE", "CLEANUP"):
            assert listener.change("depth_node", getattr(Transition, f"TRANSITION_{transition}"))
    with process("sweep_node", tmp_path / "sweep.log", autostart=False, lens__port=rig):
        assert "not active" in listener.call(Trigger, "capture", Trigger.Request()).message
        assert not listener.set("sweep_node", "estimator", "classical").successful
        for transition in ("CONFIGURE", "ACTIVATE", "DEACTIVATE", "CLEANUP"):
            assert listener.change("sweep_node", getattr(Transition, f"TRANSITION_{transition}"))
        assert listener.state("sweep_node") == State.PRIMARY_STATE_UNCONFIGURED


def _by_stamp(images):
    return {nanoseconds(image.header.stamp): image for image in images}


def _without_gap(numbers):
    return max(numbers) - min(numbers) + 1 == len(numbers)


def _arrived(report, depths):
    """Tell whether the report of a sweep is there, and its depth if it has any."""
    if report is None:
        return False
    stamp = nanoseconds(report.header.stamp)
    return not report.accepted or all(stamp in by_stamp for by_stamp in depths.values())


def _faults(listener, *nodes):
    """Return what the last statuses of these nodes say beside that all is well."""
    latest = {}
    for message in listener.heard["/diagnostics"]:
        for status in message.status:
            latest[status.name.split("/")[-1]] = status
    found = [status for name, status in latest.items() if name.partition(":")[0] in nodes]
    return [f"{status.name}: {status.message}" for status in found if status.level != OK] if found else ["no status"]


def _quiet(heard, seconds=1.5):
    last = [len(heard), time.monotonic()]

    def condition():
        if len(heard) != last[0]:
            last[:] = [len(heard), time.monotonic()]
        return time.monotonic() - last[1] > seconds

    return condition
