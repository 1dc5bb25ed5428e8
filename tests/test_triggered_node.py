"""A triggered rig and the node over DDS: ``sweep.mode: counted``."""

from __future__ import annotations

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import TimeReference

from fossa_ros.messages.fields import nanoseconds
from fossa_ros.msg import FocusStack, LensState, SweepReport
from fossa_ros.ros import qos
from node_processes import process, simulated_rig

pytestmark = pytest.mark.real_time

RATE, EXPOSURE, PLANES = 15.0, 0.008, 4


def test_the_frames_of_a_triggered_rig_are_depth_and_a_camera_that_misses_triggers_is_refused(listener, tmp_path):
    triggered = {"camera__rate": RATE, "camera__exposure": EXPOSURE, "trigger__planes": PLANES}
    listener.subscribe(SweepReport, "sweep", qos.REPORTS)
    listener.subscribe(FocusStack, "focus_stack", qos.REPORTS)
    listener.subscribe(LensState, "truth/lens", qos.REPORTS)
    listener.subscribe(TimeReference, "lens/trigger", qos.SENSOR)
    listener.subscribe(DiagnosticArray, "/diagnostics")
    counter = {"sweep__exposure_topic": "metadata", "sweep__counter_key": "FrameNumber"}
    counted = {**counter, "sweep__mode": "counted", "sweep__planes": PLANES, "sweep__trigger_period": 1 / RATE}
    with (
        simulated_rig(tmp_path, 160, 120, 150.0, **triggered),
        process("fossa_node", tmp_path / "node.log", sweep__exposure=EXPOSURE, **counted),
    ):
        reports = listener.heard["sweep"]
        listener.wait_until(lambda: len([r for r in reports if r.accepted]) >= 3, "three depths")
        assert listener.set("sim_rig_node", "fault", "half_rate").successful
        before = len(reports)

        def refused():
            return [r.reason for r in reports[before:] if "no frame came for the planes at" in r.reason]

        listener.wait_until(refused, "a refused sweep")
        assert refused()[0].startswith("The count does not add up: no frame came for the planes at")
        lens = next(s for m in listener.heard["/diagnostics"] for s in m.status if s.name.endswith("fossa_node: lens"))
        assert lens.message == "driven by another node"
    complete = [report for report in reports if len(report.focus_distances) == PLANES]
    planes = 1 / np.linspace(1 / 0.35, 1 / 6.0, PLANES)
    triggers = {nanoseconds(message.header.stamp) for message in listener.heard["lens/trigger"]}
    truth = {nanoseconds(state.header.stamp): state.power for state in listener.heard["truth/lens"]}
    compared = 0
    for report in complete:
        assert list(report.focus_distances) == pytest.approx(planes)
        assert nanoseconds(report.stamps[0]) in triggers
        for stamp, distance in zip(report.stamps, report.focus_distances, strict=True):
            if (power := truth.get(nanoseconds(stamp))) is not None:
                assert power == pytest.approx(1 / distance, abs=0.06)
                compared += 1
    assert compared >= 2 * PLANES
