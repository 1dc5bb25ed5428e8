"""The serial line of a Lens Driver 4: one exchange at a time, every reply checked, every wait bounded."""

from __future__ import annotations

import contextlib
from typing import Any

from fossa_ros.core.errors import LensError
from fossa_ros.lens import ld4_protocol as ld4
from fossa_ros.lens.serial_line import HANDSHAKES, SerialLine, hex_excerpt


class Ld4Line(SerialLine):
    """Exchange commands and replies; not thread-safe.

    After an unexpected reply the line is disturbed, and the next exchange first synchronises it, so that a lost byte or
    a late reply cannot shift all following replies.
    """

    def __init__(self, port: str, timeout: float):
        """Open ``port``; a reply must be complete ``timeout`` seconds after its command."""
        super().__init__(port, ld4.BAUD_RATE, timeout)
        self._unanswered = False

    def shake_hands(self) -> None:
        """Verify that a lens driver answers; this also sets its current to zero.

        Raises:
            LensError: something else answers, or nothing, for twice the timeout.
        """
        for _ in range(HANDSHAKES):
            self.await_silence()
            self.send(ld4.HANDSHAKE)
            reply = self.receive(len(ld4.READY), self.deadline())
            if reply == ld4.READY:
                return
        raise LensError(
            f"Port {self.name!r} should answer 'Ready' ({ld4.READY.hex(' ')}) but sent {hex_excerpt(reply)}; "
            "set port to an Optotune Lens Driver 4 and check its power."
        )

    def command(self, command: ld4.Command, *values: float) -> None:
        """Send a command that is not answered; if it is refused, the next query raises LensError."""
        self._settle()
        self.send(command.encode(*values))
        self._unanswered = True

    def query(self, command: ld4.Command, *values: float) -> tuple[Any, ...]:
        """Send a command and return the fields of its reply.

        Raises:
            LensError: this command or one sent before it was refused, the reply is late, incomplete or corrupt, or the
                port is gone.
        """
        if not self._unanswered:
            self._settle()
        self._unanswered = False
        self.send(command.encode(*values))
        deadline = self.deadline()
        # No reply is shorter than the old error; the first byte then gives the length.
        reply = self.receive(len(ld4.OLD_ERROR), deadline)
        if len(reply) == len(ld4.OLD_ERROR) and reply != ld4.OLD_ERROR:
            length = ld4.ERROR_LENGTH if reply.startswith(b"E") else command.reply_length
            reply += self.receive(length - len(reply), deadline)
        try:
            return command.decode_reply(reply)
        except ld4.FrameError as error:
            self.disturbed = True
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
        """Discard everything unread that could be mistaken for the next reply."""
        if self.disturbed and self.is_open:
            self.await_silence()
            self._synchronise()
        self.drain()

    def _synchronise(self) -> None:
        """Discard all late replies, by sending another query and waiting for its answer."""
        self.send(ld4.FIRMWARE_TYPE.encode())
        deadline = self.deadline()
        received = b""
        while byte := self.receive(1, deadline):
            received += byte
            with contextlib.suppress(ld4.FrameError):
                ld4.FIRMWARE_TYPE.decode_reply(received[-ld4.FIRMWARE_TYPE.reply_length :])
                self.disturbed = False
                return
        raise LensError(
            f"The lens driver at {self.name!r} no longer answers as it should but sent "
            f"{hex_excerpt(received)}; check its cable and power."
        )
