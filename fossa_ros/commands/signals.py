"""Commands that run until they are told to end."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def ended_by_signal() -> Iterator[threading.Event]:
    """Turn the first SIGINT or SIGTERM into an event, so that results are completed; a second one interrupts."""
    ended = threading.Event()

    def end(*_):
        if ended.is_set():
            raise KeyboardInterrupt
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the stack as Ctrl-C does: lenses are parked, child processes end, and nothing is half-written.

    While it unwinds, a further SIGTERM changes nothing; Ctrl-C still interrupts.
    """

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGTERM, lambda *_: None)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
