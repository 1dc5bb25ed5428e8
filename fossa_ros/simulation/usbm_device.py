"""A simulated Varioptic USB-M that follows the user guide strictly."""

from __future__ import annotations

import time
from collections.abc import Callable

from fossa_ros.lens import usbm_protocol as usbm
from fossa_ros.simulation.lens_dynamics import LensDynamics
from fossa_ros.simulation.serial_device import SerialDevice

REGISTERS = 0x10


class SimulatedUsbM(SerialDevice):
    """The device at the far end of the line: ``feed`` returns the replies to received bytes.

    A wrong sum, an unknown command, registers beyond the last and a voltage beyond the range are answered by NACK.
    Assumption: this holds for reads as well, which the guide does not document. Bytes before STX are skipped, and a
    frame whose rest does not arrive is dropped without a reply.

    Attributes:
        dynamics: the lens.
        registers: what a read returns.
        eeprom_writes: how often the register that wears out was written.
    """

    def __init__(
        self,
        dynamics: LensDynamics,
        clock: Callable[[], int] = time.time_ns,
        *,
        curve: Callable[[float], float] | None = None,
    ):
        """Connect a driver to a lens.

        Args:
            dynamics: the lens; at rest until the first voltage is written, because the analog input is at its minimum.
            clock: returns nanoseconds on the time base of ``dynamics``.
            curve: returns the dioptres at a voltage, within the range of ``dynamics``; None for a straight line over
                that range, unlike a real lens.
        """
        super().__init__()
        self.dynamics = dynamics
        self.registers = bytearray(REGISTERS)
        self.registers[usbm.MODE] = usbm.ANALOG
        self.eeprom_writes = 0
        self._clock = clock
        self._curve = curve or self._straight_line
        self._buffer = b""

    @property
    def incomplete(self) -> bool:
        """Whether part of a frame has arrived."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> bytes:
        """Receive bytes and return the replies to the frames they complete."""
        with self.lock:
            self._buffer += data
            replies = []
            while (reply := self._next()) is not None:
                replies.append(reply)
            return b"".join(self.apply_fault(reply) for reply in replies)

    def on_silence(self) -> bytes:
        """Drop an incomplete frame whose rest does not arrive."""
        with self.lock:
            self._buffer = b""
            return b""

    def _next(self) -> bytes | None:
        """Remove one frame from the buffer and return its reply; None while it is incomplete."""
        start = self._buffer.find(usbm.STX)
        self._buffer = self._buffer[start:] if start >= 0 else b""
        head = self._buffer
        if len(head) < 2:
            return None
        if head[1] not in (usbm.READ, usbm.WRITE):
            self._buffer = head[1:]
            return usbm.REFUSED
        if len(head) < 4:
            return None
        length = 5 + (head[3] if head[1] == usbm.WRITE else 0)
        if len(head) < length:
            return None
        self._buffer = head[length:]
        try:
            kind, address, count, *data = usbm.unframe(head[:length])
        except usbm.FrameError:
            return usbm.REFUSED
        if count == 0 or address + count > REGISTERS:
            return usbm.REFUSED
        if kind == usbm.READ:
            return usbm.frame(usbm.READ, *self.registers[address : address + count])
        return self._write(address, bytes(data))

    def _write(self, address: int, data: bytes) -> bytes:
        registers = bytearray(self.registers)
        registers[address : address + len(data)] = data
        written = range(address, address + len(data))
        count = int.from_bytes(registers[usbm.FOCUS_LSB : usbm.FOCUS_MSB + 1], "little")
        if usbm.FOCUS_MSB in written:
            if count > usbm.GREATEST_COUNT:
                return usbm.REFUSED
            registers[usbm.MODE] &= ~usbm.ANALOG
            self.dynamics.command(self._curve(usbm.voltage_of(count)), self._clock())
        self.eeprom_writes += usbm.EEPROM in written
        self.registers = registers
        return usbm.ACKNOWLEDGED

    def _straight_line(self, voltage: float) -> float:
        model = self.dynamics.model
        share = usbm.count_of(voltage) / usbm.GREATEST_COUNT
        return model.min_power + share * (model.max_power - model.min_power)
