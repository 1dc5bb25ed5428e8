"""Parameters in rclpy: declare them, read them as a configuration, and check changes."""

from __future__ import annotations

import array
from collections.abc import Iterable
from typing import TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterUninitializedException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from fossa_ros.core.parameter import Parameter
from fossa_ros.parameters.config import build, parameters_of

Config = TypeVar("Config")


def descriptor(parameter: Parameter) -> ParameterDescriptor:
    """Return what ``ros2 param describe`` shows."""
    text = parameter.description + (f" [{parameter.unit}]" if parameter.unit else "")
    result = ParameterDescriptor(name=parameter.name, description=text)
    constraints = [] if parameter.live else ["applied at configure"]
    if parameter.choices:
        constraints.append("one of " + ", ".join(parameter.choices))
    result.additional_constraints = "; ".join(constraints)
    if isinstance(parameter.default, bool) or (parameter.minimum is None and parameter.maximum is None):
        return result
    if isinstance(parameter.default, int):
        low = -(2**63) if parameter.minimum is None else int(parameter.minimum)
        high = 2**63 - 1 if parameter.maximum is None else int(parameter.maximum)
        result.integer_range = [IntegerRange(from_value=low, to_value=high, step=0)]
    elif isinstance(parameter.default, float):
        low = -float("inf") if parameter.minimum is None else float(parameter.minimum)
        high = float("inf") if parameter.maximum is None else float(parameter.maximum)
        result.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
    return result


def declare(node: Node, parameters: Iterable[Parameter]) -> None:
    """Declare a node's parameters; a start-up value that is not allowed raises rclpy's ParameterException."""
    for parameter in parameters:
        # rclpy cannot tell the type of an empty array, so such a parameter is declared by type and left unset.
        empty = isinstance(parameter.default, array.array) and not parameter.default
        default = RosParameter.Type.DOUBLE_ARRAY if empty else parameter.default
        node.declare_parameter(parameter.name, default, descriptor(parameter))


def read(node: Node, config: type[Config], prefix: str = "") -> Config:
    """Make a configuration from the present values of a node's parameters.

    Args:
        node: has declared them.
        config: the class.
        prefix: with which the names begin.

    Raises:
        InputError: the values do not go together.
    """
    values = {}
    for parameter in parameters_of(config, prefix):
        try:
            values[parameter.name] = node.get_parameter(parameter.name).value
        except ParameterUninitializedException:
            continue  # an empty array
    return build(config, values, prefix)


def check(changes: Iterable[RosParameter], parameters: Iterable[Parameter], configured: bool) -> SetParametersResult:
    """Accept or refuse changes without side effects, as an on-set callback does.

    Args:
        changes: what is to be set, from outside or at start-up.
        parameters: the node's; any other is accepted.
        configured: whether the node is configured, so that only live parameters can change.
    """
    known = {parameter.name: parameter for parameter in parameters}
    for change in changes:
        parameter = known.get(change.name)
        if parameter is None:
            continue
        problem = parameter.problem(change.value)
        if not problem and configured and not parameter.live:
            problem = f"{change.name} is applied at configure; clean the node up, set it, and configure again"
        if problem:
            return SetParametersResult(successful=False, reason=problem)
    return SetParametersResult(successful=True)
