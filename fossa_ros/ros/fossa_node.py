"""Lens, sweep, motion check, depth and publishing in one process: the node to run on a robot."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import SetBool, Trigger

from fossa_ros.errors import InputError
from fossa_ros.lens import LensState
from fossa_ros.message_fields import lens_state, nanoseconds
from fossa_ros.motion import MotionCheck
from fossa_ros.msg import LensState as LensStateMessage
from fossa_ros.pipeline import DepthWorker, SweepResult, Verdict
from fossa_ros.ros import parameters, qos, settings
from fossa_ros.ros.conversions import lens_state_message
from fossa_ros.ros.diagnostics import Health
from fossa_ros.ros.images import rgb_from_message
from fossa_ros.ros.lifecycle import ManagedNode, run
from fossa_ros.ros.outputs import Outputs
from fossa_ros.ros.pairing import CameraSubscription
from fossa_ros.ros.thresholds import DIAGNOSTICS
from fossa_ros.sweep import ClockUse, Frame, SweepCapture, SweepMode

DIAGNOSTICS_PERIOD_S = 1.0


class FossaNode(ManagedNode):
    """Sweep the lens while active, and publish the depth of every sweep that passes the motion check.

    Three threads: the executor's, whose callbacks only enqueue; the capture's, which waits for lens and frames; the
    worker's, which checks, estimates and publishes.
    """

    def __init__(self, **kwargs):
        super().__init__("fossa_node", settings.FOSSA_NODE, **kwargs)
        self._capture: SweepCapture | None = None
        self._worker: DepthWorker | None = None
        self._outputs: Outputs | None = None
        self._camera: CameraSubscription | None = None
        self._lens_states = None  # the subscription, where somebody else drives the lens
        self._health: Health | None = None
        self._gpu_memory: Callable[[], tuple[int, int] | None] = lambda: None
        self._awaited: dict[int, Future] = {}
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.RESULTS)
        self._timer = self.create_timer(DIAGNOSTICS_PERIOD_S, self._tick)
        # Services live as long as the node: one that is destroyed with an answer outstanding ends the process.
        # While 'capture' awaits its sweep, its group is blocked; the frames of that sweep arrive in the node's own.
        answering = MutuallyExclusiveCallbackGroup()
        self.create_service(Trigger, "capture", self._on_capture, callback_group=answering)
        self.create_service(SetBool, "set_enabled", self._on_set_enabled)

    def configure(self, values: dict) -> None:
        plan = settings.sweep_plan(values)
        timing = settings.sweep_timing(values)
        config = settings.sweep_config(values)
        calibration = settings.lens_calibration(values)
        estimator = settings.estimator(values)
        self._capture = SweepCapture(
            plan,
            timing,
            settings.lens_opener(values, self._now_ns, calibration),
            decode=lambda payload: rgb_from_message(payload[0]),
            on_sweep=self._on_sweep,
            on_lens_state=self._on_lens_state,
            clock=self._now_ns,
            config=config,
            clock_use=ClockUse(values["sweep.clock_estimate"]),
            **settings.camera_optics(values),
        )
        self._external = config.mode is SweepMode.EXTERNAL
        identity = "a lens that somebody else drives"
        if not self._external:
            lens = self._capture.connect()
            self._lens_backend = lens.backend
            self._lens_measures = lens.capabilities.measures_position
            identity = lens.capabilities.identity
        self._health = Health(hardware_id=identity, estimator=estimator.name)
        self._gpu_memory = getattr(estimator, "gpu_memory", lambda: None)  # of no estimator that needs no GPU
        self._worker = DepthWorker(
            MotionCheck(settings.motion_config(values)),
            estimator,
            self._on_result,
            settings.preparation(calibration),
            clock=self._now_ns,
            max_age_ns=round(values["depth.max_age"] * settings.SECONDS),
        )
        self._outputs = Outputs(self, values["depth.encoding"])
        planes = ", ".join(f"{distance:.2f}" for distance in plan.focus_distances)
        self.get_logger().info(f"{identity}; planes at {planes} m; estimator {estimator.name}")

    def activate(self) -> None:
        self._worker.start()
        self._capture.start()
        self._camera = CameraSubscription(self, self._on_frame)
        self._health.began()
        self._rate_told = False
        if self._external:
            self._lens_states = self.create_subscription(
                LensStateMessage, "lens/state", self._on_external_lens, qos.RESULTS
            )

    def deactivate(self) -> None:
        if self._lens_states is not None:
            self.destroy_subscription(self._lens_states)
            self._lens_states = None
        if self._camera is not None:
            self._camera.close()
            self._camera = None
        if self._capture is not None:
            self._capture.stop()
        if self._worker is not None:
            self._worker.stop()
        self._answer_awaited(lambda number: True, False, "The node was deactivated.")

    def cleanup(self) -> None:
        if self._capture is not None:
            self._capture.close()
        if self._outputs is not None:
            self._outputs.close()
        self._capture = self._worker = self._outputs = self._health = None

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _on_frame(self, image: Image, info: CameraInfo) -> None:
        """Executor thread: hand the frame to the capture, pixels untouched."""
        self._capture.offer(
            Frame(
                stamp_ns=nanoseconds(image.header.stamp),
                arrival_ns=self._now_ns(),
                format=(image.width, image.height, image.encoding, image.header.frame_id),
                intrinsics=tuple(info.k),
                payload=(image, info),
            )
        )

    def _on_external_lens(self, message: LensStateMessage) -> None:
        """Executor thread: whoever drives the lens says where it is."""
        if message.reachable:
            self._capture.heard(lens_state(message), message.measured)

    def _on_sweep(self, sweep) -> None:
        """Capture thread: the sweep has ended."""
        self._worker.offer(sweep)

    def _on_result(self, result: SweepResult) -> None:
        """Worker thread: the sweep's depth is known, or why there is none."""
        self._outputs.publish(result)
        self._health.on_result(result)
        told = f"Sweep {result.sweep.number} {result.verdict}: {result.reason}"
        if result.verdict == Verdict.SUPERSEDED:  # the camera is faster than the estimator: nothing is wrong
            self.get_logger().debug(told)
        elif result.depth is None:
            self.get_logger().warning(told)
        self._answer_awaited(
            lambda number: number <= result.sweep.number,
            result.depth is not None,
            result.reason or f"Depth of sweep {result.sweep.number} is published.",
        )

    def _on_lens_state(self, state: LensState | None) -> None:
        """Capture thread: the lens said how it is, or stopped answering."""
        changed = self._health.on_lens_state(state, self._capture.lens_failure)
        message = lens_state_message(state, self._lens_backend, "", self._lens_measures, self._now_ns())
        self._outputs.lens_state.publish(message)
        if changed:
            self._tell_health()  # not only when the timer next does
        if state is None:
            lost = f"The lens is lost: {self._capture.lens_failure}"
            if changed:
                self.get_logger().error(f"{lost} Trying again until it returns.")
            self._answer_awaited(lambda number: True, False, lost)
        elif changed:
            self.get_logger().info("The lens is back")

    async def _on_capture(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._camera is None:
            response.message = "The node is not active; activate it first."
            return response
        outcome = Future(executor=self.executor)
        self._awaited[self._capture.request()] = outcome
        response.success, response.message = await outcome
        return response

    def _answer_awaited(self, wanted, success: bool, message: str) -> None:
        for number in [number for number in list(self._awaited) if wanted(number)]:
            outcome = self._awaited.pop(number, None)
            if outcome is not None:
                outcome.set_result((success, message))

    def _on_set_enabled(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if self._capture is None:
            response.message = "The node is not configured; configure it first."
            return response
        self._capture.set_enabled(request.data)
        if request.data and self._health.resting:
            self._health.began()
        self._health.resting = not request.data
        response.success = True
        response.message = "Sweeping." if request.data else "The lens rests; call 'capture' for a single sweep."
        return response

    def _tell_rate(self) -> None:
        """Say what rate to expect and why, once the camera's rate is known."""
        if self._rate_told or self._capture.period_ns is None:
            return
        self._rate_told = True
        try:
            self.get_logger().info(self._capture.expectation())
        except InputError as error:
            self.get_logger().warning(str(error))

    def _tick(self) -> None:
        if self._camera is not None:
            self._camera.follow_offer()
            self._tell_rate()
            self._tell_camera_fault()
        if self._health is not None:
            self._tell_health()

    def _tell_camera_fault(self) -> None:
        before, self._health.camera_fault = self._health.camera_fault, self._camera.fault()
        if self._health.camera_fault and not before:
            self.get_logger().warning(f"No frame can be used: {self._health.camera_fault}.")

    def _tell_health(self) -> None:
        self._health.clock_offset = self._capture.clock_offset
        self._health.camera_period_ns = self._capture.period_ns
        self._health.gpu_memory = self._gpu_memory()
        now, thresholds = self.get_clock().now().to_msg(), parameters.values(self, DIAGNOSTICS)
        self._diagnostics.publish(self._health.message(self.get_fully_qualified_name(), now, thresholds))


main = partial(run, FossaNode)

if __name__ == "__main__":
    sys.exit(main())
