"""A lens whose metres come from a calibration."""

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
_RUN_UP = 0.1  # of the range of commands: the way after which the direction alone says where the lens stands


class CalibratedLens(FocusLens):
    """A FocusLens made of any other and its calibration.

    The lens is moved by commands; which of the two curves counts is the way it comes from. After it was parked, or
    lost, that way is unknown: where hysteresis matters, the first move then runs up to its command from one side,
    which takes one settling time more. A move shorter than the hysteresis, after a turn, is the least certain.
    """

    def __init__(
        self,
        lens: FocusLens,
        calibration: LensCalibration,
        *,
        clock: Callable[[], int] = time.time_ns,
        temperature_limit: float = 5.0,
    ):
        """Take a lens, open, and its calibration.

        Args:
            lens: which is closed together with this one.
            calibration: of it.
            clock: gives nanoseconds, as the lens's own.
            temperature_limit: degC by which the lens may leave the temperatures of the calibration (without a
                coefficient of drift: its mean) before the state complains.

        Raises:
            InputError: the calibration is of another kind of lens.
        """
        device, command = calibration.device, lens.capabilities.command
        if (device.backend or lens.backend) != lens.backend or device.unit != command.unit:
            raise InputError(
                f"The calibration is of {device.backend or 'a lens'} commanded by a {device.quantity} in "
                f"{device.unit}, but this is {lens.backend} commanded by a {command.quantity} in {command.unit}; set "
                "lens.calibration, lens.backend and lens.options to what belongs together."
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
        self._stand: tuple[float, Direction] | None = None  # command, and the way it was reached
        self._temperature: float | None = None
        self._read_ns: int | None = None

    def move_to(self, focus_distance: float) -> LensMove:
        """Command a focus distance (m); return when the device has acknowledged it, before it has settled.

        Raises:
            InputError: the distance is outside what was calibrated.
            LensError: the device does not answer as it should.
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
                    f"A focus distance of {focus_distance:g} m is out of the lens's reach{warm} "
                    f"({str(error).rstrip('.')}); keep the plan away from the ends of its range."
                ) from error
            if self._stand is None and self._sticks():
                way, command = self._run_up(focus, temperature)
            self._stand = None
            move = self._lens.move_to_command(command)
            self._stand = move.command, way
            return replace(move, focus_distance=self._distance(temperature))

    def move_to_command(self, value: float) -> LensMove:
        """Command the device in its own unit; otherwise as ``move_to``."""
        with self._lock:
            before, self._stand = self._stand, None
            move = self._lens.move_to_command(value)
            way = None if before is None else Direction.of(before[0], move.command) or before[1]
            self._stand = None if way is None else (move.command, way)
            return replace(move, focus_distance=self._distance(self._recent_temperature()))

    def verify(self) -> None:
        """Make sure that the device still holds the last move."""
        self._lens.verify()

    def state(self) -> LensState:
        """Ask the device for its state; a temperature far from the calibration's is among the faults."""
        with self._lock:
            state = self._lens.state()
            self._remember(state.temperature)
            held = self._stand is not None and not math.isnan(state.command)
            return replace(
                state,
                focus_distance=self._distance(state.temperature) if held else math.nan,
                faults=(*state.faults, *self._complaint(state.temperature)),
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
        near, far = self.capabilities.nearest, self.capabilities.farthest
        if not near * (1 - 1e-9) <= focus_distance <= far * (1 + 1e-9):  # also refuses NaN
            raise InputError(
                f"A focus distance of {focus_distance:g} m is outside what was calibrated, {near:.4g} to {far:.4g} m; "
                "change the plan, or calibrate with targets that reach as far."
            )
        return float(dioptres(focus_distance))

    def _way_to(self, focus: float, temperature: float | None) -> tuple[Direction, float]:
        """Return from which way the lens will come to a focus (dioptres), and the command."""
        nearer = Direction.RISING if self.calibration.rises else Direction.FALLING
        farther = Direction.FALLING if self.calibration.rises else Direction.RISING
        if self._stand is None:
            return Direction.RISING, self.calibration.command(focus, Direction.RISING, temperature)
        command, way = self._stand
        present = float(self.calibration.dioptres(command, way, temperature))
        step = abs(self.calibration.curve(way).slope(command)) * self.capabilities.command.step
        if abs(focus - present) <= 0.75 * step:
            return way, command  # it stands there
        way = nearer if focus > present else farther
        return way, self.calibration.command(focus, way, temperature)

    def _sticks(self) -> bool:
        return self.calibration.hysteresis > self.calibration.uncertainty / 2

    def _run_up(self, focus: float, temperature: float | None) -> tuple[Direction, float]:
        """Go to one side of a focus and wait there; return the way from it and the command."""
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
        drifts = self.calibration.temperature is not None and self.calibration.temperature.coefficient
        if not (drifts and self.capabilities.measures_temperature):
            return None
        if self._read_ns is None or not 0 <= self._clock() - self._read_ns < TEMPERATURE_AGE_NS:
            self._remember(self._lens.state().temperature)
        return self._temperature

    def _remember(self, temperature: float | None) -> None:
        self._temperature, self._read_ns = temperature, self._clock()

    def _complaint(self, temperature: float | None) -> tuple[str, ...]:
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
