"""What /diagnostics says of a run: figures, levels, and sentences that name the parameter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from fossa_ros.core.stack import DepthMap
from fossa_ros.lens import LensState
from fossa_ros.parameters.config import parameters_of
from fossa_ros.parameters.thresholds import Thresholds
from fossa_ros.pipeline.result import SweepResult, Verdict
from fossa_ros.ros import diagnostics
from fossa_ros.ros.diagnostics import Health, Part
from fossa_ros.ros.log_throttle import LogThrottle, Reminder
from fossa_ros.sweep import CapturedSweep
from fossa_ros.sweep.clock_offset import ClockOffset

WARM = LensState(0, 0.5, 2.0, 61.0, ())


@pytest.fixture
def now(monkeypatch):
    """A clock that the test sets."""
    seconds = [1000.0]
    monkeypatch.setattr(diagnostics.time, "monotonic", lambda: seconds[0])
    return seconds


def result(verdict="still", reason="", known=1.0, inference_ms=40.0):
    sweep = CapturedSweep(0, None, "", (), (), (), {}, 0, 330_000_000)
    if verdict not in ("still", "repaired"):
        return SweepResult(sweep, verdict, reason)
    confidence = np.full((4, 5), float(known > 0), np.float32)
    depth = DepthMap(np.where(confidence > 0, np.float32(1), np.nan), confidence, np.zeros((4, 5, 3), np.uint8))
    return SweepResult(sweep, verdict, depth=depth, inference_ms=inference_ms, age_ms=300.0)


def statuses(health, active=True, **thresholds):
    found = health.statuses("/node", tuple(Part), Thresholds(**thresholds), active=active)
    assert [one.name for one in found] == ["/node: camera", "/node: lens", "/node: sweep", "/node: depth"]
    return dict(zip(Part, found, strict=True))


def status(health, part, **thresholds):
    one = statuses(health, **thresholds)[part]
    return one.level, one.message, {value.key: value.value for value in one.values}


def test_figures_of_a_run_are_the_counted_ones(now):
    health = Health("a lens", "classical")
    for index in range(20):  # one sweep in half a second, every fourth rejected
        now[0] += 0.5
        health.on_result(result("rejected", "12 px of motion") if index % 4 == 3 else result())
    health.lens, health.camera_period_ns = replace(WARM, temperature=31.5), 33_333_333
    level, message, figures = status(health, Part.DEPTH)
    assert (level, message) == (DiagnosticStatus.OK, "1.5 depth maps a second")
    assert figures["depth rate [Hz]"] == "1.50" and figures["inference [ms]"] == "40.0"
    assert figures["pixels with depth"] == "1.000" and figures["estimator"] == "classical"
    level, message, figures = status(health, Part.SWEEP)
    assert (level, message) == (DiagnosticStatus.OK, "2.0 sweeps/s")
    assert figures["sweeps accepted"] == "15" and figures["sweeps not accepted"] == "5"
    assert figures["sweep rate [Hz]"] == "2.00" and figures["sweep [ms]"] == "330.0"
    assert figures["acceptance"] == "0.750" and figures["last reason"] == "rejected: 12 px of motion"
    level, message, figures = status(health, Part.LENS)
    assert (level, message) == (DiagnosticStatus.OK, "answers") and figures["lens temperature [C]"] == "31.5"
    level, message, figures = status(health, Part.CAMERA)
    assert (level, message) == (DiagnosticStatus.OK, "30.0 images/s") and figures["camera rate [Hz]"] == "30.00"


def test_an_aggregator_can_tell_the_parts_by_their_hardware(now):
    found = statuses(Health("optotune_ld4 7F3A", "classical", "camera_optical_frame"))
    assert {part: one.hardware_id for part, one in found.items()} == {
        Part.CAMERA: "camera_optical_frame",
        Part.LENS: "optotune_ld4 7F3A",
        Part.SWEEP: "",
        Part.DEPTH: "",
    }


@pytest.mark.parametrize(
    ("part", "disturb", "words"),
    [
        (Part.DEPTH, lambda health: health.on_result(result(inference_ms=500.0)), "inference"),
        (Part.LENS, lambda health: health.on_lens_state(WARM), "temperature"),
        (
            Part.CAMERA,
            lambda health: setattr(health, "clock_offset", ClockOffset(8_000_000, 1, 20, True)),
            "clock_offset",
        ),
        (Part.DEPTH, lambda health: setattr(health, "gpu_memory", (95, 100)), "gpu_memory"),
        (Part.SWEEP, lambda health: [health.on_result(result("rejected", "moved")) for _ in range(9)], "acceptance"),
    ],
)
def test_each_threshold_warns_and_errs_by_its_name_and_zero_means_never(now, part, disturb, words):
    health = Health("a lens", "classical")
    now[0] += 1.0
    health.on_result(result())
    assert status(health, part)[0] == DiagnosticStatus.OK
    disturb(health)
    least = words == "acceptance"
    values = {f"{words}_warn": 1.0 if least else 1e-9, f"{words}_error": 0.0}
    level, message, _ = status(health, part, **values)
    assert level == DiagnosticStatus.WARN and f"diagnostics.{words}_warn" in message
    level, message, _ = status(health, part, **{**values, f"{words}_error": 0.5 if least else 2e-9})
    assert level == DiagnosticStatus.ERROR and f"diagnostics.{words}_error" in message
    level, message, _ = status(health, part, **{f"{words}_warn": 0.0, f"{words}_error": 0.0})
    assert level == DiagnosticStatus.OK
    others = {one: found.level for one, found in statuses(health, **values).items() if one is not part}
    assert set(others.values()) == {DiagnosticStatus.OK}


@pytest.mark.parametrize(("uncertainty_ms", "level"), [(1, DiagnosticStatus.WARN), (4, DiagnosticStatus.OK)])
def test_a_clock_offset_that_may_be_smaller_than_it_seems_is_no_fault(now, uncertainty_ms, level):
    """8 ms against a threshold of 5 ms."""
    health = Health("a lens", "classical")
    health.clock_offset = ClockOffset(-8_000_000, uncertainty_ms * 1_000_000, 12, True)
    assert status(health, Part.CAMERA)[0] == level


def test_silence_is_a_warning_then_an_error_with_the_last_reason_but_not_at_rest(now):
    health = Health("a lens", "classical")
    health.on_result(result(Verdict.INCOMPLETE, "no frame"))
    now[0] += 4.0
    level, message, _ = status(health, Part.DEPTH)
    assert level == DiagnosticStatus.WARN and "diagnostics.silence_warn (3 s)" in message
    assert "last reason: incomplete: no frame" in message
    now[0] += 7.0
    assert status(health, Part.DEPTH)[0] == DiagnosticStatus.ERROR
    assert {(one.level, one.message) for one in statuses(health, active=False).values()} == {
        (DiagnosticStatus.OK, "inactive")
    }
    health.resting = True
    assert status(health, Part.DEPTH)[:2] == (DiagnosticStatus.OK, "at rest")
    health.resting = False
    health.on_activated()
    assert status(health, Part.DEPTH)[0] == DiagnosticStatus.OK


def test_superseded_sweeps_are_no_lack_of_acceptance(now):
    health = Health("a lens", "fossa")
    for _ in range(5):
        now[0] += 0.4
        health.on_result(result(Verdict.SUPERSEDED, "newer"))
    health.on_result(result())
    level, _, figures = status(health, Part.SWEEP)
    assert level == DiagnosticStatus.OK and figures["acceptance"] == "1.000" and figures["sweeps not accepted"] == "5"


def test_a_lost_lens_a_faulty_one_and_a_depth_of_nothing_are_said(now):
    health = Health("a lens", "classical")
    now[0] += 1.0
    health.on_result(result(known=0.0))
    level, message, figures = status(health, Part.DEPTH)
    assert level == DiagnosticStatus.WARN and "no depth in the last sweep" in message
    assert figures["pixels with depth"] == "0.000"
    health.on_result(result())
    health.on_lens_state(replace(WARM, temperature=30.0, faults=("no lens",)))
    assert status(health, Part.LENS)[:2] == (DiagnosticStatus.WARN, "no lens")
    health.on_lens_state(None, "Port '/dev/x' is gone.")
    assert status(health, Part.LENS)[:2] == (DiagnosticStatus.ERROR, "lens lost: Port '/dev/x' is gone.")
    health.camera_fault = DiagnosticStatus.WARN, "images arrive but no camera_info"
    health.on_lens_state(replace(WARM, temperature=30.0))
    assert status(health, Part.LENS)[:2] == (DiagnosticStatus.OK, "answers")
    assert status(health, Part.CAMERA)[:2] == (DiagnosticStatus.WARN, "images arrive but no camera_info")


def test_every_threshold_changes_while_running_and_is_never_by_zero():
    assert all(parameter.live and parameter.minimum == 0.0 for parameter in parameters_of(Thresholds))


def test_a_complaint_is_said_when_it_is_new_and_every_ten_seconds_with_a_count(now):
    throttle = LogThrottle()
    said = []
    for sweep in range(60):  # 20 s at 3 Hz
        said.append(throttle.apply(f"Sweep {sweep} incomplete: No frame for the plane at {sweep / 7:.2f} m."))
        now[0] += 1 / 3
    assert throttle.apply("Sweep 61 failed: IndexError.") == "Sweep 61 failed: IndexError."
    logged = [sentence for sentence in said if sentence]
    assert logged[0].endswith(" m.") and len(logged) == 2 and "(and 29 more like it" in logged[1]


def test_a_fault_that_lasts_is_logged_when_it_begins_or_changes_and_every_minute(now):
    reminder, logged = Reminder(), []
    for second in range(150):  # an attempt a second
        if reminder.due("No port." if second < 10 else "No lens at the port."):
            logged.append(second)
        now[0] += 1.0
    assert logged == [0, 10, 70, 130]
    assert not reminder.due("")
    assert reminder.due("No lens at the port.")


def test_a_fault_with_counts_is_not_logged_for_each_count_and_one_with_a_value_is(now):
    counted, valued = Reminder(counted=True), Reminder()
    assert [counted.due(f"only {count} of 30 images") for count in (2, 3, 1)] == [True, False, False]
    assert [valued.due(f"sweep.near, {near} m, is too near") for near in (0.02, 0.05)] == [True, True]
