"""What every focus lens offers, whatever it is made of and whichever wire it hangs on.

Every ``*_ns`` value is in nanoseconds on the clock that stamps the images, because a frame can only be given
a focus by comparing the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from fossa_ros.core.errors import InputError


@dataclass(frozen=True)
class CommandRange:
    """The quantity that a device is told, before anybody relates it to metres.

    Attributes:
        quantity: what it is, in the words of the device's manual.
        unit: as people write it: D, mA, V, or steps where the device leaves the unit open.
        least, greatest: inclusive range.
        step: smallest difference that the device tells apart.
    """

    quantity: str
    unit: str
    least: float
    greatest: float
    step: float

    def check(self, value: float) -> float:
        """Return ``value``, moved into the range where it lies beyond by no more than half a step.

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
    """How long a lens moves on after it has acknowledged a command.

    Attributes:
        fixed: seconds that every move takes.
        per_unit: seconds that it takes longer for each unit of the command that it goes, where moves are
            limited in speed.
    """

    fixed: float
    per_unit: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.fixed < math.inf and 0 <= self.per_unit < math.inf):
            raise InputError(f"settling takes times of 0 s or more, not {self.fixed:g} and {self.per_unit:g}.")

    def duration_ns(self, step: float) -> int:
        """Return the nanoseconds that a move by ``step`` units of the command takes to settle."""
        return math.ceil((self.fixed + self.per_unit * abs(step)) * 1e9)


@dataclass(frozen=True)
class LensCapabilities:
    """What a lens can do.

    Attributes:
        identity: make, firmware and serial number, for people.
        command: what the device itself is told.
        nearest: nearest focus distance in metres; None where only a calibration can tell metres.
        farthest: farthest focus distance in metres, infinity is allowed; None together with ``nearest``.
        settling: how long a move takes after it was acknowledged.
        measures_position: the state is a measured position, not the set-point read back.
        measures_temperature: the state carries a temperature.
    """

    identity: str
    command: CommandRange
    nearest: float | None
    farthest: float | None
    settling: SettlingModel
    measures_position: bool
    measures_temperature: bool

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
                f"{self.identity} is told a {self.command.quantity} ({self.command}) whose focus distance "
                "nobody knows yet; run 'fossa calibrate' and set lens.calibration to the file it writes "
                "(--calibration of 'fossa lens')."
            )
        return self.nearest, self.farthest


@dataclass(frozen=True)
class LensMove:
    """One command and the proof that it arrived.

    Attributes:
        focus_distance: what the device was really told, quantised to its steps, in metres; NaN where only a
            calibration can tell.
        sent_ns: just before the command left.
        acknowledged_ns: when the device was known to have acted on it; settling starts no later than this.
        settling_ns: how long after that the lens says it moves on.
        command: what the device was really told, in the unit of its command.
    """

    focus_distance: float
    sent_ns: int
    acknowledged_ns: int
    settling_ns: int
    command: float


@dataclass(frozen=True)
class LensState:
    """What a lens says of itself.

    Attributes:
        stamp_ns: when it said so.
        focus_distance: metres; NaN where the lens holds no known focus (not moved yet, parked, not calibrated).
        command: in the unit of the lens's command; NaN where it holds none of ours (not moved yet, parked).
        temperature: degrees Celsius, None where the lens has no thermometer.
        faults: what the device complains about, in words; empty when all is well.
    """

    stamp_ns: int
    focus_distance: float
    command: float
    temperature: float | None
    faults: tuple[str, ...]


class FocusLens(Protocol):
    """A lens whose focus distance can be commanded.

    Constructing one connects: it proves that the device is there before it returns, and raises LensError
    otherwise. A context manager and thread-safe; every exchange with the device has a timeout. All methods
    but ``close`` raise LensError where the device is silent, gone, closed or answers what its protocol does
    not allow; the lens is then closed and opened anew. ``CommandLens`` is all of this but the wire.
    """

    backend: str
    capabilities: LensCapabilities

    def move_to(self, focus_distance: float) -> LensMove:
        """Command a focus distance (m) and return once the device has acknowledged it, before it has settled.

        Raises:
            InputError: the distance is outside the capabilities, or the lens is not metric.
        """

    def move_to_command(self, value: float) -> LensMove:
        """Command the device in its own unit; otherwise as ``move_to``. Calibrations are made and used with it.

        Raises:
            InputError: the value is outside ``capabilities.command``.
        """

    def verify(self) -> None:
        """Make sure that the device still holds the last move, so that what was exposed since then can be trusted.

        Raises:
            LensError: it does not, or no longer answers.
        """

    def state(self) -> LensState:
        """Ask the device for its state."""

    def park(self) -> None:
        """Bring the lens to rest, where it draws the least current; the next move wakes it."""

    def close(self) -> None:
        """Park the lens and free its port; a second call does nothing."""

    def __enter__(self) -> FocusLens: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
