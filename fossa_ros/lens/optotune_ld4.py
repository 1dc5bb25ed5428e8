"""Optotune Lens Driver 4 and 4i, for the liquid lenses EL-10-30, EL-16-40 and their kin."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

import serial

from fossa_ros.errors import InputError, LensError
from fossa_ros.lens import ld4_protocol as ld4
from fossa_ros.lens.lens import LensCapabilities, LensMove, LensState
from fossa_ros.lens.serial_port import hex_excerpt, open_serial_port
from fossa_ros.optics import dioptres, metres

LOG = logging.getLogger(__name__)
UNUSABLE = 0b11  # status bits without which there is no focal power: no lens, or its memory unread
QUIET = 0.02  # seconds of silence that end whatever a disturbed line still has to say
HANDSHAKES = 2  # other programs probe new serial ports (modem managers), so the first one may meet their rubbish


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
        temperature_limits: tuple[float, float] = (20.0, 45.0),
        timeout: float = 0.5,
    ):
        """Open ``port``, shake hands, and enter focal-power mode; the lens is at rest until the first move.

        Args:
            port: serial device, for example ``/dev/ttyACM0``.
            clock: gives nanoseconds on the clock that stamps images.
            power_offset: dioptres that the fixed optics add to the lens's power.
            temperature_limits: degC between which the driver is to guarantee its range of focal power; a wider
                span narrows the range.
            timeout: seconds that any one reply may take.

        Raises:
            InputError: an option that cannot be used.
            LensError: no such port, no lens driver behind it, or no lens on the driver.
        """
        low, high = _checked_limits(temperature_limits)
        if not math.isfinite(power_offset):
            raise InputError(f"power_offset must be a finite number of dioptres, not {power_offset}; correct it.")
        if not 0 < timeout < math.inf:
            raise InputError(f"timeout must be a positive number of seconds, not {timeout}; correct it.")
        self._name = port
        self._clock = clock
        self._offset = float(power_offset)
        self._timeout = timeout
        self._lock = threading.RLock()
        self._disturbed = True  # whatever was in the line before us
        self._in_focal_power_mode = False
        self._holding = False
        self._port = open_serial_port(port, ld4.BAUD_RATE, timeout)
        try:
            self.capabilities = self._connect(low, high)
        except BaseException:
            self._port.close()
            raise

    def move_to(self, focus_distance: float) -> LensMove:
        """Command a focus distance (m); return when reading back proved that the driver has acted on it."""
        power = float(dioptres(focus_distance)) - self._offset
        half_step = 0.5 / self._scale.STEPS_PER_DIOPTRE
        least, greatest = (self._scale.power(steps) for steps in self._steps)
        if not focus_distance > 0 or not least - half_step <= power <= greatest + half_step:
            raise InputError(self._outside(focus_distance))
        # Half a step beyond an end is that end: distances are rounded on their way here.
        steps = min(max(self._scale.steps(power), self._steps[0]), self._steps[1])
        with self._lock:
            self._holding = False
            if not self._in_focal_power_mode:
                self._enter_focal_power_mode()
            sent_ns = self._write(ld4.SET_FOCAL_POWER, steps)
            (held,) = self._read(ld4.FOCAL_POWER)
            acknowledged_ns = self._clock()
            if held != steps:
                raise LensError(
                    f"The lens at {self._name!r} was told {self._scale.power(steps):.3f} D but holds "
                    f"{self._scale.power(held):.3f} D; check its temperature and that nothing else drives it."
                )
            self._holding = True
        return LensMove(self._distance(steps), sent_ns, acknowledged_ns)

    def state(self) -> LensState:
        """Ask for set-point, temperature and status; the focus is NaN until the first move and while parked."""
        with self._lock:
            distance = self._distance(self._query(ld4.FOCAL_POWER)[0]) if self._holding else math.nan
            (temperature,) = self._query(ld4.TEMPERATURE)
            (status,) = self._query(ld4.STATUS)
            stamp_ns = self._clock()
        return LensState(stamp_ns, distance, temperature * ld4.TEMPERATURE_UNIT, ld4.status_words(status))

    def park(self) -> None:
        """Switch to current mode at 0 mA.

        Zero dioptres would not do: holding it against temperature takes a current that goes on heating the
        lens. Without current the lens is flat and cold, as the handshake leaves it.
        """
        with self._lock:
            self._holding = self._in_focal_power_mode = False
            self._query(ld4.CURRENT_MODE)
            self._write(ld4.SET_CURRENT, 0)
            self._read(ld4.STATUS)  # any answer but an error proves that the current was taken

    def close(self) -> None:
        """Park the lens and free the port, even where the lens no longer answers."""
        with self._lock:
            if not self._port.is_open:
                return
            try:
                self.park()
            except LensError as error:
                LOG.warning("The lens was closed without parking it: %s", error)
            finally:
                self._port.close()

    def __enter__(self) -> OptotuneLd4:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _connect(self, low: float, high: float) -> LensCapabilities:
        self._shake_hands()
        letter = self._query(ld4.FIRMWARE_TYPE)[0].decode("ascii", "backslashreplace")
        try:
            self._scale = ld4.PowerScale.of(letter)
        except KeyError:
            raise LensError(
                f"The lens driver at {self._name!r} has firmware type {letter!r}, whose scale of focal power is "
                "not known; use one of type A to F or H."
            ) from None
        version = ".".join(str(number) for number in self._query(ld4.FIRMWARE_VERSION))
        max_current = self._query(ld4.MAX_CURRENT)[0] * ld4.MAX_CURRENT_UNIT
        # Limits first: without them the driver does not know its range.
        self._query(ld4.TEMPERATURE_LIMITS, *(round(limit / ld4.TEMPERATURE_UNIT) for limit in (high, low)))
        self._enter_focal_power_mode()
        least, greatest = (self._scale.power(steps) + self._offset for steps in self._steps)
        if greatest <= 0:
            raise InputError(
                f"With power_offset {self._offset:g} D the range of {least:.2f} to {greatest:.2f} D focuses on "
                "nothing in front of the camera; raise power_offset."
            )
        return LensCapabilities(
            identity=f"Optotune Lens Driver 4, firmware {letter} {version}, {max_current:.0f} mA, at {self._name}",
            nearest=float(metres(greatest)),
            farthest=float(metres(max(least, 0.0))),
            measures_position=False,  # it reads back the set-point
            measures_temperature=True,
        )

    def _shake_hands(self) -> None:
        for attempt in range(1, HANDSHAKES + 1):
            self._settle_line()
            self._send(ld4.HANDSHAKE)
            reply = self._receive(len(ld4.READY))
            if reply == ld4.READY:
                return
            self._disturbed = True
            if attempt == HANDSHAKES:
                raise LensError(
                    f"Port {self._name!r} should answer 'Ready' ({ld4.READY.hex(' ')}) but sent "
                    f"{hex_excerpt(reply)}; set port to an Optotune Lens Driver 4 and check its power."
                )

    def _enter_focal_power_mode(self) -> None:
        status, greatest, least = self._query(ld4.FOCAL_POWER_MODE)
        if status & UNUSABLE:
            raise LensError(
                f"The lens driver at {self._name!r} reports: {', '.join(ld4.status_words(status))}; "
                "check the lens and its cable."
            )
        if greatest <= least:
            raise LensError(
                f"The lens driver at {self._name!r} offers no range of focal power ({self._scale.power(least):g} to "
                f"{self._scale.power(greatest):g} D); bring temperature_limits closer together."
            )
        self._steps = least, greatest
        self._in_focal_power_mode = True

    def _distance(self, steps: int) -> float:
        # Rounding may lead half a step beyond infinity, which is infinity for all that can be seen.
        return float(metres(max(self._scale.power(steps) + self._offset, 0.0)))

    def _outside(self, focus_distance: float) -> str:
        able = self.capabilities
        return (
            f"A focus distance of {focus_distance:g} m is outside the lens's range of {able.nearest:.4g} m "
            f"({1 / able.nearest:.2f} D) to {able.farthest:.4g} m ({float(dioptres(able.farthest)):.2f} D); "
            "change the plan or power_offset."
        )

    def _query(self, command: ld4.Command, *values) -> tuple:
        """Exchange one command with nothing pending before it."""
        self._settle_line()
        return self._read(command, *values)

    def _write(self, command: ld4.Command, *values) -> int:
        """Send a command that has no reply and return when; an error frame to it precedes the next reply."""
        self._settle_line()
        sent_ns = self._clock()
        self._send(command.encode(*values))
        return sent_ns

    def _read(self, command: ld4.Command, *values) -> tuple:
        """Send a command and return the fields of its reply, or raise what a command before it left behind."""
        self._send(command.encode(*values))
        deadline = time.monotonic() + self._timeout
        # The shortest reply is the old error; from its length on the first byte says how much is to come.
        reply = self._receive(len(ld4.OLD_ERROR))
        length = ld4.ERROR_LENGTH if reply[:1] == b"E" else command.reply_length
        if len(reply) == len(ld4.OLD_ERROR) and reply != ld4.OLD_ERROR:
            reply += self._receive(length - len(reply), deadline)
        try:
            return command.decode_reply(reply)
        except ld4.FrameError as error:
            self._disturbed = True
            raise LensError(self._refusal(command, reply, error)) from None

    def _refusal(self, command: ld4.Command, reply: bytes, error: ld4.FrameError) -> str:
        name = command.code.rstrip(b"\0").decode()
        if reply == ld4.OLD_ERROR:
            return f"The lens driver at {self._name!r} refused {name} or what was sent before; update its firmware."
        try:
            code = ld4.decode_error(reply)
        except ld4.FrameError:
            return (
                f"The lens driver at {self._name!r} should answer {name} with {command.reply_length} bytes but sent "
                f"{hex_excerpt(reply)} ({error}); check the cable and that nothing else uses the port."
            )
        why = ld4.ERROR_WORDS.get(code, "for a reason unknown")
        return (
            f"The lens driver at {self._name!r} refused {name} or what was sent before (error {code}: {why}); "
            "check the cable and the firmware."
        )

    def _settle_line(self) -> None:
        """Discard what was left unread: at once where all was well, until silence after a disturbance."""
        try:
            if self._disturbed:
                deadline = time.monotonic() + self._timeout
                self._port.timeout = QUIET
                while self._port.read(256) and time.monotonic() < deadline:
                    pass
                self._disturbed = False
            elif self._port.in_waiting:
                LOG.warning("The lens sent what nobody asked for: %s", hex_excerpt(self._port.read(self._port.in_waiting)))
        except (OSError, TypeError) as error:
            raise self._lost(error) from error

    def _send(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except (OSError, TypeError) as error:
            raise self._lost(error) from error

    def _receive(self, length: int, deadline: float | None = None) -> bytes:
        """Read ``length`` bytes, fewer where they do not come in time."""
        try:
            self._port.timeout = self._timeout if deadline is None else max(deadline - time.monotonic(), 0.0)
            return self._port.read(length)
        except (OSError, TypeError) as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> LensError:
        self._disturbed = True
        if not self._port.is_open:
            return LensError(f"The lens at {self._name!r} is closed; open it again.")
        return LensError(f"Port {self._name!r} failed ({error}); check the lens's cable and open the lens again.")


def _checked_limits(limits) -> tuple[float, float]:
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        low = high = math.nan
    if not -273.0 <= low < high <= 1000.0:
        raise InputError(f"temperature_limits must be two rising temperatures in degC, not {limits!r}; correct them.")
    return low, high
