"""The parameter files of ROS, and NAME=VALUE pairs, for commands that do without ROS."""

from __future__ import annotations

import array
from collections.abc import Iterable
from typing import Any

import yaml

from fossa_ros.core.errors import InputError
from fossa_ros.parameters.parameter import Parameter

EVERY = ("/**", "**", "/*", "*")


def read_values(path, node: str, parameters: Iterable[Parameter], pairs: Iterable[str] = ()) -> dict[str, Any]:
    """Return the value of every parameter as ``node`` would get it.

    Args:
        path: of a parameter file; None for the defaults.
        node: its name; sections for other nodes are left out.
        parameters: the node's. What else the file holds for it, such as use_sim_time, is left out, as rclpy does.
        pairs: NAME=VALUE, which go before the file.

    Raises:
        InputError: a file that is none, or a value of another type or out of range.
    """
    known = {parameter.name: parameter for parameter in parameters}
    values = {name: parameter.default for name, parameter in known.items()}
    for name, value in ({} if path is None else _of_file(path, node)).items():
        if name in known:
            values[name] = _checked(known[name], value, str(path))
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or name not in known:
            raise InputError(f"'{pair}' is no NAME=VALUE of a parameter of {node}; docs/parameters.md lists them.")
        values[name] = _checked(known[name], yaml.safe_load(text) if text else "", "the command line")
    return values


def _of_file(path, node: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read ({error}); give a parameter file of ROS.") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no parameters; a parameter file begins with the name of a node.")
    found: dict[str, Any] = {}
    for key, section in content.items():
        wanted = str(key) in EVERY or str(key).rpartition("/")[2] == node
        if wanted and isinstance(section, dict):
            found |= _flat(section.get("ros__parameters") or {})
    return found


def _flat(section, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in section.items() if isinstance(section, dict) else ():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _checked(parameter: Parameter, value: Any, where: str) -> Any:
    default = parameter.default
    try:
        if isinstance(default, array.array):
            value = array.array(default.typecode, [float(number) for number in value])
        elif isinstance(default, str) and not isinstance(value, bool):
            value = str(value)
        elif isinstance(default, float) and not isinstance(value, bool):
            value = float(value)
        elif type(value) is not type(default):
            raise ValueError
    except (TypeError, ValueError):
        raise InputError(f"{parameter.name} in {where} must be like {default!r}, not {value!r}; correct it.") from None
    complaint = parameter.complaint(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        low = -float("inf") if parameter.minimum is None else parameter.minimum
        high = float("inf") if parameter.maximum is None else parameter.maximum
        if not low <= value <= high:
            complaint = complaint or f"{parameter.name} must be within {low:g} .. {high:g}, not {value:g}"
    if complaint:
        raise InputError(f"{complaint} ({where}).")
    return value
