"""What a camera and a lens can achieve together: the timeline of a sweep, and the depth rate.

There is no second model of a sweep: the ``Sequencer`` takes sweeps in virtual time with an ideal camera and lens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from fossa_ros.core.errors import InputError
from fossa_ros.core.optics import dioptres
from fossa_ros.lens import LensMove, LensState
from fossa_ros.sweep.config import SweepConfig, SweepMode, SweepOutput
from fossa_ros.sweep.frame import Frame
from fossa_ros.sweep.machines import Ended, MoveLens, ReadLens, VerifyLens, Wait
from fossa_ros.sweep.outcome import Outcome
from fossa_ros.sweep.plan import SweepPlan
from fossa_ros.sweep.sequencer import Sequencer
from fossa_ros.sweep.timing import StampReference, SweepTiming

PRACTICE = 4  # sweeps that do not count: the first ones learn the camera's rate
COUNTED = 12  # sweeps that count: phases of camera and lens repeat after a few
LIMIT_NS = 600_000_000_000
LIMIT_FRAMES = 100_000
MS = 1e6


@dataclass(frozen=True)
class Latencies:
    """How long camera and lens take, in nanoseconds.

    Attributes:
        period_ns: of the frames.
        latency_ns: from the end of an exposure to the frame's arrival.
        acknowledge_ns: from sending a command to its acknowledgement.
        settling_ns: of a move according to the lens backend, used if ``SweepTiming.settling_ns`` is 0.
    """

    period_ns: int
    latency_ns: int = 2_000_000
    acknowledge_ns: int = 2_000_000
    settling_ns: int = 18_000_000

    def __post_init__(self) -> None:
        if self.period_ns <= 0:
            raise InputError("The frame rate must be positive; correct it.")
        if min(self.latency_ns, self.acknowledge_ns, self.settling_ns) < 0:
            raise InputError("latency, acknowledge and settling must not be negative; correct them.")


@dataclass(frozen=True)
class Exposure:
    """A frame: nanoseconds since the timeline's beginning; ``slot`` is its plane, None if it is not used."""

    start_ns: int
    end_ns: int
    slot: int | None


@dataclass(frozen=True)
class Command:
    """A lens command to ``power`` (dioptres): when it was sent, acknowledged and the lens had settled."""

    sent_ns: int
    acknowledged_ns: int
    settled_ns: int
    power: float


@dataclass(frozen=True)
class Timeline:
    """Two sweeps, there and back, and the rate of many.

    Attributes:
        plan, timing, config, latencies: the inputs.
        exposures, commands: of two successive sweeps; the first command is the last one before them.
        length_ns: of both sweeps.
        sweep_ns: of one sweep, on average from one beginning to the next.
        depth_rate: stacks a second.
        why: short sentences that name what bounds the rate.
    """

    plan: SweepPlan
    timing: SweepTiming
    config: SweepConfig
    latencies: Latencies
    exposures: tuple[Exposure, ...]
    commands: tuple[Command, ...]
    length_ns: int
    sweep_ns: float
    depth_rate: float
    why: str


def timeline(plan: SweepPlan, timing: SweepTiming, config: SweepConfig, latencies: Latencies) -> Timeline:
    """Return the timeline of sweeps with an ideal camera and lens.

    Raises:
        InputError: an exposure longer than the frame period, an external lens, or a timing with which no sweep can be
            complete.
    """
    if not config.mode.drives_lens:
        raise InputError("An external lens has no plan: depth comes as fast as its driver passes through the planes.")
    if timing.exposure_ns > latencies.period_ns:
        raise InputError(
            f"An exposure of {timing.exposure_ns / MS:.1f} ms does not fit into a frame period of "
            f"{latencies.period_ns / MS:.1f} ms; shorten it or lower the rate."
        )
    # What stamps refer to differs between drivers; it does not change the timeline, but for a delay that is not known,
    # by which every exposure may have been earlier.
    ideal = replace(
        timing,
        clock_offset_ns=0,
        stamp_reference=StampReference.EXPOSURE_START,
        exposure_ns=timing.exposure_ns + timing.doubt_ns,
    )
    run = _Ideal(plan, ideal, config, latencies)
    for _ in range(PRACTICE):
        run.sweep()
    run.outcomes.clear()
    begins = [run.now]
    for _ in range(COUNTED):
        run.sweep()
        begins.append(run.now)
    failed = next((outcome.reason for outcome in run.outcomes if outcome.reason), None)
    if failed:
        raise InputError(f"This plan cannot be taken: {failed}")
    # The shortest pair of sweeps shows what the timing allows.
    pairs = [(begins[index + 2] - begins[index], begins[index]) for index in range(0, COUNTED - 1, 2)]
    length, begin = min(pairs)
    sweep_ns = (begins[-1] - begins[0]) / COUNTED
    rate = len(run.outcomes) / (begins[-1] - begins[0]) * 1e9
    taken = {plane.frame.stamp_ns: plane.slot for outcome in run.outcomes for plane in outcome.planes}
    return Timeline(
        plan=plan,
        timing=timing,
        config=config,
        latencies=latencies,
        exposures=tuple(
            Exposure(start - begin, start - begin + timing.exposure_ns + timing.readout_ns, taken.get(start))
            for start in run.starts
            if begin - timing.exposure_ns <= start < begin + length
        ),
        commands=tuple(
            Command(
                move.sent_ns - begin,
                move.acknowledged_ns - begin,
                timing.settled_ns(move) - begin,
                float(dioptres(move.focus_distance)),
            )
            for move in run.moves[max(sum(move.sent_ns < begin for move in run.moves) - 1, 0) :]
            if move.sent_ns < begin + length
        ),
        length_ns=length,
        sweep_ns=sweep_ns,
        depth_rate=rate,
        why=_why(plan, timing, config, latencies, sweep_ns),
    )


