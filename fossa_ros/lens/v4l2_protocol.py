"""The V4L2 controls of a camera's focus: request numbers, structures, control ids.

Source: the Linux kernel's userspace interface, linux/videodev2.h and linux/v4l2-controls.h; a test compares every
number and size with these headers if a C compiler and the headers are present.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

CAPABILITY = struct.Struct("=16s32s32sIII12x")  # driver, card, bus_info, version, capabilities, device_caps
CONTROL = struct.Struct("=Ii")  # id, value
QUERY = struct.Struct("=II32siiiiI8x")  # id, type, name, minimum, maximum, step, default, flags

_WRITE, _READ = 1, 2  # directions of an ioctl, from the view of the user


def _request(direction: int, number: int, size: int) -> int:
    """Return the request number that asm-generic/ioctl.h makes of its parts, for the type 'V'."""
    return direction << 30 | size << 16 | ord("V") << 8 | number


QUERYCAP = _request(_READ, 0, CAPABILITY.size)
G_CTRL = _request(_READ | _WRITE, 27, CONTROL.size)
S_CTRL = _request(_READ | _WRITE, 28, CONTROL.size)
QUERYCTRL = _request(_READ | _WRITE, 36, QUERY.size)

FOCUS_ABSOLUTE = 0x009A090A
FOCUS_AUTO = 0x009A090C

DISABLED, READ_ONLY = 0x0001, 0x0004  # flags of QUERY
INACTIVE = 0x0010  # has no effect while another control, the automatic one, is on


@dataclass(frozen=True)
class ControlRange:
    """The range of a control.

    Attributes:
        name: given by the driver.
        least, greatest, step: of its value.
        flags: DISABLED, READ_ONLY, INACTIVE among others.
    """

    name: str
    least: int
    greatest: int
    step: int
    flags: int

    @classmethod
    def decode(cls, data: bytes) -> ControlRange:
        """Return the answer to QUERYCTRL."""
        _, _, name, least, greatest, step, _, flags = QUERY.unpack(data)
        return cls(text(name), least, greatest, step, flags)


def text(field: bytes) -> str:
    """Return the text of a fixed-width field that ends with a zero byte."""
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")
