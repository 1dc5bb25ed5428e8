"""The parameters of another node, set one program at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor, ParameterType
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParametersAtomically
from rclpy.client import Client
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.task import Future

from fossa_ros.core.errors import LensError
from fossa_ros.ros.isolated_node import IsolatedNode
from fossa_ros.ros.lens_claim import claim_lens

DISCOVERY_S = 5.0  # time to discover a node that has just started, and to be discovered by it
REPEAT_S = 0.2  # between requests to a node that may not have discovered this one: it drops its answers until then

Value = bool | int | float | str


class RemoteParameters:
    """Control a camera node by its parameters, from an own ROS context and thread.

    The caller need not have initialised ROS.

    Args:
        camera: name of the node, for example ``/camera``.
        timeout: of each call, seconds.
        driver: the program to start if there is no such node.

    Raises:
        LensError: there is no such node, or another program on this machine drives its lens already.
    """

    def __init__(self, camera: str, timeout: float, driver: str):
        self.camera = "/" + camera.lstrip("/")
        self._timeout = timeout
        self._sent: Future | None = None
        self._own = IsolatedNode("fossa_lens")
        self._node = self._own.node
        try:
            self._claim = claim_lens(self.camera, self._own.context.get_domain_id())
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
                        f"There is no camera node {self.camera!r}; start {driver}, or set port to its name, "
                        f"namespace included. Nodes seen: {', '.join(self._nodes()) or 'none'}."
                    )
            self._wait_until_discovered()
        except BaseException:
            self.close()
            raise

    @property
    def is_open(self) -> bool:
        """Whether ``close`` has not been called."""
        return self._own.is_open

    def close(self) -> None:
        """Leave the ROS graph, and release the camera for other programs."""
        self._own.close()
        self._claim.close()

    def descriptor(self, name: str) -> ParameterDescriptor | None:
        """Return the descriptor of a parameter; None if the node does not have it."""
        answer = self._call(self._describe, DescribeParameters.Request(names=[name]))
        described = answer.descriptors[0] if answer.descriptors else ParameterDescriptor()
        known = described.type != ParameterType.PARAMETER_NOT_SET or described.floating_point_range
        return described if known else None

    def get(self, names: Iterable[str]) -> dict[str, Value | None]:
        """Return the values of parameters, None for those that the node does not have."""
        asked = list(names)
        answer = self._call(self._get, GetParameters.Request(names=asked))
        # A node that does not allow undeclared parameters answers with nothing at all if one is unknown.
        values = [parameter_value_to_python(value) for value in answer.values]
        return dict(zip(asked, values if len(values) == len(asked) else [None] * len(asked), strict=True))

    def set(self, **values: Value) -> None:
        """Set parameters in one step; raises LensError if the node refuses them or does not answer."""
        result = self._call(self._set, self._request(values)).result
        if not result.successful:
            shown = ", ".join(f"{name} = {value}" for name, value in values.items())
            raise LensError(f"The camera {self.camera!r} refused {shown}: {result.reason or 'no reason given'}.")

    def send(self, **values: Value) -> None:
        """Set parameters in one step without waiting for the answer."""
        if self._sent is not None and not self._sent.done():
            self._set.remove_pending_request(self._sent)  # a camera that never answers would accumulate requests
        self._sent = self._set.call_async(self._request(values))

    def every(self, period: float, callback: Callable[[], None]) -> None:
        """Call ``callback`` every ``period`` seconds on this object's thread."""
        self._node.create_timer(period, callback)

    def _client(self, kind: type, service: str) -> Client:
        return self._node.create_client(kind, f"{self.camera}/{service}")

    def _request(self, values: dict[str, Value]) -> SetParametersAtomically.Request:
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        return SetParametersAtomically.Request(parameters=parameters)

    def _wait_until_discovered(self) -> None:
        """Return once the node has answered; it knows the other clients then, which were made before this one."""
        answered = threading.Event()
        deadline = time.monotonic() + DISCOVERY_S
        while not answered.is_set():
            if time.monotonic() > deadline:
                raise self._no_answer(DISCOVERY_S)
            future = self._describe.call_async(DescribeParameters.Request())
            future.add_done_callback(lambda _: answered.set())
            answered.wait(REPEAT_S)

    def _no_answer(self, seconds: float) -> LensError:
        return LensError(f"The camera {self.camera!r} did not answer within {seconds:g} s; check that it still runs.")

    def _call(self, client: Client, request: Any) -> Any:
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(self._timeout):
            client.remove_pending_request(future)
            raise self._no_answer(self._timeout)
        return future.result()

    def _nodes(self) -> list[str]:
        pairs = self._node.get_node_names_and_namespaces()
        return sorted(f"{space.rstrip('/')}/{name}" for name, space in pairs if name != self._node.get_name())
