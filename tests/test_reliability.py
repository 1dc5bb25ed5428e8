"""Faults injected into real processes over DDS: what the user sees, and that no wrong depth comes meanwhile.

One rig and one node live through most of them. Whatever the node publishes is compared with what the rig knows to be
true: the depth of its scene, and where the lens was while each frame was exposed. docs/reliability.md is the table.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool

from fossa_ros.core.optics import dioptres
from fossa_ros.evaluation.metrics import depth_metrics
from fossa_ros.messages.fields import depth_from_message, nanoseconds
from fossa_ros.msg import LensState, SweepReport
from fossa_ros.ros import environment, qos
from fossa_ros.ros.log_throttle import REPEAT_S
from node_processes import Listener, is_unbroken, process, simulated_rig

pytestmark = pytest.mark.real_time

WIDTH, HEIGHT, FX = 160, 120, 150.0
STAMP = re.compile(r"\[(\d+\.\d+)\]")  # of a line of the log, seconds
MOVED = 0.06  # dioptres: position tolerance and ringing
ALL_DEPTH = {"depth__min_confidence": 0.0}  # most of what cameras as small as these tell is doubtful
FACTOR = 1.5  # by which the error of a depth that is right may exceed that of the first one
PLUGIN = """
import os, pathlib
import numpy as np, torch
from fossa_ros.estimators.classical import ClassicalEstimator

class Faulty(ClassicalEstimator):
    name = "faulty"

    def estimate(self, stack):
        depth = super().estimate(stack)
        match pathlib.Path(os.environ["FAULTY_DOES"]).read_text():
            case "raise":
                raise IndexError("nothing there")
            case "out of memory":
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
            case "nan":
                depth.depth[:], depth.confidence[:] = np.nan, 0
            case "negative":
                depth.depth[:] *= -1
        return depth
