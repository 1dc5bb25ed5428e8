"""What a calibration is made from: frames of one target at one distance while the lens is stepped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from fossa_ros.core.errors import InputError


class Direction(StrEnum):
    """The way from which the lens came to where it stands: hysteresis makes them differ."""

    RISING = "rising"  # the command grew
    FALLING = "falling"

    @classmethod
    def of(cls, before: float, after: float) -> Direction | None:
        """Return the direction of a move between two commands; None where it is no move."""
        return None if after == before else cls.RISING if after > before else cls.FALLING


@dataclass(frozen=True, eq=False)
class CalibrationFrame:
    """One image with the lens at rest.

    Attributes:
        command: what the lens was told, in the unit of its command.
        load: returns the image, (H, W) uint8 grey, when it is wanted.
        temperature: degC of the lens, None where unknown.
    """

    command: float
    load: Callable[[], np.ndarray]
    temperature: float | None = None


@dataclass(frozen=True, eq=False)
class CalibrationSeries:
    """Frames of one target at one distance, in the order they were taken.

    Attributes:
        frames: all of them.
        distance: from the lens to the target along the optical axis, metres; None where unknown.
        name: what people know it by.
    """

    frames: tuple[CalibrationFrame, ...]
    distance: float | None
    name: str = ""

    def __post_init__(self):
        if self.distance is not None and not 0 < self.distance < np.inf:
            raise InputError(f"The distance of {self} must be a positive number of metres; correct it.")

    def __str__(self) -> str:
        return self.name or ("the target" if self.distance is None else f"the target at {self.distance:g} m")

    def directions(self) -> tuple[Direction | None, ...]:
        """Return from which way each frame's position was reached; None before the first move."""
        commands = [frame.command for frame in self.frames]
        ways: list[Direction | None] = []
        for before, after in zip([*commands[:1], *commands], commands, strict=False):
            ways.append(Direction.of(before, after) or (ways[-1] if ways else None))
        return tuple(ways)

    def passes(self) -> list[tuple[Direction, tuple[int, ...]]]:
        """Return the runs of frames, by number, through which the lens went one way, two or more frames each."""
        runs: list[tuple[Direction, list[int]]] = []
        for number, way in enumerate(self.directions()):
            if way is None:
                continue
            if not runs or runs[-1][0] is not way:
                runs.append((way, []))
            runs[-1][1].append(number)
        return [(way, tuple(numbers)) for way, numbers in runs if len(numbers) > 1]
