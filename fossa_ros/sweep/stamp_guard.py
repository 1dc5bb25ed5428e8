"""Pass on the frames whose stamps can be trusted: no duplicates, no late frames, no clock that has jumped."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise

from fossa_ros.sweep.cadence import Cadence, grid_tolerance_ns, off_grid
from fossa_ros.sweep.frame import Drop, Frame
from fossa_ros.sweep.timing import SweepTiming

LEARNED = 4  # frames from which the usual delay is learned, at least,
LEARNING_NS = 90_000_000  # and for how long: a busy machine may keep this process from running for some tens of ms
DELAYS = 256  # remembered
AGREEING = 16  # frames that must agree before a clock that jumped is trusted again
PROMPT = 0.75  # of a period: less than a jump by a whole period, which leaves the grid in place
COMPARED = 6  # earlier frames that a stamp is compared with: chance may hide a jump from one of them


class Phase(Enum):
    """What the guard does with frames."""

    LEARN = auto()  # hold the first ones until the usual delay is known
    TRUST = auto()  # pass those that arrive promptly, hold the late ones
    SUSPECT = auto()  # the clock jumped: pass none until stamps and arrivals agree


@dataclass(frozen=True, eq=False)
class _Seen:
    frame: Frame
    delay_ns: int  # from the end of exposure to arrival


class StampGuard:
    """Pass on the frames whose stamps agree with their arrival; hold or drop the others.

    A frame cannot arrive before it was exposed, and takes about as long to arrive as the others. One that arrives
    much later may be late, or the camera's clock may have jumped back. It is held until a prompt frame follows with no
    stamp missing between the two, which proves the clock intact. So is one that is faster than any just after a missing
    stamp: the machine may be less busy than before, or the clock jumped ahead and the frame is late as well.

    A jump of a regular camera's clock shows at once: the stamps leave their grid and the arrivals do not follow. From
    then on, while a new frame rate is learned too, no frame passes until

    - stamps and arrivals agree as before: to half the clock margin, or the stamps are on the grid from before, on which
      they can be wrong by whole periods only, and the arrivals show none,
    - the camera was silent for ``silence_ns``, or
    - ``restart_ns`` after the jump, they agree with another delay: the clock was set for good, or the machine was too
      busy to deliver frames in time. A restarted node would accept the new clock as well. A guard that knew less than
      AGREEING frames does not wait.

    Jumps smaller than the clock margin or GRID of a period stay unseen; with an irregular camera, backward ones smaller
    than the jitter and forward ones smaller than the delay.

    Args:
        timing: when a frame was exposed.
        jitter_ns: how much longer than the fastest frame another may take to be prompt; with a regular camera at most
            PROMPT of its period.
        hold_ns: how long a late frame is held at most.
        silence_ns: after so long without a frame everything is learned again.
        restart_ns: so long after a jump another delay is accepted.
    """

    def __init__(
        self,
        timing: SweepTiming,
        jitter_ns: int = 20_000_000,
        hold_ns: int = 500_000_000,
        silence_ns: int = 2_000_000_000,
        restart_ns: int = 5_000_000_000,
    ):
        self._timing = timing
        self._jitter_ns = jitter_ns
        self._hold_ns = hold_ns
        self._silence_ns = silence_ns
        self._restart_ns = restart_ns
        self.drops: Counter[Drop] = Counter()
        self._last_arrival_ns: int | None = None
        self.reset()

    def reset(self) -> None:
        """Learn again how long frames take: after a gap, or when the clock was set."""
        self._phase = Phase.LEARN
        self._cadence = Cadence()
        self._delays: deque[int] = deque(maxlen=DELAYS)  # of the frames that passed
        self._recent: deque[_Seen] = deque(maxlen=COMPARED)
        self._held: list[_Seen] = []
        self._first_ns: int | None = None  # arrival of the first frame that is learned from
        self._newest_ns: int | None = None
        self._trusted_ns: int | None = None  # stamp of a frame that passed before the clock jumped
        self._agreeing: deque[int] = deque(maxlen=AGREEING)  # delays since the clock jumped
        self._jumped_ns = 0  # arrival of the frame that showed it

    @property
    def period_ns(self) -> int | None:
        """The camera's frame period; None while it is not known."""
        return self._cadence.period_ns

    @property
    def floor_ns(self) -> int | None:
        """From the end of exposure to arrival, of the fastest recent frame; None while it is not known."""
        return None if self._phase is Phase.LEARN else min(self._delays)

    @property
    def jumped(self) -> bool:
        """Whether the camera's clock has jumped, so that no frame passes."""
        return self._phase is Phase.SUSPECT

    @property
    def newest_ns(self) -> int | None:
        """The newest stamp of the frames that passed."""
        return self._newest_ns

    def add_frame(self, frame: Frame) -> tuple[list[Frame], Drop | None]:
        """Return the frames that may now be used, oldest arrival first, and why ``frame`` never will be."""
        passed, drop = self._check(frame)
        if drop is not None:
            self.drops[drop] += 1
        return passed, drop

    def _check(self, frame: Frame) -> tuple[list[Frame], Drop | None]:
        last, self._last_arrival_ns = self._last_arrival_ns, frame.arrival_ns
        if last is not None and not 0 <= frame.arrival_ns - last <= self._silence_ns:
            self.reset()
        self._expire_held(frame.arrival_ns)
        if frame.stamp_ns == 0:
            return [], Drop.NO_STAMP
        if frame.stamp_ns in self._cadence:
            return [], Drop.DUPLICATE
        seen = _Seen(frame, frame.arrival_ns - self._timing.exposed(frame)[1])
        if seen.delay_ns < -self._timing.clock_margin_ns:
            if self._phase is not Phase.LEARN:
                self._suspect(frame.arrival_ns)
            return [], Drop.FUTURE
        self._cadence.add(frame.stamp_ns)
        period = self._cadence.regular_period_ns(self._timing.clock_margin_ns)
        jumped = self._phase is not Phase.LEARN and period is not None and self._shows_jump(seen, period)
        self._recent.append(seen)
        if self._phase is Phase.LEARN:
            return self._learn(seen), None
        if jumped:
            self._suspect(frame.arrival_ns)
        if self._phase is Phase.SUSPECT:
            self._follow_rate(period)
            self._agreeing.append(seen.delay_ns)
            if len(self._agreeing) < AGREEING:
                return [], Drop.CLOCK_JUMP
            as_before = self._agrees_as_before(seen, period)
            if not as_before and self._agrees_anew(frame.arrival_ns, period):
                self.reset()
                self._cadence.add(frame.stamp_ns)
                self._recent.append(seen)
                return self._learn(seen), None
            if not as_before:
                return [], Drop.CLOCK_JUMP
            self._phase = Phase.TRUST
            self._newest_ns = None  # no interval across the jump
        return self._pass_or_hold(seen, period), None

    def _learn(self, seen: _Seen) -> list[Frame]:
        """Hold the first frames until there are enough to know the usual delay."""
        self._held.append(seen)
        self._note_prompt(seen)
        if self._first_ns is None:
            self._first_ns = seen.frame.arrival_ns
        if len(self._delays) < LEARNED or seen.frame.arrival_ns - self._first_ns < LEARNING_NS:
            return []
        self._phase = Phase.TRUST
        floor = min(self._delays)
        passed = [held.frame for held in self._held if held.delay_ns <= floor + self._jitter_ns]
        self._drop(len(self._held) - len(passed), Drop.LATE)
        self._held = []
        return passed

    def _pass_or_hold(self, seen: _Seen, period_ns: int | None) -> list[Frame]:
        """Return a prompt frame, after the late ones that it proves; hold a late one."""
        jitter = self._jitter_ns if period_ns is None else min(self._jitter_ns, PROMPT * period_ns)
        late = seen.delay_ns > min(self._delays) + jitter
        if late or (period_ns is not None and self._seems_ahead(seen, period_ns)):
            self._held.append(seen)
            return []
        self._note_prompt(seen)
        proved = [] if period_ns is None else [held for held in self._held if self._unbroken(held, seen, period_ns)]
        self._held = [held for held in self._held if held not in proved]
        return [held.frame for held in proved] + [seen.frame]

    def _note_prompt(self, seen: _Seen) -> None:
        self._delays.append(seen.delay_ns)
        stamp = seen.frame.stamp_ns
        if self._newest_ns is None:
            self._newest_ns = stamp
        elif stamp > self._newest_ns:
            self._cadence.add_interval(stamp - self._newest_ns)
            self._newest_ns = stamp

    # Clocks that jump

    def _suspect(self, now_ns: int) -> None:
        if self._newest_ns is not None:
            self._trusted_ns = self._newest_ns
        self._phase = Phase.SUSPECT
        self._jumped_ns = now_ns
        self._agreeing.clear()
        self._drop(len(self._held), Drop.CLOCK_JUMP)
        self._held = []

    def _follow_rate(self, period_ns: int | None) -> None:
        """Learn the frame period from intervals that are alike: the camera may have changed its rate, as in dim light.

        Its stamps would stay off the grid of the old period, and suspected, for good. An interval with a jump in it is
        not like the one before.
        """
        if period_ns is None or len(self._recent) < 3:
            return
        first, second, third = (seen.frame.stamp_ns for seen in list(self._recent)[-3:])
        interval = third - second
        if interval > 0 and abs(interval - (second - first)) <= self._tolerance_ns(period_ns):
            self._cadence.add_interval(interval)

    def _agrees_as_before(self, seen: _Seen, period_ns: int | None) -> bool:
        change = abs(min(self._agreeing) - min(self._delays))
        if change <= self._timing.clock_margin_ns / 2:
            return True
        if period_ns is None or self._trusted_ns is None:
            return False
        tolerance = self._tolerance_ns(period_ns)
        on_grid = abs(off_grid(seen.frame.stamp_ns - self._trusted_ns, period_ns)) <= tolerance
        return on_grid and change < period_ns / 2 - tolerance

    def _agrees_anew(self, now_ns: int, period_ns: int | None) -> bool:
        # The first frames may have waited while the node began, and say little about the others.
        patience = self._restart_ns if len(self._delays) >= AGREEING else 0
        if now_ns - self._jumped_ns < patience:
            return False
        # Of a busy machine the fastest frames alone take equally long.
        older, newer = list(self._agreeing)[: AGREEING // 2], list(self._agreeing)[AGREEING // 2 :]
        scatter = self._jitter_ns if period_ns is None else min(self._jitter_ns, period_ns / 2)
        return abs(min(older) - min(newer)) <= scatter

    def _shows_jump(self, seen: _Seen, period_ns: int) -> bool:
        return self._left_grid(seen, period_ns) or self._skipped_ahead(seen, period_ns)

    def _left_grid(self, seen: _Seen, period_ns: int) -> bool:
        """Return whether the stamp left the grid of the camera's stamps and the arrival did not.

        Two stamps much closer than a period cannot both be right either.
        """
        if self._cadence.any_near(seen.frame.stamp_ns, period_ns / 2):
            return True
        margin = self._timing.clock_margin_ns
        return any(
            abs(off_grid(seen.frame.stamp_ns - earlier.frame.stamp_ns, period_ns)) > self._tolerance_ns(period_ns)
            and abs(seen.delay_ns - earlier.delay_ns) > margin
            for earlier in self._recent
        )

    def _skipped_ahead(self, seen: _Seen, period_ns: int) -> bool:
        """Return whether stamps are missing just when a frame is much faster than any: a jump by whole periods."""
        usual = self._delays
        if self._phase is Phase.SUSPECT:
            if len(self._agreeing) < AGREEING:
                return False
            usual = self._agreeing
        unproved = {held.frame.stamp_ns for held in self._held}
        follows = any(stamp not in unproved for stamp in self._before(seen, period_ns))
        return seen.delay_ns < min(usual) - period_ns / 2 and not follows

    def _seems_ahead(self, seen: _Seen, period_ns: int) -> bool:
        """Return whether stamps are missing just when a frame is a little faster than any."""
        return seen.delay_ns < min(self._delays) - self._tolerance_ns(period_ns) and not self._before(seen, period_ns)

    def _before(self, seen: _Seen, period_ns: int) -> list[int]:
        """Return the stamps about a period before that of a frame."""
        return self._cadence.between(seen.frame.stamp_ns - 1.5 * period_ns, seen.frame.stamp_ns)

    def _unbroken(self, late: _Seen, prompt: _Seen, period_ns: int) -> bool:
        """Return whether no stamp is missing between two frames: a clock that jumped there and back leaves some out."""
        first, last = sorted((late.frame.stamp_ns, prompt.frame.stamp_ns))
        stamps = [first, *self._cadence.between(first, last), last]
        return all(after - before < 1.5 * period_ns for before, after in pairwise(stamps))

    def _tolerance_ns(self, period_ns: int) -> int:
        return grid_tolerance_ns(period_ns, self._timing.clock_margin_ns)

    # Frames that are held

    def _expire_held(self, now_ns: int) -> None:
        kept = [seen for seen in self._held if now_ns - seen.frame.arrival_ns <= self._hold_ns]
        self._drop(len(self._held) - len(kept), Drop.LATE)
        self._held = kept

    def _drop(self, count: int, drop: Drop) -> None:
        if count:
            self.drops[drop] += count
