"""The action ``capture`` over real DDS: a real client, the node in a process of its own, a lens behind a terminal."""

from __future__ import annotations

import math
import time

import pytest
from action_msgs.msg import GoalStatus
from lifecycle_msgs.msg import Transition
from rclpy.action import ActionClient
from std_srvs.srv import SetBool, Trigger

from fossa_ros.action import Capture
from fossa_ros.core.errors import InputError
from fossa_ros.messages.fields import nanoseconds
from fossa_ros.msg import SweepReport
from fossa_ros.parameters.capture_config import SweepParameters
from fossa_ros.ros import qos
from node_processes import process, simulated_rig

DONE, CANCELLED, ABORTED = GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED
LATE = ("late", "No frame")  # what a sweep says on a busy machine


class Client:
    """The action's client on the node of a listener."""

    def __init__(self, listener):
        self._listener = listener
        self._client = ActionClient(listener.node, Capture, "capture")
        listener.wait_until(self._client.server_is_ready, "the action capture")
        listener.wait_until_discovered("/capture/_action/send_goal")

    def send(self, **goal):
        """Send a goal; return its handle, the future of its result, and the list that its feedback goes to."""
        feedback = []
        sent = self._client.send_goal_async(Capture.Goal(**goal), lambda message: feedback.append(message.feedback))
        self._listener.wait_until(sent.done, "the answer to a goal")
        assert sent.result().accepted
        return sent.result(), sent.result().get_result_async(), feedback

    def result(self, future):
        self._listener.wait_until(future.done, "the result of a goal")
        return future.result().status, future.result().result

    def take(self, **goal):
        """Return status, result and feedback of a goal, sent again where frames were late."""
        for _ in range(10):
            _, future, feedback = self.send(**goal)
            status, result = self.result(future)
            if status != ABORTED or not any(word in result.message for word in LATE):
                break
        return status, result, feedback

    def cancel(self, handle):
        answer = handle.cancel_goal_async()
        self._listener.wait_until(answer.done, "the answer to a cancellation")
        return len(answer.result().goals_canceling)


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    with simulated_rig(tmp_path_factory.mktemp("rig"), 160, 120, 150.0) as link:
        yield link


@pytest.mark.real_time
def test_a_goal_takes_its_own_planes_between_sweeps_and_at_rest(rig, listener, tmp_path):
    reports = []
    listener.node.create_subscription(SweepReport, "sweep", reports.append, qos.REPORTS)
    with process("fossa_node", tmp_path / "node.log", lens__port=rig):
        client = Client(listener)
        listener.wait_until(lambda: any(report.accepted for report in reports), "depth")
        for rest in (False, True):
            if rest:
                assert listener.call(SetBool, "set_enabled", SetBool.Request(data=False)).success
            status, result, feedback = client.take(planes=4, near=0.5, far=2.0)
            assert status == DONE, result.message
            report = result.report
            assert result.message == f"Depth of sweep {report.sweep} is published."
            assert sorted(report.focus_distances) == pytest.approx([0.5, 2 / 3, 1.0, 2.0], rel=0.01)
            assert result.verdict == report.verdict in ("still", "repaired") and report.accepted
            assert result.stamp == report.header.stamp in report.stamps
            assert [(one.plane, one.planes) for one in feedback] == [(count, 4) for count in (1, 2, 3, 4)]
            assert [one.focus_distance for one in feedback] == list(report.focus_distances)
            assert [one.stamp for one in feedback] == list(report.stamps)
            listener.wait_until(lambda sweep=report.sweep: any(r.sweep == sweep for r in reports), "the same report")
        # NaN and 0 stand for the parameters, whose sweep it then is.
        status, result, feedback = client.take(near=math.nan, far=math.nan)
        assert status == DONE and len(result.report.focus_distances) == len(feedback) == 5
        assert listener.call(Trigger, "capture", Trigger.Request()).message  # the service stays beside it
        assert listener.call(SetBool, "set_enabled", SetBool.Request(data=True)).success
        after = max(report.sweep for report in reports)
        listener.wait_until(lambda: any(r.accepted and r.sweep > after for r in reports), "continuous sweeps again")
    own = [report for report in reports if len(report.focus_distances) == 4]
    assert len({nanoseconds(report.header.stamp) for report in reports if report.accepted}) > len(own) >= 2


