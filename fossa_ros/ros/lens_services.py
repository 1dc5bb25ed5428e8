"""The services ``lens_info`` and ``reset`` of a node that drives a lens."""

from __future__ import annotations

import math
from collections.abc import Callable

from std_srvs.srv import Trigger

from fossa_ros.core.errors import FossaError
from fossa_ros.core.optics import dioptres
from fossa_ros.lens.config import LensConfig
from fossa_ros.lens.usb_serial_number import usb_serial_number
from fossa_ros.messages import topics
from fossa_ros.ros.conversions import lens_state_message
from fossa_ros.ros.diagnostics import HealthPublisher
from fossa_ros.ros.lifecycle import ManagedNode
from fossa_ros.srv import LensInfo
from fossa_ros.sweep import SweepCapture

UNCONFIGURED = "The node is not configured; configure it first."
EXTERNAL = (
    "Another node drives the lens (sweep.mode external or counted); "
    f"see {topics.LENS_STATE.name} and {topics.LENS_TRIGGER.name}."
)
RESET = "The lens was reset."


class LensServices:
    """Say what is known of the lens, and open it again on request.

    Args:
        node: the node.
        diagnostics: of the node.
        fail_requests: answers calls that wait for a sweep with a sentence.
    """

    def __init__(self, node: ManagedNode, diagnostics: HealthPublisher, fail_requests: Callable[[str], None]):
        self._node = node
        self._diagnostics = diagnostics
        self._fail_requests = fail_requests
        self._capture: SweepCapture | None = None
        node.create_service(LensInfo, "lens_info", self._on_lens_info)
        # Not during a transition, which opens and closes the lens too.
        node.create_service(Trigger, "reset", self._on_reset, callback_group=node.transitions)

    def configure(self, capture: SweepCapture, config: LensConfig, *, external: bool) -> None:
        """Serve the lens of ``capture``, which ``config`` describes, or none where another node drives it."""
        self._capture, self._config, self._external = capture, config, external
        self._serial_number = "" if external else usb_serial_number(config.port)

    def cleanup(self) -> None:
        """Serve no lens."""
        self._capture = None

    def _on_lens_info(self, request: LensInfo.Request, response: LensInfo.Response) -> LensInfo.Response:
        capture = self._capture
        if capture is None or self._external:
            response.message = EXTERNAL if capture is not None else UNCONFIGURED
            return response
        lens, config = capture.lens, self._config
        can = lens.capabilities
        assert can is not None  # a node that is configured has opened it
        nearest, farthest = (math.nan if metres is None else float(metres) for metres in (can.nearest, can.farthest))
        response.success = True
        response.message = f"{can.identity}, {nearest:.3g} to {farthest:.3g} m."
        response.backend, response.port, response.identity = config.backend, config.port, can.identity
        response.serial_number, response.firmware = self._serial_number, can.firmware
        response.connected, response.failure, response.losses = lens.is_open, lens.failure, lens.losses
        response.nearest, response.farthest = nearest, farthest
        response.least_power, response.greatest_power = float(dioptres(farthest)), float(dioptres(nearest))
        command = can.command
        response.command_quantity, response.command_unit = command.quantity, command.unit
        response.command_least, response.command_greatest = float(command.least), float(command.greatest)
        response.command_step = float(command.step)
        response.settling, response.settling_per_unit = float(can.settling.fixed), float(can.settling.per_unit)
        response.measures_position, response.measures_temperature = can.measures_position, can.measures_temperature
        response.calibration, response.calibration_summary = config.calibration or "", can.calibration
        health = self._diagnostics.health
        state = health.lens if health is not None and lens.is_open else None
        frame_id = health.camera_id if health is not None else ""
        response.state = lens_state_message(state, config.backend, frame_id, can.measures_position, self._node.now_ns())
        return response

    async def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        capture = self._capture
        if capture is None:
            response.message = UNCONFIGURED
            return response
        health = self._diagnostics.health
        if health is not None:
            health.reset()
        try:
            await self._node.aside("reset", capture.reset)
        except FossaError as error:
            response.message = str(error)
            if health is not None:
                health.on_lens_state(None, str(error))
        else:
            response.success = True
            opened = capture.lens.capabilities
            response.message = EXTERNAL if self._external or opened is None else f"{opened.identity} was opened again."
        self._fail_requests(RESET)
        self._diagnostics.publish()
        return response
