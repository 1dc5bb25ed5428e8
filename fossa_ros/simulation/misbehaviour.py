"""Bad devices and bad lines, on request: what a driver must survive."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class Misbehaviour:
    """What is wrong with the replies of a bad device or line.

    Attributes:
        silent: no reply at all.
        keep: bytes of each reply that get through, None for all of them.
        noise: bytes that come before each reply.
        corrupt: one bit of each reply is flipped.
        delay: seconds before each reply; kept by the line that carries it.
        dribble: seconds between the bytes of each reply, 0 for all at once; kept by the line that carries it.
        babble: bytes that come over and over, asked or not; kept by the line that carries it.
        unplug: the cable is pulled after what gets through; kept by the line that carries it.
    """

    silent: bool = False
    keep: int | None = None
    noise: bytes = b""
    corrupt: bool = False
    delay: float = 0.0
    dribble: float = 0.0
    babble: bytes = b""
    unplug: bool = False


class Misbehaving:
    """A simulated device that spoils its replies when told to.

    Attributes:
        lock: serialises what arrives and how the device behaves.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self._misbehaviour = Misbehaviour()
        self._affected = 0

    def misbehave(self, misbehaviour: Misbehaviour, replies: int) -> None:
        """Spoil the next ``replies`` replies."""
        with self.lock:
            self._misbehaviour, self._affected = misbehaviour, replies

    @property
    def delay(self) -> float:
        """Seconds by which the line is to delay what was last returned."""
        return self._misbehaviour.delay

    @property
    def dribble(self) -> float:
        """Seconds between the bytes of what was last returned."""
        return self._misbehaviour.dribble

    @property
    def babble(self) -> bytes:
        """What the line is to say over and over while the device misbehaves."""
        return self._misbehaviour.babble if self._affected else b""

    @property
    def unplug(self) -> bool:
        """Whether the line is to be cut after what was last returned."""
        return self._misbehaviour.unplug and not self._affected

    def spoil(self, reply: bytes) -> bytes:
        """Return what gets through of a reply; call it under the lock."""
        if not self._affected:
            self._misbehaviour = Misbehaviour()
            return reply
        self._affected -= 1
        wrong = self._misbehaviour
        if wrong.silent:
            return b""
        if wrong.corrupt:
            reply = reply[:1] + bytes([reply[1] ^ 0x10]) + reply[2:]
        return wrong.noise + reply[: wrong.keep]
