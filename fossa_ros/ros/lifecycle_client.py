"""Configure and activate a lifecycle node from another process."""

from __future__ import annotations

import time
from typing import Any

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.client import Client
from rclpy.node import Node

POLL_S = 0.02
ANSWER_S = 5.0  # after which a request is repeated: a server drops the answer to a client that it has not found yet


class LifecycleClient:
    """Bring a node to its active state.

    Args:
        node: whose callbacks another thread runs.
        name: of the node to activate.
    """

    def __init__(self, node: Node, name: str):
        self._get = node.create_client(GetState, f"{name}/get_state")
        self._change = node.create_client(ChangeState, f"{name}/change_state")

    def advance(self) -> bool:
        """Request the next transition towards the active state, and wait for its end; call it until that is reached.

        Returns:
            False if the node refused; its log says why.
        """
        answer = self._call(self._get, GetState.Request())
        state = None if answer is None else answer.current_state.id
        if state == State.PRIMARY_STATE_UNCONFIGURED:
            return self._request(Transition.TRANSITION_CONFIGURE)
        if state == State.PRIMARY_STATE_INACTIVE:
            return self._request(Transition.TRANSITION_ACTIVATE)
        return True

    def _request(self, transition: int) -> bool:
        answer = self._call(self._change, ChangeState.Request(transition=Transition(id=transition)))
        return answer is None or bool(answer.success)

    def _call(self, client: Client, request: Any) -> Any:
        """Return the answer of a service; None where there is none in time."""
        if not client.service_is_ready():
            return None
        future = client.call_async(request)
        deadline = time.monotonic() + ANSWER_S
        while not future.done():
            if time.monotonic() > deadline:
                client.remove_pending_request(future)
                return None
            time.sleep(POLL_S)
        return future.result()
