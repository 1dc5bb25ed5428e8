"""The lens of a capture: opened when needed, its state reported, opened again after a failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from fossa_ros.core.errors import InputError
from fossa_ros.lens import FocusLens, LensMove, LensState
from fossa_ros.lens.lens import LensCapabilities
from fossa_ros.sweep.plan import SweepPlan

STATE_PERIOD_S = 0.5  # serial round trips; a resting lens that is gone is noticed no sooner
MEASURED_PERIOD_NS = 10_000_000  # of the reported positions of a lens that measures its own, which is read more often


class LensSession:
    """Hold a lens open and report its state.

    For a lens that does not measure its position the set-point is reported before and after every command, which gives
    the frames of a recording their focus; for one that does, the measured positions are reported.

    Args:
        open_lens: opens the lens; raises LensError or InputError.
        plan: the lens must reach all its planes.
        clock: nanoseconds on the clock of the image stamps.
        on_state: receives every reported state; None after a failure, whose reason is ``failure``.

    Attributes:
        capabilities: of the lens, as it was opened last; None before that.
        failure: why it was last lost; empty if it never was.
        losses: how often it was.
    """

    def __init__(
        self,
        open_lens: Callable[[], FocusLens],
        plan: SweepPlan,
        clock: Callable[[], int],
        on_state: Callable[[LensState | None], None],
    ):
        self._open_lens = open_lens
        self._plan = plan
        self._clock = clock
        self._on_state = on_state
        self._lens: FocusLens | None = None
        self._state_due = 0.0
        self._last_state: LensState | None = None
        self._holding: LensMove | None = None
        self._reported_ns = 0
        self.capabilities: LensCapabilities | None = None
        self.failure = ""
        self.losses = 0

    @property
    def is_open(self) -> bool:
        """Whether a lens is held."""
        return self._lens is not None

    def connect(self) -> FocusLens:
        """Return the lens, opened if necessary.

        Raises:
            LensError: the lens is absent or does not answer.
            InputError: the plan reaches beyond the lens's range.
        """
        if self._lens is None:
            lens = self._open_lens()
            try:
                self._check_range(lens, self._plan)
            except InputError:
                lens.close()
                raise
            self.capabilities = lens.capabilities
            self._lens = lens
        return self._lens

    def move_to(self, focus_distance: float) -> LensMove:
        """Command a focus distance (m) and report the set-point before and after it."""
        self._report_set_point(self._clock())
        self._holding = self.connect().move_to(focus_distance)
        self._report_set_point(self._holding.acknowledged_ns)
        return self._holding

    def read(self) -> LensState:
        """Return the position that the lens measures; report it unless the last one is recent."""
        state = self.connect().state()
        if state.stamp_ns - self._reported_ns >= MEASURED_PERIOD_NS:
            self._report(state)
        return state

    def verify(self) -> None:
        """Verify that the lens still holds its last command, and report it; raises LensError."""
        self.connect().verify()
        self._report_set_point(self._clock())

    def report_state(self) -> None:
        """Read the whole state and report it, STATE_PERIOD_S after the last time at the earliest."""
        if time.monotonic() >= self._state_due:
            self._state_due = time.monotonic() + STATE_PERIOD_S
            self._last_state = self.connect().state()
            self._report(self._last_state)

    def park(self) -> None:
        """Park a lens that is open; raises LensError."""
        self._holding = None
        if self._lens is not None:
            self._lens.park()

    def drop(self, failure: Exception) -> None:
        """Close a lens that failed, and report it as lost."""
        lens, self._lens = self._lens, None
        self._holding = self._last_state = None
        self._state_due = 0.0
        self.failure = str(failure)
        self.losses += 1
        self._on_state(None)  # before closing, which takes its time with a lens that is silent
        if lens is not None:
            lens.close()

    def close(self) -> None:
        """Close the lens."""
        lens, self._lens = self._lens, None
        if lens is not None:
            lens.close()

    def forget_failures(self) -> None:
        """Count losses from 0 again, and forget why there was one."""
        self.failure, self.losses = "", 0

    def check_plan(self, plan: SweepPlan) -> None:
        """Raise InputError if a lens that is open does not reach all planes of ``plan``; from any thread."""
        lens = self._lens
        if lens is not None:
            self._check_range(lens, plan)

    def set_plan(self, plan: SweepPlan) -> None:
        """Require another plan of every lens that is opened from now on."""
        self._plan = plan

    def _check_range(self, lens: FocusLens, plan: SweepPlan) -> None:
        nearest, farthest = lens.capabilities.require_metric()
        planes = plan.focus_distances
        if planes[0] < nearest or planes[-1] > farthest:
            raise InputError(
                f"The sweep from {planes[0]:.3g} to {planes[-1]:.3g} m reaches beyond the lens, which focuses from "
                f"{nearest:.3g} to {farthest:.3g} m; choose sweep.near and sweep.far, or near and far of the goal, "
                "within that, or correct lens.power_offset."
            )

    def _report_set_point(self, stamp_ns: int) -> None:
        lens, held, last = self._lens, self._holding, self._last_state
        if lens is None or held is None or last is None or lens.capabilities.measures_position:
            return
        self._report(replace(last, stamp_ns=stamp_ns, focus_distance=held.focus_distance, command=held.command))

    def _report(self, state: LensState) -> None:
        self._reported_ns = state.stamp_ns
        self._on_state(state)
