"""Values from parameter files, nodes and command lines in the type of their parameter, or a sentence what to write."""

from __future__ import annotations

import array
import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from fossa_ros.core.errors import InputError
from fossa_ros.core.parameter import Parameter
from fossa_ros.parameters.parameter_sections import events_of, scalar_value

# The words for a truth value that parameters offer as choices: an unquoted one arrives as a bool.
_TRUTH_WORDS = {True: ("on", "yes", "true"), False: ("off", "no", "false")}
ROS_NAMES = ("use_sim_time", "start_type_description_service", "qos_overrides")
"""Parameters that rclpy itself declares."""


def typed_value(parameter: Parameter, value: Any, source: str) -> Any:
    """Return a value in the type of its parameter, and refuse what rclpy refuses.

    Args:
        parameter: whose default fixes the type.
        value: bool, int, float, str, or a sequence of one of them; None for an empty list.
        source: where the value stands, for the sentence.

    Raises:
        InputError: the value has another type or is not allowed; the sentence says what to write.
    """
    default = parameter.default
    if isinstance(default, array.array) and (value is None or _is_list(value)) and _holds(value or (), float):
        value = array.array(default.typecode, value or ())
    elif isinstance(default, str) and isinstance(value, bool):
        words = _TRUTH_WORDS[value]
        value = next((word for word in words if word in parameter.choices), words[0] if parameter.choices else value)
    if type(value) is not type(default):
        raise InputError(f"{parameter.name} in {source} must be like {_shown(default)}: {_advice(default, value)}.")
    problem = parameter.problem(value)
    if problem:
        raise InputError(f"{problem} ({source}).")
    return value


def typed_text(parameter: Parameter, text: str, source: str) -> Any:
    """Return the value of a NAME=VALUE: as in a parameter file, but text needs no quotes and numbers no point.

    Raises:
        InputError: the text is not YAML, or has another type or is not allowed.
    """
    default = parameter.default
    try:
        scalars, is_list = _scalars(text)
    except InputError as error:
        _, _, reason = str(error).partition(": ")
        raise InputError(
            f"{parameter.name} in {source} must be like {_shown(default)}, not '{text}': {reason}."
        ) from None
    if isinstance(default, str) and not is_list:
        return typed_value(parameter, scalars[0][0] if scalars else "", source)
    values = [scalar_value(*scalar) for scalar in scalars]
    if isinstance(default, float | array.array):
        values = [float(value) if type(value) is int else value for value in values]
    return typed_value(parameter, values if is_list else values[0] if values else "", source)


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like ``name``; empty if none is."""
    known = list(known)
    ends = [each for each in known if each.endswith(f".{name}")]
    return next(iter(ends or difflib.get_close_matches(name, known, 1, 0.7)), "")


def unknown_parameter(name: str, node: str, known: Iterable[str]) -> str:
    """Say that a node does not have a parameter, and which was probably meant."""
    return f"{node} has no parameter {name}; {which_name(name, known)}"


def which_name(name: str, known: Iterable[str]) -> str:
    """Ask whether the nearest known name was meant, or say where the names are."""
    near = nearest_name(name, known)
    return f"did you mean {near}?" if near else "docs/parameters.md lists its parameters."


def _scalars(text: str) -> tuple[list[tuple[str, bool]], bool]:
    """Return the scalars of a value with whether each is quoted, and whether they are a list."""
    scalars: list[tuple[str, bool]] = []
    is_list = False
    for event in events_of(text):
        if isinstance(event, yaml.ScalarEvent):
            scalars.append((event.value, event.style in ("'", '"')))
        elif isinstance(event, yaml.SequenceStartEvent):
            is_list = True
        elif isinstance(event, yaml.MappingStartEvent | yaml.AliasEvent):
            raise InputError("value: it is a mapping or an alias; put text that has a colon, * or { in quotes")
    return scalars, is_list


def _is_list(value: Any) -> bool:
    return (isinstance(value, Sequence) and not isinstance(value, str | bytes)) or isinstance(value, array.array)


def _holds(values: Iterable[Any], kind: type) -> bool:
    return all(type(value) is kind for value in values)


def _shown(default: Any) -> str:
    if isinstance(default, array.array):
        return str(list(default) or [0.5, 1.0])
    return str(default).lower() if isinstance(default, bool) else repr(default)


def _advice(default: Any, value: Any) -> str:
    """Return what to write instead of a value of another type."""
    is_list = _is_list(value) or value is None
    values = list(value or ()) if is_list else [value]
    present = "a list" if is_list else f"'{value}'" if isinstance(value, str) else str(value).lower()
    match default:
        case bool():
            return f"write true or false, not {present}"
        case int():
            whole = len(values) == 1 and type(values[0]) in (int, float) and values[0] % 1 == 0
            return f"write {int(values[0])}, not {present}" if whole else f"write a whole number, not {present}"
        case float():
            number = len(values) == 1 and type(values[0]) in (int, float)
            return f"write {float(values[0])}, not {present}" if number else f"write a number, not {present}"
        case str():
            scalar = len(values) == 1 and not isinstance(values[0], str)
            return f"write text in quotes, '{present}'" if scalar and not is_list else f"write text, not {present}"
    if values and all(type(each) in (int, float) for each in values):
        return f"write {[float(each) for each in values]}, not {value if not is_list else values}"
    return f"write a list of numbers with a point, not {present}"
