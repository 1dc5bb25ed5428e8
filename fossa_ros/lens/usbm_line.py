"""The serial line of a Varioptic USB-M: one command and one checked reply at a time."""

from __future__ import annotations

from fossa_ros.core.errors import LensError
from fossa_ros.lens import usbm_protocol as usbm
from fossa_ros.lens.serial_line import HANDSHAKES, SerialLine, hex_excerpt

PROBE = usbm.Read(usbm.MODE, 1)  # its reply cannot be mistaken for an ACK


class UsbMLine(SerialLine):
    """Exchange frames; not thread-safe.

    A reply does not name the registers that it belongs to. After an unexpected one everything that still arrives is
    therefore discarded before the next exchange.
    """

    def __init__(self, port: str, timeout: float):
        """Open ``port``; a reply must be complete ``timeout`` seconds after its command."""
        super().__init__(port, usbm.BAUD_RATE, timeout)

    def shake_hands(self) -> None:
        """Verify that a lens driver answers.

        Raises:
            LensError: something else answers, or nothing, for twice the timeout.
        """
        for last in range(1, HANDSHAKES + 1):
            self.await_silence()  # the device drops an incomplete frame meanwhile
            try:
                self._exchange(PROBE)
            except LensError:
                if last == HANDSHAKES or not self.is_open:
                    raise
            else:
                self.disturbed = False
                return

    def exchange(self, command: usbm.Read | usbm.Write) -> bytes:
        """Send a command and return the registers it reads.

        Raises:
            LensError: the command is refused, its reply is late, incomplete or corrupt, or the port is gone.
        """
        if self.disturbed and self.is_open:
            self.await_late_reply()
            self.shake_hands()
        self.drain()
        return self._exchange(command)

    def _exchange(self, command: usbm.Read | usbm.Write) -> bytes:
        self.send(command.encode())
        deadline = self.deadline()
        reply = self.receive(min(command.reply_length, len(usbm.REFUSED)), deadline)
        if reply != usbm.REFUSED:
            reply += self.receive(command.reply_length - len(reply), deadline)
        try:
            return command.decode_reply(reply)
        except usbm.Refusal:
            raise LensError(
                f"The lens driver at {self.name!r} refused {command.encode().hex(' ')} (NACK); "
                "check the cable and that the lens is connected."
            ) from None
        except usbm.FrameError as error:
            self.disturbed = True
            raise LensError(
                f"The lens driver at {self.name!r} should answer {command.encode().hex(' ')} with "
                f"{command.reply_length} bytes but sent {hex_excerpt(reply)} ({error}); set port to a Varioptic "
                "USB-M, check the cable and that nothing else uses the port."
            ) from None
