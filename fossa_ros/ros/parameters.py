"""Parameters in rclpy: declare them, read them as a configuration, and check changes."""

from __future__ import annotations

import array
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from fossa_ros.core.errors import InputError
from fossa_ros.core.parameter import Parameter
from fossa_ros.parameters.config import build, parameters_of
from fossa_ros.parameters.parameter_file import remarks, values_of
from fossa_ros.parameters.parameter_sections import read_sections
from fossa_ros.parameters.typed_value import ROS_NAMES, typed_value, unknown_parameter

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
    """Declare a node's parameters, each with a value, so that all of them can be listed, dumped and loaded.

    Raises:
        InputError: a start-up value has another type or is not allowed.
    """
    # rclpy offers no other way to see a start-up value before it refuses the type, as that of an unquoted off.
    overrides = node._parameter_overrides
    for parameter in parameters:
        value = parameter.default
        if parameter.name in overrides:
            value = typed_value(parameter, overrides[parameter.name].value, "parameter file or argument")
        if isinstance(value, array.array):  # rclpy cannot tell the type of an empty array
            node.declare_parameter(
                parameter.name, RosParameter.Type.DOUBLE_ARRAY, descriptor(parameter), ignore_override=True
            )
            node.set_parameters([RosParameter(parameter.name, RosParameter.Type.DOUBLE_ARRAY, value)])
        else:
            node.declare_parameter(parameter.name, value, descriptor(parameter), ignore_override=True)


def parameter_files(arguments: Iterable[str]) -> tuple[str, ...]:
    """Return the parameter files that the command line of a node names."""
    words = list(arguments)
    return tuple(after for word, after in pairwise(words) if word == "--params-file")


def start_remarks(node: Node, files: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for every start-up parameter that looks as if it were meant for a node and has no effect.

    Args:
        node: has declared its parameters.
        files: the parameter files that it was started with.
    """
    known = {name for name in node.list_parameters([], 0).names if not name.startswith(ROS_NAMES)}
    in_files: set[str] = set()
    for file in files:
        try:
            sections = read_sections(file)
        except InputError:
            continue  # a dialect of YAML that rcl reads; it has no effect on the values
        in_files |= values_of(sections, node.get_fully_qualified_name()).keys()
        yield from remarks(sections, node.get_fully_qualified_name(), known, file)
    for name in node._parameter_overrides:
        if name not in in_files and name not in known and not name.startswith(ROS_NAMES):
            yield f"Argument -p {name}: {unknown_parameter(name, node.get_name(), known)}"


def changes_of(
    node: Node, changes: Iterable[RosParameter], parameters: Iterable[Parameter]
) -> tuple[list[RosParameter], str]:
    """Return the changes that differ from the present values, in the types of their parameters, and why not.

    The reason is empty if all of them can be typed.
    """
    known = {parameter.name: parameter for parameter in parameters}
    typed = []
    for change in changes:
        if not node.has_parameter(change.name):
            return [], unknown_parameter(change.name, node.get_name(), known)
        if change.name in known:
            try:
                value = typed_value(known[change.name], change.value, "this request")
            except InputError as error:
                return [], str(error)
            is_array = isinstance(value, array.array)
            change = RosParameter(change.name, RosParameter.Type.DOUBLE_ARRAY if is_array else None, value)
        if change.value != node.get_parameter(change.name).value:
            typed.append(change)
    return typed, ""


def read(node: Node, config: type[Config], prefix: str = "", changes: Iterable[RosParameter] = ()) -> Config:
    """Make a configuration from the present values of a node's parameters.

    Args:
        node: has declared them.
        config: the class.
        prefix: with which the names begin.
        changes: replace present values.

    Raises:
        InputError: the values do not go together.
    """
    values = {parameter.name: node.get_parameter(parameter.name).value for parameter in parameters_of(config, prefix)}
    values |= {change.name: change.value for change in changes if change.name in values}
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
