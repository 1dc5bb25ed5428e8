"""The protocol of the Optotune Lens Driver 4 and 4i: frames, checksum, commands, units.

Source: Optotune, "Lens Driver 4 manual" (2019), command reference. A command is its code and arguments
followed by a CRC; a reply is an echo and fields followed by a CRC and CR LF. Integers are big-endian, the CRC
is sent low byte first. Fields may contain any byte, also 0x0A: replies are read by length, not by line.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

BAUD_RATE = 115200
USB_ID = "03eb:2018"
HANDSHAKE = b"Start"  # no CRC; also zeroes the current
READY = b"Ready\r\n"
LINE_END = b"\r\n"
CRC_LENGTH = 2

CURRENT_STEPS = 4095  # set-points from -4095 to 4095 span plus and minus the maximum current
MAX_CURRENT_UNIT = 0.01  # mA
TEMPERATURE_UNIT = 0.0625  # degC, of the thermometer and of the temperature limits (1/16)

STATUS_WORDS = (  # bit 0 first
    "no lens connected",
    "lens memory cannot be read",
    "no temperature limits set",
    "focal power cannot be reached",
    "focal power is inverted",
    "temperature outside the lens's specification",
    "focal power outside the guaranteed range",
    "temperature outside the limits set",
)
ERROR_WORDS = {
    1: "the check sum was wrong",
    2: "the command is not in this firmware",
    3: "the command is unknown",
    4: "the lens is not compatible with the command",
}
ERROR_LENGTH = 6
OLD_ERROR = b"N\r\n"  # the only error of 2013's firmware


class FrameError(Exception):
    """Bytes that are not the expected frame; the message says why."""


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
        table.append(value)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc16(data: bytes) -> int:
    """Return the CRC-16/ARC of ``data``: polynomial 0x8005 reflected (0xA001), initial value 0."""
    crc = 0
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


def frame(payload: bytes) -> bytes:
    """Append the CRC to ``payload``, low byte first."""
    return payload + crc16(payload).to_bytes(CRC_LENGTH, "little")


def unframe(data: bytes) -> bytes:
    """Check and remove the CRC at the end of ``data``.

    Raises:
        FrameError: too short, or another CRC.
    """
    payload, crc = data[:-CRC_LENGTH], data[-CRC_LENGTH:]
    if not payload or int.from_bytes(crc, "little") != crc16(payload):
        raise FrameError("a wrong check sum")
    return payload


def error_frame(code: int) -> bytes:
    """Return the reply to a command that was refused."""
    return frame(b"E" + bytes([code])) + LINE_END


def decode_error(reply: bytes) -> int:
    """Return the code of an error reply.

    Raises:
        FrameError: these bytes are not an error reply.
    """
    payload = _unreply(reply, ERROR_LENGTH)
    if payload[:1] != b"E":
        raise FrameError("no error reply")
    return payload[1]


@dataclass(frozen=True)
class Command:
    """One row of the command table.

    Attributes:
        code: what the command begins with.
        arguments: struct format of the bytes after the code.
        echo: what the reply begins with. Only its first byte is checked: descriptions of the protocol differ
            in the others.
        fields: struct format of the bytes after the echo, None for a command that is not answered.
    """

    code: bytes
    arguments: str
    echo: bytes = b""
    fields: str | None = None

    @property
    def length(self) -> int:
        """Bytes of the whole command, CRC included."""
        return len(self.code) + struct.calcsize(self.arguments) + CRC_LENGTH

    @property
    def reply_length(self) -> int:
        """Bytes of the whole reply, CRC and line end included; 0 without a reply."""
        if self.fields is None:
            return 0
        return len(self.echo) + struct.calcsize(self.fields) + CRC_LENGTH + len(LINE_END)

    def encode(self, *values: float) -> bytes:
        """Return the command as sent."""
        return frame(self.code + struct.pack(self.arguments, *values))

    def decode(self, data: bytes) -> tuple[Any, ...]:
        """Return the arguments of a received command.

        Raises:
            FrameError: wrong code, length or CRC.
        """
        if not data.startswith(self.code) or len(data) != self.length:
            raise FrameError("another command or length")
        return struct.unpack(self.arguments, unframe(data)[len(self.code) :])

    def encode_reply(self, *values: float) -> bytes:
        """Return the reply as sent, of a command that has one."""
        assert self.fields is not None
        return frame(self.echo + struct.pack(self.fields, *values)) + LINE_END

    def decode_reply(self, reply: bytes) -> tuple[Any, ...]:
        """Return the fields of a received reply.

        Raises:
            FrameError: wrong length, line end, CRC or echo.
        """
        assert self.fields is not None
        payload = _unreply(reply, self.reply_length)
        if payload[:1] != self.echo[:1]:
            raise FrameError("the reply to another command")
        return struct.unpack(self.fields, payload[len(self.echo) :])


def _unreply(reply: bytes, length: int) -> bytes:
    if len(reply) != length:
        raise FrameError(f"{len(reply)} of {length} bytes")
    if not reply.endswith(LINE_END):
        raise FrameError("no line end")
    return unframe(reply[: -len(LINE_END)])


FIRMWARE_TYPE = Command(b"H", "", b"H", ">c")
FIRMWARE_VERSION = Command(b"V", "", b"V", ">BBHH")  # major, minor, build, revision
MAX_CURRENT = Command(b"CrMA\0\0", "", b"CMA", ">H")  # MAX_CURRENT_UNIT
SET_CURRENT = Command(b"Aw", ">h")  # current / maximum current * CURRENT_STEPS
CURRENT_MODE = Command(b"MwDA", "", b"MDA", ">")
FOCAL_POWER_MODE = Command(b"MwCA", "", b"MCA", ">Bhh")  # status, greatest and least power
TEMPERATURE_LIMITS = Command(b"PwTA", ">hh", b"PT", ">Bhh")  # high, low -> status, greatest and least power
SET_FOCAL_POWER = Command(b"PwDA", ">hxx")
FOCAL_POWER = Command(b"PrDA\0\0\0\0", "", b"PD", ">h")
TEMPERATURE = Command(b"TCA", "", b"TCA", ">h")  # TEMPERATURE_UNIT
STATUS = Command(b"Sr", "", b"S", ">I")

COMMANDS = (
    FIRMWARE_TYPE,
    FIRMWARE_VERSION,
    MAX_CURRENT,
    SET_CURRENT,
    CURRENT_MODE,
    FOCAL_POWER_MODE,
    TEMPERATURE_LIMITS,
    SET_FOCAL_POWER,
    FOCAL_POWER,
    TEMPERATURE,
    STATUS,
)


@dataclass(frozen=True)
class PowerScale:
    """Focal powers on the wire: steps = (power + shift) * 200, power in dioptres."""

    shift: float

    STEPS_PER_DIOPTRE = 200

    @classmethod
    def of(cls, firmware_type: str) -> PowerScale:
        """Return the scale of a firmware type.

        Raises:
            KeyError: a firmware type whose scale is not known.
        """
        return cls({"A": 5.0, "B": 0.0, "C": 0.0, "D": 0.0, "E": 0.0, "F": 0.0, "H": 0.0}[firmware_type])

    def steps(self, power: float) -> int:
        """Return the nearest step to a power in dioptres."""
        return round((power + self.shift) * self.STEPS_PER_DIOPTRE)

    def power(self, steps: int) -> float:
        """Return the power of a step in dioptres."""
        return steps / self.STEPS_PER_DIOPTRE - self.shift


def status_words(status: int) -> tuple[str, ...]:
    """Return the faults of a status in words; bits of unknown meaning are omitted."""
    return tuple(word for bit, word in enumerate(STATUS_WORDS) if status >> bit & 1)
