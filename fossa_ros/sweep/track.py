"""The position of a lens during an exposure and its uncertainty, from commands or from measured positions.

Positions are in dioptres, in which lenses move evenly.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise

from fossa_ros.core.errors import InputError
from fossa_ros.core.optics import dioptres
from fossa_ros.core.parameter import check_ranges, seconds
from fossa_ros.lens import LensMove
from fossa_ros.sweep.timed_buffer import TimedBuffer
from fossa_ros.sweep.timing import SweepTiming

HISTORY_NS = 10_000_000_000
SAMPLES = 5  # instants within the clock margin at which a bound is evaluated
COMMAND_NS = 2_000_000  # until a command is acknowledged on a fast serial line
BENT = 2.0  # times the deviation of neighbouring chords is the uncertainty between samples
LONGER = 2  # times the usual interval of samples is too long to be interpolated
SWING_NS = 20_000_000  # after which ringing is over
FLOOR = 0.01  # D: the least uncertainty of any track (steps of the device, ringing)


@dataclass(frozen=True)
class Focus:
    """The position of the lens at the middle of an exposure.

    Attributes:
        power: dioptres.
        uncertainty: dioptres; the true value is within ``power`` +- ``uncertainty``.
    """

    power: float
    uncertainty: float


class LensTrack(ABC):
    """The recent positions of a lens.

    The methods that note something do nothing here; a track overrides those it learns from.
    """

    @abstractmethod
    def reset(self) -> None:
        """Forget everything: the lens was parked, or lost."""

    @abstractmethod
    def covers(self, end_ns: int, margin_ns: int) -> bool:
        """Return whether all that will be known about an exposure that ended at ``end_ns`` is known."""

    @abstractmethod
    def during(self, start_ns: int, end_ns: int, margin_ns: int) -> Focus | None:
        """Return the focus at the middle of an exposure, None if it is not known.

        ``margin_ns`` is how far the clocks may disagree.
        """

    def commanding(self, now_ns: int) -> None:
        """Note that a command is about to be sent: the lens may obey it before it acknowledges it."""

    def commanded(self, move: LensMove) -> None:
        """Note an acknowledged command."""

    def measured(self, stamp_ns: int, power: float) -> None:
        """Note a position (dioptres), or the set-point of a lens that measures none."""

    def expect_samples_every(self, interval_ns: int) -> None:
        """Note how long it usually takes from one position to the next."""


@dataclass(frozen=True)
class LensResponse:
    """How a lens follows its commands: an exponential approach.

    Attributes:
        time_constant_ns: of the approach.
        spread: relative error of the time constant.
        ringing: share of a step by which the lens may swing about its approach until it has settled.

    Raises:
        InputError: a value is out of range.
    """

    time_constant_ns: int = seconds(
        3_000_000,
        "Time constant of the lens's exponential approach to its command, for a ramp",
        minimum=0.0001,
        maximum=1.0,
    )
    spread: float = 0.3
    ringing: float = 0.03

    def __post_init__(self) -> None:
        check_ranges(self)
        if not 0 <= self.spread < 1:
            raise InputError("The spread of the lens's time constant must be in 0 .. 1; correct it.")

    def slowest_ns(self, spacing: float, tolerance: float, margin_ns: int, command_ns: int) -> int:
        """Return the time that a ramp must take from one plane to the next for its focus to be certain enough.

        ``spacing`` and ``tolerance`` are in dioptres, ``margin_ns`` is how far the clocks may disagree and
        ``command_ns`` how long a command takes to be acknowledged, within which it takes effect at an unknown time.
        """
        doubt_ns = margin_ns + self.spread * self.time_constant_ns + max(command_ns, COMMAND_NS)
        return math.ceil(spacing * doubt_ns / max(tolerance - 2 * FLOOR, FLOOR))


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

    def commanding(self, now_ns: int) -> None:
        """Note that a command is about to be sent: the lens may obey it before it acknowledges it."""
        self._under_way_ns = now_ns

    def commanded(self, move: LensMove) -> None:
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


class _SampledTrack(LensTrack):
    """Samples of the last seconds.

    Args:
        gap_ns: the longest interval between samples that is used.
        offset_ns: added to the samples' stamps: how far their clock is behind the node's.
    """

    def __init__(self, gap_ns: int = 100_000_000, offset_ns: int = 0):
        self._gap_ns = gap_ns
        self._offset_ns = offset_ns
        self._samples: TimedBuffer[float] = TimedBuffer(HISTORY_NS)

    def reset(self) -> None:
        """Forget all samples."""
        self._samples.clear()

    def measured(self, stamp_ns: int, power: float) -> None:
        """Note a sample; NaN breaks the track there."""
        self._samples.add(stamp_ns + self._offset_ns, power)


class MeasuredTrack(_SampledTrack):
    """The position of a lens that measures it, interpolated between its samples at their stamps.

    Between two samples, a motion whose curvature keeps its sign lies between the chord and the prolonged neighbouring
    chords. The uncertainty is BENT times that deviation, because the curvature may change its sign.

    Args:
        gap_ns: the longest interval between samples that is interpolated.
        offset_ns: added to the samples' stamps: how far their clock is behind the node's.
    """

    def __init__(self, gap_ns: int = 100_000_000, offset_ns: int = 0):
        super().__init__(gap_ns, offset_ns)
        self._longest_gap_ns = gap_ns

    def expect_samples_every(self, interval_ns: int) -> None:
        """Do not interpolate where samples are much farther apart than usual."""
        self._gap_ns = min(LONGER * interval_ns, self._longest_gap_ns)

    def covers(self, end_ns: int, margin_ns: int) -> bool:
        """Return whether two samples follow."""
        return self._samples.index_after(end_ns + margin_ns) <= len(self._samples) - 2

    def during(self, start_ns: int, end_ns: int, margin_ns: int) -> Focus | None:
        """Interpolate at mid-exposure."""
        middle = (start_ns + end_ns) // 2
        bounds: list[float] = []
        for instant in (middle - margin_ns, middle, middle + margin_ns):
            found = self._bounds(instant)
            if found is None:
                return None
            bounds += found
            if instant == middle:
                power = found[0]
        return Focus(power, BENT * max(max(bounds) - power, power - min(bounds)) + FLOOR)

    def _bounds(self, t_ns: int) -> list[float] | None:
        """Return the chord at ``t_ns`` and the neighbouring chords prolonged."""
        after = self._samples.index_after(t_ns)
        if not 2 <= after <= len(self._samples) - 2:
            return None
        samples = [self._samples[index] for index in range(after - 2, after + 2)]
        times, powers = [t for t, _ in samples], [power for _, power in samples]
        if not all(map(math.isfinite, powers)):
            return None
        if max(later - earlier for earlier, later in pairwise(times)) > self._gap_ns:
            return None
        return [_line(times, powers, first, t_ns) for first in (1, 0, 2)]


class SetPointTrack(_SampledTrack):
    """The position of a lens that reports only its set-point: known once that has been constant long enough.

    Args:
        settling_ns: how long before the exposure the set-point must have changed last; 0 where that is not known, and
            so no position is.
        gap_ns: the longest silence that is taken to hold no change.
        offset_ns: added to the samples' stamps: how far their clock is behind the node's.
    """

    def __init__(self, settling_ns: int, gap_ns: int = 100_000_000, offset_ns: int = 0):
        super().__init__(gap_ns, offset_ns)
        self._settling_ns = settling_ns

    def covers(self, end_ns: int, margin_ns: int) -> bool:
        """Return whether a sample follows."""
        return self._samples.index_after(end_ns + margin_ns) < len(self._samples)

    def during(self, start_ns: int, end_ns: int, margin_ns: int) -> Focus | None:
        """Return the set-point that was constant from settling before the exposure to its end."""
        if not self._settling_ns:
            return None
        first = self._samples.index_after(start_ns - self._settling_ns - margin_ns) - 1
        last = self._samples.index_after(end_ns + margin_ns)
        if first < 0 or last >= len(self._samples):
            return None
        samples = [self._samples[index] for index in range(first, last + 1)]
        gaps = [later[0] - earlier[0] for earlier, later in pairwise(samples)]
        powers = [power for _, power in samples]
        if max(gaps) > self._gap_ns or not all(map(math.isfinite, powers)) or max(powers) - min(powers) > FLOOR:
            return None
        return Focus(powers[-1], FLOOR)


def _line(times: list[int], powers: list[float], first: int, t_ns: int) -> float:
    """Evaluate the straight line through samples ``first`` and the next."""
    slope = (powers[first + 1] - powers[first]) / (times[first + 1] - times[first])
    return powers[first] + slope * (t_ns - times[first])