def expectation(found: Timeline) -> str:
    """Return in short sentences what rate to expect and why."""
    rate = 1e9 / found.latencies.period_ns
    return (
        f"Expect up to {found.depth_rate:.1f} depth maps a second at {rate:.1f} frames a second "
        f"({len(found.plan.focus_distances)} planes, {found.config.mode}, {found.config.output}). {found.why}"
    )


def _why(plan: SweepPlan, timing: SweepTiming, config: SweepConfig, latencies: Latencies, sweep_ns: float) -> str:
    periods = sweep_ns / latencies.period_ns  # frame periods of a sweep
    times = "with every plane" if config.output is SweepOutput.ROLLING else f"every {sweep_ns / MS:.0f} ms"
    if config.mode is SweepMode.RAMP:
        slow = config.ramp_plane_ns(plan, timing, latencies.acknowledge_ns) / MS
        return (
            f"Depth comes {times}, {periods:.1f} frame periods a sweep. The lens needs {slow:.1f} ms "
            f"from plane to plane for its focus to be known to {config.focus_tolerance:g} D."
        )
    settling = (timing.settling_ns or latencies.settling_ns) / MS
    margin, exposure = timing.clock_margin_ns / MS, (timing.exposure_ns + timing.readout_ns) / MS
    acknowledge, arrival = latencies.acknowledge_ns / MS, latencies.latency_ns / MS
    doubt = timing.doubt_ns / MS
    need = acknowledge + settling + margin + exposure + doubt + arrival
    return (
        f"Depth comes {times}. A plane takes {periods / len(plan.focus_distances):.1f} frame periods of "
        f"{latencies.period_ns / MS:.1f} ms. The next can be commanded after {need:.1f} ms: acknowledgement "
        f"{acknowledge:.1f}, settling {settling:.1f}, clock margin {margin:.1f}, exposure {exposure:.1f}"
        f"{f', sweep.delay {doubt:.1f}' if doubt else ''} and arrival {arrival:.1f}."
    )


class _Ideal:
    """A camera that never fails and a lens that obeys, on a virtual clock."""

    def __init__(self, plan: SweepPlan, timing: SweepTiming, config: SweepConfig, latencies: Latencies):
        self._sequencer = Sequencer(plan, timing, config)
        self._sequencer.on_connected(False)
        self._timing = timing
        self._latencies = latencies
        self.now = 0
        self.starts: list[int] = []
        self.moves: list[LensMove] = []
        self.outcomes: list[Outcome] = []
        self._frames = self._camera()
        self._next = next(self._frames)

    def sweep(self) -> None:
        self._sequencer.begin(self.now)
        while not isinstance(action := self._sequencer.next(self.now), Ended):
            match action:
                case Wait():
                    if self._next.arrival_ns <= action.until_ns:
                        self._pass(max(self._next.arrival_ns - self.now, 0))
                    else:
                        self._pass(max(action.until_ns - self.now, 1))
                case MoveLens():
                    self._sequencer.on_commanding(self.now)
                    sent = self.now
                    self._pass(self._latencies.acknowledge_ns)
                    move = LensMove(action.focus_distance, sent, self.now, self._latencies.settling_ns, math.nan)
                    self.moves.append(move)
                    self._sequencer.on_commanded(move)
                case ReadLens():
                    last = self.moves[-1].focus_distance
                    self._sequencer.on_measured(LensState(self.now, last, math.nan, None, ()))
                case VerifyLens():
                    self._pass(self._latencies.acknowledge_ns)
                    self._sequencer.on_verified()
        self.outcomes += self._sequencer.outcomes()

    def _pass(self, span_ns: int) -> None:
        end = self.now + span_ns
        while self._next.arrival_ns <= end:
            self.now = max(self.now, self._next.arrival_ns)
            self._sequencer.add_frame(self._next)
            self._next = next(self._frames)
        self.now = end

    def _camera(self) -> Iterator[Frame]:
        start = 0
        while True:
            if start > LIMIT_NS or len(self.starts) > LIMIT_FRAMES:
                raise InputError(
                    f"The sweeps of this plan take more than ten minutes or {LIMIT_FRAMES} frames; shorten acknowledge "
                    "or settling, take fewer planes or lower the rate."
                )
            self.starts.append(start)
            arrival = start + self._timing.window_ns + self._latencies.latency_ns
            yield Frame(start, arrival, "ideal", (), None)
            start += self._latencies.period_ns
