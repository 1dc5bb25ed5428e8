"""Estimate the clock offset while sweeps are taken, and correct stamps by it if it is certain."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.lens import LensMove
from fossa_ros.sweep.clock_offset import LEAST_STEPS, ClockOffset, ClockOffsetEstimator, sharpness
from fossa_ros.sweep.frame import Frame
from fossa_ros.sweep.lens_response import LensResponse
from fossa_ros.sweep.timing import SweepTiming

WAITING = 64  # frames that may wait to be measured; older ones are skipped


class ClockUse(StrEnum):
    """What is done with the estimated offset."""

    OFF = "off"
    REPORT = "report"
    CORRECT = "correct"


class ClockWatch:
    """Measure frames while the lens settles, estimate the offset regularly, and choose the timing to use.

    ``add_frame`` may be called from any thread, everything else from the capture's only.
    """

    def __init__(self, timing: SweepTiming, response: LensResponse, use: ClockUse):
        self._base = self._timing = timing
        self._response = response
        self._use = use
        self._waiting: deque[Frame] = deque(maxlen=WAITING)
        self._estimator: ClockOffsetEstimator | None = None
        self._steps = 0
        self.found: ClockOffset | None = None

    def add_frame(self, frame: Frame) -> None:
        """Add a frame, to be measured when the capture has time."""
        if self._use is not ClockUse.OFF:
            self._waiting.append(frame)

    def on_commanded(self, move: LensMove) -> None:
        """Note a lens step."""
        if self._use is ClockUse.OFF:
            return
        if self._estimator is None:
            settling = self._base.settling_ns or move.settling_ns
            self._estimator = ClockOffsetEstimator(self._response, settling)
        self._estimator.on_commanded(move)
        self._steps += 1

    def look(self, decode: Callable[[Frame], np.ndarray]) -> None:
        """Measure the waiting frames, and estimate the offset once enough steps are new."""
        while self._waiting:
            frame = self._waiting.popleft()
            if self._estimator is None:
                continue
            try:
                image = decode(frame)
            except InputError:
                continue  # reported where the frame is used
            self._estimator.exposed(*self._base.exposed(frame), sharpness(image))
        if self._estimator is not None and self._steps >= LEAST_STEPS:
            self._steps = 0
            self.found = self._estimator.estimate()

    def timing(self) -> SweepTiming:
        """Return the timing to use: corrected if the offset is certain and larger than half the clock margin."""
        found, margin = self.found, self._base.clock_margin_ns
        if self._use is ClockUse.CORRECT and found is not None and found.certain and 2 * found.uncertainty_ns <= margin:
            target = self._base.clock_offset_ns + found.offset_ns
            if abs(target - self._timing.clock_offset_ns) > margin / 2:
                with suppress(InputError):  # beyond the range of sweep.clock_offset
                    self._timing = replace(self._base, clock_offset_ns=target)
        return self._timing

    def set_timing(self, timing: SweepTiming) -> None:
        """Start from another timing; the offset that was found stays."""
        self._base = self._timing = timing

    def reset(self) -> None:
        """Start over: the lens was lost."""
        self._estimator = None
        self._steps = 0
