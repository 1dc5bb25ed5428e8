"""Capture: the part of a node that drives camera, lens and gyroscope and assembles sweeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecyclePublisher
from rclpy.subscription import Subscription
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, TimeReference
from std_srvs.srv import SetBool, Trigger

from fossa_ros.calibration.configured_lens import configured_calibration, configured_lens
from fossa_ros.core.errors import InputError
from fossa_ros.io.camera_source import CameraSource
from fossa_ros.lens import LensState
from fossa_ros.lens.usb_serial_number import usb_serial_number
from fossa_ros.messages import topics
from fossa_ros.messages.camera_frames import CameraFrames
from fossa_ros.messages.camera_info import CameraCalibration, takes_rectified
from fossa_ros.messages.fields import angular_velocity, lens_state, nanoseconds
from fossa_ros.messages.topics import Profile
from fossa_ros.msg import LensState as LensStateMessage
from fossa_ros.msg import SweepReport
from fossa_ros.parameters.capture_config import CaptureConfig
from fossa_ros.parameters.configured_decoder import configured_decoder
from fossa_ros.parameters.thresholds import ERROR, OK, WARN
from fossa_ros.ros import qos
from fossa_ros.ros.camera_subscription import CameraSubscription
from fossa_ros.ros.capture_action import CaptureAction
from fossa_ros.ros.capture_requests import CaptureRequests
from fossa_ros.ros.conversions import build_message, lens_state_message
from fossa_ros.ros.diagnostics import Health, HealthPublisher
from fossa_ros.ros.endpoints import check_topic_name, create_lifecycle_publisher, create_subscription
from fossa_ros.ros.lens_services import LensServices
from fossa_ros.ros.lifecycle import ManagedNode
from fossa_ros.ros.log_throttle import Reminder
from fossa_ros.ros.own_camera import OwnCamera
from fossa_ros.ros.static_transform import StaticTransform
from fossa_ros.sweep import CapturedSweep, DecodePlane, GyroBuffer, StampReference, SweepCapture, SweepMode

OPTICAL_FRAME = "camera_optical_frame"  # of a camera of the node, unless camera.frame_id says otherwise


class CaptureComponent:
    """Camera, lens and gyroscope of a node, its services, and its action ``capture``.

    The executor's callbacks only enqueue. The capture's own thread waits for the lens and for frames, and calls
    ``on_sweep``.

    Args:
        node: the node.
        diagnostics: of the node; receives the state of the lens.
    """

    def __init__(self, node: ManagedNode, diagnostics: HealthPublisher):
        self._node = node
        self._diagnostics = diagnostics
        self._capture: SweepCapture | None = None
        self._camera: CameraSubscription | OwnCamera | None = None
        self._source: CameraSource | None = None  # of a camera that this node opens itself
        self._own_camera: OwnCamera | None = None
        self._subscriptions: list[Subscription] = []
        self._lens_states: LifecyclePublisher | None = None  # where this node drives the lens
        self._transform: StaticTransform | None = None
        self._gyro: GyroBuffer | None = None
        self._frames: CameraFrames | None = None
        self._exposure_fault = ""
        self._frame_id = ""  # of the camera, once a frame has said it
        self._camera_reminder = Reminder(counted=True)
        self._lens_reminder = Reminder()
        self._requests = CaptureRequests()
        # Services live as long as the node: destroying one with an answer outstanding ends the process. While 'capture'
        # waits for its sweep it blocks its callback group; the frames of the sweep arrive in the default group.
        group = MutuallyExclusiveCallbackGroup()
        node.create_service(Trigger, "capture", self._on_capture, callback_group=group)
        node.create_service(SetBool, "set_enabled", self._on_set_enabled)
        self._action = CaptureAction(node)
        self._lens_services = LensServices(node, diagnostics, self.fail_requests)

    def prepare(
        self,
        config: CaptureConfig,
        on_sweep: Callable[[CapturedSweep], None],
        on_plane: Callable[[DecodePlane], None] | None = None,
        on_camera: Callable[[tuple[int, int], int], None] = lambda size, planes: None,
    ) -> None:
        """Open the lens, and the camera where this node has one of its own; from any thread.

        Args:
            config: parameters of the node.
            on_sweep: receives every sweep, complete or not, on the capture's thread.
            on_plane: receives a function that decodes a plane of the sweep under way, on the capture's thread too.
            on_camera: receives the (H, W) of the images and the number of planes when the first frame arrives, on the
                executor's thread.

        Raises:
            FossaError: the parameters cannot be used, or lens or camera cannot be opened.
        """
        if config.camera.source:
            self._open_camera(config)
        plan = config.sweep.plan
        calibration = configured_calibration(config.lens)
        self._gyro = GyroBuffer(config.imu.rotation, config.imu.clock_offset_ns)
        self._on_camera, self._planes = on_camera, len(plan.focus_distances)
        self._transport = config.image_transport
        self._image_kind = config.camera.image
        self._own_frame_id = config.camera.frame_id
        self._exposure_topic = config.sweep.exposure_topic
        if self._exposure_topic:
            check_topic_name(self._exposure_topic, "sweep.exposure_topic")
        self._capture = SweepCapture(
            plan,
            config.sweep.timing,
            partial(configured_lens, config.lens, self._node.now_ns, calibration),
            configured_decoder(config, calibration, self._gyro, self._node.get_logger()),
            on_sweep=on_sweep,
            on_lens_state=self._on_lens_state,
            clock=self._node.now_ns,
            config=config.sweep.config,
            clock_use=config.sweep.clock_estimate,
            on_plane=on_plane,
        )
        self._sweep = config.sweep
        self._mode = config.sweep.config.mode
        self._lens_id = ""
        triggered = self._mode is SweepMode.COUNTED
        self._identity = (
            f"Lens and camera triggered by hardware, see {topics.LENS_TRIGGER.name}"
            if triggered
            else f"Lens driven by another node, see {topics.LENS_STATE.name}"
        )
        if self._mode.drives_lens:
            lens = self._capture.connect()
            self._lens_backend = lens.backend
            self._lens_measures = lens.capabilities.measures_position
            self._identity = lens.capabilities.identity
            self._lens_id = f"{lens.backend} {usb_serial_number(config.lens.port) or config.lens.port}"

    def _open_camera(self, config: CaptureConfig) -> None:
        # Here, so that a package that it needs and that is missing is a sentence of the node, which then waits for it.
        from fossa_ros.messages.camera_info_file import camera_info_fields

        fields = camera_info_fields(config.camera.info_url)
        self._info = build_message(CameraInfo, fields)
        self._info.header.frame_id = config.camera.frame_id or OPTICAL_FRAME
        height, width = CameraCalibration.of(self._info).image_size
        self._source = CameraSource(
            config.camera.source,
            (width, height),
            config.camera.pixel_format,
            arrival=config.sweep.timing.stamp_reference is StampReference.ARRIVAL,
            clock=self._node.now_ns,
        )
        self._node.get_logger().info(self._source.open())

    def configure(self, config: CaptureConfig) -> str:
        """Create the publisher of a lens that was opened, and return its backend and serial number, or its port.

        Raises:
            InputError: the transform to the camera cannot be published.
        """
        if config.tf.publish:
            self._transform = StaticTransform(self._node, config.tf)
        if self._source is not None:
            self._own_camera = OwnCamera(self._node, self._source, self._info)
        self._lens_services.configure(self._capture, config.lens, external=not self._mode.drives_lens)
        if self._mode.drives_lens:
            self._lens_states = create_lifecycle_publisher(self._node, topics.LENS_STATE)
        planes = ", ".join(f"{distance:.2f}" for distance in config.sweep.plan.focus_distances)
        self._node.get_logger().info(f"{self._identity}; planes at {planes} m")
        return self._lens_id

    def check_live(self, config: CaptureConfig) -> None:
        """Raise InputError if the lens does not reach all planes of a changed configuration."""
        if self._capture is not None:
            self._capture.check_plan(config.sweep.plan)

    def apply_live(self, config: CaptureConfig) -> None:
        """Take sweeps by a changed configuration from the next one on."""
        if self._capture is not None:
            self._sweep = sweep = config.sweep
            self._planes = len(sweep.plan.focus_distances)
            self._capture.reconfigure(sweep.plan, sweep.timing, sweep.config)

    def activate(self) -> None:
        """Start to sweep."""
        self._diagnostics.health.on_activated()
        self._capture.start()
        self._camera_seen = False
        self._rate_logged = False
        self._exposure_fault = ""
        rectified, why = takes_rectified(self._image_kind, self._node.resolve_topic_name(topics.IMAGE.name))
        self._node.get_logger().info(why)
        self._frames = CameraFrames(
            self._capture.add_frame,
            exposure_times=bool(self._exposure_topic),
            counter_key=self._sweep.counter_key,
            rectified=rectified,
            frame_id=self._own_frame_id,
        )
        if self._own_camera is not None:
            self._camera = self._own_camera
            self._own_camera.start(self._on_frame)
        else:
            self._camera = CameraSubscription(self._node, self._on_frame, self._transport)
        self._action.activate(self._capture, lambda: self._sweep)
        self._subscriptions.append(create_subscription(self._node, topics.IMU, self._on_imu))
        if self._exposure_topic:  # best effort: without a report, the configured exposure is assumed
            metadata = replace(topics.METADATA, name=self._exposure_topic, profile=Profile.SENSOR)
            self._subscriptions.append(create_subscription(self._node, metadata, self._frames.add_metadata))
        if self._mode is SweepMode.COUNTED:
            self._subscriptions.append(create_subscription(self._node, topics.LENS_TRIGGER, self._on_trigger))
        if self._mode is SweepMode.EXTERNAL:
            subscription = create_subscription(
                self._node, topics.LENS_STATE, self._on_external_lens, profile=qos.REPORTS
            )
            self._subscriptions.append(subscription)

    def halt(self) -> None:
        """Stop at once, within a sweep too, and park the lens; from any thread."""
        if self._own_camera is not None:
            self._own_camera.stop()
        if self._capture is not None:
            self._capture.stop()

    def deactivate(self) -> None:
        """Stop as ``halt`` does, and no longer receive frames."""
        self._action.deactivate()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        if isinstance(self._camera, CameraSubscription):
            self._camera.close()
        self._camera = None
        self.halt()

    def close_lens(self) -> None:
        """Close the lens and the camera of this node, from any thread."""
        if self._own_camera is not None:
            self._own_camera.stop()
        if self._source is not None:
            self._source.close()
        if self._capture is not None:
            self._capture.close()

    def cleanup(self) -> None:
        """Close the lens and destroy its publisher."""
        self._lens_services.cleanup()
        self.close_lens()
        if self._own_camera is not None:
            self._own_camera.close()
        if self._lens_states is not None:
            self._node.destroy_lifecycle_publisher(self._lens_states)
        if self._transform is not None:
            self._transform.close()
            self._transform = None
        self._capture = self._lens_states = self._gyro = self._source = self._own_camera = None

    def tick(self, health: Health) -> None:
        """Check the camera and update ``health``; called about once a second."""
        if self._camera is not None:
            self._camera.match_reliability()
            self._log_expected_rate()
            health.camera_fault = self._camera_fault()
            health.camera_id = self._frame_id
            fault = health.camera_fault[1]
            if self._camera_reminder.due(fault):
                self._node.get_logger().warning(f"{fault[0].upper()}{fault[1:]}.")
            self._log_exposure_fault()
        health.clock_offset = self._capture.clock_offset
        health.camera_period_ns = self._capture.period_ns

    def on_report(self, report: SweepReport) -> None:
        """Answer the calls of ``capture`` that wait for this report."""
        self._requests.on_report(report)
        self._action.on_report(report)

    def fail_requests(self, reason: str) -> None:
        """Answer all calls of ``capture`` that there will be no depth."""
        self._requests.fail(reason)
        self._action.fail(reason)

    def _camera_fault(self) -> tuple[bytes, str]:
        """Return the level of /diagnostics and why no frame, or few, can be used or found; OK where they can."""
        if self._node.get_clock().ros_time_is_active and not self._node.now_ns():
            return ERROR, "nothing arrived on /clock, and use_sim_time is true: publish it, or set use_sim_time false"
        level, reason = self._camera.fault()
        if level == OK and self._camera_seen and not self._frame_id:
            return WARN, "there is no frame_id in camera_info, so that nobody can place the depth: set camera.frame_id"
        return level, reason

    def _on_frame(self, image: Image | CompressedImage, info: CameraInfo) -> None:
        """Pass a frame to the capture without decoding it, on the thread of the executor or of the node's camera."""
        arrival_ns = self._node.now_ns()
        self._frame_id = self._own_frame_id or info.header.frame_id
        if self._transform is not None:
            self._transform.publish(self._frame_id)
        if not self._camera_seen:
            self._camera_seen = True
            self._on_camera(CameraCalibration.of(info).image_size, self._planes)
        self._frames.add(image, info, arrival_ns)

    def _on_imu(self, message: Imu) -> None:
        """Keep a sample until a sweep needs it, on the executor's thread."""
        rate = angular_velocity(message)
        if rate is not None:
            self._gyro.add(nanoseconds(message.header.stamp), rate)

    def _on_external_lens(self, message: LensStateMessage) -> None:
        """Pass on the state of a lens that another node drives, on the executor's thread."""
        if message.reachable:
            self._capture.on_external_state(lens_state(message), message.measured)

    def _on_trigger(self, message: TimeReference) -> None:
        """Pass on that hardware began a sweep, on the executor's thread."""
        self._capture.on_trigger(nanoseconds(message.header.stamp), self._node.now_ns(), message.source)

    def _on_lens_state(self, state: LensState | None) -> None:
        """Publish the state of the lens, None where it does not answer, on the capture's thread."""
        changed = self._diagnostics.health.on_lens_state(state, self._capture.lens_failure)
        self._lens_states.publish(
            lens_state_message(state, self._lens_backend, self._frame_id, self._lens_measures, self._node.now_ns())
        )
        if changed:
            self._diagnostics.publish()
        if state is None:
            lost = f"The lens is lost: {self._capture.lens_failure}"
            if self._lens_reminder.due(lost):
                self._node.get_logger().error(f"{lost} Trying again until it returns.")
            self.fail_requests(lost)
        elif changed:
            self._lens_reminder.due("")
            self._node.get_logger().info("The lens is back")

    async def _on_capture(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._camera is None:
            response.message = "The node is not active; activate it first."
            return response
        answer = Future(executor=self._node.executor)
        self._requests.add(self._capture.request(), answer)
        response.success, response.message = await answer
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
        response.message = "Sweeping." if request.data else "The lens is parked; call 'capture' for a single sweep."
        return response

    def _log_exposure_fault(self) -> None:
        """Log that exposure times are missing, and why, when that begins."""
        before, self._exposure_fault = self._exposure_fault, self._frames.fault()
        if self._exposure_fault and not before:
            what, instead = "exposure time", "sweep.exposure is used"
            if self._sweep.counter_key:
                what, instead = "number", "The camera's own count is not checked"
            self._node.get_logger().warning(
                f"{self._exposure_topic} does not give the {what} of frames: {self._exposure_fault}. "
                f"{instead}; correct sweep.exposure_topic, or leave it empty."
            )

    def _log_expected_rate(self) -> None:
        """Log the expected rate of depth once the rate of the camera is known."""
        if self._rate_logged or self._capture.period_ns is None:
            return
        self._rate_logged = True
        try:
            self._node.get_logger().info(self._capture.expectation())
        except InputError as error:
            self._node.get_logger().warning(str(error))
