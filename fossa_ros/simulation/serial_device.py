"""Base class of simulated serial devices, and the faults that can be injected into their replies."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True)
class LineFault:
    """A fault of the replies of a device, or of the line that carries them.

    The device applies the first four, the pseudo-terminal the others.

    Attributes:
        silent: there is no reply.
        keep: number of bytes of each reply that get through, None for all.
        noise: bytes before each reply.
        corrupt: one bit of each reply is flipped.
        delay: seconds before each reply.
        dribble: seconds between the bytes of each reply, 0 for all at once.
        babble: bytes that are sent again and again, without a command too.
        unplug: the cable is pulled after what gets through.
    """

    silent: bool = False
    keep: int | None = None
    noise: bytes = b""
    corrupt: bool = False
    delay: float = 0.0
    dribble: float = 0.0
    babble: bytes = b""
    unplug: bool = False


class SerialDevice(ABC):
    """A simulated device at the far end of a serial line.

    Attributes:
        lock: serialises received bytes and injected faults.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._fault = LineFault()
        self._affected = 0

    @abstractmethod
    def feed(self, data: bytes) -> bytes:
        """Receive bytes and return the replies to the commands they complete."""

    @property
    def incomplete(self) -> bool:
        """Whether part of a command has arrived that the device drops if the rest does not follow."""
        return False

    def on_silence(self) -> bytes:
        """Drop an incomplete command whose rest does not arrive, and return the reply to it."""
        return b""

    def inject(self, fault: LineFault, replies: int) -> None:
        """Apply a fault to the next ``replies`` replies."""
        with self.lock:
            self._fault, self._affected = fault, replies

    def apply_fault(self, reply: bytes) -> bytes:
        """Return what gets through of a reply; call it with the lock held."""
        if not self._affected:
            self._fault = LineFault()
            return reply
        self._affected -= 1
        fault = self._fault
        if fault.silent:
            return b""
        if fault.corrupt:
            reply = reply[:1] + bytes([reply[1] ^ 0x10]) + reply[2:]
        return fault.noise + reply[: fault.keep]

    # For the line that carries the replies

    @property
    def delay(self) -> float:
        """Seconds by which the last reply is delayed."""
        return self._fault.delay

    @property
    def dribble(self) -> float:
        """Seconds between the bytes of the last reply."""
        return self._fault.dribble

    @property
    def babble(self) -> bytes:
        """Bytes to send again and again; empty for none."""
        return self._fault.babble if self._affected else b""

    @property
    def unplug(self) -> bool:
        """Whether the cable is pulled after the last reply."""
        return self._fault.unplug and not self._affected
