"""A simulated Optotune ICC in Simple Mode: takes the lines the real one takes, and is as strict."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from fossa_ros.lens import icc_protocol as icc
from fossa_ros.simulation.lens_dynamics import LensDynamics
from fossa_ros.simulation.misbehaviour import Misbehaving


class SimulatedIcc(Misbehaving):
    """The device behind the wire: ``feed`` it what arrives and it returns what it answers.

    Before START everything is answered NO; what is out of range OL or OU and changes nothing; what is not understood,
    or longer than a line may be, ERROR. How the real device answers a command before START is not documented: NO is the
    guess that a driver has to survive.
    """

    incomplete = False  # no time limit: the rest of a line may come at any time

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
            clock: gives nanoseconds on the time base of ``dynamics``.
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
        """Take bytes as they arrive and return the replies to the lines they complete."""
        with self.lock:
            self._buffer += data
            *lines, self._buffer = self._buffer.split(icc.LINE_END)
            if len(self._buffer) > icc.LONGEST_LINE:
                self._buffer = b""
                lines.append(b"too long")
            return b"".join(self.spoil(self._answer(line).encode() + icc.LINE_END) for line in lines)

    def give_up(self) -> bytes:
        """Do nothing: lines have no time limit."""
        return b""

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