"""


class Watch(Listener):
    """Hears everything of a node, and knows what is true."""

    def __init__(self, namespace=""):
        super().__init__()
        self.namespace = namespace
        self.reports = self._hear(SweepReport, "sweep", qos.REPORTS)
        self.depths = self._hear(Image, "depth/image", qos.REPORTS)
        self.truths = self._hear(Image, "truth/depth", qos.LATCHED)
        self.statuses = self._hear(DiagnosticArray, "/diagnostics", qos.RESULTS)
        self.states = self._hear(LensState, "lens/state", qos.LATCHED)
        self.lens = {}
        self.node.create_subscription(LensState, f"{namespace}/truth/lens", self._on_lens, QoSProfile(depth=1000))

    def _hear(self, kind, topic, profile):
        topic = topic if topic.startswith("/") else f"{self.namespace}/{topic}"
        self.subscribe(kind, topic, profile)
        return self.heard[topic]

    def _on_lens(self, state):
        self.lens.setdefault(nanoseconds(state.header.stamp), []).append(state.power)  # a clock set back repeats stamps

    def status(self):
        """Return the worst of the node's last statuses, with the messages of all that are as bad."""
        name = f"{self.namespace}/fossa_node"
        arrays = ([one for one in array.status if one.name.startswith(name)] for array in reversed(self.statuses))
        last = next(filter(None, arrays), [DiagnosticStatus()])
        level = max(one.level for one in last)
        return DiagnosticStatus(level=level, message="; ".join(one.message for one in last if one.level == level))

    def wait_accepted(self, count=1):
        """Wait for sweeps that begin from now on, and return how long the first of them took to be known."""
        began, seen = time.monotonic(), len(self.reports)
        under_way = self.reports[-1].sweep + 1 if self.reports else -1

        def accepted():
            return [one for one in self.reports[seen:] if one.accepted and one.sweep > under_way]

        self.wait_until(accepted, "an accepted sweep")
        took = time.monotonic() - began
        self.wait_until(lambda: len(accepted()) >= count, f"{count} accepted sweeps")
        return took

    def wait_parked(self, seconds=1.5):
        """Wait until for ``seconds`` no sweep was reported and the lens held no focus, as a parked lens does."""
        last = [len(self.reports), len(self.states), time.monotonic()]

        def condition():
            moved = any(np.isfinite(state.focus_distance) for state in self.states[last[1] :])
            if moved or len(self.reports) != last[0]:
                last[:] = [len(self.reports), len(self.states), time.monotonic()]
            return time.monotonic() - last[2] > seconds and np.isnan(self.states[-1].focus_distance)

        self.wait_until(condition, "the lens is parked")

    def wait_reason(self, words, seen):
        """Wait for a sweep that was not accepted because of ``words``."""
        self.wait_until(lambda: any(words in one.reason for one in self.reports[seen:]), f"reason '{words}'")

    def wait_status(self, level, words):
        self.wait_until(lambda: self.status().level == level and words in self.status().message, f"status '{words}'")

    def report_of(self, image):
        """Return the reports of the sweep that gave a depth image, with the true powers of its planes."""
        stamp = nanoseconds(image.header.stamp)
        found = [one for one in self.reports if stamp in map(nanoseconds, one.stamps)]
        return [(one, [self.lens.get(nanoseconds(plane)) for plane in one.stamps]) for one in found]

    def judge(self):
        """Hold all that was published to what is true; return how many depth maps and planes were compared."""
        planes = 0
        self.wait_until(lambda: len(self.lens) > 0, "truth/lens")
        for report in filter(lambda report: report.accepted, self.reports):
            for stamp, distance in zip(report.stamps, report.focus_distances, strict=True):
                powers, claimed = self.lens.get(nanoseconds(stamp)), float(dioptres(distance))
                if powers is not None:  # not before the first of them was heard
                    planes += 1
                    true = any(abs(power - claimed) <= MOVED for power in powers)
                    assert true, f"sweep {report.sweep}: {powers} D instead of {claimed} D"
        truth = depth_from_message(self.truths[-1])
        first = depth_metrics(depth_from_message(self.depths[0]), truth)["abs_rel"]
        assert first < 0.3  # of cameras as small as these
        for image in self.depths:
            depth = depth_from_message(image)
            top, left = ((whole - part) // 2 for whole, part in zip(truth.shape, depth.shape, strict=True))
            seen = truth[top : top + depth.shape[0], left : left + depth.shape[1]]
            if np.isfinite(depth).any():
                error = depth_metrics(depth, seen)["abs_rel"]
                assert error < FACTOR * first, f"{error:.3f}, at first {first:.3f}, of {self.report_of(image)}"
        self.wait_until(lambda: is_unbroken(self.reports), "one report of each sweep")
        return len(self.depths), planes


def tell(row, seconds):
    print(f"RECOVERY {row}: {seconds:.2f} s")


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    with simulated_rig(tmp_path_factory.mktemp("rig"), WIDTH, HEIGHT, FX) as link:
        yield link


@pytest.fixture(scope="module")
def estimator(tmp_path_factory):
    """Install an estimator of another package; give what shows it to a node, and the file it takes orders from."""
    folder = tmp_path_factory.mktemp("estimator")
    info = folder / "faulty_estimator-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty-estimator\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fossa_ros.estimators]\nfaulty = faulty_estimator:Faulty\n")
    (folder / "faulty_estimator.py").write_text(PLUGIN)
    does = folder / "does"
    does.write_text("nothing wrong")
    return {"PYTHONPATH": str(folder), "FAULTY_DOES": str(does)}, does


@pytest.fixture(scope="module")
def watch(rig, estimator, tmp_path_factory):
    """A node that has given depth, and what is heard of it."""
    watch = Watch()
    watch.log = log = tmp_path_factory.mktemp("node") / "node.log"
    environ, watch.estimator_does = estimator
    parameters = {"estimator": "faulty", "lens__port": rig, "diagnostics__silence_warn": 0.8}
    with process("fossa_node", log, environ=environ, **parameters):
        watch.wait_accepted(2)
        yield watch
        depths, planes = watch.judge()
        assert depths >= 3 and planes >= 10
    watch.close()


