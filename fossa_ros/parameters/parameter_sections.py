"""The sections of ROS parameter files, read as rcl reads them, which is not how YAML libraries do.

rcl walks the events of a YAML parser: names nest until ``ros__parameters``, an unquoted scalar is a truth value, a
whole number or a floating-point number if C would read it as one, lists hold one type, and there are no aliases. This
module is the same walk (rcl_yaml_param_parser, ``parse.c``, ROS 2 Jazzy), so that a file means the same to commands,
which run without ROS, and to nodes; tests/test_parameter_files.py compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fossa_ros.core.errors import InputError

Sections = dict[str, dict[str, Any]]
"""Name pattern of nodes, which begins with a slash -> name of a parameter -> value; a list is one of one type."""

LARGEST = 1_000_000  # bytes
KEY = "ros__parameters"
LAYOUT = "write for example 'fossa_node: {ros__parameters: {sweep.planes: 5}}'"
_TRUE = frozenset(["Y", "y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"])
_FALSE = frozenset(["N", "n", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"])
_INTEGER = re.compile(r"\s*[+-]?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_DECIMAL = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_HEXADECIMAL = re.compile(r"\s*[+-]?0[xX]([0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)([pP][+-]?[0-9]+)?")
_SPECIAL = re.compile(r"\s*([+-]?)(inf|infinity|nan(?:\([0-9a-zA-Z_]*\))?)", re.IGNORECASE)
_DOTTED = re.compile(r"([+-]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_TOKEN = re.compile(r"\*\*?|[A-Za-z_][A-Za-z0-9_]*")
# A duplicate of another type does not replace the first value: rclpy takes the first of these types that has one.
_PRECEDENCE = (bool, int, float, str, (list, bool), (list, int), (list, float), (list, str))
_NAMES = {bool: "truth values", int: "whole numbers", float: "floating-point numbers", str: "text"}


def read_sections(path: str | Path) -> Sections:
    """Return the sections of a parameter file, in the file's order.

    Raises:
        InputError: the file cannot be read, or rcl refuses it; the sentence names the line and says what to write.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give a ROS parameter file.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); give a ROS parameter file.") from error
    if len(data) > LARGEST:
        raise InputError(f"{path} is larger than {LARGEST / 1e6:g} MB; give a ROS parameter file.")
    return _Walk(str(path)).sections(data)


def scalar_value(text: str, quoted: bool = False) -> Any:
    """Return a scalar of a parameter file as bool, int, float or str."""
    if quoted:
        return text
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        whole = _whole(text)
        if -(2**63) <= whole < 2**63:
            return whole
    number = _number(text)
    return text if number is None else number


def list_of(values: list[Any]) -> list[Any] | None:
    """Return a list whose entries all have one type; None if they do not."""
    return values if len({type(value) for value in values}) <= 1 else None


