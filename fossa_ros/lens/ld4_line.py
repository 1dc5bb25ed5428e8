"""The line to a Lens Driver 4: one exchange at a time, every reply checked, every wait bounded."""

from __future__ import annotations

import logging
import time

from fossa_ros.errors import LensError
from fossa_ros.lens import ld4_protocol as ld4
from fossa_ros.lens.serial_port import hex_excerpt, open_serial_port

LOG = logging.getLogger(__name__)
QUIET = 0.02  # seconds of silence that end whatever a disturbed line still has to say
HANDSHAKES = 2  # programs that probe new serial ports (modem managers) may have left half a command behind


class Ld4Line:
    """Exchange commands and replies; not thread-safe.

    After anything unexpected the line counts as disturbed, and the next exchange first waits for silence, so
    that one lost byte cannot shift every reply that follows.
    """

    def __init__(self, port: str, timeout: float):
        """Open ``port``; a reply must be complete ``timeout`` seconds after its command.

        Raises:
            LensError: the port cannot be opened.
        """
        self.name = port
        self._timeout = timeout
        self._disturbed = True  # by whoever used the port before
        self._unanswered = False
        self._port = open_serial_port(port, ld4.BAUD_RATE, timeout)

    @property
    def is_open(self) -> bool:
        """Whether the port is held."""
        return self._port.is_open

    def close(self) -> None:
        """Free the port."""
        self._port.close()

    def shake_hands(self) -> None:
        """Make sure that a lens driver listens; this also zeroes its current.

        Raises:
            LensError: something else answers, or nothing, for twice the timeout.
        """
        for _ in range(HANDSHAKES):
            self._settle()
            self._send(ld4.HANDSHAKE)
            reply = self._receive(len(ld4.READY), time.monotonic() + self._timeout)
            if reply == ld4.READY:
                return
            self._disturbed = True
        raise LensError(
            f"Port {self.name!r} should answer 'Ready' ({ld4.READY.hex(' ')}) but sent {hex_excerpt(reply)}; "
            "set port to an Optotune Lens Driver 4 and check its power."
        )

    def tell(self, command: ld4.Command, *values) -> None:
        """Send a command that is not answered; should it be refused, the next query says so."""
        self._settle()
        self._send(command.encode(*values))
        self._unanswered = True

    def query(self, command: ld4.Command, *values) -> tuple:
        """Send a command and return the fields of its reply.

        Raises:
            LensError: this command or one told before it was refused, the reply is late, cut or corrupt, or
                the port is gone.
        """
        if not self._unanswered:
            self._settle()
        self._unanswered = False
        self._send(command.encode(*values))
        deadline = time.monotonic() + self._timeout
        # No reply is shorter than the old error; from there on the first byte tells how much is to come.
        reply = self._receive(len(ld4.OLD_ERROR), deadline)
        if len(reply) == len(ld4.OLD_ERROR) and reply != ld4.OLD_ERROR:
            length = ld4.ERROR_LENGTH if reply.startswith(b"E") else command.reply_length
            reply += self._receive(length - len(reply), deadline)
        try:
            return command.decode_reply(reply)
        except ld4.FrameError as error:
            self._disturbed = True
            raise LensError(self._complaint(command, reply, error)) from None

    def _complaint(self, command: ld4.Command, reply: bytes, error: ld4.FrameError) -> str:
        name = command.code.rstrip(b"\0").decode()
        driver = f"The lens driver at {self.name!r}"
        if reply == ld4.OLD_ERROR:
            return f"{driver} refused {name} or what was sent before it; update its firmware."
        try:
            code = ld4.decode_error(reply)
        except ld4.FrameError:
            return (
                f"{driver} should answer {name} with {command.reply_length} bytes but sent "
                f"{hex_excerpt(reply)} ({error}); check the cable and that nothing else uses the port."
            )
        reason = ld4.ERROR_WORDS.get(code, "reason unknown")
        return (
            f"{driver} refused {name} or what was sent before it (error {code}: {reason}); "
            "check the cable and the firmware."
        )

    def _settle(self) -> None:
        """Discard what is unread: at once where all was well, until silence after a disturbance."""
        if not self._port.is_open:
            raise LensError(f"The lens at {self.name!r} is closed; open it again.")
        try:
            if self._disturbed:
                self._port.timeout = QUIET
                deadline = time.monotonic() + self._timeout
                while self._port.read(256) and time.monotonic() < deadline:
                    pass
                self._disturbed = False
            elif waiting := self._port.in_waiting:
                LOG.warning("The lens sent what nobody asked for: %s", hex_excerpt(self._port.read(waiting)))
        except OSError as error:
            raise self._lost(error) from error

    def _send(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except OSError as error:
            raise self._lost(error) from error

    def _receive(self, length: int, deadline: float) -> bytes:
        """Read ``length`` bytes, fewer where they do not come in time."""
        try:
            self._port.timeout = max(deadline - time.monotonic(), 0.0)
            return self._port.read(length)
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, error: OSError) -> LensError:
        self._disturbed = True
        return LensError(f"Port {self.name!r} failed ({error}); check the cable and open the lens again.")
