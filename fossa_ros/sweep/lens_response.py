"""How a lens follows its commands."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fossa_ros.core.errors import InputError
from fossa_ros.core.parameter import check_ranges, seconds
from fossa_ros.sweep.track import FLOOR

COMMAND_NS = 2_000_000  # until a command is acknowledged on a fast serial line


@dataclass(frozen=True)
class LensResponse:
    """How a lens follows its commands: an exponential approach.

    Attributes:
        time_constant_ns: of the approach.
        spread: relative error of the time constant.
        ringing: share of a step by which the lens may swing about its approach until it has settled.

    Raises:
        InputError: a value is out of range.
    """

    time_constant_ns: int = seconds(
        3_000_000,
        "Time constant of the lens's exponential approach to its command, for a ramp",
        minimum=0.0001,
        maximum=1.0,
    )
    spread: float = 0.3
    ringing: float = 0.03

    def __post_init__(self) -> None:
        check_ranges(self)
        if not 0 <= self.spread < 1:
            raise InputError("The spread of the lens's time constant must be in 0 .. 1; correct it.")

    def slowest_ns(self, spacing: float, tolerance: float, margin_ns: int, command_ns: int) -> int:
        """Return the time that a ramp must take from one plane to the next for its focus to be certain enough.

        ``spacing`` and ``tolerance`` are in dioptres, ``margin_ns`` is how far the clocks may disagree and
        ``command_ns`` how long a command takes to be acknowledged, within which it takes effect at an unknown time.
        """
        doubt_ns = margin_ns + self.spread * self.time_constant_ns + max(command_ns, COMMAND_NS)
        return math.ceil(spacing * doubt_ns / max(tolerance - 2 * FLOOR, FLOOR))