def events_of(data: bytes | str) -> Iterator[yaml.Event]:
    """Yield the events of a YAML stream; raise InputError with the line and the reason, without a full stop."""
    try:
        yield from yaml.parse(data, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}" if mark is not None else "YAML"
        reason = f"{error.problem or error.context}"
        if "\\t" in reason:
            reason = "YAML is indented with spaces; replace the tab"
        elif "scanning a quoted scalar" in str(error.context) or "stream end" in reason or "end of stream" in reason:
            reason = "a quote or bracket is not closed; close it"
        elif "mapping values" in reason:
            reason = "a colon with a space after it is not expected here; correct the indentation, or quote the text"
        else:
            reason = f"{reason}; correct the indentation, brackets or quotes"
        raise InputError(f"{line}: {reason}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"YAML: {reason}; save it as plain text in UTF-8") from error


@dataclass
class _Entry:
    """A parameter with a value of every type that the file gives it."""

    name: str
    typed: dict[Any, Any] = field(default_factory=dict)

    @property
    def value(self) -> Any:
        """The value that rclpy takes; None for an empty list, which has no type."""
        return next((self.typed[kind] for kind in _PRECEDENCE if kind in self.typed), None)


class _Walk:
    """The state of rcl while it reads a file."""

    def __init__(self, source: str):
        self._source = source
        self._nodes: dict[str, list[_Entry]] = {}
        self._node_names = _Names("/")
        self._groups = _Names(".")
        self._in_parameters = False
        self._depth = 0
        self._is_key, self._new_mapping = True, False
        self._list: list[Any] | None = None
        self._node: list[_Entry] = []
        self._entry: _Entry | None = None
        self._last_name = ""

    def sections(self, data: bytes) -> Sections:
        """Walk through a file."""
        try:
            for event in events_of(data):
                self._on_event(event)
        except InputError as error:
            raise InputError(f"{self._source}, {error}.") from error
        found: Sections = {}
        for name, entries in self._nodes.items():
            section = found.setdefault(name if name.startswith("/") else f"/{name}", {})
            section.update({entry.name: entry.value for entry in entries})
        return found

    def _on_event(self, event: yaml.Event) -> None:
        line = f"line {event.start_mark.line + 1 if event.start_mark is not None else 0}"
        match event:
            case yaml.ScalarEvent() if self._is_key:
                self._on_name(event.value, line)
                self._is_key = False
            case yaml.ScalarEvent():
                self._on_value(event, line)
                self._is_key = self._list is None
            case yaml.SequenceStartEvent():
                if self._is_key:
                    raise InputError(f"{line}: a list stands where a name belongs; {LAYOUT}")
                self._refuse_outside(line)
                self._list = []
            case yaml.SequenceEndEvent():
                if self._list is not None and list_of(self._list) is None:
                    raise InputError(f"{line}: {mixed_list(self._last_name, self._list)}")
                self._list, self._is_key = None, True
            case yaml.MappingStartEvent():
                self._depth += 1
                self._is_key = True
                self._new_mapping = not (self._in_parameters and self._depth - self._node_names.count == 3)
            case yaml.MappingEndEvent():
                if self._in_parameters and self._groups.count:
                    self._groups.remove()
                elif self._in_parameters:
                    self._in_parameters = False
                elif self._depth == self._node_names.count + 1:
                    self._node_names.remove()
                self._depth -= 1
            case yaml.AliasEvent():
                raise InputError(f"{line}: ROS parameter files have no aliases; write the value again")

    def _on_name(self, name: str, line: str) -> None:
        if not name:
            raise InputError(f"{line}: a name is empty; {LAYOUT}")
        self._last_name = name
        if self._in_parameters:
            self._on_parameter(name)
        elif not name.startswith(KEY):
            self._node_names.add(name)
        elif not self._node_names.count:
            raise InputError(f"{line}: no node is named before {KEY}; {LAYOUT}")
        else:
            node = self._node_names.text
            _check_node_name(node, line)
            self._node = self._nodes.setdefault(node, [])
            self._node_names.remove()
            self._in_parameters = True

    def _on_parameter(self, name: str) -> None:
        if self._new_mapping and self._entry is not None:
            self._groups.replace(self._entry.name)
            self._new_mapping = False
        if self._groups.count:  # what was taken for a parameter is a group: its entry becomes the first in the group
            self._entry = self._entry_named(self._groups.text)
            self._entry.name = f"{self._groups.text}.{name}"
        else:
            self._entry = self._entry_named(name)

    def _entry_named(self, name: str) -> _Entry:
        for entry in self._node:
            if entry.name == name:
                return entry
        self._node.append(_Entry(name))
        return self._node[-1]

    def _on_value(self, event: yaml.ScalarEvent, line: str) -> None:
        self._refuse_outside(line)
        if not self._node or self._entry is None:
            raise InputError(f"{line}: a value stands where a parameter belongs; {LAYOUT}")
        quoted = event.style in ("'", '"')
        if not event.value and not quoted:
            raise InputError(f"{line}: {self._last_name} has no value; write one, or '' for empty text")
        value = scalar_value(event.value, quoted)
        if self._list is None:
            self._entry.typed[type(value)] = value
        else:
            self._list.append(value)
            self._entry.typed[list, type(value)] = self._list

    def _refuse_outside(self, line: str) -> None:
        if self._in_parameters:
            return
        if "ros_parameters" in self._node_names.text.split("/"):
            raise InputError(f"{line}: ros_parameters needs two underscores; write {KEY}")
        raise InputError(f"{line}: {self._last_name} stands outside a section {KEY}; {LAYOUT}")


class _Names:
    """Names that nest, joined by a separator, as rcl keeps them: it removes what follows the last separator."""

    def __init__(self, separator: str):
        self._separator = separator
        self.text, self.count = "", 0

    def add(self, name: str) -> None:
        if not self.count:
            self.text = name
        else:
            self.text += name if self.text.endswith(self._separator) else self._separator + name
        self.count += 1

    def replace(self, text: str) -> None:
        self.text = text
        self.count += 1

    def remove(self) -> None:
        if self.count == 1:
            self.text = ""
        elif self.count and self._separator in self.text:
            self.text = self.text.rpartition(self._separator)[0]
        self.count = max(self.count - 1, 0)


def mixed_list(name: str, values: list[Any]) -> str:
    """Say what is wrong with a list of several types, and how to write it."""
    kinds = list(dict.fromkeys(_NAMES[type(value)] for value in values))
    if {type(value) for value in values} == {int, float}:
        written = ", ".join(f"{float(value):g}" if value % 1 else f"{float(value):.1f}" for value in values)
        return f"the list {name} mixes {' and '.join(kinds)}; write every one with a point, as in [{written}]"
    return f"the list {name} mixes {' and '.join(kinds)}; write entries of one type"


def _check_node_name(name: str, line: str) -> None:
    tokens = name.removeprefix("/").split("/")
    bad = next((token for token in tokens if not _TOKEN.fullmatch(token)), None)
    if bad is not None:
        raise InputError(f"{line}: '{name}' is not the name of a node; {LAYOUT}")


def _whole(text: str) -> int:
    """Return a whole number as C's strtol with base 0 reads it: 0x is hexadecimal, a leading 0 octal."""
    digits = text.strip().lstrip("+-")
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits.startswith("0") else 10
    return int(digits, base) * (-1 if text.strip().startswith("-") else 1)


def _number(text: str) -> float | None:
    """Return a floating-point number as C's strtod reads it, or with the point that YAML puts before inf and nan."""
    if dotted := _DOTTED.fullmatch(text):
        return float("nan") if dotted[3] else float(f"{dotted[1]}inf")
    if special := _SPECIAL.fullmatch(text):
        return float("nan") if special[2].lower().startswith("nan") else float(f"{special[1]}inf")
    if _HEXADECIMAL.fullmatch(text):
        return float.fromhex(text.strip())
    if _DECIMAL.fullmatch(text):
        number = float(text)
        digits = re.split("[eE]", text)[0]
        underflow = abs(number) < 2.2250738585072014e-308 and re.search("[1-9]", digits) is not None
        return None if abs(number) == float("inf") or underflow else number  # errno is ERANGE: text
    return None
