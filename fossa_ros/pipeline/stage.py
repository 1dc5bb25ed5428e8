"""A thread that handles one item at a time, with room for one more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Stage(Generic[Item]):
    """Handle the newest item on its own thread; a newer item replaces the one that waits.

    So latency never accumulates behind a slow stage.

    Args:
        name: of the thread.
        handle: called with each item, on the thread.
    """

    def __init__(self, name: str, handle: Callable[[Item], None]):
        self._name = name
        self._handle = handle
        self._changed = threading.Condition()
        self._waiting: Item | None = None
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> Item | None:
        """Finish the current item and end the thread; return the item that waited, if any."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        waiting, self._waiting = self._waiting, None
        return waiting

    def submit(self, item: Item) -> Item | None:
        """Queue an item; return the waiting item that it replaces, if any."""
        with self._changed:
            replaced, self._waiting = self._waiting, item
            self._changed.notify_all()
        return replaced

    def _run(self) -> None:
        while (item := self._next()) is not None:
            self._handle(item)

    def _next(self) -> Item | None:
        """Wait for an item; return None to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._waiting is not None)
            if self._stopping:
                return None
            item, self._waiting = self._waiting, None
            return item
