"""Configurations from ROS parameter files and NAME=VALUE pairs, for commands that run without ROS."""

from __future__ import annotations

import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from fossa_ros.core.errors import InputError
from fossa_ros.core.parameter import Parameter
from fossa_ros.io.documents import load_yaml
from fossa_ros.parameters.config import build, parameters_of

Config = TypeVar("Config")
EVERY_NODE = ("/**", "**", "/*", "*")


def read_config(config: type[Config], node: str, path: str | Path | None = None, pairs: Iterable[str] = ()) -> Config:
    """Make the configuration that ``node`` would have.

    Args:
        config: the class; names in the file that are not among its parameters, such as use_sim_time, are ignored, as
            rclpy ignores them.
        node: its name; sections of the file for other nodes are ignored.
        path: of a parameter file; None for the defaults.
        pairs: NAME=VALUE, which override the file.

    Raises:
        InputError: the file is no parameter file, a pair is no parameter, or a value has another type, is out of range
            or does not go with the others.
    """
    known = {parameter.name: parameter for parameter in parameters_of(config)}
    values: dict[str, Any] = {}
    for name, value in ({} if path is None else _file_values(path, node)).items():
        if name in known:
            values[name] = _checked(known[name], value, str(path))
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or name not in known:
            raise InputError(f"'{pair}' is no NAME=VALUE of a parameter of {node}; docs/parameters.md lists them.")
        values[name] = _checked(known[name], _parsed(text), "the command line")
    return build(config, values)


def _parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text) if text else ""
    except yaml.YAMLError:
        return text  # of no use to a parameter that is no string


def _file_values(path: str | Path, node: str) -> dict[str, Any]:
    content = load_yaml(path, "give a ROS parameter file")
    if not content:
        raise InputError(f"{path} holds no parameters; a parameter file begins with the name of a node.")
    found: dict[str, Any] = {}
    for key, section in content.items():
        wanted = str(key) in EVERY_NODE or str(key).rpartition("/")[2] == node
        if wanted and isinstance(section, dict):
            found |= _flat(section.get("ros__parameters") or {})
    return found


def _flat(section: Any, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in section.items() if isinstance(section, dict) else ():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _checked(parameter: Parameter, value: Any, source: str) -> Any:
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
        raise InputError(f"{parameter.name} in {source} must be like {default!r}, not {value!r}; correct it.") from None
    problem = parameter.problem(value)
    if problem:
        raise InputError(f"{problem} ({source}).")
    return value
