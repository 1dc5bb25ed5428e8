"""Corning Varioptic USB-M driver, for electrowetting lenses such as A-25H and A-39N."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from fossa_ros.core.errors import InputError, LensError
from fossa_ros.lens import usbm_protocol as usbm
from fossa_ros.lens.command_lens import CommandLens, LensReading
from fossa_ros.lens.lens import CommandRange, SettlingModel
from fossa_ros.lens.usbm_line import UsbMLine


class VariopticUsbM(CommandLens):
    """Drive the lens by its voltage. The focal power at a voltage differs between lenses: it needs a calibration."""

    backend = "varioptic_usbm"
    usb_ids = (usbm.USB_ID,)

    def __init__(
        self,
        port: str,
        *,
        clock: Callable[[], int] = time.time_ns,
        settling: float = 0.025,
        timeout: float = 0.5,
    ):
        """Open ``port`` and verify that a USB-M answers; its output is unchanged until the first move.

        Args:
            port: serial device or USB address, for example ``usb:10c4:ea60``.
            clock: returns nanoseconds on the clock that stamps the images.
            settling: seconds from the acknowledged command until the lens stands still.
            timeout: seconds that any one reply may take.

        Raises:
            InputError: an option that cannot be used.
            LensError: no such port, or no driver behind it.
        """
        if not 0 < timeout < math.inf:
            raise InputError(f"timeout must be a positive number of seconds, not {timeout}.")
        super().__init__(clock)
        settles = SettlingModel(settling)
        self._line = UsbMLine(port, timeout)
        try:
            self._line.shake_hands()
            greatest = usbm.voltage_of(usbm.GREATEST_COUNT)
            self._set_capabilities(
                f"Corning Varioptic USB-M at {port}",
                CommandRange("voltage", "V", usbm.LEAST_VOLTAGE, greatest, usbm.VOLTAGE_STEP),
                settles,
            )
        except BaseException:
            self._line.close()
            raise

    def _command(self, value: float) -> float:
        count = usbm.count_of(value)
        self._write_focus(count)
        return usbm.voltage_of(count)

    def _read(self) -> LensReading:
        least, greatest, _, mode = self._line.exchange(usbm.Read(usbm.FOCUS_LSB, 4))
        (fault,) = self._line.exchange(usbm.Read(usbm.FAULT, 1))
        voltage = usbm.voltage_of(least | greatest << 8)
        faults = [f"fault register 0x{fault:02x}"] if fault else []
        if self._held is not None and mode & usbm.ANALOG:
            faults.append("follows its analog input")
            voltage = math.nan  # the registers do not hold the output
        return LensReading(voltage, faults=tuple(faults))

    def _rest(self) -> None:
        """Go to the least voltage; the driver cannot switch its output off."""
        self._write_focus(0)

    def _write_focus(self, count: int) -> None:
        if not 0 <= count <= usbm.GREATEST_COUNT:
            raise LensError(f"Count {count} is outside the lens driver's range of 0 to {usbm.GREATEST_COUNT}.")
        # In one frame: the output follows when the second byte is written.
        self._line.exchange(usbm.Write(usbm.FOCUS_LSB, count.to_bytes(2, "little")))

    def _free(self) -> None:
        self._line.close()

    @property
    def _is_open(self) -> bool:
        return self._line.is_open
