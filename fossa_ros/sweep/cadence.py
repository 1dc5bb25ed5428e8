"""How regularly a camera's stamps come."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from itertools import islice, pairwise

STAMPS = 256  # remembered
NEWEST = 32  # stamps whose spacing is about one period
INTERVALS = 16  # intervals between prompt frames from which the period is found
FEWEST = 3  # intervals for a period
SHORTEST = 5  # one of so many intervals may be shorter than a period
GRID = 0.15  # of a period: the least deviation from regular stamps that counts
FEW_PERIODS = 4  # a longer interval says little about the period


class Cadence:
    """The last stamps of a camera, all different, and the frame period that they show."""

    def __init__(self) -> None:
        self._by_age: deque[int] = deque()
        self._ordered: list[int] = []
        self._intervals: deque[int] = deque(maxlen=INTERVALS)
        self._period_ns: int | None = None
        self._changed = False  # since the period was found

    def add(self, stamp_ns: int) -> None:
        """Remember the stamp of any frame."""
        self._by_age.append(stamp_ns)
        insort(self._ordered, stamp_ns)
        if len(self._by_age) > STAMPS:
            del self._ordered[bisect_left(self._ordered, self._by_age.popleft())]
        self._changed = True

    def add_interval(self, interval_ns: int) -> None:
        """Remember the interval between two frames that arrived promptly, unless it is very long."""
        period = self.period_ns
        if period is None or interval_ns < FEW_PERIODS * period:
            self._intervals.append(interval_ns)
            self._changed = True

    @property
    def period_ns(self) -> int | None:
        """The frame period; None while it is not known."""
        if self._changed:
            self._period_ns = self._find_period()
            self._changed = False
        return self._period_ns

    def regular_period_ns(self, margin_ns: int) -> int | None:
        """Return the frame period if all intervals are multiples of it, within ``grid_tolerance_ns``, else None."""
        period = self.period_ns
        return period if period is not None and self._all_multiples(period, margin_ns) else None

    def __contains__(self, stamp_ns: int) -> bool:
        index = bisect_left(self._ordered, stamp_ns)
        return index < len(self._ordered) and self._ordered[index] == stamp_ns

    def between(self, low: float, high: float) -> list[int]:
        """Return the stamps above ``low`` and below ``high``, in order."""
        return self._ordered[bisect_right(self._ordered, low) : bisect_left(self._ordered, high)]

    def any_near(self, stamp_ns: int, distance: float) -> bool:
        """Return whether a stamp other than ``stamp_ns`` is closer to it than ``distance``."""
        return any(near != stamp_ns for near in self.between(stamp_ns - distance, stamp_ns + distance))

    def _find_period(self) -> int | None:
        if len(self._intervals) < FEWEST:
            return None
        # On a busy machine most frames come late, and many never: most intervals between prompt frames span several
        # periods, and many of those between all frames. The shortest of the latter are about one period, which gives
        # the number; a few are passed over, since a jump shortens one. An irregular camera has intervals shorter than
        # its period, of which the others are no multiples.
        newest = list(islice(reversed(self._by_age), NEWEST))
        apart = sorted(after - before for after, before in pairwise(newest) if after > before)
        if not apart:
            return None
        period = self._mean_period(apart[len(apart) // SHORTEST])
        if self._all_multiples(period):
            return period
        return self._mean_period(apart[(len(apart) - 1) // 2])

    def _all_multiples(self, period_ns: int, margin_ns: int = 0) -> bool:
        tolerance = grid_tolerance_ns(period_ns, margin_ns)
        return all(abs(off_grid(one, period_ns)) <= tolerance for one in self._intervals)

    def _mean_period(self, about: int) -> int:
        """Return the median of the intervals over the number of periods in each, given ``about`` one."""
        periods = sorted(interval / max(round(interval / about), 1) for interval in self._intervals)
        middle = len(periods) // 2
        return round((periods[middle] + periods[-1 - middle]) / 2)


def grid_tolerance_ns(period_ns: int, margin_ns: int) -> int:
    """Return how far from multiples of a period regular stamps may be: the margin, or GRID of it if that is more."""
    return max(margin_ns, round(GRID * period_ns))


def off_grid(interval_ns: int, period_ns: int) -> int:
    """Return the deviation of an interval from the nearest multiple of a period."""
    return (interval_ns + period_ns // 2) % period_ns - period_ns // 2
