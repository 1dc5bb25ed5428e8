"""A serial line on which every wait has a timeout and every failure is a LensError; protocols are built on it."""

from __future__ import annotations

import contextlib
import logging
import time

from fossa_ros.core.errors import LensError
from fossa_ros.lens.serial_port import FAILURES, open_serial_port

LOG = logging.getLogger(__name__)
HANDSHAKES = 2  # half a command left by a program that probes new serial ports (modem managers) may swallow the first
QUIET = 0.02  # seconds of silence after which no late reply is expected


class SerialLine:
    """Send and receive bytes; not thread-safe.

    Attributes:
        name: the port as it was given.
        disturbed: an unexpected reply came; the protocol must synchronise the line before the next exchange.
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
        """Free the port; unsent output is discarded, because closing would wait for a device that is stuck."""
        with contextlib.suppress(*FAILURES):
            self._port.reset_output_buffer()
        self._port.close()

    def deadline(self) -> float:
        """Return the time (monotonic seconds) at which the reply to a command sent now must be complete."""
        return time.monotonic() + self._timeout

    def send(self, data: bytes) -> None:
        """Write ``data``."""
        try:
            self._port.write(data)
        except FAILURES as error:
            raise self._lost(error) from error

    def receive(self, length: int, deadline: float) -> bytes:
        """Read ``length`` bytes, or fewer if they do not arrive in time."""
        try:
            self._port.timeout = max(deadline - time.monotonic(), 0.0)
            return self._port.read(length)
        except FAILURES as error:
            raise self._lost(error) from error

    def receive_until(self, end: bytes, limit: int, deadline: float) -> bytes:
        """Read up to ``end`` or ``limit`` bytes, or fewer if they do not arrive in time."""
        received = b""
        while not received.endswith(end) and len(received) < limit:
            byte = self.receive(1, deadline)
            if not byte:
                break
            received += byte
        return received

    def drain(self) -> None:
        """Discard unread bytes and log them: they answer no command."""
        if not self.is_open:
            raise LensError(f"The lens at {self.name!r} is closed; open it again.")
        try:
            waiting = self._port.in_waiting
            if waiting:
                LOG.warning("The lens sent unexpected bytes: %s", hex_excerpt(self._port.read(waiting)))
        except FAILURES as error:
            raise self._lost(error) from error

    def await_silence(self) -> None:
        """Discard everything until nothing more arrives; the device drops an incomplete command meanwhile."""
        deadline = self.deadline()
        while self.receive(256, time.monotonic() + QUIET) and time.monotonic() < deadline:
            pass

    def await_late_reply(self) -> None:
        """Discard a late reply, for one more timeout; it would be taken for the next one."""
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
