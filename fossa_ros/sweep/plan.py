"""The focus distances of a sweep and their order."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fossa_ros.core.errors import InputError
from fossa_ros.core.optics import dioptre_space


@dataclass(frozen=True)
class SweepPlan:
    """Focus distances (m) of one sweep, nearest first; two or more, all different.

    With ``bookend`` each sweep ends with its first plane once more. Two frames at one focus differ only by what moved
    between them, which the motion check uses.

    Raises:
        InputError: fewer than two distances, or one that is not a positive number.
    """

    focus_distances: tuple[float, ...]
    bookend: bool = False

    def __post_init__(self) -> None:
        if any(not distance > 0 for distance in self.focus_distances):
            raise InputError(f"Focus distances must be positive metres, not {self.focus_distances}; correct them.")
        ordered = tuple(sorted(set(self.focus_distances)))
        if len(ordered) < 2:
            raise InputError(f"A sweep needs at least 2 different focus distances, not {len(ordered)}; add planes.")
        object.__setattr__(self, "focus_distances", ordered)

    @classmethod
    def evenly(cls, near: float, far: float, count: int, bookend: bool = False) -> SweepPlan:
        """Space ``count`` planes evenly in dioptres between ``near`` and ``far`` (m, infinity allowed)."""
        if not 0 < near < math.inf:
            raise InputError(f"The nearest plane must be a positive number of metres, not {near:g}; correct it.")
        if not far > 0:
            raise InputError(f"The farthest plane must be a positive number of metres, not {far:g}; correct it.")
        if near >= far:
            raise InputError(f"The nearest plane ({near:g} m) must lie before the farthest ({far:g} m); swap or widen.")
        return cls(tuple(dioptre_space(near, far, count).tolist()), bookend)

    def slots(self, sweep: int) -> tuple[int, ...]:
        """Return the indices of the planes in the order sweep number ``sweep`` takes them.

        Even sweeps go near to far and odd ones back, so that the lens never has to make the long step back.
        """
        slots = tuple(range(len(self.focus_distances)))
        slots = slots if sweep % 2 == 0 else slots[::-1]
        return slots + slots[:1] if self.bookend else slots

    def order(self, sweep: int) -> tuple[float, ...]:
        """Return the distances in the order sweep number ``sweep`` takes them."""
        return tuple(self.focus_distances[slot] for slot in self.slots(sweep))
