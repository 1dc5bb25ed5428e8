"""The position of a lens during an exposure, and its uncertainty.

Positions are in dioptres, in which lenses move evenly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from fossa_ros.lens import LensMove

HISTORY_NS = 10_000_000_000
FLOOR = 0.01  # D: the least uncertainty of any track (steps of the device, ringing)


@dataclass(frozen=True)
class Focus:
    """The position of the lens at the middle of an exposure.

    Attributes:
        power: dioptres.
        uncertainty: dioptres; the true value is within ``power`` +- ``uncertainty``.
    """

    power: float
    uncertainty: float


class LensTrack(ABC):
    """The recent positions of a lens.

    The methods that note something do nothing here; a track overrides those it learns from.

    Attributes:
        sampled: number of positions noted since the beginning.
        newest_ns: the newest stamp of these, on the node's clock; None where there is none.
    """

    sampled: int = 0
    newest_ns: int | None = None

    @abstractmethod
    def reset(self) -> None:
        """Forget everything: the lens was parked, or lost."""

    @abstractmethod
    def covers(self, end_ns: int, margin_ns: int) -> bool:
        """Return whether all that will be known about an exposure that ended at ``end_ns`` is known."""

    @abstractmethod
    def during(self, start_ns: int, end_ns: int, margin_ns: int) -> Focus | None:
        """Return the focus at the middle of an exposure, None if it is not known.

        ``margin_ns`` is how far the clocks may disagree.
        """

    def on_commanding(self, now_ns: int) -> None:
        """Note that a command is about to be sent: the lens may obey it before it acknowledges it."""

    def on_commanded(self, move: LensMove) -> None:
        """Note an acknowledged command."""

    def on_measured(self, stamp_ns: int, power: float) -> None:
        """Note a position (dioptres), or the set-point of a lens that measures none."""

    def expect_samples_every(self, interval_ns: int) -> None:
        """Note how long it usually takes from one position to the next."""
