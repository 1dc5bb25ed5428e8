"""Parse the options of a lens backend: NAME=VALUE."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from fossa_ros.core.errors import InputError


def parse_options(pairs: Iterable[str]) -> dict[str, Any]:
    """Return the options in ``NAME=VALUE`` texts; a value is a Python literal, or the text itself if it is not one.

    Raises:
        InputError: a text without a name or a value, or a name given twice.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not (name.isidentifier() and equals and text):
            raise InputError(f"{pair!r} is not an option of a lens; write NAME=VALUE, for example timeout=1.0.")
        if name in options:
            raise InputError(f"Option {name!r} of the lens is given twice; give it once.")
        try:
            options[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            options[name] = text
    return options
