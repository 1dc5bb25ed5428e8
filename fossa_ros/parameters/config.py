"""Configuration dataclasses as parameters: list the parameters of a class, and build an instance from their values.

A configuration is a dataclass whose fields are declared with ``fossa_ros.core.parameter``, or hold further
dataclasses of that kind.
"""

from __future__ import annotations

import array
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, replace
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fossa_ros.core.errors import InputError
from fossa_ros.core.parameter import SECOND, Parameter, declared_parameter, declared_prefix

Config = TypeVar("Config")


def parameters_of(config: type, prefix: str = "") -> tuple[Parameter, ...]:
    """Return the parameters of a configuration class in the order of its fields, each name after ``prefix``."""
    return tuple(_parameters(config, prefix))


def build(config: type[Config], values: Mapping[str, Any], prefix: str = "") -> Config:
    """Make a configuration.

    Args:
        config: the class.
        values: of the parameters, by their names; a parameter that is missing has its default.
        prefix: with which the names begin.

    Raises:
        InputError: a value is not allowed, or the values do not go together.
    """
    arguments = {}
    for each, hint in _typed_fields(config):
        inner, declared = declared_prefix(each), declared_parameter(each)
        if inner is not None:
            arguments[each.name] = build(hint, values, prefix + inner)
        elif declared is not None and (name := prefix + declared.name) in values:
            known = _complete(declared, each, hint, prefix)
            problem = known.problem(values[name])
            if problem:
                raise InputError(f"{problem}; correct it.")
            arguments[each.name] = _field_value(values[name], hint, known.nanoseconds)
    return config(**arguments)


def _parameters(config: type, prefix: str) -> Iterator[Parameter]:
    for each, hint in _typed_fields(config):
        inner, declared = declared_prefix(each), declared_parameter(each)
        if inner is not None:
            yield from _parameters(hint, prefix + inner)
        elif declared is not None:
            yield _complete(declared, each, hint, prefix)


def _typed_fields(config: type) -> Iterator[tuple[Field[Any], Any]]:
    hints = get_type_hints(config)
    for each in fields(config):
        yield each, hints[each.name]


def _complete(declared: Parameter, of: Field[Any], hint: Any, prefix: str) -> Parameter:
    """Add what the field itself says: its default, and the choices of its type."""
    assert of.default is not MISSING  # ``parameter`` and ``seconds`` require one
    kind, _ = _kind(hint)
    choices = declared.choices
    if get_origin(kind) is Literal:
        choices = get_args(kind)
    elif _is_enum(kind):
        choices = tuple(str(member.value) for member in kind)
    default = _parameter_value(of.default, kind, declared.nanoseconds)
    return replace(declared, name=prefix + declared.name, default=default, choices=choices)


def _parameter_value(value: Any, kind: Any, nanoseconds: bool) -> Any:
    """Return what a field's value is as a parameter."""
    if value is None:
        return kind()  # 0 or empty
    if nanoseconds:
        return value / SECOND
    if isinstance(value, Enum):
        return value.value
    return array.array("d", value) if isinstance(value, tuple) else value


def _field_value(value: Any, hint: Any, nanoseconds: bool) -> Any:
    """Return what a parameter's value is in a field."""
    kind, optional = _kind(hint)
    if optional and not value:
        return None
    if nanoseconds:
        return round(value * SECOND)
    if _is_enum(kind):
        return kind(value)
    return tuple(value) if get_origin(kind) is tuple else value


def _kind(hint: Any) -> tuple[Any, bool]:
    """Return the type in ``hint`` without None, and whether None was in it."""
    if get_origin(hint) in (Union, UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not NoneType]
        return kinds[0], True
    return hint, False


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)
