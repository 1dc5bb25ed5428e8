"""A serial port without hardware: a pseudo-terminal with a simulated device at its far end."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import tty
import weakref
from pathlib import Path

from fossa_ros.core.errors import InputError
from fossa_ros.simulation.serial_device import SerialDevice

BURST_GAP = 0.01  # seconds of silence after which an incomplete command is dropped
BABBLE_PERIOD = 0.005  # seconds


class PseudoTerminal:
    """Serve a device on a pseudo-terminal from its own thread.

    A pulled cable is simulated by hanging up: reads and writes at the near end fail, as on a USB adapter that is gone.
    The link is removed as well; to plug the device in again, serve it on another terminal at the same link. A context
    manager; ``close`` or the end of the program ends the thread and removes port and link.

    Attributes:
        port: path to open: the symbolic link if there is one.
    """

    def __init__(self, device: SerialDevice, link: str | os.PathLike | None = None):
        """Open a pseudo-terminal for ``device``, with a symbolic ``link`` to it if given.

        Raises:
            InputError: ``link`` cannot be made, or exists already.
        """
        master, slave = os.openpty()
        stop_reader, stop_writer = os.pipe()
        descriptors = (master, slave, stop_reader, stop_writer)
        try:
            tty.setraw(slave)  # no echo, no line discipline
            os.set_blocking(master, False)
            target = os.ttyname(slave)
            if link is not None:
                _make_link(Path(link), target)
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        self.port = target if link is None else str(link)
        thread = threading.Thread(
            target=_serve,
            args=(device, master, stop_reader, link, target),
            name=f"device at {target}",
            daemon=True,
        )
        # The slave stays open here: without an open slave, reading from the master fails.
        self._close = weakref.finalize(self, _shut, thread, descriptors, link, target)
        thread.start()

    def close(self) -> None:
        """End the thread and remove port and link; a second call does nothing."""
        self._close()

    def __enter__(self) -> PseudoTerminal:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _make_link(link: Path, target: str) -> None:
    if link.is_symlink() and not link.exists():
        link.unlink()  # left over from a program that was killed
    try:
        link.symlink_to(target)
    except OSError as error:
        raise InputError(f"Link {str(link)!r} cannot be made ({error.strerror}); give another path.") from error


def _remove_link(link, target: str) -> None:
    with contextlib.suppress(OSError):
        if link is not None and os.readlink(link) == target:
            os.unlink(link)


def _shut(thread: threading.Thread, descriptors: tuple[int, ...], link, target: str) -> None:
    os.write(descriptors[-1], b"x")
    thread.join()
    for descriptor in descriptors:
        os.close(descriptor)
    _remove_link(link, target)


def _hang_up(master: int) -> None:
    """Close the far end but keep its descriptor's number until the terminal is closed."""
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), master)


def _serve(device: SerialDevice, master: int, stop: int, link, target: str) -> None:
    while True:
        babble = device.babble
        wait = BABBLE_PERIOD if babble else BURST_GAP if device.incomplete else None
        ready, _, _ = select.select([master, stop], [], [], wait)
        if stop in ready or (babble and not _write(master, stop, babble)):
            return
        reply = device.feed(os.read(master, 4096)) if master in ready else device.on_silence()
        if reply and device.delay and select.select([stop], [], [], device.delay)[0]:
            return
        pieces = [reply[i : i + 1] for i in range(len(reply))] if device.dribble else [reply]
        for piece in pieces:
            if not _write(master, stop, piece) or select.select([stop], [], [], device.dribble)[0]:
                return
        if device.unplug:
            _remove_link(link, target)
            _hang_up(master)
            return


def _write(master: int, stop: int, reply: bytes) -> bool:
    """Write all of ``reply``; return False if the service is to stop."""
    while reply:
        ready, writable, _ = select.select([stop], [master], [])
        if ready:
            return False
        if writable:
            reply = reply[os.write(master, reply) :]
    return True
