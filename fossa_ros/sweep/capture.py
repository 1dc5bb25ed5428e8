"""Drive the lens through one sweep after another and collect the frames that belong to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fossa_ros.errors import FossaError, InputError, LensError
from fossa_ros.lens import FocusLens, LensMove, LensState
from fossa_ros.stack import FocusPlane, FocusStack
from fossa_ros.sweep.assembler import Frame, StepAssembler
from fossa_ros.sweep.plan import SweepPlan
from fossa_ros.sweep.timing import SweepTiming

LENS_STATE_PERIOD_S = 1.0  # temperature and faults change slowly, and each reading costs serial round trips
RECONNECT_WAITS_S = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True, eq=False)
class CapturedSweep:
    """One sweep, complete or not.

    Attributes:
        number: running number since the capture was created.
        stack: the focus stack; None where a plane is missing.
        reason: why there is no stack; empty otherwise.
        focus_distances: metres, of the planes taken, in the order they were taken.
        stamps_ns: start of exposure of each of them.
        frames: their frames, as they were offered.
        drops: how many frames were not used, by reason.
        started_ns: first lens command, on the capture's clock.
        duration_ns: first lens command to the arrival of the last plane.
    """

    number: int
    stack: FocusStack | None
    reason: str
    focus_distances: tuple[float, ...]
    stamps_ns: tuple[int, ...]
    frames: tuple[Frame, ...]
    drops: dict[str, int]
    started_ns: int
    duration_ns: int


class SweepCapture:
    """Take stepped sweeps on a thread of its own: command, settle, take the first frame that is certain, go on.

    ``offer`` is cheap and may be called from a camera callback; ``on_sweep`` and ``on_lens_state`` are called from the
    capture thread. A lens that fails ends its sweep and is opened again with back-off.

    Args:
        plan: where to focus.
        timing: the rule that assigns frames to planes.
        open_lens: opens the lens; raises LensError or InputError.
        decode: turns a frame's payload into an (H, W, 3) uint8 RGB image; raises InputError.
        on_sweep: receives every sweep, complete or not.
        on_lens_state: receives what the lens says of itself, about once a second; None after a failure.
        clock: nanoseconds on the clock of the image stamps.
        focal_length: metres, None where unknown.
        f_number: None where unknown.
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
    ):
        self._plan = plan
        self._timing = timing
        self._open_lens = open_lens
        self._decode = decode
        self._on_sweep = on_sweep
        self._on_lens_state = on_lens_state
        self._clock = clock
        self._focal_length = focal_length
        self._f_number = f_number
        self._lens: FocusLens | None = None
        self._assembler: StepAssembler | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._enabled = True
        self._requested = 0
        self._next_number = 0
        self._lens_state_due = 0.0

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

    def offer(self, frame: Frame) -> None:
        """Hand over a frame that has just arrived."""
        with self._changed:
            if self._assembler is not None and self._assembler.offer(frame) is None:
                self._changed.notify_all()

    def set_enabled(self, enabled: bool) -> None:
        """Take sweeps one after another, or only on request; a sweep under way is finished."""
        with self._changed:
            self._enabled = enabled
            self._changed.notify_all()

    def request(self) -> int:
        """Ask for one sweep that starts from now on; return its number."""
        with self._changed:
            self._requested = max(self._requested, self._next_number + 1)
            self._changed.notify_all()
            return self._next_number

    def _run(self) -> None:
        failures = 0
        try:
            while self._wait_for_turn():
                try:
                    lens = self.connect()
                    self._take_sweep(lens)
                    self._read_lens_state(lens)
                    failures = 0
                except FossaError:
                    self._drop_lens()
                    self._pause(RECONNECT_WAITS_S[min(failures, len(RECONNECT_WAITS_S) - 1)])
                    failures += 1
        finally:
            self._park()

    def _wait_for_turn(self) -> bool:
        """Block until a sweep is wanted; return False to stop. The lens rests while nobody wants one."""
        with self._changed:
            idle = not (self._stopping or self._enabled or self._requested > self._next_number)
        if idle:
            self._park()
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._enabled or self._requested > self._next_number)
            return not self._stopping

    def _take_sweep(self, lens: FocusLens) -> None:
        assembler = StepAssembler(self._timing)
        with self._changed:
            number = self._next_number
            self._next_number += 1
            self._assembler = assembler
        started = self._clock()
        reason, failure = "", None
        try:
            for distance in self._plan.order(number):
                reason = self._take_plane(lens, assembler, distance)
                if reason:
                    break
            else:
                lens.verify()  # nothing else tells whether the last plane was held until its frame was exposed
        except FossaError as error:
            reason, failure = f"Lens: {error}", error
        with self._changed:
            self._assembler = None
            planes, drops = assembler.frames(), dict(assembler.drops)
            if self._stopping and reason:
                return  # not a sweep that failed: one that was called off
        finished = max((frame.arrival_ns for _, frame in planes), default=started)
        stack = None
        if not reason:
            try:
                stack = self._stack(planes)
            except FossaError as error:
                reason = str(error)
        self._on_sweep(
            CapturedSweep(
                number=number,
                stack=stack,
                reason=reason,
                focus_distances=tuple(move.focus_distance for move, _ in planes),
                stamps_ns=tuple(self._timing.exposure_start(frame.stamp_ns) for _, frame in planes),
                frames=tuple(frame for _, frame in planes),
                drops={str(drop): count for drop, count in drops.items()},
                started_ns=started,
                duration_ns=finished - started,
            )
        )
        if failure is not None:
            raise failure

    def _take_plane(self, lens: FocusLens, assembler: StepAssembler, distance: float) -> str:
        """Move to ``distance`` and wait for its frame; return why there is none, or an empty string."""
        with self._changed:
            assembler.commanding(self._clock())
        move = lens.move_to(distance)
        with self._changed:
            assembler.commanded(move)
            expected = assembler.ready_ns() + self._timing.exposure_ns + self._timing.readout_ns - self._clock()
            timeout = (max(expected, 0) + self._timing.frame_timeout_ns) / 1e9
            self._changed.wait_for(lambda: self._stopping or assembler.current_taken(), timeout)
            if assembler.current_taken():
                return ""
            if self._stopping:
                return "stopped"
            seen = "; ".join(f"{count} {drop}" for drop, count in assembler.drops.most_common())
            return (
                f"No frame for the plane at {distance:.2f} m within {timeout:.2f} s "
                f"(frames not used: {seen or 'none arrived'}); check the camera and sweep.frame_timeout."
            )

    def _stack(self, planes: list[tuple[LensMove, Frame]]) -> FocusStack:
        return FocusStack(
            planes=tuple(
                FocusPlane(
                    self._decode(frame.payload), move.focus_distance, self._timing.exposure_start(frame.stamp_ns)
                )
                for move, frame in planes
            ),
            K=np.reshape(planes[0][1].intrinsics, (3, 3)),
            focal_length=self._focal_length,
            f_number=self._f_number,
        )

    def _read_lens_state(self, lens: FocusLens) -> None:
        if time.monotonic() >= self._lens_state_due:
            self._lens_state_due = time.monotonic() + LENS_STATE_PERIOD_S
            self._on_lens_state(lens.state())

    def _drop_lens(self) -> None:
        lens, self._lens = self._lens, None
        if lens is not None:
            lens.close()
        self._lens_state_due = 0.0
        self._on_lens_state(None)

    def _park(self) -> None:
        if self._lens is None:
            return
        try:
            self._lens.park()
        except LensError:
            self._drop_lens()

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, seconds)
