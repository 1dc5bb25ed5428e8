"""Base class of backends: all of a lens but the exchange with the device."""

from __future__ import annotations

import logging
import math
import threading
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from fossa_ros.core.errors import InputError, LensError
from fossa_ros.core.optics import dioptres
from fossa_ros.lens.fixed_optics import FixedOptics
from fossa_ros.lens.lens import CommandRange, FocusLens, LensCapabilities, LensMove, LensState, SettlingModel

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class LensReading:
    """A reading of a device.

    Attributes:
        command: the position it holds, in the unit of its command; ignored while it holds none of ours.
        temperature: degrees Celsius, None if there is no thermometer.
        faults: what it reports as wrong, in words.
    """

    command: float
    temperature: float | None = None
    faults: tuple[str, ...] = ()


class CommandLens(FocusLens):
    """A FocusLens made of five methods that talk to the device.

    It converts metres, checks ranges, takes time stamps, locks, verifies, parks and closes. A backend sets ``backend``,
    connects in its constructor, calls ``_set_capabilities``, and implements ``_command``, ``_read``, ``_rest``,
    ``_free`` and ``_is_open``. These are called under one lock and raise LensError if the device violates its protocol.

    Attributes:
        tolerance: largest difference, in the unit of the command, between a command and the value read back; None for
            half a step.
    """

    tolerance: float | None = None

    def __init__(self, clock: Callable[[], int], optics: FixedOptics | None = None):
        """Store clock and optics.

        Args:
            clock: returns nanoseconds on the clock that stamps the images.
            optics: relate the command, which is then a power in dioptres, to focus distances; None if the command is
                not a power, so that only a calibration can give metres.
        """
        self._clock = clock
        self._optics = optics
        self._lock = threading.RLock()
        self._held: float | None = None  # the last command acknowledged, while the device is known to hold it
        self._resting = False  # parked by us, and not moved since

    @abstractmethod
    def _command(self, value: float) -> float:
        """Send ``value``, which is in range; return it as quantised, once the device is known to have acted on it."""

    @abstractmethod
    def _read(self) -> LensReading:
        """Read position, temperature and faults of the device."""

    @abstractmethod
    def _rest(self) -> None:
        """Bring the lens to rest, where it draws the least current."""

    @abstractmethod
    def _free(self) -> None:
        """Free the device, even one that no longer answers."""

    @property
    @abstractmethod
    def _is_open(self) -> bool:
        """Whether the device has not been freed yet."""

    def _set_capabilities(
        self,
        identity: str,
        command: CommandRange,
        settling: SettlingModel,
        *,
        measures_position: bool = False,
        measures_temperature: bool = False,
        firmware: str = "",
    ) -> None:
        """Set ``capabilities`` of the connected device.

        Raises:
            InputError: with the fixed optics no command focuses on anything in front of the camera.
        """
        nearest = farthest = None
        if self._optics is not None:
            self._optics.check_range(command.least, command.greatest)
            nearest, farthest = (self._optics.distance(power) for power in (command.greatest, command.least))
        self.capabilities = LensCapabilities(
            identity=identity,
            command=command,
            nearest=nearest,
            farthest=farthest,
            settling=settling,
            measures_position=measures_position,
            measures_temperature=measures_temperature,
            firmware=firmware,
        )

    def move_to(self, focus_distance: float) -> LensMove:
        """Command a focus distance (m); return when the device has acknowledged it, before it has settled.

        Raises:
            InputError: the distance is outside the range of the lens, or the lens is not metric.
            LensError: the device does not answer as it should.
        """
        self.capabilities.require_metric()
        return self._move(self._command_for(focus_distance))

    def move_to_command(self, value: float) -> LensMove:
        """Command the device in its own unit; otherwise as ``move_to``."""
        return self._move(self.capabilities.command.check(value))

    def verify(self) -> None:
        """Verify that the device still holds the last move; raises LensError."""
        with self._lock:
            self._check_open()
            if self._held is None:
                raise LensError(f"{self.capabilities.identity} holds no focus; move it first.")
            if stray := self._stray(self._read()):
                raise LensError(f"{self.capabilities.identity} was {stray[0]}; check that nothing else drives it.")

    def state(self) -> LensState:
        """Read the state of the device; the focus is NaN until a move and while parked."""
        with self._lock:
            self._check_open()
            reading = self._read()
            command = math.nan if self._held is None else reading.command
            return LensState(
                stamp_ns=self._clock(),
                focus_distance=self._distance(command),
                command=command,
                temperature=reading.temperature,
                faults=reading.faults + self._stray(reading),
            )

    def park(self) -> None:
        """Bring the lens to rest; the next move wakes it."""
        with self._lock:
            self._check_open()
            self._held = None
            self._rest()
            self._resting = True

    def close(self) -> None:
        """Park the lens unless it is parked already, and free the device, even if it no longer answers."""
        with self._lock:
            if not self._is_open:
                return
            try:
                if not self._resting:
                    self._park_before_closing()
            finally:
                self._free()

    def _park_before_closing(self) -> None:
        for last in (False, True):  # one late reply should not leave the lens under current
            try:
                self.park()
                return
            except LensError as error:
                if last:
                    LOG.warning("The lens was closed without being parked: %s", error)

    def _move(self, value: float) -> LensMove:
        with self._lock:
            self._check_open()
            before, self._held, self._resting = self._held, None, False
            sent_ns = self._clock()
            held = self._command(value)
            acknowledged_ns = self._clock()
            self._held = held
        span = self.capabilities.command
        # From an unknown position the move may be as long as the range.
        step = span.greatest - span.least if before is None else held - before
        return LensMove(
            focus_distance=self._distance(held),
            sent_ns=sent_ns,
            acknowledged_ns=acknowledged_ns,
            settling_ns=self.capabilities.settling.duration_ns(step),
            command=held,
        )

    def _command_for(self, focus_distance: float) -> float:
        near, far = self.capabilities.nearest, self.capabilities.farthest
        assert self._optics is not None and near is not None and far is not None  # the lens is metric
        if focus_distance > 0:  # also refuses NaN
            try:
                return self.capabilities.command.check(self._optics.power(focus_distance))
            except InputError:
                pass  # reported in metres below
        raise InputError(
            f"A focus distance of {focus_distance:g} m is outside the lens's range of {near:.4g} m "
            f"({float(dioptres(near)):.2f} D) to {far:.4g} m ({float(dioptres(far)):.2f} D); "
            "change the plan, or power_offset if the optics allow more."
        )

    def _stray(self, reading: LensReading) -> tuple[str, ...]:
        """Return in words that the device holds another position than commanded; nothing if it does not."""
        span = self.capabilities.command
        tolerance = span.step / 2 if self.tolerance is None else self.tolerance
        if self._held is None or abs(reading.command - self._held) <= tolerance:
            return ()
        unit = span.unit
        return (f"commanded to a {span.quantity} of {self._held:g} {unit} but holds {reading.command:g} {unit}",)

    def _distance(self, command: float) -> float:
        return math.nan if self._optics is None or math.isnan(command) else self._optics.distance(command)

    def _check_open(self) -> None:
        if not self._is_open:
            raise LensError(f"{self.capabilities.identity} is closed; open it again.")
