"""What every focus lens offers, whatever it is made of and whichever wire it hangs on.

Every ``*_ns`` value is in nanoseconds on the clock that stamps the images, because a frame can only be given
a focus by comparing the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol


@dataclass(frozen=True)
class LensCapabilities:
    """What a lens can do.

    Attributes:
        identity: make, firmware and serial number, for people.
        nearest: nearest focus distance in metres.
        farthest: farthest focus distance in metres; infinity is allowed.
        measures_position: the state is a measured position, not the set-point read back.
        measures_temperature: the state carries a temperature.
    """

    identity: str
    nearest: float
    farthest: float
    measures_position: bool
    measures_temperature: bool


@dataclass(frozen=True)
class LensMove:
    """One command and the proof that it arrived.

    Attributes:
        focus_distance: what the device was really told, quantised to its steps, in metres.
        sent_ns: just before the command left.
        acknowledged_ns: when the device was known to have acted on it; settling starts no later than this.
    """

    focus_distance: float
    sent_ns: int
    acknowledged_ns: int


@dataclass(frozen=True)
class LensState:
    """What a lens says of itself.

    Attributes:
        stamp_ns: when it said so.
        focus_distance: metres; NaN where the lens holds no known focus (not moved yet, parked).
        temperature: degrees Celsius, None where the lens has no thermometer.
        faults: what the device complains about, in words; empty when all is well.
    """

    stamp_ns: int
    focus_distance: float
    temperature: float | None
    faults: tuple[str, ...]


class FocusLens(Protocol):
    """A lens whose focus distance can be commanded.

    A context manager and thread-safe; every exchange with the device has a timeout. All methods but ``close``
    raise LensError where the device is silent, gone, closed or answers what its protocol does not allow.
    """

    backend: str
    capabilities: LensCapabilities

    def move_to(self, focus_distance: float) -> LensMove:
        """Command a focus distance (m) and return once the device has acknowledged it, before it has settled.

        Raises:
            InputError: the distance is outside the capabilities.
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
