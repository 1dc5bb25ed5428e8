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
