"""The position of a lens that does not measure it, from its commands."""

from __future__ import annotations

import math

from fossa_ros.core.optics import dioptres
from fossa_ros.lens import LensMove
from fossa_ros.sweep.lens_response import LensResponse
from fossa_ros.sweep.timed_buffer import TimedBuffer
from fossa_ros.sweep.timing import SweepTiming
from fossa_ros.sweep.track import FLOOR, HISTORY_NS, Focus, LensTrack

SAMPLES = 5  # instants within the clock margin at which a bound is evaluated
SWING_NS = 20_000_000  # after which ringing is over


class _Follower:
    """A model of the lens: an exponential approach to each set-point from when it took effect."""

    def __init__(self, time_constant_ns: float):
        self._tau = time_constant_ns
        self._segments: TimedBuffer[tuple[float, float]] = TimedBuffer(HISTORY_NS)  # position, target

    def command(self, t_ns: int, target: float) -> None:
        position = self.at(t_ns) if len(self._segments) else target
        while not self._segments.add(t_ns, (position, target)):
            t_ns += 1

    def largest_step(self, start_ns: int, end_ns: int) -> float:
        """Return the largest step (dioptres) of the commands between two times."""
        steps = [abs(target - position) for _, (position, target) in self._segments.between(start_ns, end_ns)]
        return max(steps, default=0.0)

    def at(self, t_ns: int) -> float:
        index = max(self._segments.index_after(t_ns) - 1, 0)
        start, (position, target) = self._segments[index]
        return target + (position - target) * math.exp(-max(t_ns - start, 0) / self._tau)


class CommandTrack(LensTrack):
    """The position of a lens that does not measure it, bounded from the commands it acknowledged.

    A command takes effect between being sent and being acknowledged, and the lens follows with its time constant. The
    fastest and the slowest lens that fit these bound the true one.
    """

    def __init__(self, response: LensResponse, timing: SweepTiming):
        self._response = response
        self._timing = timing
        self.reset()

    def reset(self) -> None:
        """Forget everything: the lens was parked, or lost."""
        tau, spread = self._response.time_constant_ns, self._response.spread
        self._followers = tuple(_Follower(tau * factor) for factor in (1.0 - spread, 1.0, 1.0 + spread))
        self._known_from_ns: int | None = None
        self._under_way_ns: int | None = None  # since when a command is not acknowledged

    def on_commanding(self, now_ns: int) -> None:
        """Note that a command is about to be sent: the lens may obey it before it acknowledges it."""
        self._under_way_ns = now_ns

    def on_commanded(self, move: LensMove) -> None:
        """Note an acknowledged command."""
        self._under_way_ns = None
        power = float(dioptres(move.focus_distance))
        if self._known_from_ns is None:
            self._known_from_ns = self._timing.settled_ns(move)
        fast, middle, slow = self._followers
        fast.command(move.sent_ns, power)
        middle.command((move.sent_ns + move.acknowledged_ns) // 2, power)
        slow.command(move.acknowledged_ns, power)

    def covers(self, end_ns: int, margin_ns: int) -> bool:
        """Return whether the exposure ended before a command that is under way, whose effect is not known yet."""
        return self._under_way_ns is None or end_ns + margin_ns < self._under_way_ns

    def during(self, start_ns: int, end_ns: int, margin_ns: int) -> Focus | None:
        """Bound the position at mid-exposure by the fastest and the slowest lens."""
        if self._known_from_ns is None or start_ns < self._known_from_ns + margin_ns:
            return None
        middle = (start_ns + end_ns) // 2
        power = self._followers[1].at(middle)
        instants = [middle + round(margin_ns * (2 * step / (SAMPLES - 1) - 1)) for step in range(SAMPLES)]
        bounds = [follower.at(instant) for follower in self._followers for instant in instants]
        swing = self._response.ringing * self._followers[1].largest_step(start_ns - SWING_NS, end_ns)
        return Focus(power, max(max(bounds) - power, power - min(bounds)) + swing + FLOOR)
