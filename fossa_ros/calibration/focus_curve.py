"""A monotone curve between what a lens is told and where it focuses, in dioptres."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fossa_ros.core.errors import InputError

if TYPE_CHECKING:  # half a second to import, which a node without a calibration need not spend
    from scipy.interpolate import PchipInterpolator

BEYOND = 0.1
"""Share of the measured span of dioptres by which a curve may be continued on either side."""


class FocusCurve:
    """Focus in dioptres over command, through measured knots: monotone between them, straight beyond.

    Monotone cubic interpolation (Fritsch and Carlson, 1980), in dioptres and not in metres because blur and lens
    power are even in dioptres.

    Args:
        commands: (N,) rising, two or more.
        dioptres: (N,) strictly rising or strictly falling.

    Raises:
        InputError: no such knots.
    """

    def __init__(self, commands, dioptres):
        self.commands = np.array(commands, dtype=np.float64)
        self.dioptres = np.array(dioptres, dtype=np.float64)
        if self.commands.ndim != 1 or len(self.commands) < 2 or self.commands.shape != self.dioptres.shape:
            raise InputError("needs as many dioptres as commands, two or more")
        if not (np.isfinite(self.commands).all() and np.isfinite(self.dioptres).all()):
            raise InputError("needs finite numbers")
        if (np.diff(self.commands) <= 0).any():
            raise InputError("needs commands that rise from each to the next")
        steps = np.diff(self.dioptres)
        if not ((steps > 0).all() or (steps < 0).all()):
            raise InputError("needs dioptres that rise from each to the next, or fall from each to the next")

    @cached_property
    def _cubic(self) -> PchipInterpolator:
        from scipy.interpolate import PchipInterpolator

        return PchipInterpolator(self.commands, self.dioptres)

    @cached_property
    def _end_slopes(self) -> np.ndarray:
        """Slopes beyond the knots; the cubic's own may be 0 there, then the last chord's."""
        slopes = self._cubic.derivative()(self.commands[[0, -1]])
        chords = (np.diff(self.dioptres) / np.diff(self.commands))[[0, -1]]
        return np.where(np.abs(slopes) > 0.1 * np.abs(chords), slopes, chords)

    @cached_property
    def range(self) -> tuple[float, float]:
        """Least and greatest dioptres that the curve answers for: its span and ``BEYOND`` of it on both sides."""
        low, high = float(self.dioptres.min()), float(self.dioptres.max())
        margin = BEYOND * (high - low)
        return max(low - margin, 0.0), high + margin

    def focus(self, command):
        """Return the focus in dioptres at a command (number or array), however far beyond the knots."""
        command = np.asarray(command, dtype=np.float64)
        inside = np.clip(command, self.commands[0], self.commands[-1])
        excess = command - inside
        slope = np.where(excess < 0, self._end_slopes[0], self._end_slopes[1])
        return self._cubic(inside) + excess * slope

    def slope(self, command) -> float:
        """Return the change of focus with command, dioptres a unit."""
        inside = float(np.clip(command, self.commands[0], self.commands[-1]))
        if inside in (self.commands[0], self.commands[-1]):
            return float(self._end_slopes[0 if inside == self.commands[0] else 1])
        return float(self._cubic.derivative()(inside))

    def command(self, dioptres: float) -> float:
        """Return the command that focuses at ``dioptres``: the inverse of ``focus``."""
        ends = self.dioptres[[0, -1]]
        if not ends.min() <= dioptres <= ends.max():
            nearest = int(np.abs(ends - dioptres).argmin())
            return float(self.commands[[0, -1][nearest]] + (dioptres - ends[nearest]) / self._end_slopes[nearest])
        if dioptres == ends[0]:
            return float(self.commands[0])
        if dioptres == ends[1]:
            return float(self.commands[-1])
        from scipy.optimize import brentq

        return float(brentq(lambda c: float(self._cubic(c)) - dioptres, self.commands[0], self.commands[-1]))
