"""The action ``capture``: one sweep on demand, with a plan of its own and feedback for each plane."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from action_msgs.msg import GoalStatus
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import RCLError, ServerGoalHandle

from fossa_ros.action import Capture
from fossa_ros.core.errors import InputError
from fossa_ros.msg import SweepReport
from fossa_ros.parameters.capture_config import SweepParameters
from fossa_ros.ros.capture_requests import answer_to_caller
from fossa_ros.ros.conversions import time_message
from fossa_ros.ros.lifecycle import ManagedNode
from fossa_ros.sweep import SweepCapture
from fossa_ros.sweep.outcome import TakenPlane

INACTIVE = "The node is not active; activate it first."
REPLACED = "A newer goal replaced it before its sweep began."
CANCELLED = "The goal was cancelled."


@dataclass(frozen=True, eq=False)
class _Goal:
    handle: ServerGoalHandle
    sweep: int


class CaptureAction:
    """Serve the action; one goal at a time is carried out. Thread-safe.

    A goal whose sweep has not begun is replaced by a newer one; while its sweep or depth is under way, a newer one is
    refused. Every goal is accepted, also one that is refused: a rejection could not say why.

    An execution callback of rclpy that waits would keep the executor busy. Here a goal is executed, in the terms of
    rclpy, once its result is known.

    Args:
        node: the node.
    """

    def __init__(self, node: ManagedNode):
        self._lock = threading.RLock()  # a sweep that is refused at once answers within the call
        self._goal: _Goal | None = None
        self._capture: SweepCapture | None = None
        # As the services, it lives as long as the node.
        self._server = ActionServer(
            node,
            Capture,
            "capture",
            execute_callback=lambda handle: Capture.Result(),
            handle_accepted_callback=self._on_goal,
            cancel_callback=self._on_cancel,
        )

    def activate(self, capture: SweepCapture, sweep: Callable[[], SweepParameters]) -> None:
        """Carry out goals with a capture whose present parameters ``sweep`` returns."""
        with self._lock:
            self._capture, self._sweep = capture, sweep

    def deactivate(self) -> None:
        """Refuse goals from now on."""
        with self._lock:
            self._capture = None

    def on_report(self, report: SweepReport) -> None:
        """Answer the goal whose sweep this is."""
        with self._lock:
            goal = self._goal
            if goal is None or goal.sweep != report.sweep:
                return
            self._end()
        result = Capture.Result(message=answer_to_caller(report), verdict=report.verdict, report=report)
        if report.accepted:
            result.stamp = report.header.stamp
        _answer(goal.handle, result, succeeded=report.accepted)

    def fail(self, reason: str) -> None:
        """Answer the goal under way that there will be no depth."""
        with self._lock:
            goal = self._goal
            if goal is None:
                return
            self._end()
        _answer(goal.handle, Capture.Result(message=reason))

    def _end(self) -> None:
        """Forget the goal, and let other sweeps go on."""
        if self._goal is not None and self._capture is not None:
            self._capture.release(self._goal.sweep)
        self._goal = None

    def _on_goal(self, handle: ServerGoalHandle) -> None:
        """Begin to carry out a goal, on the executor's thread."""
        wanted, refusal, replaced = handle.request, "", None
        with self._lock:
            if self._capture is None:
                refusal = INACTIVE
            else:
                try:
                    sweep = self._sweep()
                    plan = sweep.plan_of(wanted.planes, wanted.near, wanted.far)
                    slots = (plan or sweep.plan).slots(0)
                    number = self._capture.request_own(plan, partial(_give_feedback, handle, len(slots)))
                    replaced, self._goal = self._goal, _Goal(handle, number)
                except InputError as error:
                    refusal = str(error)
        if refusal:
            _answer(handle, Capture.Result(message=refusal))
        if replaced is not None:
            _answer(replaced.handle, Capture.Result(message=REPLACED))

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        """Cancel a goal, on the executor's thread; a sweep under way ends, and its report is the answer."""
        with self._lock:
            goal = self._goal
            if goal is None or goal.handle.goal_id != handle.goal_id or self._capture is None:
                return CancelResponse.REJECT  # its result is on the way
            if self._capture.cancel_own(goal.sweep, CANCELLED):
                return CancelResponse.ACCEPT
            self._end()
        # In its present state it cannot be ended as cancelled; rclpy executes it once this has returned.
        _answer(handle, Capture.Result(message=CANCELLED))
        return CancelResponse.ACCEPT


def _give_feedback(handle: ServerGoalHandle, planes: int, count: int, plane: TakenPlane) -> None:
    """Publish that a plane has its frame, on the capture's thread."""
    stamp = time_message(plane.start_ns)
    handle.publish_feedback(
        Capture.Feedback(plane=count, planes=planes, focus_distance=plane.focus_distance, stamp=stamp)
    )


def _answer(handle: ServerGoalHandle, result: Capture.Result, *, succeeded: bool = False) -> None:
    """End a goal with its result, from any thread."""

    def execute(handle: ServerGoalHandle) -> Capture.Result:
        if handle.status == GoalStatus.STATUS_CANCELING:
            handle.canceled()
        elif succeeded:
            handle.succeed()
        else:
            handle.abort()
        return result

    try:
        handle.execute(execute)
    except RCLError:  # it was cancelled between rclpy's look at its state and the change of it
        handle.execute(execute)
