"""The serial line of an Optotune ICC in Simple Mode: one command and one checked reply at a time."""

from __future__ import annotations

from fossa_ros.core.errors import LensError
from fossa_ros.lens import icc_protocol as icc
from fossa_ros.lens.serial_line import HANDSHAKES, SerialLine, hex_excerpt


class IccLine(SerialLine):
    """Exchange lines; not thread-safe.

    Replies have neither a checksum nor the command that they belong to. After an unexpected reply everything that still
    arrives is therefore discarded before the next exchange.
    """

    def __init__(self, port: str, timeout: float):
        """Open ``port``; a reply must be complete ``timeout`` seconds after its command."""
        super().__init__(port, icc.BAUD_RATE, timeout)

    def shake_hands(self) -> None:
        """Verify that an ICC answers.

        Raises:
            LensError: something else answers, or nothing.
        """
        for _ in range(HANDSHAKES):
            self.await_silence()
            self.send(icc.START.encode())
            line = self.receive_until(icc.LINE_END, icc.LONGEST_LINE, self.deadline())
            try:
                icc.START.decode(line)
            except (icc.Refusal, icc.ReplyError):
                continue
            self.disturbed = False
            return
        raise LensError(
            f"Port {self.name!r} should answer START with OK but sent {hex_excerpt(line)}; "
            "set port to an Optotune ICC and check its power."
        )

    def exchange(self, command: icc.Query | icc.Order, *value: float) -> float | None:
        """Send a command and return the number it is answered with, None for OK.

        Raises:
            Refusal: the device refuses the command.
            LensError: the reply is late, cut or corrupt, or the port is gone.
        """
        if self.disturbed and self.is_open:
            self.await_late_reply()
            self.shake_hands()
        self.drain()
        self.send(command.encode(*value))
        line = self.receive_until(icc.LINE_END, icc.LONGEST_LINE, self.deadline())
        try:
            return command.decode(line)
        except icc.ReplyError as error:
            self.disturbed = True
            raise LensError(
                f"The lens driver at {self.name!r} answered {command.word} with {hex_excerpt(line)} ({error}); "
                "check the cable and that nothing else uses the port."
            ) from None
