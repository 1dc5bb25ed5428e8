"""The line to a Lens Driver 4: one exchange at a time, every reply checked, every wait bounded."""

from __future__ import annotations

import contextlib
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

    After anything unexpected the line counts as disturbed, and the next exchange first brings it back in
    step, so that a lost byte or a late reply cannot shift every reply that follows.
    """

    def __init__(self, port: str, timeout: float):
        """Open ``port``; a reply must be complete ``timeout`` seconds after its command.

        Raises:
            LensError: the port cannot be opened.
        """
        self.name = port
        self._timeout = timeout
        self._disturbed = False
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
            self._await_silence()
            self._send(ld4.HANDSHAKE)
            reply = self._receive(len(ld4.READY), time.monotonic() + self._timeout)
            if reply == ld4.READY:
                return
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
        """Leave nothing unread that the next reply could be mistaken for."""
        if not self._port.is_open:
            raise LensError(f"The lens at {self.name!r} is closed; open it again.")
        if self._disturbed:
            self._await_silence()
            self._synchronise()
        try:
            if waiting := self._port.in_waiting:
                LOG.warning("The lens sent what nobody asked for: %s", hex_excerpt(self._port.read(waiting)))
        except OSError as error:
            raise self._lost(error) from error

    def _await_silence(self) -> None:
        """Discard what arrives until nothing does; half a command at the far end is given up meanwhile."""
        deadline = time.monotonic() + self._timeout
        while self._receive(256, time.monotonic() + QUIET) and time.monotonic() < deadline:
            pass

    def _synchronise(self) -> None:
        """Discard all replies still to come, by asking something else and waiting for its answer."""
        self._send(ld4.FIRMWARE_TYPE.encode())
        deadline = time.monotonic() + self._timeout
        received = b""
        while byte := self._receive(1, deadline):
            received += byte
            with contextlib.suppress(ld4.FrameError):
                ld4.FIRMWARE_TYPE.decode_reply(received[-ld4.FIRMWARE_TYPE.reply_length :])
                self._disturbed = False
                return
        raise LensError(
            f"The lens driver at {self.name!r} no longer answers as it should but sent "
            f"{hex_excerpt(received)}; check its cable and power."
        )

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
