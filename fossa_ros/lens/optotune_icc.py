"""Optotune ICC-1C and ICC-4C in Simple Mode, for liquid lenses such as the EL-16-40."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from fossa_ros.core.errors import InputError, LensError
from fossa_ros.lens import icc_protocol as icc
from fossa_ros.lens.command_lens import CommandLens, LensReading
from fossa_ros.lens.fixed_optics import FixedOptics
from fossa_ros.lens.icc_line import IccLine
from fossa_ros.lens.lens import CommandRange, SettlingModel

LOG = logging.getLogger(__name__)
STEP = 0.001  # dioptres: the last decimal of a command


class OptotuneIcc(CommandLens):
    """Drive the lens by its focal power; the driver compensates temperature.

    The focus distance d of the whole optics follows 1/d = power + power_offset.
    """

    backend = "optotune_icc"
    usb_ids = (icc.USB_ID,)
    tolerance = 0.02  # dioptres: a reading may be rounded

    def __init__(
        self,
        port: str,
        *,
        clock: Callable[[], int] = time.time_ns,
        power_offset: float = 0.0,
        settling: float = 0.018,
        timeout: float = 0.5,
    ):
        """Open ``port``, shake hands and read the range; the lens keeps its position until the first move.

        Args:
            port: serial device or USB address, for example ``usb:0483:a31e``.
            clock: returns nanoseconds on the clock that stamps the images.
            power_offset: dioptres that the fixed optics add to the lens's power.
            settling: seconds from the acknowledged command until the lens stands still.
            timeout: seconds that any one reply may take.

        Raises:
            InputError: an option that cannot be used.
            LensError: no such port, no driver behind it, or no lens on the driver.
        """
        if not 0 < timeout < math.inf:
            raise InputError(f"timeout must be a positive number of seconds, not {timeout}.")
        super().__init__(clock, FixedOptics(float(power_offset)))
        settles = SettlingModel(settling)
        self._line = IccLine(port, timeout)
        try:
            self._line.shake_hands()
            self._measures_temperature = self._can(icc.TEMPERATURE)
            self._set_capabilities(
                f"Optotune ICC in Simple Mode at {port}",
                self._power_range(),
                settles,
                measures_temperature=self._measures_temperature,
            )
        except BaseException:
            self._line.close()
            raise

    def _command(self, value: float) -> float:
        power = round(value, icc.SET_POWER.decimals)
        self._exchange(icc.SET_POWER, power)  # the reply, OK, means that the device has acted on it
        return power

    def _read(self) -> LensReading:
        power = self._ask(icc.POWER)
        return LensReading(power, self._ask(icc.TEMPERATURE) if self._measures_temperature else None)

    def _rest(self) -> None:
        """Set the current to zero; a firmware without that command goes to the power nearest to zero instead."""
        if not self._can(icc.SET_CURRENT, 0.0):
            span = self.capabilities.command
            self._exchange(icc.SET_POWER, min(max(0.0, span.least), span.greatest))

    def _free(self) -> None:
        self._line.close()

    @property
    def _is_open(self) -> bool:
        return self._line.is_open

    def _power_range(self) -> CommandRange:
        least = round(self._ask(icc.LEAST_POWER) + icc.MARGIN, icc.SET_POWER.decimals)
        greatest = round(self._ask(icc.GREATEST_POWER) - icc.MARGIN, icc.SET_POWER.decimals)
        if greatest <= least:
            raise LensError(
                f"The lens driver at {self._line.name!r} reports no range of focal power "
                f"({least:g} to {greatest:g} D); check the lens and its cable."
            )
        return CommandRange("focal power", "D", least, greatest, STEP)

    def _can(self, command: icc.Query | icc.Order, *value: float) -> bool:
        """Return whether a command succeeds that some firmware may lack; its answer is then unknown."""
        try:
            self._line.exchange(command, *value)
        except (icc.Refusal, LensError) as answer:
            LOG.info("The lens driver does not support %s: %s", command.word, answer)
            return False
        return True

    def _ask(self, query: icc.Query) -> float:
        number = self._exchange(query)
        assert number is not None  # only an order is answered OK
        return number

    def _exchange(self, command: icc.Query | icc.Order, *value: float) -> float | None:
        try:
            return self._line.exchange(command, *value)
        except icc.Refusal as word:
            shown = command.word + "".join(f"{number:g}" for number in value)
            raise LensError(
                f"The lens driver at {self._line.name!r} answered {shown} with {word}: "
                f"{icc.REFUSALS[str(word)]}; check the lens, its cable and its temperature."
            ) from None
