"""The motion of a focus lens from one focal power to the next, in closed form."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from fossa_ros.core.parameter import parameter

EVER_NS = -(2**63)  # before any time
HISTORY = 8192  # commands remembered: more than a minute of them at 100 a second


@dataclass(frozen=True)
class LensModel:
    """The physics of a lens; the defaults are a liquid lens of -2 to +3 dioptres (EL-16-40).

    Attributes:
        min_power, max_power: range of focal power, dioptres.
        neutral_power: focal power without current, dioptres.
        time_constant: of the exponential approach, seconds.
        slew_limit: greatest speed, dioptres per second; infinity for none.
        ringing: amplitude of the ringing as a fraction of the step.
        ringing_frequency: Hz; EL-10-30 lenses ring at 150 and 600 Hz.
        ringing_decay: time constant of the ringing, seconds.
        ambient: temperature without current, degC.
        heating: rise of temperature at the greatest drive after a long time, degC.
        heating_time_constant: seconds.
        drift: change of focal power with temperature that the drive does not compensate, dioptres per degC.
        hysteresis: play, dioptres: a lens that is commanded up stops half of it short, one that is commanded down half
            of it high, and a command within it moves nothing. Real hysteresis has minor loops, which are not modelled.
        nonlinearity: share n of the square in power = neutral + reach * ((1 - n) drive + n drive^2), 0 to 0.3.
    """

    min_power: float = -2.0
    max_power: float = 3.0
    neutral_power: float = 0.0
    time_constant: float = 0.0028
    slew_limit: float = math.inf
    ringing: float = 0.02
    ringing_frequency: float = 150.0
    ringing_decay: float = 0.004
    ambient: float = 25.0
    heating: float = 10.0
    heating_time_constant: float = 120.0
    hysteresis: float = parameter(0.0, "Hysteresis of the lens", unit="D", minimum=0.0, maximum=1.0)
    nonlinearity: float = parameter(
        0.0, "Nonlinearity of the lens: share of the square in its power over current", minimum=0.0, maximum=0.3
    )
    drift: float = parameter(
        0.0, "Drift of the lens's power with temperature", unit="D/degC", minimum=-0.2, maximum=0.2
    )

    def __post_init__(self):
        if not self.min_power <= self.neutral_power <= self.max_power or self.min_power == self.max_power:
            raise ValueError("min_power <= neutral_power <= max_power must hold, in a range not empty")
        if min(self.time_constant, self.slew_limit, self.ringing_decay, self.heating_time_constant) <= 0:
            raise ValueError("time constants and the slew limit must be positive")
        if self.hysteresis < 0 or not 0 <= self.nonlinearity <= 0.3:
            raise ValueError("hysteresis must be 0 or more, nonlinearity 0 to 0.3, where the curve still rises")

    @property
    def reach(self) -> float:
        """Dioptres from neutral at the greatest drive."""
        return max(self.max_power - self.neutral_power, self.neutral_power - self.min_power)

    def drive(self, power: float) -> float:
        """Return the drive, -1 to 1 of the greatest current, that holds a focal power."""
        share, n = (power - self.neutral_power) / self.reach, self.nonlinearity
        return 2 * share / (1 - n + math.sqrt(max((1 - n) ** 2 + 4 * n * share, 0.0)))

    def power(self, drive: float) -> float:
        """Return the focal power that a drive holds, within the range of the lens."""
        n = self.nonlinearity
        power = self.neutral_power + self.reach * ((1 - n) * drive + n * drive**2)
        return min(max(power, self.min_power), self.max_power)


@dataclass(frozen=True)
class _Segment:
    """The motion from one command to the next."""

    start_ns: int
    power: float  # dioptres at the start, without drift
    target: float  # where it settles
    command: float  # the target without hysteresis
    temperature: float  # degC at the start


class LensDynamics:
    """The focal power of a lens at any recent time, from its commands.

    Each command starts a segment in closed form: at the slew limit while the exponential approach would be faster, then
    the exponential approach with decaying ringing. The power at a time is therefore exact and does not depend on when
    or how often it is evaluated. Thread-safe.
    """

    def __init__(self, model: LensModel | None = None):
        """Start with a lens that has always been at rest, without current."""
        self.model = LensModel() if model is None else model
        neutral = self.model.neutral_power
        self._segments = [_Segment(EVER_NS, neutral, neutral, neutral, self.model.ambient)]
        self._lock = threading.Lock()

    @property
    def set_point(self) -> float:
        """The focal power last commanded, dioptres."""
        with self._lock:
            return self._segments[-1].command

    @property
    def last_command_ns(self) -> int:
        """The time of the last command; long ago if there was none."""
        with self._lock:
            return self._segments[-1].start_ns

    @property
    def since_ns(self) -> int:
        """The earliest time at which the power is known."""
        with self._lock:
            return self._segments[0].start_ns

    def command(self, power: float, t_ns: int) -> None:
        """Command ``power`` (dioptres) at ``t_ns``.

        A time before the last command means that the clock was set back: the history then restarts at the last
        set-point.

        Raises:
            ValueError: the power is outside the model's range.
        """
        if not self.model.min_power <= power <= self.model.max_power:
            raise ValueError(f"{power} D is outside {self.model.min_power} to {self.model.max_power} D")
        with self._lock:
            last = self._segments[-1]
            play = self.model.hysteresis / 2
            target = min(max(last.target, power - play), power + play)
            if t_ns < last.start_ns:
                self._segments = [_Segment(t_ns, last.target, target, power, last.temperature)]
                return
            if len(self._segments) >= HISTORY:
                del self._segments[: HISTORY // 2]
            position, temperature = self._position(last, t_ns), self._temperature(last, t_ns)
            self._segments.append(_Segment(t_ns, position, target, power, temperature))

    def power_at(self, t_ns: int) -> float:
        """Return the focal power (dioptres) at ``t_ns``.

        Raises:
            ValueError: the time is before the history.
        """
        segment = self._segment(t_ns)
        drift = self.model.drift * (self._temperature(segment, t_ns) - self.model.ambient)
        return self._position(segment, t_ns) + drift

    def temperature_at(self, t_ns: int) -> float:
        """Return the temperature (degC) at ``t_ns``; it follows the square of the drive slowly.

        Before the history it is the oldest known value, so that a clock that is set back does no harm.
        """
        return self._temperature(self._segment(max(t_ns, self.since_ns)), t_ns)

    def settled_ns(self, tolerance: float = 0.01) -> int:
        """Return the time from which the last command's motion stays within ``tolerance`` (dioptres).

        It is computed from the envelope of the motion: never early, and late by at most a period of the ringing. Drift
        does not count as motion.

        Raises:
            ValueError: the tolerance is not positive.
        """
        if not tolerance > 0:
            raise ValueError(f"the tolerance must be a positive number of dioptres, not {tolerance}")
        with self._lock:
            segment = self._segments[-1]

        def settled(elapsed_ns: int) -> bool:
            approach, ringing = self._parts(segment, elapsed_ns)
            return abs(approach) + abs(ringing) <= tolerance

        bound = 1_000_000
        while not settled(bound):
            bound *= 2
        return segment.start_ns + bisect_left(range(bound), True, key=settled)

    def _segment(self, t_ns: int) -> _Segment:
        with self._lock:
            index = bisect_right(self._segments, t_ns, key=lambda segment: segment.start_ns)
            if not index:
                raise ValueError("the lens's history does not reach back that far")
            return self._segments[index - 1]

    def _position(self, segment: _Segment, t_ns: int) -> float:
        elapsed_ns = max(t_ns - segment.start_ns, 0)
        approach, ringing = self._parts(segment, elapsed_ns)
        phase = 2.0 * math.pi * self.model.ringing_frequency * self._free_time(segment, elapsed_ns)
        return segment.target - approach + ringing * math.sin(phase)

    def _parts(self, segment: _Segment, elapsed_ns: int) -> tuple[float, float]:
        """Return what is left of the approach and the ringing's amplitude, signed as the step, dioptres."""
        step = segment.target - segment.power
        # The exponential approach starts where its own speed, rest / time_constant, has fallen to the limit.
        free = math.copysign(min(abs(step), self.model.slew_limit * self.model.time_constant), step)
        free_time = self._free_time(segment, elapsed_ns)
        if free_time < 0.0:
            return free + math.copysign(self.model.slew_limit * -free_time, step), 0.0
        approach = free * math.exp(-free_time / self.model.time_constant)
        return approach, self.model.ringing * free * math.exp(-free_time / self.model.ringing_decay)

    def _free_time(self, segment: _Segment, elapsed_ns: int) -> float:
        """Return the seconds since the speed fell below the slew limit; negative before."""
        excess = abs(segment.target - segment.power) - self.model.slew_limit * self.model.time_constant
        return elapsed_ns * 1e-9 - max(excess, 0.0) / self.model.slew_limit

    def _temperature(self, segment: _Segment, t_ns: int) -> float:
        final = self.model.ambient + self.model.heating * self.model.drive(segment.command) ** 2
        elapsed = max(t_ns - segment.start_ns, 0) * 1e-9
        return final + (segment.temperature - final) * math.exp(-elapsed / self.model.heating_time_constant)
