"""A simulated Optotune Lens Driver 4 that follows the manual strictly."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from fossa_ros.lens import ld4_protocol as ld4
from fossa_ros.simulation.lens_dynamics import LensDynamics
from fossa_ros.simulation.serial_device import SerialDevice

NO_LIMITS, UNREACHABLE, OUT_OF_LIMITS = 1 << 2, 1 << 3, 1 << 7  # bits of the status
OUT_OF_SPECIFICATION = 1 << 5
SPECIFIED_TEMPERATURES = (-20.0, 65.0)  # degC


class SimulatedLd4(SerialDevice):
    """The device at the far end of the line: ``feed`` returns the replies to received bytes.

    Violations of the protocol are answered as in the manual: error 1 for a wrong checksum, 2 for a command that this
    firmware lacks, 3 for an unknown command. A focal power outside the range is clipped and sets a status bit. A
    set-point of the mode that is not active is ignored without a reply, and only reading back shows it. Assumption:
    until temperature limits are set, the range is reported as 0 to 0.

    Attributes:
        stray: dioptres by which the lens misses each commanded power.
        heat: degC added to the temperature.
    """

    stray = 0.0
    heat = 0.0

    def __init__(
        self,
        dynamics: LensDynamics,
        clock: Callable[[], int] = time.time_ns,
        *,
        firmware_type: str = "F",
        max_current: float = 292.84,
        fault_bits: int = 0,
        lacking: Collection[ld4.Command] = (),
        old_errors: bool = False,
    ):
        """Connect a driver to a lens.

        Args:
            dynamics: the lens.
            clock: returns nanoseconds on the time base of ``dynamics``.
            firmware_type: letter that determines the scale of focal power.
            max_current: mA.
            fault_bits: always set in the status.
            lacking: commands that this firmware does not have.
            old_errors: report errors like the firmware of 2013.
        """
        super().__init__()
        self.dynamics = dynamics
        self.fault_bits = fault_bits
        self._clock = clock
        self._lacking = lacking
        self._old_errors = old_errors
        self._firmware_type = firmware_type
        self._scale = ld4.PowerScale.of(firmware_type)
        self._max_current = max_current
        self._buffer = bytearray()
        self._reset()
        self._limits: tuple[int, int] | None = None
        self._answers = {
            ld4.FIRMWARE_TYPE: lambda: (self._firmware_type.encode(),),
            ld4.FIRMWARE_VERSION: lambda: (1, 8, 4711, 2),
            ld4.MAX_CURRENT: lambda: (round(self._max_current / ld4.MAX_CURRENT_UNIT),),
            ld4.SET_CURRENT: self._set_current,
            ld4.CURRENT_MODE: self._current_mode,
            ld4.FOCAL_POWER_MODE: self._focal_power_mode,
            ld4.TEMPERATURE_LIMITS: self._temperature_limits,
            ld4.SET_FOCAL_POWER: self._set_focal_power,
            ld4.FOCAL_POWER: lambda: (self._power_steps,),
            ld4.TEMPERATURE: lambda: (round(self._temperature() / ld4.TEMPERATURE_UNIT),),
            ld4.STATUS: lambda: (self._status(),),
        }

    @property
    def at_rest(self) -> bool:
        """Whether the lens has no current: parked, or never used."""
        return not self._in_focal_power_mode and self.dynamics.set_point == self.dynamics.model.neutral_power

    @property
    def incomplete(self) -> bool:
        """Whether part of a command has arrived and the rest is awaited."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> bytes:
        """Receive bytes and return the replies to the commands they complete."""
        with self.lock:
            self._buffer += data
            replies = []
            while self._buffer and (reply := self._next()) is not None:
                replies.append(reply)
            return b"".join(self.apply_fault(reply) for reply in replies if reply)

    def power_cycle(self) -> None:
        """Lose the supply, like a driver on USB whose cable is pulled: no current, no mode, no limits."""
        with self.lock:
            self._buffer.clear()
            self._limits = None
            self._reset()

    def on_silence(self) -> bytes:
        """Drop an incomplete command whose rest does not arrive, and return the error for it."""
        with self.lock:
            if not self._buffer:
                return b""
            self._buffer.clear()
            return self.apply_fault(self._refuse(1))

    def _next(self) -> bytes | None:
        """Remove one command from the buffer and return its reply; None while it is incomplete."""
        head = bytes(self._buffer)
        if head.startswith(ld4.HANDSHAKE):
            del self._buffer[: len(ld4.HANDSHAKE)]
            self._reset()
            return ld4.READY
        command = next((command for command in ld4.COMMANDS if head.startswith(command.code)), None)
        if command is None:
            beginnings = (ld4.HANDSHAKE, *(command.code for command in ld4.COMMANDS))
            if any(beginning.startswith(head) for beginning in beginnings):
                return None
            self._buffer.clear()  # the beginning of the next command is unknown
            return self._refuse(3)
        if len(head) < command.length:
            return None
        del self._buffer[: command.length]
        try:
            values = command.decode(head[: command.length])
        except ld4.FrameError:
            return self._refuse(1)
        if command in self._lacking:
            return self._refuse(2)
        answer = self._answers[command](*values)
        return command.encode_reply(*answer) if command.reply_length else b""

    def _refuse(self, code: int) -> bytes:
        return ld4.OLD_ERROR if self._old_errors else ld4.error_frame(code)

    def _reset(self) -> None:
        self._in_focal_power_mode = False
        self._unreachable = False
        self._power_steps = self._scale.steps(self.dynamics.model.neutral_power)
        self._drive(0.0)

    def _drive(self, drive: float) -> None:
        self.dynamics.command(self.dynamics.model.power(drive), self._clock())

    def _range(self) -> tuple[int, int]:
        if self._limits is None:
            return 0, 0
        model = self.dynamics.model
        return self._scale.steps(model.max_power), self._scale.steps(model.min_power)

    def _temperature(self) -> float:
        return self.dynamics.temperature_at(self._clock()) + self.heat

    def _status(self) -> int:
        status = self.fault_bits | (UNREACHABLE if self._unreachable else 0)
        temperature = self._temperature()
        if not SPECIFIED_TEMPERATURES[0] <= temperature <= SPECIFIED_TEMPERATURES[1]:
            status |= OUT_OF_SPECIFICATION
        if self._limits is None:
            return status | NO_LIMITS
        high, low = self._limits
        return status | (0 if low <= temperature / ld4.TEMPERATURE_UNIT <= high else OUT_OF_LIMITS)

    def _set_current(self, steps: int) -> tuple:
        if not self._in_focal_power_mode:
            self._drive(min(max(steps / ld4.CURRENT_STEPS, -1.0), 1.0))
        return ()

    def _current_mode(self) -> tuple:
        self._in_focal_power_mode = False
        return ()

    def _focal_power_mode(self) -> tuple:
        self._in_focal_power_mode = True
        return (self._status() & 0xFF, *self._range())

    def _temperature_limits(self, high: int, low: int) -> tuple:
        self._limits = high, low
        return (self._status() & 0xFF, *self._range())

    def _set_focal_power(self, steps: int) -> tuple:
        if self._in_focal_power_mode:
            greatest, least = self._range()
            self._power_steps = min(max(steps + round(self.stray * self._scale.STEPS_PER_DIOPTRE), least), greatest)
            self._unreachable = not least <= steps <= greatest
            model = self.dynamics.model
            power = self._scale.power(self._power_steps)
            self.dynamics.command(min(max(power, model.min_power), model.max_power), self._clock())
        return ()