@pytest.fixture
def log_of(watch):
    """Give what the node has logged since the test began; ``throttled`` adds messages that it will not repeat yet."""
    earlier = watch.log.read_text()
    since = time.time() - REPEAT_S
    recent = [line for line in earlier.splitlines() if (stamp := STAMP.search(line)) and float(stamp[1]) > since]

    def log(throttled: bool = False) -> str:
        return "\n".join([*recent * throttled, watch.log.read_text()[len(earlier) :]])

    return log


def inject(watch, fault):
    assert watch.set("sim_rig_node", "fault", fault).successful


@pytest.mark.parametrize(
    ("fault", "words", "status"),
    [
        ("camera_stopped", "sweep.frame_timeout", "diagnostics.silence_warn"),
        ("unknown_encoding", "no_such_encoding", "diagnostics.silence_warn"),
        ("zero_camera_info", "uncalibrated", "diagnostics.silence_warn"),
        ("other_camera_info", "holds the calibration of 320x240", "diagnostics.silence_warn"),
        ("no_camera_info", "none arrived", "nothing on /camera_info"),
        ("past_stamps", "clock", "diagnostics.silence_warn"),
    ],
)
def test_a_camera_that_cannot_be_used_is_named_and_depth_returns_by_itself(watch, log_of, fault, words, status):
    seen = len(watch.reports)
    inject(watch, fault)
    watch.wait_reason(words, seen)
    watch.wait_status(DiagnosticStatus.WARN, status)
    stopped = time.time_ns()
    watch.wait_until(lambda: time.time_ns() > stopped + 10**9, "a second")
    late = [r for r in watch.reports[seen:] if r.accepted and min(map(nanoseconds, r.stamps)) > stopped]
    assert not late, "a sweep was accepted meanwhile"
    assert words in log_of(throttled=True) or status in log_of()
    inject(watch, "none")
    tell(fault, watch.wait_accepted())
    watch.wait_until(lambda: watch.status().level == DiagnosticStatus.OK, "status OK")


