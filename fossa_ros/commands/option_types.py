"""Types of options: what is written on the command line, as the value that a command works with."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
PATH = click.Path(path_type=Path)


class Number(click.FloatRange):
    """A finite number within a range; click's own types accept ``nan``, and ``inf`` where an end is open."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number

    def _describe_range(self) -> str:
        return "" if self.min is None and self.max is None else super()._describe_range()  # click says x<=None


NUMBER = Number()
NOT_NEGATIVE = Number(min=0)
POSITIVE = Number(min=0, min_open=True)
MILLISECONDS = Number(min=0, max=1000)


class FocusDistance(click.ParamType):
    """A focus distance in metres from ``0.5``, ``0.5m``, ``2D`` or ``inf``."""

    name = "distance"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return metres."""
        if isinstance(value, float):
            return value
        from fossa_ros.core.optics import metres

        text = value.strip()
        try:
            distance = float(metres(float(text[:-1]))) if text[-1:] in ("D", "d") else float(text.removesuffix("m"))
        except ValueError:
            distance = math.nan
        if not distance > 0:
            self.fail(f"{value!r} is not a focus distance; write metres (0.5, inf) or dioptres (2D).", param, ctx)
        return distance


class Numbers(click.ParamType):
    """A fixed count of numbers with commas between them, such as ``fx,fy,cx,cy``."""

    def __init__(self, name: str, kind: type[int] | type[float]):
        self.name, self._kind = name, kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Return one number for each part of the name."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(self._kind(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != self.name.count(",") + 1 or not all(map(math.isfinite, numbers)):
            self.fail(f"{value!r} cannot be read; write {self.name} in pixels.", param, ctx)
        return numbers


REGION = Numbers("left,top,width,height", int)
INTRINSICS = Numbers("fx,fy,cx,cy", float)


class BagAtDistance(click.ParamType):
    """A recording and the distance of its target, from ``METRES=BAG``."""

    name = "metres=bag"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, Path]:
        """Return metres and the path of the bag."""
        if isinstance(value, tuple):
            return value
        distance, _, bag = value.partition("=")
        if not bag:
            self.fail(f"{value!r} names no distance and bag; write for example 0.5=recordings/bag.", param, ctx)
        return FocusDistance().convert(distance, param, ctx), Path(bag)


class Values(click.ParamType):
    """One or more values with commas between them, each of them once.

    Args:
        name: what they are, for help and errors.
        convert_one: makes a value of a word, or raises ValueError.
    """

    def __init__(self, name: str, convert_one: Callable[[str], Any]):
        self.name, self._convert_one = name, convert_one

    def holds(self, word: str) -> bool:
        """Return whether a word consists of such values."""
        try:
            return bool(self._values(word))
        except ValueError:
            return False

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """Return the values in order."""
        if isinstance(value, tuple):
            return value
        if not self.holds(value):
            self.fail(f"'{value}' is not a list of {self.name}.", param, ctx)
        return self._values(value)

    def _values(self, text: str) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(self._convert_one(part.strip()) for part in text.split(",") if part.strip()))


def finite_number(word: str) -> float:
    """Convert a word, for ``Values``; ValueError if it is no finite number."""
    number = float(word)
    if not math.isfinite(number):
        raise ValueError
    return number


def one_of(*words: str) -> Callable[[str], str]:
    """Return a conversion for ``Values`` that accepts these words only."""

    def convert_one(word: str) -> str:
        if word not in words:
            raise ValueError
        return word

    return convert_one


class ValuesCommand(click.Command):
    """A command whose options of type ``Values`` may be written ``--planes 3,5`` or ``--planes 3 5``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Join the words that follow such an option with commas, then parse."""
        kinds = {option: parameter.type for parameter in self.params for option in parameter.opts}
        joined = []
        words = list(args)
        while words:
            joined.append(words.pop(0))
            kind = kinds.get(joined[-1])
            if isinstance(kind, Values) and words:
                values = [words.pop(0)]
                while words and kind.holds(words[0]):
                    values.append(words.pop(0))
                joined.append(",".join(values))
        return super().parse_args(ctx, joined)
