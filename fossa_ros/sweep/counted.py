"""Assign the frames of a triggered camera to the planes of a triggered lens, by stamps and by count."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from fossa_ros.core.errors import InputError
from fossa_ros.sweep.config import SweepConfig, TriggerOrder
from fossa_ros.sweep.frame import Drop, Frame
from fossa_ros.sweep.outcome import TakenPlane
from fossa_ros.sweep.plan import SweepPlan
from fossa_ros.sweep.timing import StampReference, SweepTiming

DELAYS = 64  # remembered: how long frames took to arrive
LEARNED = 16  # of them are enough to know the fastest
PENDING = 256  # frames kept at most
TRIGGERS = 32  # kept at most
SHARE = 8  # a frame may be exposed so small a part of a period beside the time that it was due
MS = 1e6


def check_triggers(timing: SweepTiming, config: SweepConfig) -> None:
    """Raise InputError if stamps cannot tell apart the planes of a sweep that is taken with triggers."""
    doubt = timing.delay_ns if timing.stamp_reference is StampReference.ARRIVAL else 0
    least = max(doubt + 2 * _tolerance_ns(timing, config), timing.exposure_ns + timing.readout_ns)
    if config.trigger_period_ns <= least:
        raise InputError(
            f"With sweep.trigger_period {config.trigger_period_ns / 1e9:g} s the stamps of two planes cannot be told "
            f"apart; it must be longer than {least / 1e9:g} s (sweep.exposure and sweep.readout; with stamps of "
            "arrival sweep.delay and twice sweep.clock_margin)."
        )


def _tolerance_ns(timing: SweepTiming, config: SweepConfig) -> int:
    """Return how far from the time that it was due a frame may have been exposed.

    A rig's lens stands still only for a part of the period, whatever the clocks.
    """
    return min(timing.clock_margin_ns, config.trigger_period_ns // SHARE)


@dataclass(frozen=True)
class Trigger:
    """The beginning of a sweep.

    Attributes:
        stamp_ns: of the trigger, on the node's clock.
        slots: of the plan, in the order in which the rig takes them.
        fault: why it cannot be used, a sentence; empty if it can.
    """

    stamp_ns: int
    slots: tuple[int, ...]
    fault: str = ""


@dataclass(frozen=True)
class Count:
    """What is known of the sweep of the oldest trigger.

    Attributes:
        planes: those with a frame, in the order of exposure.
        complete: whether every plane has one, and no frame is left over.
        fault: why it will never be complete; empty if it may.
        due_ns: when the last frame has to have arrived; None without a trigger.
        missing: the focus distances (m) of the planes without a frame, as text.
    """

    planes: tuple[TakenPlane, ...] = ()
    complete: bool = False
    fault: str = ""
    due_ns: int | None = None
    missing: str = ""


class CountedAssembler:
    """Give the n-th exposure after a trigger the n-th plane, where stamps and count agree that it is the n-th.

    A frame is in a plane if the plane's exposure was due when it was exposed, within the clock margin and an eighth of
    a period. Periods are longer than that is uncertain, so that no other plane was due. A camera's clock that is wrong
    by whole periods moves every frame by as many planes. This shows because a sweep has a frame in every plane and none
    in the periods before and after it: moved by one or more, the pause falls on a plane. Frame counters must be
    consecutive where the camera has them. Not thread-safe: the caller serialises.

    Args:
        plan: the planes.
        timing: when a frame was exposed.
        config: period, delay and order of the triggers.
    """

    def __init__(self, plan: SweepPlan, timing: SweepTiming, config: SweepConfig):
        self._distances = plan.focus_distances
        self._timing = timing
        self._config = config
        self._period_ns = config.trigger_period_ns
        self._margin_ns = timing.clock_margin_ns
        self._tolerance_ns = _tolerance_ns(timing, config)
        self._span_ns = (len(self._distances) + 1) * self._period_ns  # of a sweep and the pause after it
        # Later than a sweep lasts, a message may be one of the next sweep with a wrong stamp. This makes a difference
        # only where sweeps differ.
        alternating = config.trigger_order is TriggerOrder.SOURCE
        self._latest_ns = self._span_ns if alternating else max(self._span_ns, timing.frame_timeout_ns)
        self.drops: Counter[Drop] = Counter()
        self.reset()

    def reset(self) -> None:
        """Forget everything: the clock was set."""
        self._triggers: list[Trigger] = []
        self._frames: list[Frame] = []
        self._refused: list[tuple[Frame, Drop]] = []  # which mark their sweep
        self._stamps: deque[tuple[int, int | None]] = deque(maxlen=PENDING)  # and counters
        self._delays: deque[int] = deque(maxlen=DELAYS)
        self._last: Trigger | None = None  # whose sweep has ended
        self._ended_ns: int | None = None
        self._counted: int | None = None  # the counter of the last frame of a sweep

    @property
    def latency_ns(self) -> int:
        """From the end of exposure to arrival of the fastest recent frame; 0 while it is not known."""
        return max(min(self._delays, default=0), 0)

    @property
    def running(self) -> bool:
        """Whether a frame has arrived lately."""
        return bool(self._delays)

    def begin(self, now_ns: int) -> None:
        """Begin a sweep: after a rest, with the triggers from now on."""
        if self._ended_ns is None or now_ns - self._ended_ns > self._span_ns:
            self._triggers = [trigger for trigger in self._triggers if trigger.stamp_ns >= now_ns]
            self._frames = [frame for frame in self._frames if self._start(frame) >= now_ns]
            self._refused.clear()

    def add_trigger(self, stamp_ns: int, arrival_ns: int, source: str) -> None:
        """Add a trigger by the stamp and the source of its message, which has just arrived."""
        stamp_ns += self._config.state_offset_ns
        if any(stamp_ns == known.stamp_ns for known in self._known()):
            return
        slots, fault = self._slots(source)
        late = arrival_ns - stamp_ns
        if not -self._margin_ns <= late <= self._latest_ns:
            side = f"{late / MS:.0f} ms after" if late > 0 else f"{-late / MS:.0f} ms before"
            fault = (
                f"A trigger arrived on 'lens/trigger' {side} its stamp; let the rig and this node have one clock, "
                "correct it by sweep.state_offset, or send triggers before their sweep has ended."
            )
            stamp_ns = min(stamp_ns, arrival_ns)  # a wrong time must not hold up the others
        for index, other in enumerate(self._triggers):
            apart = abs(stamp_ns - other.stamp_ns)
            if apart < self._span_ns - self._margin_ns:
                close = (
                    f"Two triggers are {apart / MS:.1f} ms apart, but a sweep of {len(self._distances)} planes and the "
                    f"pause of a period after it take {self._span_ns / MS:.1f} ms; correct the rig, sweep.planes or "
                    "sweep.trigger_period."
                )
                self._triggers[index] = Trigger(other.stamp_ns, other.slots, other.fault or close)
                fault = fault or close
        self._triggers.append(Trigger(stamp_ns, slots, fault))
        self._triggers.sort(key=lambda trigger: trigger.stamp_ns)
        del self._triggers[:-TRIGGERS]

    def add_frame(self, frame: Frame) -> None:
        """Add a frame that has just arrived."""
        drop = self._check(frame)
        if drop is not None:
            self.drops[drop] += 1
            if drop in (Drop.FUTURE, Drop.CLOCK_JUMP, Drop.LATE):
                self._refused.append((frame, drop))
                del self._refused[:-PENDING]
            return
        self._frames.append(frame)
        if len(self._frames) > PENDING:
            self._frames.pop(0)
            self.drops[Drop.NOT_TRIGGERED] += 1

    def count(self, now_ns: int) -> Count:
        """Return what is known of the sweep of the oldest trigger."""
        self._expire(now_ns)
        if not self._triggers:
            return Count()
        trigger = self._triggers[0]
        due = [self._due_ns(trigger, index) for index in range(len(trigger.slots))]
        patience = min(self._timing.frame_timeout_ns, self._latest_ns)
        last_ns = (due[-1] if due else trigger.stamp_ns) + self._timing.window_ns + self._margin_ns + patience
        if trigger.fault:
            return Count(fault=trigger.fault, due_ns=last_ns)
        taken: dict[int, Frame] = {}
        for frame in self._frames:
            since = self._start(frame) - due[0]
            if not self._within(frame, due[0] - self._period_ns, due[-1] + self._period_ns):
                continue
            index = next((i for i, when in enumerate(due) if self._within(frame, when, when)), None)
            if index is None:
                return Count(fault=self._left_over(since), due_ns=last_ns)
            if index in taken:
                distance = self._distances[trigger.slots[index]]
                return Count(
                    fault=f"Two frames were exposed when the plane at {distance:.2f} m was due; the camera must expose "
                    "once for each trigger, and its clock must not jump.",
                    due_ns=last_ns,
                )
            taken[index] = frame
        planes = tuple(
            TakenPlane(slot, self._distances[slot], 0.0, self._start(taken[index]), taken[index])
            for index, slot in enumerate(trigger.slots)
            if index in taken
        )
        fault = self._unlike(planes) or self._miscounted(planes, complete=len(taken) == len(due))
        fault = fault or self._jumped(due[0] - self._period_ns, due[-1] + self._period_ns)
        missing = [self._distances[slot] for index, slot in enumerate(trigger.slots) if index not in taken]
        return Count(
            () if fault else planes,
            complete=not fault and not missing,
            fault=fault,
            due_ns=last_ns,
            missing=", ".join(f"{distance:.2f}" for distance in missing),
        )

    def end(self, now_ns: int) -> None:
        """End the sweep of the oldest trigger: its frames, and older ones, are not used again."""
        self._ended_ns = now_ns
        if not self._triggers:
            return
        self._last = self._triggers.pop(0)
        end_ns = self._due_ns(self._last, len(self._distances)) - self._period_ns // 2
        counters = [
            frame.counter for frame in self._frames if self._start(frame) < end_ns and frame.counter is not None
        ]
        self._counted = max(counters, default=self._counted)
        due = [self._due_ns(self._last, index) for index in range(len(self._distances))]
        unused = [frame for frame in self._frames if not any(self._within(frame, when, when) for when in due)]
        self.drops[Drop.NOT_TRIGGERED] += sum(self._start(frame) < end_ns for frame in unused)
        self._frames = [frame for frame in self._frames if self._start(frame) >= end_ns]
        self._refused = [entry for entry in self._refused if self._start(entry[0]) >= end_ns]

    def _known(self) -> list[Trigger]:
        return self._triggers if self._last is None else [*self._triggers, self._last]

    def _slots(self, source: str) -> tuple[tuple[int, ...], str]:
        """Return the order of the planes, and why it is not known."""
        slots = tuple(range(len(self._distances)))
        order = str(self._config.trigger_order)
        if self._config.trigger_order is TriggerOrder.SOURCE:
            order = source
        if order == TriggerOrder.NEAR_TO_FAR:
            return slots, ""
        if order == TriggerOrder.FAR_TO_NEAR:
            return slots[::-1], ""
        return slots, (
            f"The source of a trigger is '{source[:40]}', not near_to_far or far_to_near; let the rig send one of "
            "them, or set sweep.trigger_order."
        )

    def _due_ns(self, trigger: Trigger, index: int) -> int:
        return trigger.stamp_ns + self._config.trigger_delay_ns + index * self._period_ns

    def _start(self, frame: Frame) -> int:
        """Return the earliest time at which the exposure may have begun."""
        return self._timing.exposed(frame)[0]

    def _within(self, frame: Frame, first_ns: int, last_ns: int) -> bool:
        """Return whether the exposure may have begun between two times."""
        start, end = self._timing.exposed(frame)
        exposure = self._timing.exposure_ns if frame.exposure_ns is None else frame.exposure_ns
        latest = end - exposure - self._timing.readout_ns
        return start - self._tolerance_ns <= last_ns and first_ns <= latest + self._tolerance_ns

    def _check(self, frame: Frame) -> Drop | None:
        """Return why a frame cannot be used whatever is triggered, None if it can."""
        if frame.stamp_ns == 0:
            return Drop.NO_STAMP
        if (frame.stamp_ns, frame.counter) in self._stamps:
            return Drop.DUPLICATE
        self._stamps.append((frame.stamp_ns, frame.counter))
        delay = frame.arrival_ns - self._timing.exposed(frame)[1]
        if delay < -self._margin_ns:
            return Drop.FUTURE
        if delay > self._latest_ns:
            return Drop.LATE
        # A clock that jumps ahead makes frames faster than any before.
        jump = max(self._margin_ns, self._period_ns // 4)
        jumped = len(self._delays) >= LEARNED and delay < min(self._delays) - jump
        self._delays.append(delay)
        return Drop.CLOCK_JUMP if jumped else None

    def _expire(self, now_ns: int) -> None:
        """Drop the frames whose trigger can no longer arrive."""
        oldest = now_ns - self._latest_ns - self._span_ns - abs(self._config.trigger_delay_ns)
        if self._triggers:
            oldest = min(oldest, self._due_ns(self._triggers[0], -1) - self._span_ns)
        kept = [frame for frame in self._frames if self._start(frame) >= oldest]
        if len(kept) < len(self._frames):
            self.drops[Drop.NOT_TRIGGERED] += len(self._frames) - len(kept)
            self._frames = kept

    def _left_over(self, since_ns: int) -> str:
        return (
            f"The count does not add up: a frame was exposed {since_ns / MS:.1f} ms after the first plane was due, "
            f"where planes are due every {self._period_ns / MS:.1f} ms, {len(self._distances)} times, and nothing in "
            "the period before and after them; check the triggers, sweep.trigger_delay, sweep.trigger_period and "
            "sweep.clock_offset."
        )

    def _unlike(self, planes: tuple[TakenPlane, ...]) -> str:
        """Return that frames do not fit together; empty if they do."""
        for plane in planes[1:]:
            if plane.frame.format != planes[0].frame.format:
                return f"A frame cannot be used: {Drop.FORMAT}."
            if plane.frame.intrinsics != planes[0].frame.intrinsics:
                return f"A frame cannot be used: {Drop.CAMERA_INFO}."
        return ""

    def _miscounted(self, planes: tuple[TakenPlane, ...], *, complete: bool) -> str:
        """Return that the camera's own counter contradicts the planes; empty if it does not."""
        counters = [plane.frame.counter for plane in planes if plane.frame.counter is not None]
        if not counters:
            return ""
        if complete and len(counters) < len(planes):
            return "Frames without a counter are among others with one; let the camera count all of them."
        first, last = counters[0], counters[-1]
        if complete and counters != list(range(first, first + len(counters))):
            return (
                f"The count does not add up: the camera numbered the frames of {len(planes)} planes {first} to {last}, "
                "not one after another; frames were lost, or exposed without a trigger."
            )
        if self._counted is not None and 0 <= self._counted - first < len(self._distances):
            return (
                f"The count does not add up: the camera's frame {first} belongs to the sweep before; its clock has "
                "jumped, or a trigger has a wrong stamp."
            )
        return ""

    def _jumped(self, first_ns: int, last_ns: int) -> str:
        """Return that a frame of this time shows a clock that is wrong; empty if none does."""
        for frame, drop in self._refused:
            if self._within(frame, first_ns, last_ns):
                return f"A frame of this sweep cannot be used: {drop}."
        return ""
