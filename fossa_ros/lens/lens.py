"""The interface of focus lenses, for every kind of lens and connection.

Every ``*_ns`` value is in nanoseconds on the clock that stamps the images, because the focus of a frame is found by
comparing the two.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from fossa_ros.core.errors import InputError


@dataclass(frozen=True)
class CommandRange:
    """The quantity in which a device is commanded.

    Attributes:
        quantity: its name in the manual of the device.
        unit: D, mA, V, or steps where the device has no unit.
        least, greatest: inclusive range.
        step: smallest difference that the device resolves.
    """

    quantity: str
    unit: str
    least: float
    greatest: float
    step: float

    def check(self, value: float) -> float:
        """Return ``value``, moved into the range if it is outside by half a step at most.

        Raises:
            InputError: the value is outside the range.
        """
        if not self.least - self.step / 2 <= value <= self.greatest + self.step / 2:  # also refuses NaN
            raise InputError(f"A {self.quantity} of {value:g} {self.unit} is outside the lens's range of {self}.")
        return min(max(value, self.least), self.greatest)

    def __str__(self) -> str:
        return f"{self.least:g} to {self.greatest:g} {self.unit}"


@dataclass(frozen=True)
class SettlingModel:
    """How long a lens keeps moving after it has acknowledged a command.

    Attributes:
        fixed: seconds of every move.
        per_unit: additional seconds for each unit of the command, for lenses of limited speed.
    """

    fixed: float
    per_unit: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.fixed < math.inf and 0 <= self.per_unit < math.inf):
            raise InputError(f"settling must be times of 0 s or more, not {self.fixed:g} and {self.per_unit:g}.")

    def duration_ns(self, step: float) -> int:
        """Return the nanoseconds that a move by ``step`` units of the command takes to settle."""
        return math.ceil((self.fixed + self.per_unit * abs(step)) * 1e9)


@dataclass(frozen=True)
class LensCapabilities:
    """What a lens can do.

    Attributes:
        identity: make, firmware and serial number, for people.
        command: the quantity in which the device is commanded.
        nearest: nearest focus distance in metres; None if only a calibration can give metres.
        farthest: farthest focus distance in metres, infinity is allowed; None together with ``nearest``.
        settling: how long a move takes after it was acknowledged.
        measures_position: whether the state has a measured position, not the set-point read back.
        measures_temperature: whether the state has a temperature.
        calibration: summary of the calibration behind the metres, for people; empty without one.
        firmware: version of the device's firmware; empty where it reports none.
    """

    identity: str
    command: CommandRange
    nearest: float | None
    farthest: float | None
    settling: SettlingModel
    measures_position: bool
    measures_temperature: bool
    calibration: str = ""
    firmware: str = ""

    @property
    def is_metric(self) -> bool:
        """Whether focus distances can be commanded; if not, only a calibration makes the lens metric."""
        return self.nearest is not None

    def require_metric(self) -> tuple[float, float]:
        """Return the nearest and the farthest focus distance (m).

        Raises:
            InputError: only a calibration can relate the command of this lens to metres.
        """
        if self.nearest is None or self.farthest is None:
            raise InputError(
                f"{self.identity} is commanded by a {self.command.quantity} ({self.command}) whose focus distance "
                "is not known yet; run 'fossa calibrate' and set lens.calibration to the file it writes "
                "(--calibration of 'fossa lens')."
            )
        return self.nearest, self.farthest


@dataclass(frozen=True)
class LensMove:
    """A command that the device has acknowledged.

    Attributes:
        focus_distance: metres, quantised to the steps of the device; NaN if only a calibration can give metres.
        sent_ns: just before the command was sent.
        acknowledged_ns: when the device was known to have acted on it; settling starts no later than this.
        settling_ns: how long after that the lens keeps moving.
        command: in the unit of the device's command, quantised to its steps.
    """

    focus_distance: float
    sent_ns: int
    acknowledged_ns: int
    settling_ns: int
    command: float


@dataclass(frozen=True)
class LensState:
    """The state of a lens.

    Attributes:
        stamp_ns: when it was read.
        focus_distance: metres; NaN if the lens holds no known focus (not moved yet, parked, not calibrated).
        command: in the unit of the lens's command; NaN if it holds none of ours (not moved yet, parked).
        temperature: degrees Celsius, None if the lens has no thermometer.
        faults: what the device reports as wrong, in words; empty for nothing.
    """

    stamp_ns: int
    focus_distance: float
    command: float
    temperature: float | None
    faults: tuple[str, ...]


class FocusLens(ABC):
    """A lens whose focus distance can be commanded; the base class of every backend.

    A backend is a class that is constructed as ``cls(port, clock=..., **options)``:

    - Its constructor connects. It proves that the device is there before it returns, and sets ``capabilities``.
    - Every exchange with the device has a timeout, so that every method returns.
    - All methods may be called from any thread.
    - ``move_to`` returns when the device has *acknowledged* the command, and reports when that was and how long the
      lens then settles. It does not wait for the lens to settle.
    - If the device is silent, gone, closed, or answers what its protocol does not allow, every method but ``close``
      raises LensError. The caller then closes the lens and constructs a new one.
    - Options that cannot be used raise InputError. Every message is one sentence that names what to change.

    ``CommandLens`` implements all of this but the exchange with the device; most backends derive from it.

    Attributes:
        backend: name by which ``open_lens`` finds the class.
        usb_ids: VID:PID of the USB devices that it drives, for ``fossa lens list``.
        capabilities: what the connected lens can do.
    """

    backend: str
    usb_ids: ClassVar[tuple[str, ...]] = ()
    capabilities: LensCapabilities

    @abstractmethod
    def move_to(self, focus_distance: float) -> LensMove:
        """Command a focus distance (m) and return once the device has acknowledged it, before it has settled.

        Raises:
            InputError: the distance is outside the capabilities, or the lens is not metric.
            LensError: the device does not answer as it should.
        """

    @abstractmethod
    def move_to_command(self, value: float) -> LensMove:
        """Command the device in its own unit; otherwise as ``move_to``. Calibrations are made and used with it.

        Raises:
            InputError: the value is outside ``capabilities.command``.
            LensError: the device does not answer as it should.
        """

    @abstractmethod
    def verify(self) -> None:
        """Verify that the device still holds the last move, so that what was exposed since then can be used.

        Raises:
            LensError: it does not, or no longer answers.
        """

    @abstractmethod
    def state(self) -> LensState:
        """Read the state of the device.

        Raises:
            LensError: the device does not answer as it should.
        """

    @abstractmethod
    def park(self) -> None:
        """Bring the lens to rest, where it draws the least current; the next move wakes it.

        Raises:
            LensError: the device does not answer as it should.
        """

    @abstractmethod
    def close(self) -> None:
        """Park the lens and free its port, even if it no longer answers; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
