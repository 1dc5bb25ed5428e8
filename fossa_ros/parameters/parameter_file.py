"""Configurations from ROS parameter files and NAME=VALUE pairs, and remarks on files that miss their node.

Commands read files with this module; nodes have rclpy read them, and take the remarks from here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from fossa_ros.core.errors import InputError
from fossa_ros.parameters.config import build, parameters_of
from fossa_ros.parameters.parameter_sections import Sections, read_sections
from fossa_ros.parameters.typed_value import (
    ROS_NAMES,
    nearest_name,
    typed_text,
    typed_value,
    unknown_parameter,
    which_name,
)

Config = TypeVar("Config")
LOG = logging.getLogger(__name__)
NODES = ("fossa_node", "sweep_node", "depth_node", "sim_rig_node")
_EVERY_NODE = frozenset({"*", "**"})


def read_config(
    config: type[Config],
    node: str,
    path: str | Path | None = None,
    pairs: Iterable[str] = (),
    *,
    defaults: Mapping[str, Any] = MappingProxyType({}),
    namespace: str | None = None,
    warn: Callable[[str], None] = LOG.warning,
) -> Config:
    """Make the configuration that ``node`` would have.

    Args:
        config: the class.
        node: its name.
        path: of a parameter file; None for the defaults.
        pairs: NAME=VALUE, which override the file.
        defaults: values by name in place of the node's defaults.
        namespace: of the node; None for the one in which the file configures it.
        warn: receives a sentence for every name in the file that has no effect and looks like a mistake.

    Raises:
        InputError: the file is not a parameter file, a pair is not a parameter, or a value has another type, is out of
            range or does not go with the others.
    """
    known = {parameter.name: parameter for parameter in parameters_of(config)}
    values = dict(defaults)
    if path is not None:
        sections = read_sections(path)
        full_name = f"{_namespace_of(node, sections, path) if namespace is None else _absolute(namespace)}/{node}"
        for remark in remarks(sections, full_name, known, path):
            warn(remark)
        for name, value in values_of(sections, full_name).items():
            if name in known:
                values[name] = typed_value(known[name], value, str(path))
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or name not in known:
            raise InputError(f"'{pair}' is not NAME=VALUE of a parameter of {node}; {which_name(name, known)}")
        values[name] = typed_text(known[name], text, "the command line")
    return build(config, values)


def values_of(sections: Sections, full_name: str) -> dict[str, Any]:
    """Return the parameters of a node, by its name with namespace: a later section overrides an earlier one."""
    found: dict[str, Any] = {}
    for pattern, values in sections.items():
        if _matches(pattern, full_name):
            found |= values
    return found


def remarks(sections: Sections, full_name: str, known: Collection[str], path: str | Path) -> Iterator[str]:
    """Yield a sentence for everything in a file that looks as if it were meant for a node and does not reach it.

    A section for every node may hold parameters of other nodes, so that only names which resemble the node's own are
    remarked there.

    Args:
        sections: of the file.
        full_name: of the node, with its namespace.
        known: the names of its parameters.
        path: of the file.
    """
    node = full_name.rpartition("/")[2]
    groups = {name.partition(".")[0] for name in known if "." in name}
    for pattern, values in sections.items():
        mine = _matches(pattern, full_name)
        last = pattern.rpartition("/")[2]
        for name in values if mine else ():
            if name in known or name.partition(".")[0] in ROS_NAMES:
                continue
            if last not in _EVERY_NODE or name.partition(".")[0] in groups or nearest_name(name, known):
                yield f"{path}: {unknown_parameter(name, node, known)}"
    if not values_of(sections, full_name):
        yield f"{path} sets nothing for {full_name}: {_advice(sections, full_name)}"
        return
    for pattern in sections:
        last = pattern.rpartition("/")[2]
        if last not in NODES and nearest_name(last, [node]) and last != node:
            yield f"{path}: the section {pattern} is not for {full_name}; did you mean {node}?"


def _advice(sections: Sections, full_name: str) -> str:
    node = full_name.rpartition("/")[2]
    if not sections:
        return f"it is empty; write a section {node}."
    named = ", ".join(sections)
    if any(pattern.rpartition("/")[2] in {node, *_EVERY_NODE} for pattern in sections):
        return f"its sections are for {named}; write {full_name}, or /**/{node} for any namespace."
    return f"its sections are for {named}; did you mean {node}?"


def _matches(pattern: str, full_name: str) -> bool:
    return re.fullmatch(pattern.replace("/*", r"(/\w+)"), full_name, re.ASCII) is not None


def _absolute(namespace: str) -> str:
    stripped = namespace.strip("/")
    return f"/{stripped}" if stripped else ""


def _namespace_of(node: str, sections: Sections, path: str | Path) -> str:
    """Return the namespace in which a file configures a node, without a slash at its end; the root if it names none."""
    found: dict[str, None] = {}
    anywhere = ""
    for pattern in sections:
        *namespace, last = pattern.split("/")[1:]
        if last != node and (last not in _EVERY_NODE or not namespace):
            continue
        tokens = [token for token in namespace if token != "**"]
        if "*" in tokens:
            anywhere = "/" + "/".join("any" if token == "*" else token for token in tokens)
        elif tokens or last == node:
            found["".join(f"/{token}" for token in tokens)] = None
    if len(found) > 1 and "" not in found:
        raise InputError(f"{path} configures {node} in the namespaces {', '.join(found)}; choose one with --namespace.")
    return "" if "" in found else next(iter(found), anywhere)
