"""The services ``lens_info`` and ``reset``: the node in a process of its own, a lens behind a pseudo-terminal."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from std_srvs.srv import SetBool, Trigger

from fossa_ros.msg import SweepReport
from fossa_ros.ros import qos
from fossa_ros.srv import LensInfo
from node_processes import process, simulated_rig

pytestmark = pytest.mark.real_time


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    with simulated_rig(tmp_path_factory.mktemp("rig"), 160, 120, 150.0) as link:
        yield link


def test_what_is_known_of_the_lens_and_how_it_is_opened_again(rig, listener, tmp_path):
    def info():
        return listener.call(LensInfo, "lens_info", LensInfo.Request())

    def reset():
        return listener.call(Trigger, "reset", Trigger.Request())

    reports = []
    listener.node.create_subscription(SweepReport, "sweep", reports.append, qos.REPORTS)
    listener.subscribe(DiagnosticArray, "/diagnostics")
    with process("fossa_node", tmp_path / "node.log", autostart=False, lens__port=rig):
        for answer in (info(), reset()):
            assert (answer.success, answer.message) == (False, "The node is not configured; configure it first.")
        assert listener.change("fossa_node", Transition.TRANSITION_CONFIGURE)
        lens = info()
        assert lens.success and lens.connected and not lens.losses and not lens.failure
        assert (lens.backend, lens.port, lens.firmware) == ("optotune_ld4", str(rig), "F 1.8.4711.2")
        assert lens.message.startswith("Optotune Lens Driver 4, firmware F 1.8.4711.2, 293 mA, 0.")
        assert lens.nearest < 0.35 and lens.farthest > 6 and lens.least_power == 1 / lens.farthest
        assert (lens.command_quantity, lens.command_unit) == ("focal power", "D")
        assert lens.greatest_power == pytest.approx(1 / lens.nearest) and lens.settling == pytest.approx(0.018)
        assert lens.measures_temperature and not lens.measures_position and not lens.calibration
        assert math.isnan(lens.state.focus_distance)  # it was not moved yet
        opened = reset()
        assert opened.success and opened.message.endswith("293 mA was opened again.")

        assert listener.change("fossa_node", Transition.TRANSITION_ACTIVATE)
        listener.wait_until(lambda: any(report.accepted for report in reports), "depth")
        assert listener.call(SetBool, "plug_lens", SetBool.Request(data=False)).success
        listener.wait_until(lambda: not info().connected, "loss")
        lens = info()
        assert lens.success and lens.losses >= 1 and lens.failure.startswith("Port ") and not lens.state.reachable
        failed = reset()
        assert not failed.success and failed.message.startswith("Port ")
        assert listener.call(SetBool, "plug_lens", SetBool.Request(data=True)).success
        listener.wait_until(lambda: reset().success, "another lens")  # until the terminal is there again
        lens = info()
        assert lens.connected and lens.losses == 0 and not lens.failure
        before = len(reports)
        listener.wait_until(lambda: any(report.accepted for report in reports[before:]), "depth again")
        before = len(listener.heard["/diagnostics"])
        listener.wait_until(lambda: len(listener.heard["/diagnostics"]) > before + 2, "diagnostics")
        status = next(s for s in listener.heard["/diagnostics"][-1].status if s.name == "/fossa_node: lens")
        assert status.level == DiagnosticStatus.OK
    assert "Traceback" not in (tmp_path / "node.log").read_text()


def test_a_call_that_waits_for_a_sweep_is_answered_by_a_reset(rig, listener, tmp_path):
    with process("fossa_node", tmp_path / "node.log", lens__port=rig, sweep__settling=10.0):
        listener.wait_until(lambda: listener.state("fossa_node") == 3, "active")
        capture = listener.client(Trigger, "capture").call_async(Trigger.Request())
        for _ in range(5):  # requests of two services are not ordered: the first reset may overtake the call
            assert listener.call(Trigger, "reset", Trigger.Request()).success
            with suppress(AssertionError):
                listener.wait_until(capture.done, "the answer of capture", 2.0)
                break
        assert capture.done(), "capture was never answered"
        assert (capture.result().success, capture.result().message) == (False, "The lens was reset.")


def test_a_lens_of_another_node_is_not_ours_to_describe(listener, tmp_path):
    external = {"sweep__mode": "external", "autostart": False}
    with process("fossa_node", tmp_path / "node.log", **external):
        assert listener.change("fossa_node", Transition.TRANSITION_CONFIGURE)
        sentence = "Another node drives the lens (sweep.mode external or counted); see lens/state and lens/trigger."
        lens = listener.call(LensInfo, "lens_info", LensInfo.Request())
        assert (lens.success, lens.message) == (False, sentence)
        reset = listener.call(Trigger, "reset", Trigger.Request())
        assert (reset.success, reset.message) == (True, sentence)
