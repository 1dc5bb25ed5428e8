"""The result of a sweep: the planes with a frame, or the reason why they are not a stack."""

from __future__ import annotations

from dataclasses import dataclass

from fossa_ros.sweep.frame import Drop, Frame


@dataclass(frozen=True, eq=False)
class TakenPlane:
    """A frame with its focus.

    Attributes:
        slot: index of the plane in the plan, nearest first.
        focus_distance: metres.
        uncertainty: dioptres; 0 if the lens stood still.
        start_ns: start of exposure on the node's clock.
        frame: as it arrived.
    """

    slot: int
    focus_distance: float
    uncertainty: float
    start_ns: int
    frame: Frame


@dataclass(frozen=True, eq=False)
class Outcome:
    """Result of a sweep, or of one renewed plane.

    Attributes:
        planes: those taken, in the order of exposure.
        reason: why they are not a stack; empty if they are.
        drops: frames not used since the last outcome, by reason.
        started_ns: when the sweep began.
        finished_ns: when the last plane's frame arrived.
    """

    planes: tuple[TakenPlane, ...]
    reason: str
    drops: dict[Drop, int]
    started_ns: int
    finished_ns: int
