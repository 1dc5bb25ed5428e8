"""Drive the lens through one sweep after another and collect the frames that belong to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from fossa_ros.core.errors import FossaError, InputError, LensError
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.lens import FocusLens, LensMove, LensState
from fossa_ros.sweep.captured import CapturedSweep, SweepDecoder, intrinsics
from fossa_ros.sweep.clock_offset import ClockOffset
from fossa_ros.sweep.clock_watch import ClockUse, ClockWatch
from fossa_ros.sweep.frame import Frame
from fossa_ros.sweep.gyro import GyroSamples
from fossa_ros.sweep.machines import Ended, MoveLens, ReadLens, VerifyLens, Wait
from fossa_ros.sweep.moving import TakenPlane
from fossa_ros.sweep.plan import SweepPlan
from fossa_ros.sweep.planner import Line, expectation, timeline
from fossa_ros.sweep.sequencer import Sequencer, SweepConfig, SweepMode, SweepOutput
from fossa_ros.sweep.timing import SweepTiming

LENS_STATE_PERIOD_S = 0.5  # serial round trips; a resting lens that is gone is missed no sooner
MEASURED_PERIOD_NS = 10_000_000  # of the positions told of a lens that measures its own, which is asked more often
RECONNECT_WAITS_S = (0.5, 1.0, 2.0, 4.0)
LOOK_S = 0.05  # how often a wait looks at the clock, which need not run as fast as ours


class SweepCapture:
    """Take sweeps on a thread of its own: it supplies a ``Sequencer`` with time, lens and frames.

    ``add_frame`` is cheap and may be called from a camera callback; ``on_sweep`` and ``on_lens_state`` are called from
    the capture thread. A lens that fails ends its sweep and is opened again with back-off.

    Args:
        plan: where to focus.
        timing: the rule that assigns frames to planes.
        open_lens: opens the lens; raises LensError or InputError. Never called where somebody else drives it.
        decode: turns a frame's payload into an (H, W, 3) uint8 RGB image; raises InputError.
        on_sweep: receives every sweep, complete or not.
        on_lens_state: receives what the lens says of itself, about twice a second, at rest too, and during a sweep
            its set-point around every command, or its measured positions; None after a failure, whose reason is
            ``lens_failure``.
        clock: nanoseconds on the clock of the image stamps.
        focal_length: metres, None where unknown.
        f_number: None where unknown.
        config: how sweeps are taken.
        clock_use: whether the camera's clock is compared with the lens's by what images show of lens steps, and
            whether stamps are corrected by it where that is certain. Only stepped sweeps show it.
        gyro: returns how the camera turned between two stamps, in nanoseconds; None where there is no gyroscope.
        breathing: returns the scale and shift of each plane of a stack; None where it was not calibrated.
        on_plane: receives, of each plane of a sweep that goes on, what decodes it: a function, to be called from any
            thread, that returns the plane and its (3, 3) K or raises InputError. So work on it need not wait for the
            sweep; None where nobody wants it.
    """

    def __init__(
        self,
        plan: SweepPlan,
        timing: SweepTiming,
        open_lens: Callable[[], FocusLens],
        decode: Callable[[object], np.ndarray],
        on_sweep: Callable[[CapturedSweep], None],
        on_lens_state: Callable[[LensState | None], None] = lambda state: None,
        *,
        clock: Callable[[], int] = time.time_ns,
        focal_length: float | None = None,
        f_number: float | None = None,
        config: SweepConfig | None = None,
        clock_use: ClockUse = ClockUse.OFF,
        gyro: Callable[[int, int], GyroSamples] | None = None,
        breathing: Callable[[FocusStack], np.ndarray] | None = None,
        on_plane: Callable[[Callable[[], tuple[FocusPlane, np.ndarray]]], None] | None = None,
    ):
        self._plan = plan
        # A plane that is yet to be resampled, or that makes a stack by itself, is not worth a look.
        early = breathing is None and (config or SweepConfig()).output is SweepOutput.SWEEP
        self._on_plane = on_plane if early else None
        self._shown_ns: int | None = None  # start of the plane that was given to on_plane last
        self._sequencer = Sequencer(plan, timing, config)
        stepped = self._sequencer.config.mode is SweepMode.STEP
        self._clock_watch = ClockWatch(timing, self._sequencer.config.response, clock_use) if stepped else None
        self._external = self._sequencer.config.mode is SweepMode.EXTERNAL
        self._open_lens = open_lens
        self._decode = decode
        self._on_sweep = on_sweep
        self._on_lens_state = on_lens_state
        self._clock = clock
        self._decoder = SweepDecoder(
            decode, focal_length=focal_length, f_number=f_number, gyro=gyro, breathing=breathing
        )
        self._lens: FocusLens | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._enabled = True
        self._requested = 0
        self._next_number = 0
        self._sweeping = False
        self._acknowledge_ns = self._settling_ns = 0  # of the last move
        self._lens_state_due = 0.0
        self._last_state: LensState | None = None
        self._holding: LensMove | None = None
        self._told_ns = 0
        self._failures = 0  # of the lens, in a row
        self.lens_failure = ""  # why the lens was last lost

    @property
    def period_ns(self) -> int | None:
        """The camera's frame period; None while it is not known."""
        return self._sequencer.period_ns

    @property
    def clock_offset(self) -> ClockOffset | None:
        """What images say of the camera's clock; None while they say nothing."""
        return self._clock_watch.found if self._clock_watch is not None else None

    def expectation(self) -> str:
        """Say what depth rate to expect of the camera as it has been so far, and why; raises InputError.

        Where the lens is another's, or the camera's rate is not known yet, there is nothing to say but that.
        """
        with self._changed:
            period, latency = self._sequencer.period_ns, self._sequencer.latency_ns
            acknowledge, settling = self._acknowledge_ns, self._settling_ns
        if period is None:
            return "The camera's rate is not known yet."
        if self._external:
            return f"Expect depth as the lens passes through the planes, at {1e9 / period:.1f} frames a second."
        line = Line(period, max(latency, 0), acknowledge, settling)
        return expectation(timeline(self._plan, self._sequencer.timing, self._sequencer.config, line))

    def connect(self) -> FocusLens:
        """Open the lens, so that a missing one is known before the first sweep.

        Raises:
            LensError: the lens is absent or does not answer.
            InputError: the plan reaches beyond the lens's range.
        """
        if self._lens is None:
            lens = self._open_lens()
            try:
                self._check_range(lens)
            except InputError:
                lens.close()
                raise
            self._lens = lens
            with self._changed:
                self._sequencer.connected(lens.capabilities.measures_position)
        return self._lens

    def _check_range(self, lens: FocusLens) -> None:
        lens.capabilities.require_metric()
        nearest, farthest = lens.capabilities.nearest, lens.capabilities.farthest
        planes = self._plan.focus_distances
        if planes[0] < nearest or planes[-1] > farthest:
            raise InputError(
                f"The sweep from {planes[0]:.3g} to {planes[-1]:.3g} m reaches beyond the lens, which focuses from "
                f"{nearest:.3g} to {farthest:.3g} m; change sweep.near and sweep.far, or lens.power_offset."
            )

    def start(self) -> None:
        """Begin to take sweeps."""
        if self._thread is None:
            self._stopping = False
            self._thread = threading.Thread(target=self._run, name="sweep-capture", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End at once, in mid-sweep too, and park the lens; the lens stays open."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with self._changed:
                self._stopping = True
                self._changed.notify_all()
            thread.join()

    def close(self) -> None:
        """Stop and free the lens."""
        self.stop()
        lens, self._lens = self._lens, None
        if lens is not None:
            lens.close()

    def add_frame(self, frame: Frame) -> None:
        """Hand over a frame that has just arrived."""
        if self._clock_watch is not None:
            self._clock_watch.add_frame(frame)
        with self._changed:
            if self._sequencer.add_frame(frame):
                self._changed.notify_all()

    def on_external_state(self, state: LensState, measured: bool) -> None:
        """Hand over what a lens says that somebody else drives; ``measured`` or as it was told."""
        with self._changed:
            if self._external and self._sequencer.on_external_state(state, measured):
                self._changed.notify_all()

    def set_enabled(self, enabled: bool) -> None:
        """Take sweeps one after another, or only on request; a sweep under way is finished."""
        with self._changed:
            self._enabled = enabled
            self._changed.notify_all()

    def request(self) -> int:
        """Ask for one sweep that starts from now on; return its number."""
        with self._changed:
            number = self._next_number
            if self._sweeping:
                # What is under way began earlier; a rolling stack is all new after there and back.
                rolling = self._sequencer.config.output is SweepOutput.ROLLING
                number += 2 * len(self._plan.focus_distances) if rolling else 1
            self._requested = max(self._requested, number + 1)
            self._changed.notify_all()
            return number

    def _run(self) -> None:
        try:
            while True:
                try:
                    if not self._wait_for_turn():
                        return
                    lens = None if self._external else self.connect()
                    self._take_sweep(lens)
                    self._read_lens_state(lens)
                    self._failures = 0
                except FossaError as error:
                    self._drop_lens(error)
                    self._pause(RECONNECT_WAITS_S[min(self._failures, len(RECONNECT_WAITS_S) - 1)])
                    self._failures += 1
        finally:
            self._park()

    def _wait_for_turn(self) -> bool:
        """Block until a sweep is wanted; return False to stop.

        The lens rests while nobody wants one, and is asked how it is, so that a lost one is known before it is wanted.
        """
        if not self._wanted(0.0):
            self._park()
        while not self._wanted(LENS_STATE_PERIOD_S):
            if not self._external:
                self._read_lens_state(self.connect())
                self._failures = 0
        return not self._stopping

    def _wanted(self, timeout: float) -> bool:
        """Return whether a sweep, or the end, is wanted, within ``timeout`` seconds.

        None is wanted before time begins: a simulated clock says 0 until it is first heard.
        """

        def wanted() -> bool:
            asked = self._enabled or self._requested > self._next_number
            return self._stopping or (asked and self._clock() > 0)

        with self._changed:
            return self._changed.wait_for(wanted, timeout)

    def _take_sweep(self, lens: FocusLens | None) -> None:
        with self._changed:
            if self._clock_watch is not None:
                self._sequencer.set_timing(self._clock_watch.timing())
            self._sequencer.begin(self._clock())
            self._sweeping = True
        failure = None
        try:
            while self._take_step(lens):
                self._report()
        except FossaError as error:
            failure = error
            with self._changed:
                self._sequencer.abort(f"Lens: {error}", self._clock())
        finally:
            self._sweeping = False
        self._report()
        if failure is not None:
            raise failure

    def _take_step(self, lens: FocusLens | None) -> bool:
        """Do what the sweep wants next; return False once it has ended or was called off."""
        sequencer = self._sequencer
        with self._changed:
            if self._stopping:
                return False
            now = self._clock()
            step = sequencer.next(now)
            match step:
                case Ended():
                    return False
                case Wait():
                    unseen = self._unseen()
                    seconds = (step.until_ns - now) / 1e9
                    if unseen is None and seconds > 0:
                        self._changed.wait(min(seconds, LOOK_S))
                case MoveLens():
                    sequencer.commanding(self._clock())
        # The lens answers in its own time; frames go on arriving meanwhile.
        match step:
            case Wait():
                if unseen is not None:
                    self._on_plane(partial(self._decode_plane, unseen))
            case MoveLens():
                self._tell_set_point(self._clock())
                move = self._holding = lens.move_to(step.focus_distance)
                self._tell_set_point(move.acknowledged_ns)
                with self._changed:
                    self._acknowledge_ns = max(move.acknowledged_ns - move.sent_ns, 0)
                    self._settling_ns = move.settling_ns
                    sequencer.commanded(move)
                if self._clock_watch is not None:
                    self._clock_watch.look(self._decode)  # while the lens settles there is time
                    self._clock_watch.commanded(move)
            case ReadLens():
                state = lens.state()
                with self._changed:
                    sequencer.measured(state)
                if state.stamp_ns - self._told_ns >= MEASURED_PERIOD_NS:
                    self._tell(state)
            case VerifyLens():
                lens.verify()
                with self._changed:
                    sequencer.verified()
                self._tell_set_point(self._clock())
        return True

    def _unseen(self) -> TakenPlane | None:
        """Return the newest plane of the present sweep, once, for whoever looks at it before the sweep has ended."""
        if self._on_plane is None:
            return None
        newest = max(self._sequencer.planes(), key=lambda plane: plane.start_ns, default=None)
        if newest is None or newest.start_ns == self._shown_ns:
            return None
        self._shown_ns = newest.start_ns
        return newest

    def _decode_plane(self, plane: TakenPlane) -> tuple[FocusPlane, np.ndarray]:
        return self._decoder.decode_plane(plane), intrinsics(plane)

    def _report(self) -> None:
        """Hand over what the sequencer has finished."""
        with self._changed:
            if self._stopping:
                self._sequencer.outcomes()  # not sweeps that failed: called off
                return
            outcomes = self._sequencer.outcomes()
        for outcome in outcomes:
            with self._changed:
                number = self._next_number
                self._next_number += 1
            self._on_sweep(self._decoder.decode_sweep(number, outcome, self._sequencer.timing))

    def _read_lens_state(self, lens: FocusLens | None) -> None:
        if lens is not None and time.monotonic() >= self._lens_state_due:
            self._lens_state_due = time.monotonic() + LENS_STATE_PERIOD_S
            self._last_state = lens.state()
            self._tell(self._last_state)

    def _tell_set_point(self, stamp_ns: int) -> None:
        """Tell where a lens that does not measure its position was told to be at ``stamp_ns``.

        Told before and after every command, this gives the frames of a recording their focus.
        """
        if self._holding is None or self._last_state is None or self._sequencer.measures:
            return
        held = self._holding
        self._tell(
            replace(self._last_state, stamp_ns=stamp_ns, focus_distance=held.focus_distance, command=held.command)
        )

    def _tell(self, state: LensState) -> None:
        self._told_ns = state.stamp_ns
        self._on_lens_state(state)

    def _drop_lens(self, failure: FossaError) -> None:
        lens, self._lens = self._lens, None
        self._holding = self._last_state = None
        with self._changed:
            self._sequencer.rested()
        if self._clock_watch is not None:
            self._clock_watch.reset()
        self._lens_state_due = 0.0
        self.lens_failure = str(failure)
        self._on_lens_state(None)  # before closing, which takes its time with a lens that is silent
        if lens is not None:
            lens.close()

    def _park(self) -> None:
        if self._lens is None:
            return
        self._holding = None
        with self._changed:
            self._sequencer.rested()
        try:
            self._lens.park()
        except LensError as error:
            self._drop_lens(error)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, seconds)
