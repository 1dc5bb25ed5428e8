"""A simulated Optotune ICC in Simple Mode that follows the manual strictly."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from fossa_ros.lens import icc_protocol as icc
from fossa_ros.simulation.lens_dynamics import LensDynamics
from fossa_ros.simulation.serial_device import SerialDevice


class SimulatedIcc(SerialDevice):
    """The device at the far end of the line: ``feed`` returns the replies to received bytes.

    A value out of range is answered by OL or OU and changes nothing; what is not understood, or longer than a line may
    be, by ERROR. The rest of a line may arrive at any time. Assumption: before START every command is answered by NO,
    which the manuals do not document.
    """

    def __init__(
        self,
        dynamics: LensDynamics,
        clock: Callable[[], int] = time.time_ns,
        *,
        max_current: float = 250.0,
        lacking: Collection[icc.Query | icc.Order] = (),
    ):
        """Connect a driver to a lens.

        Args:
            dynamics: the lens.
            clock: returns nanoseconds on the time base of ``dynamics``.
            max_current: mA.
            lacking: commands that this firmware does not have.
        """
        super().__init__()
        self.dynamics = dynamics
        self._clock = clock
        self._max_current = max_current
        self._lacking = {command.word for command in lacking}
        self._started = False
        self._buffer = b""

    def feed(self, data: bytes) -> bytes:
        """Receive bytes and return the replies to the lines they complete."""
        with self.lock:
            self._buffer += data
            *lines, self._buffer = self._buffer.split(icc.LINE_END)
            if len(self._buffer) > icc.LONGEST_LINE:
                self._buffer = b""
                lines.append(b"too long")
            return b"".join(self.apply_fault(self._answer(line).encode() + icc.LINE_END) for line in lines)

    def _answer(self, line: bytes) -> str:
        text = line.decode("latin-1").upper()
        word, equals, value = text.partition("=")
        word += equals
        if word == icc.START.word:
            self._started = True
            return icc.OK
        if not self._started:
            return "NO"
        if word in self._lacking:
            return "ERROR"
        model = self.dynamics.model
        now = self._clock()
        power = self.dynamics.set_point
        answers = {
            icc.LEAST_POWER.word: model.min_power,
            icc.GREATEST_POWER.word: model.max_power,
            icc.POWER.word: power,
            icc.CURRENT.word: model.drive(power) * self._max_current,
            icc.TEMPERATURE.word: self.dynamics.temperature_at(now),
        }
        if word in answers:
            return f"{answers[word]:.3f}"
        try:
            if word == icc.SET_POWER.word:
                return self._go_to(icc.number(value), now)
            if word == icc.SET_CURRENT.word:
                return self._go_to(model.neutral_power + icc.number(value) / self._max_current * model.reach, now)
        except icc.ReplyError:
            pass
        return "ERROR"

    def _go_to(self, power: float, now: int) -> str:
        if power < self.dynamics.model.min_power:
            return "OL"
        if power > self.dynamics.model.max_power:
            return "OU"
        self.dynamics.command(power, now)
        return icc.OK
