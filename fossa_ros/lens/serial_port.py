"""Find and open serial ports, and explain in one sentence why one cannot be opened."""

from __future__ import annotations

import errno
import re
import termios

import serial
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from fossa_ros.core.errors import InputError, LensError
from fossa_ros.lens.lock_holder import lock_holder

FAILURES = (OSError, termios.error)
"""What pyserial raises when a port fails: a pulled cable may be a termios.error, which is not an OSError."""
WRITE_TIMEOUT = 3.0  # seconds; pyserial takes a command that was sent late, on a busy machine, for one that was not
USB_ADDRESS = re.compile(r"usb:([0-9a-f]{4}):([0-9a-f]{4})(?::(.+))?", re.IGNORECASE)


def open_serial_port(port: str, baud_rate: int, timeout: float) -> serial.Serial:
    """Open ``port`` (8N1) for this process alone; reads give up after ``timeout`` seconds.

    Args:
        port: a device path, or ``usb:VID:PID`` or ``usb:VID:PID:SERIAL`` with hexadecimal ids, which stay the same when
            the lens is plugged in again.
        baud_rate: bits a second.
        timeout: seconds.

    Raises:
        InputError: an address that cannot be read.
        LensError: the port is absent, not permitted, in use, or not a serial port.
    """
    path = find_serial_port(port)
    try:
        # exclusive: locks out other programs that use pyserial or flock.
        return serial.Serial(path, baud_rate, timeout=timeout, write_timeout=WRITE_TIMEOUT, exclusive=True)
    except (*FAILURES, ValueError) as error:  # SerialException is an OSError
        raise LensError(_why_not(path, error)) from error


def serial_ports() -> list[ListPortInfo]:
    """Return the serial ports of this machine, by path."""
    return sorted(list_ports.comports(), key=lambda info: info.device)


def usb_address(info: ListPortInfo) -> str:
    """Return the address ``usb:VID:PID[:SERIAL]`` of a port; empty if it is not on USB."""
    if info.vid is None:
        return ""
    return f"usb:{info.vid:04x}:{info.pid:04x}" + (f":{info.serial_number}" if info.serial_number else "")


def find_serial_port(port: str) -> str:
    """Return the path of the port at an address; anything but a USB address is returned as it is.

    Raises:
        InputError: not an address, or several ports have it.
        LensError: no port has it.
    """
    if not port.lower().startswith("usb:"):
        return port
    address = USB_ADDRESS.fullmatch(port)
    if address is None:
        raise InputError(f"{port!r} is not a USB address; write usb:VID:PID or usb:VID:PID:SERIAL, ids in hexadecimal.")
    vendor, product, number = int(address[1], 16), int(address[2], 16), address[3]
    found = [
        info
        for info in serial_ports()
        if (info.vid, info.pid) == (vendor, product) and number in (None, info.serial_number)
    ]
    if not found:
        raise LensError(f"No serial port is at {port!r}; plug the lens in or set port to one of: {_present()}.")
    if len(found) > 1:
        several = ", ".join(f"{usb_address(info)} ({info.device})" for info in found)
        raise InputError(f"Several serial ports are at {port!r}; set port to one of: {several}.")
    return found[0].device


def _present() -> str:
    def described(info: ListPortInfo) -> str:
        words = ", ".join(filter(None, (usb_address(info), info.product)))
        return f"{info.device} ({words})" if words else info.device

    return ", ".join(described(info) for info in serial_ports()) or "none found"


def _why_not(port: str, error: Exception) -> str:
    match error.args[0] if isinstance(error, termios.error) else getattr(error, "errno", None):
        case errno.EACCES | errno.EPERM:
            return f"Port {port!r} may not be opened by this user; add the user to its group (dialout)."
        case errno.EAGAIN | errno.EBUSY:
            return f"Port {port!r} is in use by another program ({lock_holder(port)}); close it or set another port."
        case errno.ENOENT | errno.ENXIO | errno.ENODEV | errno.EIO:  # EIO: it is being unplugged
            return f"Port {port!r} does not exist; plug the lens in or set port to one that does: {_present()}."
    return f"Port {port!r} is not a usable serial port ({error}); set port to the lens's serial device."
