"""The position of a lens from the samples that it reports: measured positions or set-points."""

from __future__ import annotations

import math
from itertools import pairwise

from fossa_ros.sweep.timed_buffer import TimedBuffer
from fossa_ros.sweep.track import FLOOR, HISTORY_NS, Focus, LensTrack

BENT = 2.0  # times the deviation of neighbouring chords is the uncertainty between samples
LONGER = 2  # times the usual interval of samples is too long to be interpolated


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

    def on_measured(self, stamp_ns: int, power: float) -> None:
        """Note a sample; NaN breaks the track there."""
        self.sampled += 1
        self.newest_ns = stamp_ns + self._offset_ns
        self._samples.add(self.newest_ns, power)


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
