"""A serial line whose every wait is bounded and whose every failure is a sentence; protocols are built on it."""

from __future__ import annotations

import contextlib
import logging
import time

from fossa_ros.core.errors import LensError
from fossa_ros.lens.serial_port import FAILURES, open_serial_port

LOG = logging.getLogger(__name__)
QUIET = 0.02  # seconds of silence that end whatever a disturbed line still has to say


class SerialLine:
    """Send and receive bytes; not thread-safe.

    Attributes:
        name: the port as it was asked for.
        disturbed: something unexpected came; a protocol brings the line back in step before it trusts a reply again.
    """

    def __init__(self, port: str, baud_rate: int, timeout: float):
        """Open ``port``; a reply must be complete ``timeout`` seconds after its command.

        Raises:
            InputError: an address that cannot be read.
            LensError: the port cannot be opened.
        """
        self.name = port
        self.disturbed = False
        self._timeout = timeout
        self._port = open_serial_port(port, baud_rate, timeout)

    @property
    def is_open(self) -> bool:
        """Whether the port is held."""
        return self._port.is_open

    def close(self) -> None:
        """Free the port; what a device that is stuck has not taken is given up, since closing would wait for it."""
        with contextlib.suppress(*FAILURES):
            self._port.reset_output_buffer()
        self._port.close()

    def deadline(self) -> float:
        """Return until when (monotonic seconds) the reply to a command sent now must be complete."""
        return time.monotonic() + self._timeout

    def send(self, data: bytes) -> None:
        """Write ``data``."""
        try:
            self._port.write(data)
        except FAILURES as error:
            raise self._lost(error) from error

    def receive(self, length: int, deadline: float) -> bytes:
        """Read ``length`` bytes, fewer where they do not come in time."""
        try:
            self._port.timeout = max(deadline - time.monotonic(), 0.0)
            return self._port.read(length)
        except FAILURES as error:
            raise self._lost(error) from error

    def receive_until(self, end: bytes, limit: int, deadline: float) -> bytes:
        """Read up to ``end``, or ``limit`` bytes; fewer where they do not come in time."""
        received = b""
        while not received.endswith(end) and len(received) < limit:
            byte = self.receive(1, deadline)
            if not byte:
                break
            received += byte
        return received

    def drain(self) -> None:
        """Discard what lies unread, and say so in the log: nobody asked for it."""
        if not self.is_open:
            raise LensError(f"The lens at {self.name!r} is closed; open it again.")
        try:
            waiting = self._port.in_waiting
            if waiting:
                LOG.warning("The lens sent what nobody asked for: %s", hex_excerpt(self._port.read(waiting)))
        except FAILURES as error:
            raise self._lost(error) from error

    def await_silence(self) -> None:
        """Discard what arrives until nothing does; half a command at the far end is given up meanwhile."""
        deadline = self.deadline()
        while self.receive(256, time.monotonic() + QUIET) and time.monotonic() < deadline:
            pass

    def await_late_reply(self) -> None:
        """Discard a reply that is still on its way, for one more timeout; it would answer the next command."""
        self.receive(1, self.deadline())
        self.await_silence()

    def _lost(self, error: Exception) -> LensError:
        self.disturbed = True
        return LensError(f"Port {self.name!r} failed ({error}); check the cable and open the lens again.")


def hex_excerpt(data: bytes, limit: int = 16) -> str:
    """Write bytes as hexadecimal for a message, shortened to the first ``limit``."""
    if not data:
        return "nothing"
    return data[:limit].hex(" ") + (f" ... ({len(data)} bytes)" if len(data) > limit else "")