@pytest.mark.parametrize("fault", ["half_rate", "other_size", "other_encoding"])
def test_a_camera_that_changes_goes_on_with_what_it_is_now(watch, fault):
    inject(watch, fault)
    tell(f"{fault} begins", watch.wait_accepted(2))
    if fault == "other_size":
        watch.wait_until(lambda: watch.depths[-1].width == WIDTH * 3 // 4, "the other size")
    inject(watch, "none")
    tell(f"{fault} ends", watch.wait_accepted())
    watch.judge()


def test_pixels_of_16_bits_have_the_range_that_the_camera_uses_and_it_grows_with_a_warning(watch, log_of):
    for fault, said in (
        ("ten_bits", "mono16: values fit 10 bits, which become the range"),
        ("twelve_bits", "mono16: values need 12 bits, not 10 as before"),
    ):
        inject(watch, fault)
        tell(f"{fault} begins", watch.wait_accepted(2))
        assert said in log_of()
    inject(watch, "none")
    tell("twelve_bits ends", watch.wait_accepted())
    watch.judge()


@pytest.mark.parametrize(
    ("fault", "words"), [("lens_silent", "should answer"), ("lens_elsewhere", "holds"), ("unplugged", "Port ")]
)
def test_a_lens_that_fails_is_an_error_and_depth_returns_by_itself(watch, log_of, fault, words):
    def plug(there):
        if fault == "unplugged":
            assert watch.call(SetBool, "plug_lens", SetBool.Request(data=there)).success
        else:
            inject(watch, "none" if there else fault)

    plug(False)
    watch.wait_status(DiagnosticStatus.ERROR, "lens lost: ")
    assert words in watch.status().message
    watch.wait_until(lambda: "The lens is lost: " in log_of(), "a sentence in the log")
    plug(True)
    tell(fault, watch.wait_accepted())
    watch.wait_until(lambda: watch.status().level != DiagnosticStatus.ERROR, "no error")


@pytest.mark.parametrize(
    ("fault", "words"), [("lens_stuck", "The lens does not move"), ("frames_repeat", "are the same frame")]
)
def test_a_lens_or_a_camera_that_only_seems_to_work_is_an_error_and_depth_returns(watch, log_of, fault, words):
    def between_sweeps(fault):  # small images do not tell a lens that stops at the last plane but one
        assert watch.call(SetBool, "set_enabled", SetBool.Request(data=False)).success
        watch.wait_parked()  # the sweep under way goes on, under load for seconds
        seen = len(watch.reports)
        inject(watch, fault)
        assert watch.call(SetBool, "set_enabled", SetBool.Request(data=True)).success
        return seen

    seen = between_sweeps(fault)
    watch.wait_reason(words, seen)
    watch.wait_status(DiagnosticStatus.ERROR, "sweeps in a row: inconsistent: ")
    assert not any(one.accepted for one in watch.reports[-3:]) and words in log_of(throttled=True)
    between_sweeps("none")
    tell(fault, watch.wait_accepted())
    watch.wait_until(lambda: watch.status().level != DiagnosticStatus.ERROR, "no error")
    watch.judge()


def test_a_slow_lens_makes_slow_sweeps(watch):
    inject(watch, "lens_slow")
    watch.wait_accepted(2)
    slow = [report for report in watch.reports if report.accepted][-1]
    assert slow.sweep_ms > 5 * (100 + 18)  # a tenth of a second for each acknowledgement, and settling
    inject(watch, "none")
    tell("lens_slow", watch.wait_accepted())


def test_a_hot_lens_is_an_error_by_a_threshold_that_can_be_changed_and_depth_goes_on(watch):
    inject(watch, "lens_hot")
    watch.wait_status(DiagnosticStatus.ERROR, "diagnostics.temperature_error (70 degC)")
    assert watch.set("fossa_node", "diagnostics.temperature_error", 0.0).successful
    watch.wait_status(DiagnosticStatus.WARN, "diagnostics.temperature_warn (60 degC)")
    assert "temperature outside the" in watch.status().message  # the driver's words
    watch.wait_accepted()
    assert watch.set("fossa_node", "diagnostics.temperature_error", 70.0).successful
    inject(watch, "none")
    watch.wait_until(lambda: watch.status().level == DiagnosticStatus.OK, "status OK")


def test_parameters_that_change_200_times_during_sweeps_spoil_none(watch):
    seen = len(watch.reports)
    for index in range(100):
        assert watch.set("fossa_node", "diagnostics.depth_rate_warn", 0.001 * (index % 7)).successful
        refused = watch.set("fossa_node", "sweep.settling", 0.1 + 0.001 * index)
        assert not refused.successful and "sweep.settling is applied at configure" in refused.reason
    assert watch.set("fossa_node", "diagnostics.depth_rate_warn", 0.0).successful
    watch.wait_accepted()
    assert all(len(report.focus_distances) == 5 for report in watch.reports[seen:] if report.accepted)
    watch.judge()


def test_a_subscriber_that_never_reads_delays_nothing(watch):
    code = (
        "import rclpy, sys\nfrom sensor_msgs.msg import Image, PointCloud2\n"
        "rclpy.init()\nnode = rclpy.create_node('deaf')\n"
        "kept = [node.create_subscription(kind, topic, print, 10) for kind, topic in\n"
        "        ((Image, 'depth/image'), (PointCloud2, 'points'), (Image, 'all_in_focus/image'))]\n"
        "print('ready', flush=True)\nimport time\ntime.sleep(600)\n"
    )
    environ = environment.child_environment()
    deaf = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environ)
    try:
        assert deaf.stdout.readline() == b"ready\n"
        matched = lambda: watch.node.count_subscribers("points") == 1  # noqa: E731
        watch.wait_until(matched, "the deaf one")
        began = time.monotonic()
        watch.wait_accepted(8)
        print(f"READING {8 / (time.monotonic() - began):.2f} sweeps a second")
        deaf.send_signal(signal.SIGSTOP)  # not even its middleware answers now
        began = time.monotonic()
        watch.wait_accepted(8)
        print(f"DEAF {8 / (time.monotonic() - began):.2f} sweeps a second")
    finally:
        deaf.kill()
        deaf.wait()
    watch.wait_accepted()


