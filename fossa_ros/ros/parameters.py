"""The one description of every node's parameters: default, meaning, range, and when it may change."""

from __future__ import annotations

import array
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterUninitializedException
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter as RosParameter


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

    def descriptor(self) -> ParameterDescriptor:
        """Return what ``ros2 param describe`` shows."""
        text = self.description + (f" [{self.unit}]" if self.unit else "")
        descriptor = ParameterDescriptor(name=self.name, description=text)
        constraints = [] if self.live else ["applied at configure"]
        if self.choices:
            constraints.append("one of " + ", ".join(self.choices))
        descriptor.additional_constraints = "; ".join(constraints)
        if isinstance(self.default, bool) or (self.minimum is None and self.maximum is None):
            return descriptor
        if isinstance(self.default, int):
            low = -(2**63) if self.minimum is None else int(self.minimum)
            high = 2**63 - 1 if self.maximum is None else int(self.maximum)
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=0)]
        elif isinstance(self.default, float):
            low = -float("inf") if self.minimum is None else float(self.minimum)
            high = float("inf") if self.maximum is None else float(self.maximum)
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
        return descriptor

    def complaint(self, value: Any) -> str:
        """Return why ``value`` cannot be used and what can, or an empty string. Ranges are rcl's to check."""
        if self.choices and value not in self.choices:
            return f"{self.name} must be one of {', '.join(self.choices)}, not '{value}'"
        numbers = value if isinstance(value, array.array) else [value]
        if any(isinstance(number, float) and number != number for number in numbers):
            return f"{self.name} must be a number, not NaN"
        return ""


def declare(node: LifecycleNode, parameters: tuple[Parameter, ...]) -> None:
    """Declare a node's parameters; a start-up value out of range raises rclpy's ParameterException."""
    for parameter in parameters:
        # rclpy cannot tell the type of an empty array, so such a parameter is declared by type and left unset.
        empty = isinstance(parameter.default, array.array) and not parameter.default
        default = RosParameter.Type.DOUBLE_ARRAY if empty else parameter.default
        node.declare_parameter(parameter.name, default, parameter.descriptor())


def values(node: LifecycleNode, parameters: tuple[Parameter, ...]) -> dict[str, Any]:
    """Return the present value of every parameter by name."""


    def value(parameter: Parameter) -> Any:
        try:
            return node.get_parameter(parameter.name).value
        except ParameterUninitializedException:
            return parameter.default

    return {parameter.name: value(parameter) for parameter in parameters}


def judge(
    changes: list[RosParameter], parameters: tuple[Parameter, ...], configured: bool
) -> SetParametersResult:
    """Accept or refuse a set of changes, without side effects: the body of an on-set callback."""
    known = {parameter.name: parameter for parameter in parameters}
    for change in changes:
        parameter = known.get(change.name)
        if parameter is None:
            continue
        complaint = parameter.complaint(change.value)
        if not complaint and configured and not parameter.live:
            complaint = f"{change.name} is applied at configure; clean the node up, set it, and configure again"
        if complaint:
            return SetParametersResult(successful=False, reason=complaint)
    return SetParametersResult(successful=True)


def table(parameters: tuple[Parameter, ...]) -> str:
    """Return the parameters as a Markdown table for the documentation."""
    lines = ["| parameter | default | unit | range | changes | meaning |", "|---|---|---|---|---|---|"]
    for parameter in parameters:
        default = list(parameter.default) if isinstance(parameter.default, array.array) else parameter.default
        if parameter.choices:
            allowed = ", ".join(f"`{choice}`" for choice in parameter.choices)
        elif parameter.minimum is None and parameter.maximum is None:
            allowed = ""
        else:
            low = "" if parameter.minimum is None else f"{parameter.minimum:g}"
            high = "" if parameter.maximum is None else f"{parameter.maximum:g}"
            allowed = f"{low} .. {high}".strip()
        shown = repr(default).replace("'", "") if default != "" else "(empty)"
        changes = "live" if parameter.live else "configure"
        lines.append(
            f"| `{parameter.name}` | {shown} | {parameter.unit} | {allowed} | {changes} | {parameter.description} |"
        )
    return "\n".join(lines) + "\n"
