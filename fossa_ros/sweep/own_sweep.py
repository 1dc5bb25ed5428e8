"""A single sweep on request with a plan of its own, between the sweeps of the parameters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fossa_ros.sweep.outcome import TakenPlane
from fossa_ros.sweep.plan import SweepPlan

HOLD_S = 10.0  # for which no other sweep begins after it: a newer one could replace it before its depth is made


@dataclass(eq=False)
class OwnSweep:
    """A sweep that one caller asked for.

    Attributes:
        number: of the sweep.
        plan: where to focus; None for the plan of the parameters.
        on_plane: receives how many planes have a frame, and the newest of them, on the capture's thread.
        begun: whether the lens moves for it, or did.
        cancelled: why it must end; empty while it need not.
    """

    number: int
    plan: SweepPlan | None
    on_plane: Callable[[int, TakenPlane], None]
    begun: bool = False
    cancelled: str = ""
    _begun_at: float = 0.0  # monotonic
    _seen: set[int] = field(default_factory=set)  # starts of exposure

    def begin(self) -> None:
        """Note that the sweep begins."""
        self.begun, self._begun_at = True, time.monotonic()

    @property
    def holds(self) -> bool:
        """Whether other sweeps must wait, because this one is under way or its depth is."""
        return self.begun and time.monotonic() - self._begun_at < HOLD_S

    def report(self, planes: Iterable[TakenPlane]) -> None:
        """Pass on those of the planes so far that are new."""
        for count, plane in enumerate(planes, 1):
            if plane.start_ns not in self._seen:
                self._seen.add(plane.start_ns)
                self.on_plane(count, plane)
