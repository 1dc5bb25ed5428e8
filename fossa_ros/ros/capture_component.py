"""The half that is beside the camera and the lens: it takes sweeps, always or when asked to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.exceptions import InvalidTopicNameException
from rclpy.lifecycle import LifecyclePublisher
from rclpy.task import Future
from rclpy.validate_topic_name import validate_topic_name
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu
from std_srvs.srv import SetBool, Trigger

from fossa_ros.calibration.configured_lens import configured_calibration, configured_lens
from fossa_ros.core.errors import InputError
from fossa_ros.lens import LensState
from fossa_ros.messages import topics
from fossa_ros.messages.camera_frames import CameraFrames
from fossa_ros.messages.fields import angular_velocity, lens_state, nanoseconds
from fossa_ros.messages.topics import Profile
from fossa_ros.msg import LensState as LensStateMessage
from fossa_ros.msg import SweepReport
from fossa_ros.parameters.capture_config import CaptureConfig
from fossa_ros.parameters.configured_decoder import configured_decoder
from fossa_ros.pipeline.result import Verdict
from fossa_ros.ros import qos
from fossa_ros.ros.camera_subscription import CameraSubscription
from fossa_ros.ros.conversions import lens_state_message
from fossa_ros.ros.diagnostics import Health, HealthPublisher
from fossa_ros.ros.endpoints import create_lifecycle_publisher, create_subscription
from fossa_ros.ros.lifecycle import ManagedNode
from fossa_ros.sweep import CapturedSweep, DecodePlane, GyroBuffer, SweepCapture, SweepMode


class CaptureComponent:
    """Camera, lens and gyroscope of a node, and its services ``capture`` and ``set_enabled``.

    The executor's callbacks only enqueue; the capture's own thread waits for lens and frames, and calls ``on_sweep``.
    """

    def __init__(self, node: ManagedNode, diagnostics: HealthPublisher):
        self._node = node
        self._diagnostics = diagnostics
        self._capture: SweepCapture | None = None
        self._camera: CameraSubscription | None = None
        self._subscriptions = []
        self._lens_states: LifecyclePublisher | None = None  # the publisher, where this node drives the lens
        self._gyro: GyroBuffer | None = None
        self._frames: CameraFrames | None = None
        self._exposure_fault = ""
        self._lock = threading.Lock()
        self._awaited: dict[int, list[Future]] = {}  # by the number of the sweep
        # Services live as long as the node: one that is destroyed with an answer outstanding ends the process.
        # While 'capture' awaits its sweep, its group is blocked; the frames of that sweep arrive in the node's own.
        answering = MutuallyExclusiveCallbackGroup()
        node.create_service(Trigger, "capture", self._on_capture, callback_group=answering)
        node.create_service(SetBool, "set_enabled", self._on_set_enabled)

    def configure(
        self,
        config: CaptureConfig,
        on_sweep: Callable[[CapturedSweep], None],
        on_plane: Callable[[DecodePlane], None] | None = None,
        on_camera: Callable[[tuple[int, int], int], None] = lambda size, planes: None,
    ) -> str:
        """Open the lens; return who it is. Raises FossaError.

        ``on_plane`` receives what decodes planes of a sweep in the making, from the capture's thread too; ``on_camera``
        the (H, W) of the images and the number of planes, from the executor's, when the first frame has come.
        """
        plan = config.sweep.plan
        calibration = configured_calibration(config.lens)
        self._gyro = GyroBuffer(config.imu.rotation, config.imu.clock_offset_ns)
        self._on_camera, self._planes = on_camera, len(plan.focus_distances)
        self._transport = config.image_transport
        self._exposure_topic = config.sweep.exposure_topic
        if self._exposure_topic:
            try:
                validate_topic_name(self._exposure_topic)
            except InvalidTopicNameException as error:
                reason = " ".join(str(error).split())
                raise InputError(f"sweep.exposure_topic cannot be '{self._exposure_topic}': {reason}") from error
        self._capture = SweepCapture(
            plan,
            config.sweep.timing,
            partial(configured_lens, config.lens, self._node.now_ns, calibration),
            configured_decoder(config, calibration, self._gyro),
            on_sweep=on_sweep,
            on_lens_state=self._on_lens_state,
            clock=self._node.now_ns,
            config=config.sweep.config,
            clock_use=config.sweep.clock_estimate,
            on_plane=on_plane,
        )
        self._external = config.sweep.config.mode is SweepMode.EXTERNAL
        identity = "a lens that somebody else drives"
        if not self._external:
            lens = self._capture.connect()
            self._lens_backend = lens.backend
            self._lens_measures = lens.capabilities.measures_position
            identity = lens.capabilities.identity
            self._lens_states = create_lifecycle_publisher(self._node, topics.LENS_STATE)
        planes = ", ".join(f"{distance:.2f}" for distance in plan.focus_distances)
        self._node.get_logger().info(f"{identity}; planes at {planes} m")
        return identity

    def activate(self) -> None:
        """Begin to take sweeps."""
        self._capture.start()
        self._camera_seen = False
        self._frames = CameraFrames(self._capture.add_frame, exposure_times=bool(self._exposure_topic))
        self._exposure_fault = ""
        if self._exposure_topic:
            # One that is lost costs little: the longest exposure is assumed.
            metadata = replace(topics.METADATA, name=self._exposure_topic, profile=Profile.SENSOR)
            self._subscriptions.append(create_subscription(self._node, metadata, self._frames.add_metadata))
        self._camera = CameraSubscription(self._node, self._on_frame, self._transport)
        self._diagnostics.health.on_activated()
        self._rate_logged = False
        # Best-effort, which every driver's offer satisfies: one sample more or less is nothing.
        self._subscriptions.append(create_subscription(self._node, topics.IMU, self._on_imu))
        if self._external:
            self._subscriptions.append(
                create_subscription(self._node, topics.LENS_STATE, self._on_external_lens, profile=qos.REPORTS)
            )

    def deactivate(self) -> None:
        """End, in mid-sweep too, and park the lens."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        if self._camera is not None:
            self._camera.close()
            self._camera = None
        if self._capture is not None:
            self._capture.stop()

    def cleanup(self) -> None:
        """Free the lens."""
        if self._capture is not None:
            self._capture.close()
        if self._lens_states is not None:
            self._node.destroy_lifecycle_publisher(self._lens_states)
        self._capture = self._lens_states = self._gyro = None

    def tick(self, health: Health) -> None:
        """Look after what changes slowly, about once a second, and bring ``health`` up to date."""
        if self._camera is not None:
            self._camera.match_reliability()
            self._log_expected_rate()
            before, health.camera_fault = health.camera_fault, self._camera.fault()
            if health.camera_fault and not before:
                self._node.get_logger().warning(f"No frame can be used: {health.camera_fault}.")
            self._log_exposure_fault()
        health.clock_offset = self._capture.clock_offset
        health.camera_period_ns = self._capture.period_ns

    def answer(self, report: SweepReport) -> None:
        """Answer whoever awaits this sweep, and where it has depth, whoever awaits an earlier one.

        Who awaits a sweep that gave way to the next awaits that one: it is newer than what was asked for.
        """
        with self._lock:
            if report.verdict == Verdict.SUPERSEDED:
                self._awaited.setdefault(report.sweep + 1, []).extend(self._awaited.pop(report.sweep, []))
                return
            due = [
                number
                for number in self._awaited
                if number == report.sweep or (report.accepted and number < report.sweep)
            ]
            outcomes = [outcome for number in due for outcome in self._awaited.pop(number)]
        told = f"Depth of sweep {report.sweep} is published." if report.accepted else report.reason
        for outcome in outcomes:
            outcome.set_result((report.accepted, told))

    def fail_requests(self, reason: str) -> None:
        """Answer everybody who awaits a sweep that there will be none."""
        with self._lock:
            outcomes, self._awaited = [outcome for each in self._awaited.values() for outcome in each], {}
        for outcome in outcomes:
            outcome.set_result((False, reason))

    def _on_frame(self, image: Image | CompressedImage, info: CameraInfo) -> None:
        """Executor thread: hand the frame to the capture, pixels untouched."""
        arrival_ns = self._node.now_ns()
        if not self._camera_seen:
            self._camera_seen = True
            self._on_camera((info.height, info.width), self._planes)
        self._frames.add(image, info, arrival_ns)

    def _on_imu(self, message: Imu) -> None:
        """Executor thread: keep how the camera turns until a sweep asks."""
        rate = angular_velocity(message)
        if rate is not None:
            self._gyro.add(nanoseconds(message.header.stamp), rate)

    def _on_external_lens(self, message: LensStateMessage) -> None:
        """Executor thread: whoever drives the lens says where it is."""
        if message.reachable:
            self._capture.on_external_state(lens_state(message), message.measured)

    def _on_lens_state(self, state: LensState | None) -> None:
        """Capture thread: the lens said how it is, or stopped answering."""
        changed = self._diagnostics.health.on_lens_state(state, self._capture.lens_failure)
        self._lens_states.publish(
            lens_state_message(state, self._lens_backend, "", self._lens_measures, self._node.now_ns())
        )
        if changed:
            self._diagnostics.publish()  # not only when the timer next does
        if state is None:
            lost = f"The lens is lost: {self._capture.lens_failure}"
            if changed:
                self._node.get_logger().error(f"{lost} Trying again until it returns.")
            self.fail_requests(lost)
        elif changed:
            self._node.get_logger().info("The lens is back")

    async def _on_capture(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._camera is None:
            response.message = "The node is not active; activate it first."
            return response
        outcome = Future(executor=self._node.executor)
        with self._lock:
            self._awaited.setdefault(self._capture.request(), []).append(outcome)
        response.success, response.message = await outcome
        return response

    def _on_set_enabled(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if self._capture is None:
            response.message = "The node is not configured; configure it first."
            return response
        self._capture.set_enabled(request.data)
        health = self._diagnostics.health
        if request.data and health.resting:
            health.on_activated()
        health.resting = not request.data
        response.success = True
        response.message = "Sweeping." if request.data else "The lens rests; call 'capture' for a single sweep."
        return response

    def _log_exposure_fault(self) -> None:
        """Say when the camera's exposure times begin to be missing, and why."""
        before, self._exposure_fault = self._exposure_fault, self._frames.fault()
        if self._exposure_fault and not before:
            self._node.get_logger().warning(
                f"The exposure time of frames is not known from {self._exposure_topic}: {self._exposure_fault}. "
                "sweep.exposure is used; correct sweep.exposure_topic, or leave it empty."
            )

    def _log_expected_rate(self) -> None:
        """Say what rate to expect and why, once the camera's rate is known."""
        if self._rate_logged or self._capture.period_ns is None:
            return
        self._rate_logged = True
        try:
            self._node.get_logger().info(self._capture.expectation())
        except InputError as error:
            self._node.get_logger().warning(str(error))
