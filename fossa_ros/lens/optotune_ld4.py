"""Optotune Lens Driver 4 and 4i, for liquid lenses such as the EL-10-30 and EL-16-40."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence

from fossa_ros.core.errors import InputError, LensError
from fossa_ros.lens import ld4_protocol as ld4
from fossa_ros.lens.command_lens import CommandLens, LensReading
from fossa_ros.lens.fixed_optics import FixedOptics
from fossa_ros.lens.ld4_line import Ld4Line
from fossa_ros.lens.lens import CommandRange, SettlingModel

LOG = logging.getLogger(__name__)
UNUSABLE = 0b11  # status bits without which there is no focal power: no lens, or its memory unread
CONTROLS = ("focal_power", "current")


class OptotuneLd4(CommandLens):
    """Drive the lens in focal-power mode, where the driver compensates temperature, or by its current.

    In focal-power mode the focus distance d of the whole optics follows 1/d = power + power_offset: the fixed optics
    are focused at ``power_offset`` dioptres while the tunable lens is flat. The current has no such relation and needs
    a calibration.
    """

    backend = "optotune_ld4"
    usb_ids = (ld4.USB_ID,)

    def __init__(
        self,
        port: str,
        *,
        clock: Callable[[], int] = time.time_ns,
        power_offset: float = 0.0,
        control: str = "focal_power",
        temperature_limits: Sequence[float] = (20.0, 45.0),
        settling: float = 0.018,
        timeout: float = 0.5,
    ):
        """Open ``port``, shake hands and enter the mode; the lens is at rest until the first move.

        Args:
            port: serial device, for example ``/dev/ttyACM0``.
            clock: returns nanoseconds on the clock that stamps the images.
            power_offset: dioptres that the fixed optics add to the lens's power; not allowed with ``current``.
            control: ``focal_power`` (D) or ``current`` (mA).
            temperature_limits: low and high degC between which the driver guarantees its range of focal power; wider
                limits give a narrower range.
            settling: seconds from the acknowledged command until the lens stands still.
            timeout: seconds that any one reply may take.

        Raises:
            InputError: an option that cannot be used.
            LensError: no such port, no lens driver behind it, or no lens on the driver.
        """
        limits = _checked_limits(temperature_limits)
        if control not in CONTROLS:
            raise InputError(f"control must be one of {', '.join(CONTROLS)}, not {control!r}.")
        if not 0 < timeout < math.inf:
            raise InputError(f"timeout must be a positive number of seconds, not {timeout}.")
        optics = FixedOptics(float(power_offset))
        if control == "current" and power_offset:
            raise InputError("power_offset belongs to focal powers; leave it out with control 'current'.")
        super().__init__(clock, optics if control == "focal_power" else None)
        self._by_current = control == "current"
        self._in_mode = False
        settles = SettlingModel(settling)
        self._line = Ld4Line(port, timeout)
        try:
            self._connect(*limits, settles)
        except BaseException:
            self._line.close()
            raise

    def _command(self, value: float) -> float:
        if not self._in_mode:
            self._enter_mode()
        return self._command_current(value) if self._by_current else self._command_power(value)

    def _command_power(self, power: float) -> float:
        steps = self._scale.steps(power)
        self._line.command(ld4.SET_FOCAL_POWER, steps)
        (held,) = self._line.query(ld4.FOCAL_POWER)  # a matching value proves that the driver acted on it
        if held != steps:
            self._in_mode = False  # as after a reset; the next move enters it again
            raise LensError(
                f"The lens at {self._line.name!r} was commanded to {self._scale.power(steps):.3f} D but holds "
                f"{self._scale.power(held):.3f} D; check its temperature and that nothing else drives it."
            )
        return self._scale.power(steps)

    def _command_current(self, current: float) -> float:
        steps = round(current / self._max_current * ld4.CURRENT_STEPS)
        self._line.command(ld4.SET_CURRENT, steps)
        self._line.query(ld4.STATUS)  # if the current was refused, this raises LensError
        return steps / ld4.CURRENT_STEPS * self._max_current

    def _read(self) -> LensReading:
        command = math.nan if self._held is None else self._held  # a current cannot be read back
        if self._held is not None and not self._by_current:
            command = self._scale.power(self._line.query(ld4.FOCAL_POWER)[0])
        (temperature,) = self._line.query(ld4.TEMPERATURE)
        (status,) = self._line.query(ld4.STATUS)
        return LensReading(command, temperature * ld4.TEMPERATURE_UNIT, ld4.status_words(status))

    def _rest(self) -> None:
        """Switch to current mode at 0 mA.

        At zero dioptres the driver would still apply a current to compensate temperature, which heats the lens. Without
        current the lens is flat and cold, as after the handshake.
        """
        self._in_mode = False
        self._line.query(ld4.CURRENT_MODE)
        self._line.command(ld4.SET_CURRENT, 0)
        self._line.query(ld4.STATUS)  # if the current was refused, this raises LensError

    def _free(self) -> None:
        self._line.close()

    @property
    def _is_open(self) -> bool:
        return self._line.is_open

    def _connect(self, low: float, high: float, settling: SettlingModel) -> None:
        line = self._line
        line.shake_hands()
        letter = line.query(ld4.FIRMWARE_TYPE)[0].decode("ascii", "backslashreplace")
        try:
            self._scale = ld4.PowerScale.of(letter)
        except KeyError:
            raise LensError(
                f"The lens driver at {line.name!r} has firmware type {letter!r}, whose scale of focal power "
                "is not known; use one of type A to F or H."
            ) from None
        self._max_current: float = line.query(ld4.MAX_CURRENT)[0] * ld4.MAX_CURRENT_UNIT
        if self._max_current <= 0:
            raise LensError(f"The lens driver at {line.name!r} allows no current; check the lens and its cable.")
        self._limits = tuple(round(limit / ld4.TEMPERATURE_UNIT) for limit in (high, low))
        self._enter_mode()
        firmware = f"{letter} {self._version()}"
        self._set_capabilities(
            f"Optotune Lens Driver 4, firmware {firmware}, {self._max_current:.0f} mA",
            self._current_range() if self._by_current else self._power_range,
            settling,
            measures_temperature=True,  # no position: only the set-point can be read back
            firmware=firmware,
        )

    def _version(self) -> str:
        try:
            return ".".join(str(number) for number in self._line.query(ld4.FIRMWARE_VERSION))
        except LensError as error:  # for people only, and not every firmware has the command
            LOG.info("The firmware does not report its version: %s", error)
            return "of unknown version"

    def _enter_mode(self) -> None:
        # Limits first, also after a reset: without them the driver has no range.
        self._line.query(ld4.TEMPERATURE_LIMITS, *self._limits)
        if self._by_current:
            self._line.query(ld4.CURRENT_MODE)
            self._check_usable(self._line.query(ld4.STATUS)[0])
        else:
            self._power_range = self._enter_focal_power_mode()
        self._in_mode = True

    def _enter_focal_power_mode(self) -> CommandRange:
        status, greatest, least = self._line.query(ld4.FOCAL_POWER_MODE)
        self._check_usable(status)
        least, greatest = self._scale.power(least), self._scale.power(greatest)
        if greatest <= least:
            raise LensError(
                f"The lens driver at {self._line.name!r} reports no range of focal power "
                f"({least:g} to {greatest:g} D); bring temperature_limits closer together."
            )
        return CommandRange("focal power", "D", least, greatest, 1.0 / self._scale.STEPS_PER_DIOPTRE)

    def _check_usable(self, status: int) -> None:
        if status & UNUSABLE:
            raise LensError(
                f"The lens driver at {self._line.name!r} reports: {', '.join(ld4.status_words(status))}; "
                "check the lens and its cable."
            )

    def _current_range(self) -> CommandRange:
        most = self._max_current
        return CommandRange("current", "mA", -most, most, most / ld4.CURRENT_STEPS)


def _checked_limits(limits: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        low = high = math.nan
    if not -273.0 <= low < high <= 1000.0:
        raise InputError(f"temperature_limits must be two increasing temperatures in degC, not {limits!r}.")
    return low, high
