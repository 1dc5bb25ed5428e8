"""A camera node with the focus of camera_ros: its parameters, its metadata and its pitfalls, but no images.

It approximates the focus of camera_ros 0.7 on libcamera's Raspberry Pi pipeline. Controls take effect some frames after
they were set. A second change before the next frame discards all of the first. LensPosition is used in manual mode
only. The position changes by at most 1.5 D per frame, and the metadata of a frame holds its position. Optionally a
control reverts after some frames (camera_ros issue 174). Settling of the motor within a frame is not simulated.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from fossa_ros.messages import topics
from fossa_ros.ros.endpoints import create_publisher

FARTHEST, NEAREST = 0.0, 15.0  # dioptres
START = 1.0  # dioptres; the lens reverts to it too
SLEW = 1.5  # dioptres a frame
MANUAL, CONTINUOUS = 0, 2  # AfMode
LATENCY = 3  # frames from setting a control to the first frame with it
TYPES = {"AfMode": Parameter.Type.INTEGER, "LensPosition": Parameter.Type.DOUBLE}


class SimulatedLibcamera(Node):
    """Publish the metadata of every frame on /diagnostics.

    Attributes:
        reverts_after: frames after which a control that is not set again reverts; 0 for never.
        publishes_metadata: whether the metadata is published; versions before 0.7.0 publish none.
        positions: the LensPosition of every frame.
    """

    def __init__(self, name: str = "camera", *, rate: float = 30.0, frame_id: str = "camera", **kwargs: Any):
        super().__init__(name, **kwargs)
        self.reverts_after = 0
        self.publishes_metadata = True
        self.positions: list[float] = []
        self._mode, self._target, self._position = CONTINUOUS, START, START
        self._pending: dict[str, float] = {}
        self._pipeline: deque[dict[str, float]] = deque([{}] * LATENCY, maxlen=LATENCY)
        self._since_set = 0
        self._frame_id = frame_id
        self.declare_parameter("frame_id", frame_id)
        focus = FloatingPointRange(from_value=FARTHEST, to_value=NEAREST)
        mode = IntegerRange(from_value=0, to_value=2, step=1)
        self.declare_parameter(
            "LensPosition", START, ParameterDescriptor(dynamic_typing=True, floating_point_range=[focus])
        )
        self.declare_parameter("AfMode", CONTINUOUS, ParameterDescriptor(dynamic_typing=True, integer_range=[mode]))
        self.add_on_set_parameters_callback(self._validate)
        self.add_post_set_parameters_callback(self._on_parameters_set)
        self._publisher = create_publisher(self, topics.DIAGNOSTICS)
        self.create_timer(1.0 / rate, self._expose)

    def _validate(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            expected = TYPES.get(parameter.name)
            if expected not in (None, parameter.type_):
                found = parameter.type_.name.lower()
                reason = (
                    f"{parameter.name}: parameter types mismatch, expected '{expected.name.lower()}', got '{found}'"
                )
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    def _on_parameters_set(self, parameters: list[Parameter]) -> None:
        # A change that was not applied yet is discarded, even one of other controls.
        self._pending = {parameter.name: parameter.value for parameter in parameters if parameter.name in TYPES}

    def _expose(self) -> None:
        applied = self._pipeline.popleft()
        self._pipeline.append(self._pending)
        self._pending = {}
        self._since_set = 0 if applied else self._since_set + 1
        self._mode = applied.get("AfMode", self._mode)
        if self._mode == MANUAL:
            self._target = applied.get("LensPosition", self._target)
        if self.reverts_after and self._since_set >= self.reverts_after:
            self._target = START
        self._position += min(max(self._target - self._position, -SLEW), SLEW)
        self.positions.append(self._position)
        if self.publishes_metadata:
            self._publisher.publish(self._metadata())

    def _metadata(self) -> DiagnosticArray:
        values = {"AfState": "0", "ExposureTime": "9998", "LensPosition": f"{self._position:f}"}
        status = DiagnosticStatus(level=DiagnosticStatus.OK, hardware_id=f"/base/soc/i2c0mux/{self.get_name()}")
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = self._frame_id
        return message
