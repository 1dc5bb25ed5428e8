"""The protocol of the Corning Varioptic USB-M lens driver: register frames with a sum over all bytes.

Source: Corning, "Flexiboard user guide" (2019). Every frame begins with STX and a command and ends with the sum of all
bytes before, modulo 256. Data may be any byte, also 0x0A: frames are read by length.
"""

from __future__ import annotations

from dataclasses import dataclass

BAUD_RATE = 57600
USB_ID = "10c4:ea60"  # a CP2102 bridge: other devices have the same one
STX, WRITE, READ, ACK, NACK = 0x02, 0x37, 0x38, 0x06, 0x15
OVERHEAD = 3  # bytes of a read reply around its data: STX, command, sum

FOCUS_LSB, FOCUS_MSB, EEPROM, MODE, FAULT = 0x00, 0x01, 0x02, 0x03, 0x0A  # registers
ANALOG = 0b10  # bit of MODE, set at power-up: the output follows the analog input; writing FOCUS_MSB clears it
# The output follows FOCUS_LSB and FOCUS_MSB when the latter is written, so both are written in one frame. EEPROM wears
# out with every write: it is never written here.

LEAST_VOLTAGE = 24.0  # V (rms) at count 0
VOLTAGE_STEP = 0.001  # V per count
GREATEST_COUNT = 0xB3B0


class FrameError(Exception):
    """Bytes that are not the expected frame; the message says why."""


class Refusal(Exception):
    """The device answered NACK."""


def frame(*content: int) -> bytes:
    """Return STX, ``content`` and the sum."""
    data = bytes((STX, *content))
    return data + bytes([sum(data) & 0xFF])


def unframe(data: bytes) -> bytes:
    """Return what is between STX and the sum.

    Raises:
        FrameError: no STX at the beginning, or a wrong sum.
    """
    if len(data) < 3 or data[0] != STX:
        raise FrameError("no frame")
    if sum(data[:-1]) & 0xFF != data[-1]:
        raise FrameError("a wrong check sum")
    return data[1:-1]


ACKNOWLEDGED, REFUSED = frame(WRITE, ACK), frame(WRITE, NACK)


@dataclass(frozen=True)
class Write:
    """Write bytes to registers from ``address`` on; answered by ACK or NACK."""

    address: int
    data: bytes

    @property
    def reply_length(self) -> int:
        """Bytes of the whole reply."""
        return len(ACKNOWLEDGED)

    def encode(self) -> bytes:
        """Return the command as sent."""
        return frame(WRITE, self.address, len(self.data), *self.data)

    def decode_reply(self, reply: bytes) -> bytes:
        """Return nothing for ACK; raises Refusal or FrameError."""
        _check_length(reply, self.reply_length)
        unframe(reply)
        if reply == REFUSED:
            raise Refusal
        if reply != ACKNOWLEDGED:
            raise FrameError("the reply to another command")
        return b""


@dataclass(frozen=True)
class Read:
    """Read ``count`` registers from ``address`` on."""

    address: int
    count: int

    @property
    def reply_length(self) -> int:
        """Bytes of the whole reply."""
        return self.count + OVERHEAD

    def encode(self) -> bytes:
        """Return the command as sent."""
        return frame(READ, self.address, self.count)

    def decode_reply(self, reply: bytes) -> bytes:
        """Return the registers; raises Refusal or FrameError."""
        if reply == REFUSED:
            raise Refusal
        _check_length(reply, self.reply_length)
        content = unframe(reply)
        if content[0] != READ:
            raise FrameError("the reply to another command")
        return content[1:]


def _check_length(reply: bytes, length: int) -> None:
    if len(reply) != length:
        raise FrameError(f"{len(reply)} of {length} bytes")


def count_of(voltage: float) -> int:
    """Return the nearest count to a voltage (V rms)."""
    return round((voltage - LEAST_VOLTAGE) / VOLTAGE_STEP)


def voltage_of(count: int) -> float:
    """Return the voltage (V rms) of a count."""
    return LEAST_VOLTAGE + count * VOLTAGE_STEP
