"""What a parameter is: default, meaning and range, of nodes and of the commands that do without ROS."""

from __future__ import annotations

import array
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Parameter:
    """One parameter of a node.

    Attributes:
        name: dotted, grouped by what it configures.
        default: also fixes the type.
        description: one sentence; ends without a full stop.
        unit: as people write it, empty for none.
        minimum, maximum: inclusive range of a number, None for open.
        choices: the allowed values of a string, empty for any.
        live: it takes effect at once; the others are read when the node is configured.
    """

    name: str
    default: Any
    description: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False

    def complaint(self, value: Any) -> str:
        """Return why ``value`` cannot be used and what can, or an empty string. Ranges are rcl's to check."""
        if self.choices and value not in self.choices:
            return f"{self.name} must be one of {', '.join(self.choices)}, not '{value}'"
        numbers = value if isinstance(value, array.array) else [value]
        if any(isinstance(number, float) and number != number for number in numbers):
            return f"{self.name} must be a number, not NaN"
        return ""
