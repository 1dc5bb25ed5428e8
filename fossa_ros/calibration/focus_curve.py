"""A monotone curve of focus, in dioptres, over lens command."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fossa_ros.core.errors import InputError

if TYPE_CHECKING:  # half a second to import, which a node without a calibration need not spend
    from scipy.interpolate import PchipInterpolator

BEYOND = 0.1
"""Fraction of the measured range of dioptres by which a curve is extrapolated on either side."""


class FocusCurve:
    """Focus in dioptres over command, interpolated between measured knots and linear beyond them.

    Monotone cubic interpolation (Fritsch and Carlson, 1980), in dioptres rather than metres because lens power and blur
    are linear in dioptres.

    Args:
        commands: (N,) rising, two or more.
        dioptres: (N,) strictly rising or strictly falling.

    Raises:
        InputError: the knots are fewer, not finite or not monotone.
    """

    def __init__(self, commands: npt.ArrayLike, dioptres: npt.ArrayLike) -> None:
        self.commands: npt.NDArray[np.float64] = np.array(commands, dtype=np.float64)
        self.dioptres: npt.NDArray[np.float64] = np.array(dioptres, dtype=np.float64)
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
    def _end_slopes(self) -> npt.NDArray[np.float64]:
        """Slopes beyond the knots: of the cubic, or of the outermost chord where the cubic is flat."""
        slopes = self._cubic.derivative()(self.commands[[0, -1]])
        chords = (np.diff(self.dioptres) / np.diff(self.commands))[[0, -1]]
        end_slopes: npt.NDArray[np.float64] = np.where(np.abs(slopes) > 0.1 * np.abs(chords), slopes, chords)
        return end_slopes

    @cached_property
    def range(self) -> tuple[float, float]:
        """Lowest and highest usable dioptres: the range of the knots, extended by ``BEYOND`` on both sides."""
        low, high = float(self.dioptres.min()), float(self.dioptres.max())
        margin = BEYOND * (high - low)
        return max(low - margin, 0.0), high + margin

    def focus(self, command: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the focus in dioptres at commands, of their shape; linear at any distance from the knots."""
        command = np.asarray(command, dtype=np.float64)
        inside = np.clip(command, self.commands[0], self.commands[-1])
        excess = command - inside
        slope = np.where(excess < 0, self._end_slopes[0], self._end_slopes[1])
        focus: npt.NDArray[np.float64] = self._cubic(inside) + excess * slope
        return focus

    def slope(self, command: float) -> float:
        """Return the derivative of focus with respect to command, dioptres per unit."""
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
