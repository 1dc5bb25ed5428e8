"""What waits for a device in a transition, on a thread of its own: the executor goes on answering."""

from __future__ import annotations

import threading
from collections.abc import Callable


class LongStep:
    """Run ``step`` on a thread, at once.

    Args:
        name: of the thread.
        step: opens or closes devices, loads models, waits for threads; may raise.
        on_done: called on the thread when the step has ended, whatever its outcome.
    """

    def __init__(self, name: str, step: Callable[[], object], on_done: Callable[[], None]):
        self._step = step
        self._on_done = on_done
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the step."""
        self._thread.join()

    def result(self) -> None:
        """Wait for the end of the step; raise what it raised."""
        self.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._step()
        except Exception as failure:
            self._failure = failure
        self._on_done()
