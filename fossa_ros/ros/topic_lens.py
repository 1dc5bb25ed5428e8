"""Any focus lens whose set-point is a ROS topic, with or without feedback."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from rclpy.exceptions import InvalidTopicNameException

from fossa_ros.core.errors import InputError, LensError
from fossa_ros.lens.command_lens import CommandLens, LensReading
from fossa_ros.lens.lens import SettlingModel
from fossa_ros.messages.topics import Profile, Topic
from fossa_ros.ros.endpoints import create_publisher, create_subscription
from fossa_ros.ros.isolated_node import IsolatedNode
from fossa_ros.ros.lens_claim import claim_lens
from fossa_ros.ros.ros_parameter_lens import checked_optics, checked_range

DISCOVERY_S = 5.0  # time to discover a node that has just started
POLL_S = 0.05
KINDS = {"float32": "Float32", "float64": "Float64", "int32": "Int32"}


class TopicLens(CommandLens):
    """Publish the set-point of a lens, and, where there is feedback, wait for it.

    With feedback a move is acknowledged by the first message that arrives after the command and reports the position
    within ``tolerance``. Without, nothing says whether the lens moves: it is acknowledged at once, if a node subscribes
    to the set-point, and ``settling`` must cover the whole move.
    """

    backend = "topic"

    def __init__(
        self,
        port: str,
        *,
        clock: Callable[[], int] = time.time_ns,
        type: str = "float64",
        least: float | None = None,
        greatest: float | None = None,
        step: float | None = None,
        unit: str = "steps",
        power_offset: float = 0.0,
        feedback: str = "",
        tolerance: float | None = None,
        settling: float = 0.3,
        settling_per_step: float = 0.0,
        timeout: float = 2.0,
    ):
        """Wait for the driver of the lens; the lens does not move until the first command.

        Args:
            port: topic of the set-point, for example ``/lens/set_point``.
            clock: returns nanoseconds of the clock that stamps images.
            type: of both topics: float32, float64 or int32 (std_msgs).
            least: of the set-point.
            greatest: likewise.
            step: smallest difference that the lens resolves; by default 1 for int32, otherwise 0.01.
            unit: D if the set-point is a power in dioptres, which makes the lens metric without a calibration.
            power_offset: dioptres of the fixed optics, with unit D.
            feedback: topic on which the driver reports the position all the time; empty for none.
            tolerance: largest difference between set-point and feedback; by default half a step.
            settling: seconds from the acknowledged command until the lens stands still.
            settling_per_step: additional seconds for each unit of a move.
            timeout: seconds within which feedback must agree.

        Raises:
            InputError: an option cannot be used.
            LensError: no node subscribes to the set-point, or another program drives the lens.
        """
        if type not in KINDS:
            raise InputError(f"type must be one of {', '.join(KINDS)}, not {type!r}.")
        if least is None or greatest is None:
            raise InputError("Give the range of the set-point: the options least and greatest.")
        if not 0 < timeout < math.inf:
            raise InputError(f"timeout must be a positive number of seconds, not {timeout}.")
        self._whole = type == "int32"
        step = (1.0 if self._whole else 0.01) if step is None else step
        span = checked_range("set-point", unit, least, greatest, step)
        self.tolerance = step / 2 if tolerance is None else tolerance
        super().__init__(clock, checked_optics(unit, power_offset))
        settles = SettlingModel(settling, settling_per_step)
        self._timeout = timeout
        self._reported = threading.Condition()
        self._reports = 0
        self._position = math.nan
        self._target = math.nan
        kind = f"std_msgs/msg/{KINDS[type]}"
        self._topic = "/" + port.lstrip("/")
        self._feedback = "/" + feedback.lstrip("/") if feedback else ""
        self._own = IsolatedNode("fossa_lens")
        try:
            self._claim = claim_lens(self._topic, self._own.context.get_domain_id())
        except LensError:
            self._own.close()
            raise
        try:
            # Latched, so that a driver that starts again goes where the lens should be.
            self._publisher = create_publisher(self._own.node, Topic(self._topic, kind, Profile.LATCHED))
            if self._feedback:
                reports = Topic(self._feedback, kind, Profile.SENSOR)
                create_subscription(self._own.node, reports, self._on_feedback)
            self._own.start()
            self._await_driver()
            self._set_capabilities(f"ROS topic {self._topic}", span, settles)
        except InvalidTopicNameException as error:
            self._free()
            raise InputError(f"port and feedback must be names of topics: {' '.join(str(error).split())}.") from error
        except BaseException:
            self._free()
            raise

    def _command(self, value: float) -> float:
        span = self.capabilities.command
        target = min(span.least + round((value - span.least) / span.step) * span.step, span.greatest)
        self._check_driver()
        with self._reported:
            seen = self._reports
        self._send(target)
        if self._feedback:
            with self._reported:
                if not self._reported.wait_for(lambda: self._reports > seen and self._agrees(target), self._timeout):
                    raise LensError(
                        self._silence(seen)
                        or f"{self._where} was set to {target:g} but reports "
                        f"{self._position:g}; check that nothing else sets it, or give a tolerance."
                    )
        return float(target)

    def _read(self) -> LensReading:
        self._check_driver()
        if not self._feedback:
            return LensReading(self._target)
        with self._reported:
            seen = self._reports
            fresh = self._reported.wait_for(lambda: self._reports > seen, self._timeout)
            if not fresh:
                raise LensError(self._silence(seen))
            return LensReading(self._position)

    def _rest(self) -> None:
        """Go to the least set-point."""
        self._check_driver()
        self._send(self.capabilities.command.least)

    def _free(self) -> None:
        self._own.close()
        self._claim.close()

    @property
    def _is_open(self) -> bool:
        return self._own.is_open

    @property
    def _where(self) -> str:
        return f"The lens of the topic {self._topic!r}"

    def _send(self, target: float) -> None:
        self._target = target
        kind = self._publisher.msg_type
        self._publisher.publish(kind(data=round(target) if self._whole else float(target)))

    def _agrees(self, target: float) -> bool:
        return abs(self._position - target) <= self.tolerance

    def _silence(self, seen: int) -> str:
        """Return that no feedback came; empty if some did."""
        if self._reports > seen:
            return ""
        return (
            f"{self._where} reported nothing on {self._feedback!r} within {self._timeout:g} s; check its driver, which "
            "must report all the time, or leave feedback empty."
        )

    def _await_driver(self) -> None:
        deadline = time.monotonic() + DISCOVERY_S
        while not self._publisher.get_subscription_count() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        self._check_driver()

    def _check_driver(self) -> None:
        if not self._publisher.get_subscription_count():
            raise LensError(
                f"No node subscribes to the set-point {self._topic!r} as {self._publisher.msg_type.__name__}; start "
                "the driver of the lens, or set port and type to its topic's."
            )

    def _on_feedback(self, message: Any) -> None:
        """Keep a reported position, on the node's thread."""
        with self._reported:
            self._position = float(message.data)
            self._reports += 1
            self._reported.notify_all()
