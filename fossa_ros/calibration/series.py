"""Calibration series: frames of one target at one distance while the lens is stepped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from fossa_ros.core.errors import InputError


class Direction(StrEnum):
    """The direction of a lens move; with hysteresis, focus depends on it."""

    RISING = "rising"  # to a higher command
    FALLING = "falling"

    @classmethod
    def of(cls, before: float, after: float) -> Direction | None:
        """Return the direction of a move between two commands; None if they are equal."""
        return None if after == before else cls.RISING if after > before else cls.FALLING


@dataclass(frozen=True, eq=False)
class CalibrationFrame:
    """One image with the lens at rest.

    Attributes:
        command: of the lens, in its unit.
        load: returns the image, (H, W) uint8 grey.
        temperature: of the lens, degC; None if unknown.
    """

    command: float
    load: Callable[[], np.ndarray]
    temperature: float | None = None


@dataclass(frozen=True, eq=False)
class CalibrationSeries:
    """Frames of one target at one distance, in the order they were taken.

    Attributes:
        frames: all of them.
        distance: from the lens to the target along the optical axis, metres; None if unknown.
        name: for display.
    """

    frames: tuple[CalibrationFrame, ...]
    distance: float | None
    name: str = ""

    def __post_init__(self) -> None:
        if self.distance is not None and not 0 < self.distance < np.inf:
            raise InputError(f"The distance of {self} must be a positive number of metres; correct it.")

    def __str__(self) -> str:
        return self.name or ("the target" if self.distance is None else f"the target at {self.distance:g} m")

    def directions(self) -> tuple[Direction | None, ...]:
        """Return the direction in which the position of each frame was reached; None before the first move."""
        commands = [frame.command for frame in self.frames]
        ways: list[Direction | None] = []
        for before, after in zip([*commands[:1], *commands], commands, strict=False):
            ways.append(Direction.of(before, after) or (ways[-1] if ways else None))
        return tuple(ways)

    def passes(self) -> list[tuple[Direction, tuple[int, ...]]]:
        """Return the runs of two or more frames in which the lens moved in one direction, by frame number."""
        runs: list[tuple[Direction, list[int]]] = []
        for number, way in enumerate(self.directions()):
            if way is None:
                continue
            if not runs or runs[-1][0] is not way:
                runs.append((way, []))
            runs[-1][1].append(number)
        return [(way, tuple(numbers)) for way, numbers in runs if len(numbers) > 1]
