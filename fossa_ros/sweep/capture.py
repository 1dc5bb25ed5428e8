"""Drive the lens through one sweep after another and collect the frames that belong to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

from fossa_ros.core.errors import FossaError, InputError, LensError
from fossa_ros.lens import FocusLens, LensMove, LensState
from fossa_ros.sweep.captured import CapturedSweep
from fossa_ros.sweep.clock_offset import ClockOffset
from fossa_ros.sweep.clock_watch import ClockUse, ClockWatch
from fossa_ros.sweep.config import SweepConfig, SweepMode, SweepOutput
from fossa_ros.sweep.decoder import DecodePlane, SweepDecoder
from fossa_ros.sweep.frame import Frame
from fossa_ros.sweep.lens_session import LensSession
from fossa_ros.sweep.machines import Action, Ended, MoveLens, ReadLens, VerifyLens, Wait
from fossa_ros.sweep.outcome import TakenPlane
from fossa_ros.sweep.own_sweep import OwnSweep
from fossa_ros.sweep.plan import SweepPlan
from fossa_ros.sweep.planner import Latencies, expectation, timeline
from fossa_ros.sweep.sequencer import Sequencer
from fossa_ros.sweep.timing import SweepTiming

REST_S = 0.5  # how often a resting lens is asked for its state
RECONNECT_WAITS_S = (0.5, 1.0, 2.0, 4.0)
CLOCK_CHECK_S = 0.05  # how often a wait looks at the clock, which may run at another speed than the machine's


class SweepCapture:
    """Take sweeps on its own thread, which supplies a ``Sequencer`` with time, lens and frames.

    ``add_frame`` is cheap and may be called from a camera callback; ``on_sweep``, ``on_lens_state`` and ``on_plane``
    are called from the capture thread. A lens that fails ends its sweep and is opened again with back-off.

    Args:
        plan: where to focus.
        timing: the rule that assigns frames to planes.
        open_lens: opens the lens; raises LensError or InputError. Not called where other programs drive the lens.
        decoder: turns what was taken into sweeps with pixels.
        on_sweep: receives every sweep, complete or not.
        on_lens_state: receives the state of the lens, about twice a second, at rest too, and during a sweep its
            set-point around every command, or its measured positions; None after a failure, whose reason is
            ``lens_failure``.
        clock: nanoseconds on the clock of the image stamps.
        config: how sweeps are taken.
        clock_use: whether the camera's clock is compared with the lens's by the sharpness of the images around lens
            steps, and whether stamps are corrected by it if that is certain. Only stepped sweeps show it.
        on_plane: receives a function that decodes the newest plane of the present sweep, so that work on it need not
            wait for the end of the sweep; None for nothing.
    """

    def __init__(
        self,
        plan: SweepPlan,
        timing: SweepTiming,
        open_lens: Callable[[], FocusLens],
        decoder: SweepDecoder,
        on_sweep: Callable[[CapturedSweep], None],
        on_lens_state: Callable[[LensState | None], None] = lambda state: None,
        *,
        clock: Callable[[], int] = time.time_ns,
        config: SweepConfig | None = None,
        clock_use: ClockUse = ClockUse.OFF,
        on_plane: Callable[[DecodePlane], None] | None = None,
    ):
        self._plan = plan
        self._sequencer = Sequencer(plan, timing, config)
        self._config = self._sequencer.config
        self._drives_lens = self._config.mode.drives_lens
        stepped = self._config.mode is SweepMode.STEP
        self._clock_watch = ClockWatch(timing, self._config.response, clock_use) if stepped else None
        self._lens = LensSession(open_lens, plan, clock, on_lens_state)
        self._decoder = decoder
        self._on_sweep = on_sweep
        # Planes that are resampled later, or that complete a stack each, are of no use early.
        early = not decoder.resamples and self._config.output is SweepOutput.SWEEP
        self._on_plane = on_plane if early else None
        self._passed_on_ns: int | None = None  # start of the plane that on_plane received last
        self._clock = clock
        self._changed = threading.Condition()
        self._pending: tuple[SweepPlan, SweepTiming, SweepConfig] | None = None  # from the next sweep on
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._enabled = True
        self._requested = 0
        self._own: OwnSweep | None = None
        self._next_number = 0
        self._sweeping = False
        self._acknowledge_ns = self._settling_ns = 0  # of the last move
        self._failures = 0  # of the lens, in a row

    @property
    def period_ns(self) -> int | None:
        """The camera's frame period; None while it is not known."""
        return self._sequencer.period_ns

    @property
    def latency_ns(self) -> int:
        """From the end of exposure to arrival of the fastest recent frame; 0 while it is not known."""
        return self._sequencer.latency_ns

    @property
    def clock_offset(self) -> ClockOffset | None:
        """The offset of the camera's clock that images show; None while they show none."""
        return self._clock_watch.found if self._clock_watch is not None else None

    @property
    def lens(self) -> LensSession:
        """The lens, for what is known of it: only the capture's thread may use it."""
        return self._lens

    @property
    def lens_failure(self) -> str:
        """Why the lens was last lost; empty if it never was."""
        return self._lens.failure

    def expectation(self) -> str:
        """Return in short sentences what depth rate to expect at the camera's present rate, and why.

        Raises:
            InputError: no sweep can be complete at this rate.
        """
        with self._changed:
            period, latency = self._sequencer.period_ns, self._sequencer.latency_ns
            acknowledge, settling = self._acknowledge_ns, self._settling_ns
        if period is None:
            return "The camera's rate is not known yet."
        if not self._drives_lens:
            passes = "with each sweep of the rig" if self._config.mode is SweepMode.COUNTED else "as the lens passes"
            return f"Expect depth {passes} through the planes, at {1e9 / period:.1f} frames a second."
        latencies = Latencies(period, max(latency, 0), acknowledge, settling)
        return expectation(timeline(self._plan, self._sequencer.timing, self._config, latencies))

    def connect(self) -> FocusLens:
        """Return the lens, opened if necessary, so that a missing one is known before the first sweep.

        Raises:
            LensError: the lens is absent or does not answer.
            InputError: the plan reaches beyond the lens's range.
        """
        known = self._lens.is_open
        lens = self._lens.connect()
        if not known:
            with self._changed:
                self._sequencer.on_connected(lens.capabilities.measures_position)
        return lens

    def start(self) -> None:
        """Begin to take sweeps."""
        if self._thread is None:
            self._stopping = False
            self._thread = threading.Thread(target=self._run, name="sweep-capture", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop at once, in mid-sweep too, and park the lens; the lens stays open."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with self._changed:
                self._stopping = True
                self._own = None
                self._changed.notify_all()
            thread.join()

    def close(self) -> None:
        """Stop and close the lens."""
        self.stop()
        self._lens.close()

    def reset(self) -> None:
        """Open the lens again and forget its failures; a sweep under way is abandoned, and sweeps go on if they did.

        Raises:
            LensError: the lens is absent or does not answer; sweeps go on trying.
            InputError: the plan reaches beyond the lens's range.
        """
        running = self._thread is not None
        self.close()
        self._lens.forget_failures()
        self._failures = 0
        if self._clock_watch is not None:
            self._clock_watch.reset()
        try:
            if self._drives_lens:
                self.connect()
        finally:
            if running:
                self.start()

    def add_frame(self, frame: Frame) -> None:
        """Add a frame that has just arrived."""
        if self._clock_watch is not None:
            self._clock_watch.add_frame(frame)
        with self._changed:
            if self._sequencer.add_frame(frame):
                self._changed.notify_all()

    def on_external_state(self, state: LensState, measured: bool) -> None:
        """Add the state of a lens that another program drives; ``measured``, or its set-point."""
        with self._changed:
            external = self._config.mode is SweepMode.EXTERNAL
            if external and self._sequencer.on_external_state(state, measured):
                self._changed.notify_all()

    def on_trigger(self, stamp_ns: int, arrival_ns: int, source: str) -> None:
        """Add a trigger with which hardware began a sweep, as ``Sequencer.on_trigger`` does."""
        with self._changed:
            if self._sequencer.on_trigger(stamp_ns, arrival_ns, source):
                self._changed.notify_all()

    def check_plan(self, plan: SweepPlan) -> None:
        """Raise InputError if the lens does not reach all planes of ``plan``; one that is not open is not asked."""
        self._lens.check_plan(plan)

    def reconfigure(self, plan: SweepPlan, timing: SweepTiming, config: SweepConfig) -> None:
        """Use another plan, timing and configuration from the next sweep on; mode and output must stay the same."""
        with self._changed:
            self._pending = plan, timing, config

    def set_enabled(self, enabled: bool) -> None:
        """Take sweeps one after another, or only on request; a sweep under way is finished."""
        with self._changed:
            self._enabled = enabled
            self._changed.notify_all()

    def request(self) -> int:
        """Request one sweep that starts from now on; return its number."""
        with self._changed:
            number = self._next_number
            if self._sweeping:
                # The present sweep began earlier; a rolling stack is all new after one sweep there and one back.
                rolling = self._config.output is SweepOutput.ROLLING
                number += 2 * len(self._plan.focus_distances) if rolling else 1
            if self._own is not None and not self._own.begun:
                number = max(number, self._own.number + 1)  # that one may have another plan
            self._requested = max(self._requested, number + 1)
            self._changed.notify_all()
            return number

    def request_own(self, plan: SweepPlan | None, on_plane: Callable[[int, TakenPlane], None]) -> int:
        """Request one sweep for one caller, in place of one requested earlier that has not begun; return its number.

        Until ``release``, for ten seconds at most, no other sweep begins after it.

        Args:
            plan: where to focus; None for the present plan.
            on_plane: receives how many planes have a frame, and the newest of them, on the capture's thread.

        Raises:
            InputError: the lens does not reach the plan, or this sweep cannot be taken now.
        """
        if self._config.output is SweepOutput.ROLLING:
            raise InputError("With sweep.output rolling no sweep stands alone; set it to sweep, or call 'capture'.")
        if plan is not None and not self._drives_lens:
            mode = self._config.mode
            raise InputError(f"Another node drives the lens (sweep.mode {mode}); leave planes, near and far at 0.")
        if plan is not None:
            self.check_plan(plan)
        with self._changed:
            if self._own is not None and self._own.holds:
                raise InputError("A sweep for another goal is under way; wait for its result, or cancel it.")
            number = max(self._next_number + self._sweeping, self._requested)
            self._own = OwnSweep(number, plan, on_plane)
            self._changed.notify_all()
            return number

    def cancel_own(self, number: int, reason: str) -> bool:
        """Withdraw the sweep ``number`` that ``request_own`` returned.

        If it is under way it ends as incomplete for that ``reason``, and True is returned.
        """
        with self._changed:
            own = self._own
            if own is None or own.number != number:
                return False
            if own.begun and self._sweeping and self._next_number == number:
                own.cancelled = reason
            else:
                self._own = None
            self._changed.notify_all()
            return bool(own.cancelled)

    def release(self, number: int) -> None:
        """Let other sweeps begin again: what came of the sweep ``number`` of ``request_own`` is known."""
        with self._changed:
            if self._own is not None and self._own.number == number:
                self._own = None
                self._changed.notify_all()

    # The capture thread

    def _run(self) -> None:
        try:
            while True:
                try:
                    if not self._wait_for_turn():
                        return
                    if self._drives_lens:
                        self.connect()
                    self._take_sweep()
                    if self._drives_lens:
                        self._lens.report_state()
                    self._failures = 0
                except FossaError as error:
                    self._drop_lens(error)
                    self._pause(RECONNECT_WAITS_S[min(self._failures, len(RECONNECT_WAITS_S) - 1)])
                    self._failures += 1
        finally:
            self._park()

    def _wait_for_turn(self) -> bool:
        """Block until the next sweep should start; return False to stop.

        Meanwhile the lens rests. It is still asked for its state, so that a lost one is noticed before the next sweep.
        """
        parked, wait = False, 0.0
        while not self._turn_comes(wait):
            if not parked and not self._holds():
                self._park()
                parked = True
            elif wait and self._drives_lens:
                self.connect()
                self._lens.report_state()
                self._failures = 0
            wait = REST_S
        return not self._stopping

    def _turn_comes(self, timeout: float) -> bool:
        """Return whether a sweep should start, or the thread should stop, within ``timeout`` seconds.

        No sweep starts until /clock is received: a simulated clock shows 0 until then.
        """

        def turn() -> bool:
            asked = self._enabled or self._requested > self._next_number
            if self._own is not None:
                asked = not self._own.begun or (asked and not self._own.holds)
            return self._stopping or (asked and self._clock() > 0)

        with self._changed:
            return self._changed.wait_for(turn, timeout)

    def _take_sweep(self) -> None:
        with self._changed:
            self._adopt_pending()
            if self._clock_watch is not None:
                self._sequencer.set_timing(self._clock_watch.timing())
            self._adopt_own()
            self._sequencer.begin(self._clock())
            self._sweeping = True
        failure = None
        try:
            while self._act():
                self._deliver()
        except FossaError as error:
            failure = error
            with self._changed:
                self._sequencer.abort(f"Lens: {error}")
        self._deliver(ended=True)
        if failure is not None:
            raise failure

    def _adopt_pending(self) -> None:
        if self._pending is None:
            return
        (self._plan, timing, self._config), self._pending = self._pending, None
        self._sequencer.reconfigure(self._plan, timing, self._config)
        self._lens.set_plan(self._plan)
        if self._clock_watch is not None:
            self._clock_watch.set_timing(timing)

    def _adopt_own(self) -> None:
        """Take the sweep that begins by the plan of ``request_own``, if it is that one."""
        own, plan = self._own, self._plan
        if own is not None and not own.begun and own.number <= self._next_number:
            own.begin()
            plan = own.plan or plan
        self._sequencer.reconfigure(plan, self._sequencer.timing, self._config)

    def _holds(self) -> bool:
        """Whether sweeps wait for the depth of one on request."""
        with self._changed:
            return self._own is not None and self._own.holds

    def _act(self) -> bool:
        """Carry out the next action of the sweep; return False once it has ended or was stopped."""
        with self._changed:
            if self._stopping:
                return False
            own = self._own
            if own is not None and own.cancelled and own.number == self._next_number:
                self._sequencer.abort(own.cancelled)
                return False
            action = self._sequencer.next(self._clock())
            if own is not None and own.begun and own.number == self._next_number:
                own.report(self._sequencer.planes())
            plane = self._newest_plane() if isinstance(action, Wait) else None
            if isinstance(action, Wait) and plane is None:
                self._wait_until(action.until_ns)
            elif isinstance(action, MoveLens):
                self._sequencer.on_commanding(self._clock())
        if plane is not None and self._on_plane is not None:
            self._on_plane(partial(self._decoder.decode_plane, plane))
        self._use_lens(action)
        return not isinstance(action, Ended)

    def _use_lens(self, action: Action) -> None:
        """Carry out an action of the lens without the lock: frames go on arriving while the lens answers."""
        match action:
            case MoveLens():
                move = self._lens.move_to(action.focus_distance)
                self._on_moved(move)
            case ReadLens():
                state = self._lens.read()
                with self._changed:
                    self._sequencer.on_measured(state)
            case VerifyLens():
                self._lens.verify()
                with self._changed:
                    self._sequencer.on_verified()

    def _on_moved(self, move: LensMove) -> None:
        with self._changed:
            self._acknowledge_ns = max(move.acknowledged_ns - move.sent_ns, 0)
            self._settling_ns = move.settling_ns
            self._sequencer.on_commanded(move)
        if self._clock_watch is not None:
            self._clock_watch.look(self._decoder.decode)  # while the lens settles there is time
            self._clock_watch.on_commanded(move)

    def _wait_until(self, until_ns: int) -> None:
        seconds = (until_ns - self._clock()) / 1e9
        if seconds > 0:
            self._changed.wait(min(seconds, CLOCK_CHECK_S))

    def _newest_plane(self) -> TakenPlane | None:
        """Return the newest plane of the present sweep, once, where ``on_plane`` wants it."""
        if self._on_plane is None:
            return None
        newest = max(self._sequencer.planes(), key=lambda plane: plane.start_ns, default=None)
        if newest is None or newest.start_ns == self._passed_on_ns:
            return None
        self._passed_on_ns = newest.start_ns
        return newest

    def _deliver(self, *, ended: bool = False) -> None:
        """Decode and pass on what the sequencer has finished; ``ended`` where that is the sweep."""
        with self._changed:
            outcomes = self._sequencer.outcomes()
            self._sweeping &= not ended
            if self._stopping:
                return  # a sweep that was stopped has not failed
            if self._own is not None and self._own.number == self._next_number:
                self._own.report(plane for outcome in outcomes for plane in outcome.planes)  # the last one, mostly
            first = self._next_number
            self._next_number += len(outcomes)
        for number, outcome in enumerate(outcomes, first):
            self._on_sweep(self._decoder.decode_sweep(number, outcome, self._sequencer.timing))

    def _drop_lens(self, failure: FossaError) -> None:
        with self._changed:
            self._sequencer.on_rested()
        if self._clock_watch is not None:
            self._clock_watch.reset()
        self._lens.drop(failure)

    def _park(self) -> None:
        if not self._lens.is_open:
            return
        with self._changed:
            self._sequencer.on_rested()
        try:
            self._lens.park()
        except LensError as error:
            self._drop_lens(error)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, seconds)
