"""Camera controls of another node: set its parameters atomically, read its metadata from /diagnostics."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import ParameterDescriptor, ParameterType
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParametersAtomically
from rclpy.client import Client
from rclpy.parameter import Parameter
from rclpy.task import Future

from fossa_ros.core.errors import LensError
from fossa_ros.messages import topics
from fossa_ros.messages.fields import nanoseconds
from fossa_ros.ros.endpoints import create_subscription
from fossa_ros.ros.isolated_node import IsolatedNode

DISCOVERY_S = 5.0  # time to discover a node that has just started


class CameraParameters:
    """Control one camera node, from its own ROS context and thread: the caller need not have initialised ROS.

    Args:
        camera: name of the node, for example ``/camera``.
        timeout: of each call, seconds.
        on_metadata: receives the stamp (ns) and the key-value pairs of each frame's metadata, on this object's thread.

    Raises:
        LensError: there is no such node, or another program on this machine drives its lens already.
    """

    def __init__(self, camera: str, timeout: float, on_metadata: Callable[[int, dict[str, str]], None]):
        self.camera = "/" + camera.lstrip("/")
        self._timeout = timeout
        self._on_metadata = on_metadata
        self._sent: Future | None = None
        self._hardware: set[str] = set()
        self._own = IsolatedNode("fossa_lens")
        self._node = self._own.node
        try:
            self._claim = _claim(self.camera, self._own.context.get_domain_id())
        except LensError:
            self._own.close()
            raise
        self._set = self._client(SetParametersAtomically, "set_parameters_atomically")
        self._get = self._client(GetParameters, "get_parameters")
        self._describe = self._client(DescribeParameters, "describe_parameters")
        self._own.start()
        try:
            for client in (self._set, self._get, self._describe):
                if not client.wait_for_service(DISCOVERY_S):
                    raise LensError(
                        f"There is no camera node {self.camera!r}; start camera_ros, or set port to its name, "
                        f"namespace included. Nodes seen: {', '.join(self._nodes()) or 'none'}."
                    )
            self._frame_id = self._frame()
            create_subscription(self._node, topics.DIAGNOSTICS, self._on_diagnostics)
        except BaseException:
            self.close()
            raise

    @property
    def is_open(self) -> bool:
        """Whether the node is still there."""
        return self._own.is_open

    def close(self) -> None:
        """Leave the ROS graph, and release the camera for other programs."""
        self._own.close()
        self._claim.close()

    def descriptor(self, name: str) -> ParameterDescriptor | None:
        """Return the descriptor of a camera parameter; None if the camera does not have it."""
        answer = self._call(self._describe, DescribeParameters.Request(names=[name]))
        described = answer.descriptors[0] if answer.descriptors else ParameterDescriptor()
        known = described.type != ParameterType.PARAMETER_NOT_SET or described.floating_point_range
        return described if known else None

    def set(self, **values: int | float) -> None:
        """Set parameters in one step; raises LensError if the camera refuses them or does not answer."""
        result = self._call(self._set, self._request(values)).result
        if not result.successful:
            shown = ", ".join(f"{name} = {value}" for name, value in values.items())
            raise LensError(f"The camera {self.camera!r} refused {shown}: {result.reason or 'no reason given'}.")

    def send(self, **values: int | float) -> None:
        """Set parameters in one step without waiting for the answer."""
        if self._sent is not None and not self._sent.done():
            self._set.remove_pending_request(self._sent)  # a camera that never answers would accumulate requests
        self._sent = self._set.call_async(self._request(values))

    def every(self, period: float, callback: Callable[[], None]) -> None:
        """Call ``callback`` every ``period`` seconds on this object's thread."""
        self._node.create_timer(period, callback)

    def ambiguity(self) -> str:
        """Return why the metadata may come from another camera; empty if it cannot."""
        if len(self._hardware) < 2:
            return ""
        return (
            f"Several cameras report under the frame {self._frame_id!r} ({', '.join(sorted(self._hardware))}); "
            "give each its own frame_id."
        )

    def _client(self, kind: type, service: str) -> Client:
        return self._node.create_client(kind, f"{self.camera}/{service}")

    def _request(self, values: dict[str, int | float]) -> SetParametersAtomically.Request:
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        return SetParametersAtomically.Request(parameters=parameters)

    def _frame(self) -> str:
        answer = self._call(self._get, GetParameters.Request(names=["frame_id"]))
        return answer.values[0].string_value if answer.values else ""

    def _call(self, client: Client, request: Any) -> Any:
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(self._timeout):
            client.remove_pending_request(future)
            raise LensError(
                f"The camera {self.camera!r} did not answer within {self._timeout:g} s; check that it still runs."
            )
        return future.result()

    def _nodes(self) -> list[str]:
        pairs = self._node.get_node_names_and_namespaces()
        return sorted(f"{space.rstrip('/')}/{name}" for name, space in pairs if name != self._node.get_name())

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        # All nodes publish on this topic: the camera's metadata is recognised by its frame and its keys.
        if self._frame_id and message.header.frame_id != self._frame_id:
            return
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if "LensPosition" in values:
                self._hardware.add(status.hardware_id)
                self._on_metadata(nanoseconds(message.header.stamp), values)


def _claim(camera: str, domain: int) -> socket.socket:
    """Reserve a camera for this program, until the returned socket is closed or the program ends.

    The lock is a Linux abstract socket, which needs no file and no permission. Other machines do not see it.
    """
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0fossa_ros/lens/{domain}{camera}")
    except OSError as error:
        claim.close()
        raise LensError(
            f"The lens of {camera!r} is driven by another program of this machine (ROS domain {domain}); "
            "close it or set another port."
        ) from error
    return claim
