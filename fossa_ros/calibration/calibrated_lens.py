"""A lens that focuses in metres by its calibration."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from fossa_ros.calibration.lens_calibration import LensCalibration
from fossa_ros.calibration.series import Direction
from fossa_ros.core.errors import InputError
from fossa_ros.core.optics import dioptres, metres
from fossa_ros.lens.lens import FocusLens, LensMove, LensState

LOG = logging.getLogger(__name__)
TEMPERATURE_AGE_NS = 2_000_000_000  # a lens warms within minutes
_RUN_UP = 0.1  # of the range of commands: a move this long leaves the lens on the curve of its direction


class CalibratedLens(FocusLens):
    """A FocusLens that wraps another lens and its calibration.

    The direction of a move selects one of the two curves of the calibration. It is unknown after the lens was parked or
    reconnected: if hysteresis matters, the first move then approaches its command from one side, which takes one more
    settling time. Moves shorter than the hysteresis, after a change of direction, are the least certain.
    """

    def __init__(
        self,
        lens: FocusLens,
        calibration: LensCalibration,
        *,
        clock: Callable[[], int] = time.time_ns,
        temperature_limit: float = 5.0,
    ):
        """Wrap an open lens and its calibration.

        Args:
            lens: closed together with this one.
            calibration: of the lens.
            clock: returns nanoseconds, on the clock of the lens.
            temperature_limit: degC by which the lens may leave the temperature range of the calibration (its mean, if
                drift was not measured) before the state reports a fault.

        Raises:
            InputError: the calibration is of another kind of lens.
        """
        device, command = calibration.device, lens.capabilities.command
        if (device.backend or lens.backend) != lens.backend or device.unit != command.unit:
            raise InputError(
                f"The calibration is of {device.backend or 'a lens'} commanded by a {device.quantity} in "
                f"{device.unit}, but this is {lens.backend} commanded by a {command.quantity} in {command.unit}; set "
                "lens.calibration, lens.backend and lens.options for the same lens."
            )
        self.backend = lens.backend
        self.calibration = calibration
        self.capabilities = replace(
            lens.capabilities,
            nearest=calibration.nearest,
            farthest=calibration.farthest,
            calibration=f"+- {calibration.uncertainty:.3f} D, hysteresis {calibration.hysteresis:.3f} D, "
            f"{calibration.created}",
        )
        self._lens = lens
        self._clock = clock
        self._limit = temperature_limit
        self._lock = threading.RLock()
        self._stand: tuple[float, Direction] | None = None  # command, and the direction of the move to it
        self._temperature: float | None = None
        self._read_ns: int | None = None

    def move_to(self, focus_distance: float) -> LensMove:
        """Command a focus distance (m); return when the device has acknowledged it, before it has settled.

        Raises:
            InputError: the distance is outside the calibrated range.
            LensError: the device does not answer as its protocol requires.
        """
        with self._lock:
            focus = self._checked(focus_distance)
            temperature = self._recent_temperature()
            way, command = self._way_to(focus, temperature)
            try:
                command = self.capabilities.command.check(command)
            except InputError as error:
                warm = "" if temperature is None else f" at {temperature:.1f} degC"
                raise InputError(
                    f"The lens cannot reach a focus distance of {focus_distance:g} m{warm} ({str(error).rstrip('.')}); "
                    "keep the plan away from the ends of its range."
                ) from error
            if self._stand is None and self._sticks():
                way, command = self._run_up(focus, temperature)
            self._stand = None
            move = self._lens.move_to_command(command)
            self._stand = move.command, way
            return replace(move, focus_distance=self._distance(temperature))

    def move_to_command(self, value: float) -> LensMove:
        """Command the device in its own unit, otherwise like ``move_to``."""
        with self._lock:
            before, self._stand = self._stand, None
            move = self._lens.move_to_command(value)
            way = None if before is None else Direction.of(before[0], move.command) or before[1]
            self._stand = None if way is None else (move.command, way)
            return replace(move, focus_distance=self._distance(self._recent_temperature()))

    def verify(self) -> None:
        """Check that the device still holds the last move."""
        self._lens.verify()

    def state(self) -> LensState:
        """Return the state of the device; a temperature far from that of the calibration is a fault."""
        with self._lock:
            state = self._lens.state()
            self._remember(state.temperature)
            held = self._stand is not None and not math.isnan(state.command)
            return replace(
                state,
                focus_distance=self._distance(state.temperature) if held else math.nan,
                faults=(*state.faults, *self._temperature_faults(state.temperature)),
            )

    def park(self) -> None:
        """Bring the lens to rest; the next move wakes it."""
        with self._lock:
            self._stand = None
            self._lens.park()

    def close(self) -> None:
        """Park the lens and free its port; a second call does nothing."""
        self._lens.close()

    def _checked(self, focus_distance: float) -> float:
        near, far = self.calibration.nearest, self.calibration.farthest
        if not near * (1 - 1e-9) <= focus_distance <= far * (1 + 1e-9):  # also refuses NaN
            raise InputError(
                f"A focus distance of {focus_distance:g} m is outside the calibrated range, {near:.4g} to {far:.4g} m; "
                "change the plan, or calibrate with more distances."
            )
        return float(dioptres(focus_distance))

    def _way_to(self, focus: float, temperature: float | None) -> tuple[Direction, float]:
        """Return the direction in which the lens will reach a focus (dioptres), and the command."""
        nearer = Direction.RISING if self.calibration.rises else Direction.FALLING
        farther = Direction.FALLING if self.calibration.rises else Direction.RISING
        if self._stand is None:
            return Direction.RISING, self.calibration.command(focus, Direction.RISING, temperature)
        command, way = self._stand
        present = float(self.calibration.dioptres(command, way, temperature))
        step = abs(self.calibration.curve(way).slope(command)) * self.capabilities.command.step
        if abs(focus - present) <= 0.75 * step:
            return way, command  # already there
        way = nearer if focus > present else farther
        return way, self.calibration.command(focus, way, temperature)

    def _sticks(self) -> bool:
        return self.calibration.hysteresis > self.calibration.uncertainty / 2

    def _run_up(self, focus: float, temperature: float | None) -> tuple[Direction, float]:
        """Move to one side of a focus and wait there; return the direction from there to the focus, and the command."""
        span = self.capabilities.command
        run_up = _RUN_UP * (span.greatest - span.least)
        way, start = Direction.RISING, self.calibration.command(focus, Direction.RISING, temperature) - run_up
        if start < span.least:
            way, start = Direction.FALLING, self.calibration.command(focus, Direction.FALLING, temperature) + run_up
        move = self._lens.move_to_command(span.check(min(max(start, span.least), span.greatest)))
        time.sleep(move.settling_ns / 1e9)
        return way, span.check(self.calibration.command(focus, way, temperature))

    def _distance(self, temperature: float | None) -> float:
        if self._stand is None:
            return math.nan
        command, way = self._stand
        return float(metres(max(float(self.calibration.dioptres(command, way, temperature)), 0.0)))

    def _recent_temperature(self) -> float | None:
        model = self.calibration.temperature
        drifts = model is not None and model.coefficient
        if not (drifts and self.capabilities.measures_temperature):
            return None
        if self._read_ns is None or not 0 <= self._clock() - self._read_ns < TEMPERATURE_AGE_NS:
            self._remember(self._lens.state().temperature)
        return self._temperature

    def _remember(self, temperature: float | None) -> None:
        self._temperature, self._read_ns = temperature, self._clock()

    def _temperature_faults(self, temperature: float | None) -> tuple[str, ...]:
        model = self.calibration.temperature
        if model is None or temperature is None:
            return ()
        if model.coefficient is None:
            low = high = model.reference
        else:
            low, high = (model.reference if end is None else end for end in (model.low, model.high))
        if low - self._limit <= temperature <= high + self._limit:
            return ()
        known = "drift with temperature is not calibrated" if model.coefficient is None else "drift is extrapolated"
        return (f"lens at {temperature:.1f} degC, calibrated at {low:.1f} to {high:.1f} degC: {known}",)
