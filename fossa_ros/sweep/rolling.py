"""A stack that is renewed plane by plane."""

from __future__ import annotations

from fossa_ros.sweep.outcome import TakenPlane


class RollingStack:
    """Keep the newest frame of every plane; whenever one is renewed they are a stack again.

    Args:
        count: planes of a stack.
        span_ns: longest time from the oldest frame of a stack to the newest.
    """

    def __init__(self, count: int, span_ns: int):
        self._count = count
        self._span_ns = span_ns
        self._planes: dict[int, TakenPlane] = {}

    def clear(self) -> None:
        """Forget all planes: the lens was parked, or the clock jumped."""
        self._planes.clear()

    def renew(self, plane: TakenPlane) -> list[TakenPlane] | None:
        """Add a plane; return the stack in the order of exposure, None while it lacks planes or spans too long.

        A frame of another format or calibration begins a new stack.
        """
        others = [other for slot, other in self._planes.items() if slot != plane.slot]
        if any(
            other.frame.format != plane.frame.format or other.frame.intrinsics != plane.frame.intrinsics
            for other in others
        ):
            self._planes.clear()
        known = self._planes.get(plane.slot)
        if known is not None and known.start_ns >= plane.start_ns:
            return None
        self._planes[plane.slot] = plane
        newest = max(other.start_ns for other in self._planes.values())
        for slot in [slot for slot, other in self._planes.items() if newest - other.start_ns > self._span_ns]:
            del self._planes[slot]
        if len(self._planes) < self._count:
            return None
        return sorted(self._planes.values(), key=lambda other: other.start_ns)
