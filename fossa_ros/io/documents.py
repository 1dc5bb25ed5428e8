"""Read JSON and YAML files and check their contents against a type.

The types are dataclasses or ``msgspec.Struct`` classes; msgspec checks values against their annotations. Every
error is one sentence that names the file and the entry. A ``__post_init__`` may raise a ``ValueError`` whose text
begins with the name of the entry, relative to the class, as in ``"greatest must exceed least"``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import yaml

from fossa_ros.core.errors import InputError

T = TypeVar("T")
LARGEST = 1_000_000
"""Bytes of a document, where a reader does not set another limit."""

Finite = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
"""Annotation of a number that is neither infinite nor NaN."""
NotNegative = Annotated[float, msgspec.Meta(ge=0.0, le=1e300)]

_KINDS = {
    "array": "a list",
    "bool": "true or false",
    "float": "a finite number",
    "int": "a whole number",
    "null": "null",
    "object": "a mapping",
    "str": "text",
}
_UNPARSED = (ValueError, RecursionError, LookupError, TypeError, AttributeError)  # of PyYAML too: ``!!timestamp x``
_PLACE = re.compile(r"^(?P<problem>.*?)(?: - at `(?P<key>key` in `)?\$\.?(?P<place>.*)`)?$", re.DOTALL)


def load_json(path: str | Path, advice: str, largest: int = LARGEST) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Args:
        path: of the file, UTF-8 with or without a byte order mark.
        advice: what to do if the file is missing or of another kind, an imperative clause.
        largest: bytes; larger files are refused.

    Raises:
        InputError: the file is missing, too large, not JSON, or not an object.
    """
    return _load(path, advice, largest, "JSON", lambda data: json.loads(data.decode("utf-8-sig")))


def load_yaml(path: str | Path, advice: str, largest: int = LARGEST) -> dict[str, Any]:
    """Return the mapping that a YAML file holds, as ``load_json`` does; an empty file is an empty mapping."""
    return _load(path, advice, largest, "YAML", lambda data: {} if (it := yaml.safe_load(data)) is None else it)


def convert(content: object, kind: type[T], source: str | Path, *, only_known: bool = False) -> T:
    """Convert plain values, such as those of ``load_json`` and ``load_yaml``, to a dataclass or Struct.

    Args:
        content: plain values. Entries that ``kind`` does not have are ignored.
        kind: the dataclass or Struct.
        source: the file, or another name of the source, for error messages.
        only_known: refuse entries that ``kind`` does not have.

    Raises:
        InputError: an entry is missing, unknown, of another type or out of range.
    """
    try:
        made = msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{source}: {_sentence(str(error), content)}; correct it.") from error
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    if only_known and (unknown := next(_unknown(content, msgspec.to_builtins(made)), None)) is not None:
        name, known = unknown
        raise InputError(f"{source} has the unknown field {name}; known are {', '.join(known)}.")
    return made


def null_for_nan(value: object) -> Any:
    """Return plain values for JSON: NaN and infinities in dicts, lists and tuples become None, tuples lists."""
    if isinstance(value, Mapping):
        return {name: null_for_nan(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [null_for_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _load(
    path: str | Path, advice: str, largest: int, language: str, parse: Callable[[bytes], object]
) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            data = file.read(largest + 1)
        if len(data) > largest:
            raise InputError(f"{path} is larger than {largest / 1e6:g} MB; {advice}.")
        content = parse(data)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; {advice}.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); {advice}.") from error
    except (*_UNPARSED, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is not valid {language} ({reason}); correct it, or {advice}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must be a {language} mapping; {advice}.")
    return content


def _sentence(message: str, content: object) -> str:
    """Return the message of msgspec in plain words, with the value."""
    found = _PLACE.match(message)
    assert found is not None  # the pattern matches any text
    problem, place = found["problem"], found["place"] or ""
    entry = place or "the document"
    if found["key"]:
        return f"the names in {entry} must be text"
    if missing := re.fullmatch(r"Object missing required field `(.*)`", problem):
        return f"{place}.{missing[1]} is missing".lstrip(".")
    expected = re.match(r"Expected `([^`]*)`(.*)", problem)
    if problem.startswith("Number out of range"):
        requirement = _KINDS["float"]
    elif expected is None:  # of a __post_init__
        return f"{place}.{problem}".lstrip(".")
    elif limit := re.match(r" (of length )?([<>]=?) (\S+)", expected[2]):
        unit = f"{_KINDS[expected[1]]} of length" if limit[1] else "a number"
        requirement = _KINDS["float"] if "e+300" in limit[3] else f"{unit} {limit[2]} {float(limit[3]):g}"
    elif length := re.match(r" of length (\d+)", expected[2]):
        requirement = f"a list of {length[1]} entries"
    else:
        kinds = [name for name in expected[1].split(" | ") if name != "null"]
        requirement = " or ".join(_KINDS.get(name, name) for name in kinds if name != "int" or "float" not in kinds)
    return f"{entry} must be {requirement}{_but_is(content, place)}"


def _but_is(content: Any, place: str) -> str:
    """Return ", not VALUE" for a place such as ``focus.rising.command[2]``, with 40 characters of the value at most."""
    try:
        for name, index in re.findall(r"([^.\[\]]+)|\[(\d+|\.\.\.)\]", place):
            content = content[name or int(index)]
        if isinstance(content, dict):  # not its entries: aliases in YAML make a small file enormous
            return f", not {_KINDS['object']}"
        if isinstance(content, list):
            return f", not a list of {len(content)}"
        return f", not {json.dumps(content, default=str):.40}"
    except (LookupError, TypeError, ValueError):  # msgspec calls any entry of a dict ``[...]``
        return ""


def _unknown(content: object, made: object, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each entry that was not used, and the names that are known there."""
    if not isinstance(content, Mapping) or not isinstance(made, Mapping):
        return
    for name, value in content.items():
        if name not in made:
            yield f"{prefix}{name}", list(made)
        else:
            yield from _unknown(value, made[name], f"{prefix}{name}.")
