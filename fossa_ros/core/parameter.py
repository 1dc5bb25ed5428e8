"""Parameters: each is declared once, as a field of the dataclass that it configures.

``parameter`` and ``seconds`` declare such a field, in any room. Everything else is derived from it: the ROS
parameter with its descriptor and checks, the entries of parameter files, and docs/parameters.md
(``fossa_ros.parameters.config``, ``fossa_ros.ros.parameters``).
"""

from __future__ import annotations

import array
import math
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, TypeVar

from fossa_ros.core.errors import InputError

T = TypeVar("T")
SECOND = 1e9
"""Nanoseconds."""
_PARAMETER, _PREFIX = "parameter", "prefix"


@dataclass(frozen=True)
class Parameter:
    """One parameter, as users see it.

    Attributes:
        name: dotted, the groups that contain it first.
        default: also fixes the type: bool, int, float, str or ``array.array("d")``.
        description: a phrase without a full stop.
        unit: empty for none.
        minimum, maximum: inclusive range of a number, in ``unit``; None for no limit.
        choices: the allowed values of a string; empty for any.
        live: a change takes effect while the node runs, from the next sweep on or, where sweeps do not matter, within a
            second; the other parameters are read when the node is configured.
        nanoseconds: the field holds whole nanoseconds, the parameter seconds.
    """

    name: str
    default: Any
    description: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False
    nanoseconds: bool = False

    def problem(self, value: Any) -> str:
        """Return why ``value`` is not allowed, and what is; empty if it is allowed. Types are not checked."""
        if self.choices and value not in self.choices:
            return f"{self.name} must be one of {', '.join(self.choices)}, not '{value}'"
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        unit = f" {self.unit}" if self.unit else ""
        for number in value if isinstance(value, array.array) else [value]:
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            if math.isnan(number):
                return f"{self.name} must be a number, not NaN"
            if not low <= number <= high:
                return f"{self.name} must be within {low:g} .. {high:g}{unit}, not {number:g}"
        return ""


def parameter(
    default: T,
    description: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
    name: str = "",
) -> T:
    """Declare a dataclass field that is a parameter; Parameter describes the arguments.

    The field is annotated with ``bool``, ``int``, ``float``, ``str``, a StrEnum or a Literal of strings, either of
    which gives the choices, or a tuple of ``float``. A field that may also be None is None if the parameter is 0 or
    empty.

    Args:
        name: of the parameter within its group; the field's own by default.
    """
    declared = Parameter(name, None, description, unit, minimum, maximum, choices, live)
    made: T = field(default=default, metadata={_PARAMETER: declared})
    return made


def seconds(default_ns: int, description: str, *, minimum: float, maximum: float, live: bool = False) -> int:
    """Declare a field ``NAME_ns`` in nanoseconds whose parameter ``NAME``, with its range, is in seconds."""
    declared = Parameter("", None, description, "s", minimum, maximum, live=live, nanoseconds=True)
    made: int = field(default=default_ns, metadata={_PARAMETER: declared})
    return made


def within(prefix: str) -> dict[str, str]:
    """Return the metadata of a field that holds another dataclass, whose parameters' names begin with ``prefix``."""
    return {_PREFIX: prefix}


def declared_parameter(of: Field[Any]) -> Parameter | None:
    """Return the parameter that a field declares, named within its group and without default; None if there is none."""
    declared: Parameter | None = of.metadata.get(_PARAMETER)
    if declared is None or declared.name:
        return declared
    return replace(declared, name=of.name.removesuffix("_ns") if declared.nanoseconds else of.name)


def declared_prefix(of: Field[Any]) -> str | None:
    """Return the prefix of a field that holds another dataclass with parameters; None for any other field."""
    prefix: str | None = of.metadata.get(_PREFIX)
    return prefix


def check_ranges(config: Any) -> None:
    """Check the numbers in a dataclass against the ranges of their parameters, as a ``__post_init__``.

    Raises:
        InputError: one is out of range or NaN.
    """
    for each in fields(config):
        declared, value = declared_parameter(each), getattr(config, each.name)
        if declared is not None and isinstance(value, int | float):
            problem = declared.problem(value / SECOND if declared.nanoseconds else value)
            if problem:
                raise InputError(f"{problem}; correct it.")