def test_a_second_node_is_refused_the_lens_and_spoils_no_sweep_of_the_first(watch, rig, tmp_path):
    with process("fossa_node", tmp_path / "second.log", namespace="second", autostart=False, lens__port=rig):
        assert not watch.change("/second/fossa_node", Transition.TRANSITION_CONFIGURE)
        assert watch.state("/second/fossa_node") == State.PRIMARY_STATE_UNCONFIGURED
    words = (tmp_path / "second.log").read_text()
    assert "is in use by another program" in words and "Traceback" not in words
    assert watch.status().level != DiagnosticStatus.ERROR
    watch.wait_accepted()


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("raise", "IndexError: nothing there"),
        ("out of memory", "choose a smaller model or precision, set device to cpu"),
        ("negative", "Estimator faulty returned"),
    ],
)
def test_an_estimator_that_fails_fails_its_sweeps_alone(watch, log_of, what, words):
    seen = len(watch.reports)
    watch.estimator_does.write_text(what)
    watch.wait_reason(words, seen)
    watch.wait_status(DiagnosticStatus.WARN, words)
    assert words in log_of() and log_of().count("Traceback") == (what == "raise")  # which nobody expected
    watch.estimator_does.write_text("nothing wrong")
    tell(f"estimator: {what}", watch.wait_accepted())
    watch.wait_until(lambda: watch.status().level == DiagnosticStatus.OK, "status OK")


def test_an_estimator_that_knows_no_depth_is_a_warning_and_nan(watch):
    watch.estimator_does.write_text("nan")
    watch.wait_status(DiagnosticStatus.WARN, "faulty found no depth")
    watch.wait_until(lambda: np.isnan(depth_from_message(watch.depths[-1])).all(), "a depth of nothing")
    watch.estimator_does.write_text("nothing wrong")
    tell("estimator: nan", watch.wait_accepted())
    watch.wait_until(lambda: watch.status().level == DiagnosticStatus.OK, "status OK")


class BagTime:
    """A clock that is played back: it runs, and can be set."""

    def __init__(self, watch):
        self.offset = -1000 * 10**9
        self._publisher = watch.node.create_publisher(Clock, "/clock", 10)
        watch.node.create_timer(0.002, self._tell)

    def now(self):
        return time.time_ns() + self.offset

    def _tell(self):
        now = self.now()
        self._publisher.publish(Clock(clock=Time(sec=now // 10**9, nanosec=now % 10**9)))


def test_a_clock_that_is_played_back_and_jumps_spoils_no_depth(tmp_path):
    watch = Watch("/bag")
    clock = BagTime(watch)
    slow, played = {"camera__rate": 10.0}, {"namespace": "bag", "use_sim_time": "true"}
    with (
        simulated_rig(tmp_path, 96, 72, 90.0, **slow, **played) as link,
        process("fossa_node", tmp_path / "node.log", lens__port=link, sweep__clock_margin=0.03, **ALL_DEPTH, **played),
    ):
        watch.wait_accepted(2)
        for jump in (-30.0, 20.0):
            seen = len(watch.reports)
            clock.offset += round(jump * 1e9)
            watch.wait_until(
                lambda seen=seen: (
                    len(watch.reports) > seen + 5 or not all(one.accepted for one in watch.reports[seen:])
                ),
                "a disturbed sweep, or five that are not, as after a jump between two sweeps",
            )
            print([one.reason for one in watch.reports[seen:]])
            tell(f"clock jumps by {jump:g} s", watch.wait_accepted())
        watch.judge()
    assert "Traceback" not in (tmp_path / "node.log").read_text()
    watch.close()
