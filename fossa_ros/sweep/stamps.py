"""Whether the stamps of a camera may be believed: duplicates, late frames, and clocks that jump."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter, deque
from dataclasses import dataclass
from itertools import islice, pairwise

from fossa_ros.sweep.frame import Drop, Frame
from fossa_ros.sweep.timing import SweepTiming

LEARNED = 4  # frames that teach how long frames take to arrive
INTERVALS = 16  # intervals that teach the frame period
SPACED = 32  # stamps that tell about how far apart they are
REMEMBERED = 256  # stamps and delays
AGREEING = 16  # frames that must agree before a clock that jumped is believed again
GRID = 0.15  # of a period: the least deviation from regular stamps that counts
PROMPT = 0.75  # of a period: less than a jump by a whole period, which leaves the grid in place
FEW = 4  # periods
COMPARED = 6  # earlier frames that a stamp is compared with: chance may hide a jump from one of them


@dataclass(frozen=True, eq=False)
class _Seen:
    frame: Frame
    end_ns: int
    delay_ns: int  # from the end of exposure to arrival


class _Stamps:
    """The last REMEMBERED stamps, all different, by age and in order."""

    def __init__(self):
        self._by_age: deque[int] = deque()
        self._ordered: list[int] = []

    def add(self, stamp_ns: int) -> None:
        self._by_age.append(stamp_ns)
        insort(self._ordered, stamp_ns)
        if len(self._by_age) > REMEMBERED:
            del self._ordered[bisect_left(self._ordered, self._by_age.popleft())]

    def __contains__(self, stamp_ns: int) -> bool:
        index = bisect_left(self._ordered, stamp_ns)
        return index < len(self._ordered) and self._ordered[index] == stamp_ns

    def newest(self, count: int) -> list[int]:
        """Return the ``count`` that came last, in order."""
        return sorted(islice(reversed(self._by_age), count))

    def between(self, low: float, high: float) -> list[int]:
        """Return those above ``low`` and below ``high``, in order."""
        return self._ordered[bisect_right(self._ordered, low) : bisect_left(self._ordered, high)]

    def any_near(self, stamp_ns: int, distance: float) -> bool:
        """Return whether one other than ``stamp_ns`` is closer to it than ``distance``."""
        return any(near != stamp_ns for near in self.between(stamp_ns - distance, stamp_ns + distance))


class StampGuard:
    """Pass on the frames whose stamps agree with their arrival; hold or drop the others.

    A frame cannot arrive before it was exposed, and takes about as long to arrive as the others. One that comes
    much later may be late, or its camera's clock may have jumped back; it is held until a frame comes that took no
    longer than usual with none missing between the two, which proves the clock intact. A jump of a regular camera's
    clock shows at once, because the stamps leave their grid and the arrivals do not follow: from then on nothing
    passes until stamps and arrivals agree as before, or the camera was silent and begins anew, or ``anew_ns`` after
    the jump they agree in a new way: the clock was set for good, or only the machine was too busy to be believed, and
    whoever started the node anew would believe it too. Jumps smaller than the
    clock margin or GRID of a period stay unseen; with an irregular camera, backward ones smaller than the jitter and
    forward ones smaller than the delay.

    Args:
        timing: tells when a frame was exposed.
        jitter_ns: how much longer than the quickest frame another may take without a doubt; with a regular camera
            no more than PROMPT of its period.
        hold_ns: how long a late frame is held at most.
        silence_ns: after so long without a frame the camera counts as started anew.
        anew_ns: so long after a jump stamps and arrivals may agree in a new way.
    """

    def __init__(
        self,
        timing: SweepTiming,
        jitter_ns: int = 20_000_000,
        hold_ns: int = 500_000_000,
        silence_ns: int = 2_000_000_000,
        anew_ns: int = 5_000_000_000,
    ):
        self._timing = timing
        self._jitter_ns = jitter_ns
        self._hold_ns = hold_ns
        self._silence_ns = silence_ns
        self._anew_ns = anew_ns
        self.drops: Counter[Drop] = Counter()
        self._last_arrival_ns: int | None = None
        self.reset()

    def reset(self) -> None:
        """Learn anew how long frames take: after a gap, or when the clock was set."""
        self._seen = _Stamps()
        self._period_ns: int | None = None
        self._period_known = False  # and not changed since by a frame
        self._delays: deque[int] = deque(maxlen=REMEMBERED)  # of the frames that passed
        self._intervals: deque[int] = deque(maxlen=INTERVALS)
        self._held: list[_Seen] = []
        self._recent: deque[_Seen] = deque(maxlen=COMPARED)
        self._newest_ns: int | None = None
        self._suspect: deque[int] | None = None  # delays since the clock jumped
        self._jumped_ns = 0  # arrival of the frame that showed it

    @property
    def period_ns(self) -> int | None:
        """The camera's frame period; None while it is not known."""
        if not self._period_known:
            self._period_ns = self._period()
            self._period_known = True
        return self._period_ns

    def _period(self) -> int | None:
        if len(self._intervals) < LEARNED - 1:
            return None
        # Where most frames come late, most intervals between prompt ones are of several periods; the stamps of all that
        # came are about one apart.
        stamps = self._seen.newest(SPACED)
        apart = sorted(after - before for before, after in pairwise(stamps))
        about = apart[(len(apart) - 1) // 2]
        periods = sorted(interval / max(round(interval / about), 1) for interval in self._intervals)
        middle = len(periods) // 2
        return round((periods[middle] + periods[-1 - middle]) / 2)

    @property
    def floor_ns(self) -> int | None:
        """From the end of exposure to arrival, of the quickest frame lately; None while it is not known."""
        return min(self._delays) if len(self._delays) >= LEARNED else None

    @property
    def jumped(self) -> bool:
        """Whether the camera's clock has jumped, so that no frame passes."""
        return self._suspect is not None

    @property
    def newest_ns(self) -> int | None:
        """The newest stamp believed."""
        return self._newest_ns

    def add_frame(self, frame: Frame) -> tuple[list[Frame], Drop | None]:
        """Return the frames that may now be used, oldest arrival first, and why ``frame`` never will be."""
        passed, drop = self._judge(frame)
        if drop is not None:
            self.drops[drop] += 1
        return passed, drop

    def _judge(self, frame: Frame) -> tuple[list[Frame], Drop | None]:
        silent = self._last_arrival_ns is not None and not (
            0 <= frame.arrival_ns - self._last_arrival_ns <= self._silence_ns
        )
        self._last_arrival_ns = frame.arrival_ns
        if silent:
            self.reset()
        self._expire(frame.arrival_ns)
        if frame.stamp_ns in self._seen:
            return [], Drop.DUPLICATE
        end = self._timing.exposed(frame)[1]
        one = _Seen(frame, end, frame.arrival_ns - end)
        if one.delay_ns < -self._timing.clock_margin_ns:
            if len(self._delays) >= LEARNED:
                self._suspect_clock(frame.arrival_ns)
            return [], Drop.FUTURE
        period = self._regular_period()
        stepped = period is not None and self._stepped(one, period)
        self._saw(frame.stamp_ns)
        self._recent.append(one)
        if len(self._delays) < LEARNED:
            return self._learn(one)
        floor = min(self._delays)
        if stepped or (period is not None and self._skipped_ahead(one, floor, period)):
            self._suspect_clock(frame.arrival_ns)
        if self._suspect is not None:
            self._suspect.append(one.delay_ns)
            if len(self._suspect) < AGREEING:
                return [], Drop.CLOCK_JUMP
            if abs(min(self._suspect) - floor) > self._timing.clock_margin_ns / 2:
                steady = max(self._suspect) - min(self._suspect) <= self._jitter_ns
                if not steady or frame.arrival_ns - self._jumped_ns < self._anew_ns:
                    return [], Drop.CLOCK_JUMP
                self.reset()
                self._saw(frame.stamp_ns)
                self._recent.append(one)
                return self._learn(one)
            self._suspect = None
            self._newest_ns = None  # no interval across the jump
        if one.delay_ns > floor + (self._jitter_ns if period is None else min(self._jitter_ns, PROMPT * period)):
            self._held.append(one)
            return [], None
        self._note(one)
        cleared = [late for late in self._held if period is not None and self._unbroken(late.frame, frame, period)]
        self._held = [late for late in self._held if late not in cleared]
        return [late.frame for late in cleared] + [frame], None

    def _saw(self, stamp_ns: int) -> None:
        self._seen.add(stamp_ns)
        self._period_known = False

    def _suspect_clock(self, now_ns: int) -> None:
        """Believe no frame until the clock has proved itself."""
        self._jumped_ns = now_ns
        self._suspect = deque(maxlen=AGREEING)
        self._drop_held()

    def _learn(self, one: _Seen) -> tuple[list[Frame], Drop | None]:
        """Hold the first frames until there are enough to know the usual delay."""
        self._held.append(one)
        self._note(one)
        if len(self._delays) < LEARNED:
            return [], None
        floor = min(self._delays)
        passed = [held.frame for held in self._held if held.delay_ns <= floor + self._jitter_ns]
        late = len(self._held) - len(passed)
        if late:
            self.drops[Drop.LATE] += late
        self._held = []
        return passed, None

    def _note(self, one: _Seen) -> None:
        self._delays.append(one.delay_ns)
        stamp = one.frame.stamp_ns
        if self._newest_ns is not None and stamp > self._newest_ns:
            interval, period = stamp - self._newest_ns, self.period_ns
            if period is None or interval < FEW * period:  # a long gap says little of the period
                self._intervals.append(interval)
                self._period_known = False
        self._newest_ns = stamp if self._newest_ns is None else max(stamp, self._newest_ns)

    def _stepped(self, one: _Seen, period_ns: int) -> bool:
        """Tell whether the stamp left the grid of the camera's stamps and the arrival did not.

        Two stamps much closer than a period cannot both be right either.
        """
        margin = self._timing.clock_margin_ns
        if self._seen.any_near(one.frame.stamp_ns, period_ns / 2):
            return True
        tolerance = max(margin, round(GRID * period_ns))
        return any(
            abs(_off_grid(one.frame.stamp_ns - earlier.frame.stamp_ns, period_ns)) > tolerance
            and abs(one.delay_ns - earlier.delay_ns) > margin
            for earlier in self._recent
        )

    def _skipped_ahead(self, one: _Seen, floor_ns: int, period_ns: int) -> bool:
        """Tell whether frames seem lost just when one comes quicker than ever: a jump ahead by whole periods."""
        tolerance = max(self._timing.clock_margin_ns, round(GRID * period_ns))
        stamp = one.frame.stamp_ns
        follows = bool(self._seen.between(stamp - 1.5 * period_ns, stamp))
        return one.delay_ns < floor_ns - tolerance and not follows

    def _unbroken(self, late: Frame, prompt: Frame, period_ns: int) -> bool:
        """Tell whether no stamp is missing between two frames: a clock that jumped there and back leaves some out."""
        first, last = sorted((late.stamp_ns, prompt.stamp_ns))
        stamps = [first, *self._seen.between(first, last), last]
        return all(after - before < 1.5 * period_ns for before, after in pairwise(stamps))

    def _regular_period(self) -> int | None:
        period = self.period_ns
        if period is None:
            return None
        tolerance = max(self._timing.clock_margin_ns, round(GRID * period))
        regular = all(abs(_off_grid(interval, period)) <= tolerance for interval in self._intervals)
        return period if regular else None

    def _expire(self, now_ns: int) -> None:
        kept = [one for one in self._held if now_ns - one.frame.arrival_ns <= self._hold_ns]
        if len(kept) < len(self._held):
            self.drops[Drop.LATE] += len(self._held) - len(kept)
            self._held = kept

    def _drop_held(self) -> None:
        if self._held:
            self.drops[Drop.CLOCK_JUMP] += len(self._held)
            self._held = []


def _off_grid(interval_ns: int, period_ns: int) -> int:
    """Return the deviation of an interval from the nearest multiple of a period."""
    return (interval_ns + period_ns // 2) % period_ns - period_ns // 2
