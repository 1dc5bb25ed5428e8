"""The serial number of the USB device behind a port."""

from __future__ import annotations

import os
from pathlib import Path

from fossa_ros.core.errors import FossaError
from fossa_ros.lens.serial_port import find_serial_port

SYSFS = Path("/sys")


def usb_serial_number(port: str) -> str:
    """Return the serial number of the USB device that a serial port or camera belongs to; empty if it has none.

    Args:
        port: as ``lens.port`` takes it: a device path or a USB address.
    """
    try:
        device = os.stat(find_serial_port(port)).st_rdev
        node = (SYSFS / "dev" / "char" / f"{os.major(device)}:{os.minor(device)}").resolve(strict=True)
        # The character device lies below its interface, and that below the USB device, which alone has ids.
        usb = next((folder for folder in node.parents if (folder / "idVendor").is_file()), None)
        return "" if usb is None else (usb / "serial").read_text().strip()
    except (OSError, FossaError):
        return ""