@pytest.mark.real_time
def test_refusal_preemption_and_cancellation_are_answered_in_a_sentence(rig, listener, tmp_path):
    reports = []
    listener.node.create_subscription(SweepReport, "sweep", reports.append, qos.REPORTS)
    # The lens rests 3 s at each plane, so that a sweep stays under way.
    slow = {"sweep__settling": 3.0, "sweep__frame_timeout": 5.0}
    with process("fossa_node", tmp_path / "node.log", autostart=False, lens__port=rig, **slow):
        client = Client(listener)
        status, result, _ = client.take()
        assert (status, result.message) == (ABORTED, "The node is not active; activate it first.")
        assert listener.change("fossa_node", Transition.TRANSITION_CONFIGURE)
        assert listener.call(SetBool, "set_enabled", SetBool.Request(data=False)).success
        assert listener.change("fossa_node", Transition.TRANSITION_ACTIVATE)
        for goal, sentence in (
            ({"near": 0.02}, "reaches beyond the lens"),
            ({"near": 2.0, "far": 1.0}, "swap or widen"),
            ({"planes": 100}, "planes must be within 2 .. 64, not 100; correct the goal."),
        ):
            status, result, feedback = client.take(**goal)
            assert status == ABORTED and sentence in result.message and not feedback
            assert not result.verdict and not nanoseconds(result.stamp)
        first, future, feedback = client.send(planes=3)
        listener.wait_until(lambda: feedback, "the first plane")
        status, result, _ = client.take(planes=2)
        assert status == ABORTED and "A sweep for another goal is under way" in result.message
        assert client.cancel(first) == 1
        status, result = client.result(future)
        assert (status, result.message) == (CANCELLED, "The goal was cancelled.")
        assert result.verdict == "incomplete" and result.report.reason == result.message
        # Of a goal that has not begun: while the sweep of a call of the service is under way, goals wait.
        call = listener.client(Trigger, "capture").call_async(Trigger.Request())
        time.sleep(0.5)
        _, replaced, _ = client.send(planes=3)
        second, withdrawn, _ = client.send(planes=2)
        status, result = client.result(replaced)
        assert (status, result.message) == (ABORTED, "A newer goal replaced it before its sweep began.")
        assert client.cancel(second) == 1
        assert client.result(withdrawn)[0] == CANCELLED
        _, lost, _ = client.send(planes=2)
        assert listener.change("fossa_node", Transition.TRANSITION_DEACTIVATE)
        status, result = client.result(lost)
        assert (status, result.message) == (ABORTED, "The node was deactivated.")
        listener.wait_until(call.done, "the answer of the service")
    assert [report.reason for report in reports] == ["The goal was cancelled."]


@pytest.mark.parametrize(
    ("goal", "planes"),
    [
        ((0, 0.0, math.nan), None),
        ((3, 0.0, 0.0), [0.35, 0.661, 6.0]),
        ((0, 1.0, 0.0), [1.0, 6.0]),
        ((2, 0.0, math.inf), [0.35, math.inf]),
    ],
)
def test_what_a_goal_leaves_open_is_as_the_parameters_say(goal, planes):
    plan = SweepParameters().plan_of(*goal)
    assert (plan is None) == (planes is None)
    if planes:
        assert plan.focus_distances[:: len(plan.focus_distances) - 1 if len(planes) == 2 else 1] == pytest.approx(
            planes, rel=1e-3
        )
    one_by_one = SweepParameters(focus_distances=(0.5, 1.0, 3.0)).plan_of(0, 0.25, 0.0)
    assert one_by_one.focus_distances == pytest.approx([0.25, 0.4615, 3.0], rel=1e-3)


def test_a_goal_out_of_range_is_refused():
    for goal in ((1, 0.0, 0.0), (0, -1.0, 0.0), (0, 0.001, 0.0), (0, math.inf, 0.0)):
        with pytest.raises(InputError):
            SweepParameters().plan_of(*goal)
