"""Open serial ports and say in one sentence why one cannot be opened."""

from __future__ import annotations

import errno

import serial
from serial.tools import list_ports

from fossa_ros.errors import LensError


def open_serial_port(port: str, baud_rate: int, timeout: float) -> serial.Serial:
    """Open ``port`` (8N1) for this process alone; reads and writes give up after ``timeout`` seconds.

    Raises:
        LensError: the port is absent, not permitted, in use, or not a serial port.
    """
    try:
        return serial.Serial(port, baud_rate, timeout=timeout, write_timeout=timeout, exclusive=True)
    except (OSError, ValueError) as error:  # SerialException is an OSError
        raise LensError(_why_not(port, error)) from error


def _why_not(port: str, error: Exception) -> str:
    match getattr(error, "errno", None):
        case errno.EACCES | errno.EPERM:
            return f"Port {port!r} may not be opened by this user; add the user to its group (dialout)."
        case errno.EAGAIN | errno.EBUSY:
            return f"Port {port!r} is in use by another program; close that program or set another port."
        case errno.ENOENT | errno.ENXIO | errno.ENODEV:
            found = ", ".join(sorted(info.device for info in list_ports.comports())) or "none"
            return f"Port {port!r} does not exist; plug the lens in or set port to one that does: {found}."
    return f"Port {port!r} is no usable serial port ({error}); set port to the lens's serial device."


def hex_excerpt(data: bytes, limit: int = 16) -> str:
    """Write bytes as hexadecimal for a message, shortened to the first ``limit``."""
    if not data:
        return "nothing"
    return data[:limit].hex(" ") + (f" ... ({len(data)} bytes)" if len(data) > limit else "")
