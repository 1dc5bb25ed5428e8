"""Optotune Lens Driver 4 and 4i, for the liquid lenses EL-10-30, EL-16-40 and their kin."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence

from fossa_ros.errors import InputError, LensError
from fossa_ros.lens import ld4_protocol as ld4
from fossa_ros.lens.ld4_line import Ld4Line
from fossa_ros.lens.lens import LensCapabilities, LensMove, LensState
from fossa_ros.optics import dioptres, metres

LOG = logging.getLogger(__name__)
UNUSABLE = 0b11  # status bits without which there is no focal power: no lens, or its memory unread


class OptotuneLd4:
    """Drive the lens in focal-power mode, where the driver compensates temperature.

    The focus distance d of the whole optics follows 1/d = power + power_offset: a tunable lens against fixed
    optics that are focused at ``power_offset`` dioptres while the lens is flat.
    """

    backend = "optotune_ld4"

    def __init__(
        self,
        port: str,
        *,
        clock: Callable[[], int] = time.time_ns,
        power_offset: float = 0.0,
        temperature_limits: Sequence[float] = (20.0, 45.0),
        timeout: float = 0.5,
    ):
        """Open ``port``, shake hands and enter focal-power mode; the lens is at rest until the first move.

        Args:
            port: serial device, for example ``/dev/ttyACM0``.
            clock: gives nanoseconds on the clock that stamps images.
            power_offset: dioptres that the fixed optics add to the lens's power.
            temperature_limits: low and high degC between which the driver is to guarantee its range of focal
                power; a wider span narrows the range.
            timeout: seconds that any one reply may take.

        Raises:
            InputError: an option that cannot be used.
            LensError: no such port, no lens driver behind it, or no lens on the driver.
        """
        low, high = _checked_limits(temperature_limits)
        if not math.isfinite(power_offset):
            raise InputError(f"power_offset must be a finite number of dioptres, not {power_offset}.")
        if not 0 < timeout < math.inf:
            raise InputError(f"timeout must be a positive number of seconds, not {timeout}.")
        self._clock = clock
        self._offset = float(power_offset)
        self._lock = threading.RLock()
        self._in_focal_power_mode = False
        self._holding = False  # whether the set-point of the device is a move of ours
        self._line = Ld4Line(port, timeout)
        try:
            self.capabilities = self._connect(low, high)
        except BaseException:
            self._line.close()
            raise

    def move_to(self, focus_distance: float) -> LensMove:
        """Command a focus distance (m); return when reading back has proved that the driver acted on it.

        Raises:
            InputError: the distance is outside the range of the lens.
            LensError: the driver does not answer as it should, or holds another power than it was told.
        """
        with self._lock:
            steps = self._steps_to(focus_distance)
            self._holding = False
            if not self._in_focal_power_mode:
                self._enter_focal_power_mode()
            sent_ns = self._clock()
            self._line.tell(ld4.SET_FOCAL_POWER, steps)
            (held,) = self._line.query(ld4.FOCAL_POWER)
            acknowledged_ns = self._clock()
            if held != steps:
                self._in_focal_power_mode = False  # as after a reset; the next move enters it again
                raise LensError(
                    f"The lens at {self._line.name!r} was told {self._scale.power(steps):.3f} D but holds "
                    f"{self._scale.power(held):.3f} D; check its temperature and that nothing else drives it."
                )
            self._holding = True
        return LensMove(self._distance(steps), sent_ns, acknowledged_ns)

    def state(self) -> LensState:
        """Ask for set-point, temperature and status; the focus is NaN until a move and while parked."""
        with self._lock:
            distance = self._distance(self._line.query(ld4.FOCAL_POWER)[0]) if self._holding else math.nan
            (temperature,) = self._line.query(ld4.TEMPERATURE)
            (status,) = self._line.query(ld4.STATUS)
            stamp_ns = self._clock()
        return LensState(stamp_ns, distance, temperature * ld4.TEMPERATURE_UNIT, ld4.status_words(status))

    def park(self) -> None:
        """Switch to current mode at 0 mA.

        Zero dioptres would not do: holding it against temperature takes a current that goes on heating the
        lens. Without current the lens is flat and cold, as the handshake leaves it.
        """
        with self._lock:
            self._holding = self._in_focal_power_mode = False
            self._line.query(ld4.CURRENT_MODE)
            self._line.tell(ld4.SET_CURRENT, 0)
            self._line.query(ld4.STATUS)  # a refusal of the current would come first

    def close(self) -> None:
        """Park the lens and free the port, even where the lens no longer answers."""
        with self._lock:
            if not self._line.is_open:
                return
            try:
                self.park()
            except LensError as error:
                LOG.warning("The lens was closed without being parked: %s", error)
            finally:
                self._line.close()

    def __enter__(self) -> OptotuneLd4:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _connect(self, low: float, high: float) -> LensCapabilities:
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
        max_current = line.query(ld4.MAX_CURRENT)[0] * ld4.MAX_CURRENT_UNIT
        # Limits first: without them the driver does not know its range.
        line.query(ld4.TEMPERATURE_LIMITS, *(round(limit / ld4.TEMPERATURE_UNIT) for limit in (high, low)))
        self._enter_focal_power_mode()
        least, greatest = (self._scale.power(steps) + self._offset for steps in self._range)
        if greatest <= 0:
            raise InputError(
                f"With power_offset {self._offset:g} D the range of {least:.2f} to {greatest:.2f} D focuses "
                "on nothing in front of the camera; raise power_offset."
            )
        return LensCapabilities(
            identity=f"Optotune Lens Driver 4, firmware {letter} {self._version()}, {max_current:.0f} mA",
            nearest=self._distance(self._range[1]),
            farthest=self._distance(self._range[0]),
            measures_position=False,  # what can be read back is the set-point
            measures_temperature=True,
        )

    def _version(self) -> str:
        try:
            return ".".join(str(number) for number in self._line.query(ld4.FIRMWARE_VERSION))
        except LensError as error:  # only people read it, and firmwares differ here
            LOG.info("The firmware keeps its version to itself: %s", error)
            return "of unknown version"

    def _enter_focal_power_mode(self) -> None:
        status, greatest, least = self._line.query(ld4.FOCAL_POWER_MODE)
        if status & UNUSABLE:
            raise LensError(
                f"The lens driver at {self._line.name!r} reports: {', '.join(ld4.status_words(status))}; "
                "check the lens and its cable."
            )
        if greatest <= least:
            raise LensError(
                f"The lens driver at {self._line.name!r} offers no range of focal power "
                f"({self._scale.power(least):g} to {self._scale.power(greatest):g} D); "
                "bring temperature_limits closer together."
            )
        self._range = least, greatest
        self._in_focal_power_mode = True

    def _steps_to(self, focus_distance: float) -> int:
        least, greatest = self._range
        if focus_distance > 0:  # also refuses NaN
            steps = self._scale.steps(float(dioptres(focus_distance)) - self._offset)
            if least <= steps <= greatest:
                return steps
        near, far = (self._distance(steps) for steps in (greatest, least))
        raise InputError(
            f"A focus distance of {focus_distance:g} m is outside the lens's range of {near:.4g} m "
            f"({float(dioptres(near)):.2f} D) to {far:.4g} m ({float(dioptres(far)):.2f} D); "
            "change the plan, or power_offset if the optics allow more."
        )

    def _distance(self, steps: int) -> float:
        # Rounding may lead half a step beyond infinity, which no image tells from infinity.
        return float(metres(max(self._scale.power(steps) + self._offset, 0.0)))


def _checked_limits(limits: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        low = high = math.nan
    if not -273.0 <= low < high <= 1000.0:
        raise InputError(f"temperature_limits must be two rising temperatures in degC, not {limits!r}.")
    return low, high
