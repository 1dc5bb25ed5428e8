"""Parameters as rclpy knows them: declared, read, and judged before they change."""

from __future__ import annotations

import array
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

from fossa_ros.parameters.parameter import Parameter


def descriptor(parameter: Parameter) -> ParameterDescriptor:
    """Return what ``ros2 param describe`` shows."""
    text = parameter.description + (f" [{parameter.unit}]" if parameter.unit else "")
    described = ParameterDescriptor(name=parameter.name, description=text)
    constraints = [] if parameter.live else ["applied at configure"]
    if parameter.choices:
        constraints.append("one of " + ", ".join(parameter.choices))
    described.additional_constraints = "; ".join(constraints)
    if isinstance(parameter.default, bool) or (parameter.minimum is None and parameter.maximum is None):
        return described
    if isinstance(parameter.default, int):
        low = -(2**63) if parameter.minimum is None else int(parameter.minimum)
        high = 2**63 - 1 if parameter.maximum is None else int(parameter.maximum)
        described.integer_range = [IntegerRange(from_value=low, to_value=high, step=0)]
    elif isinstance(parameter.default, float):
        low = -float("inf") if parameter.minimum is None else float(parameter.minimum)
        high = float("inf") if parameter.maximum is None else float(parameter.maximum)
        described.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
    return described


def declare(node: LifecycleNode, parameters: tuple[Parameter, ...]) -> None:
    """Declare a node's parameters; a start-up value out of range raises rclpy's ParameterException."""
    for parameter in parameters:
        # rclpy cannot tell the type of an empty array, so such a parameter is declared by type and left unset.
        empty = isinstance(parameter.default, array.array) and not parameter.default
        default = RosParameter.Type.DOUBLE_ARRAY if empty else parameter.default
        node.declare_parameter(parameter.name, default, descriptor(parameter))


def values(node: LifecycleNode, parameters: tuple[Parameter, ...]) -> dict[str, Any]:
    """Return the present value of every parameter by name."""

    def value(parameter: Parameter) -> Any:
        try:
            return node.get_parameter(parameter.name).value
        except ParameterUninitializedException:
            return parameter.default

    return {parameter.name: value(parameter) for parameter in parameters}


def judge(changes: list[RosParameter], parameters: tuple[Parameter, ...], configured: bool) -> SetParametersResult:
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
