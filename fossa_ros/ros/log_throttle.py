"""Say a complaint when it is new, and now and then while it lasts: a fault that spoils every sweep fills no disk."""

from __future__ import annotations

import re
import time
from collections import OrderedDict

AGAIN_S = 10.0
REMEMBERED = 32
_NUMBERS = re.compile(r"[-+\d.,]+")


class LogThrottle:
    """Sentences that differ in their numbers alone are one complaint."""

    def __init__(self):
        self._said: OrderedDict[str, tuple[float, int]] = OrderedDict()  # when last, and how often unsaid since

    def apply(self, sentence: str) -> str:
        """Return what to log of ``sentence``, empty while the like was said within AGAIN_S."""
        kind, now = _NUMBERS.sub("#", sentence), time.monotonic()
        last, unsaid = self._said.pop(kind, (-AGAIN_S, 0))
        again = now - last >= AGAIN_S
        self._said[kind] = (now, 0) if again else (last, unsaid + 1)
        while len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        if not again:
            return ""
        return f"{sentence} (and {unsaid} more like it since this was last said)" if unsaid else sentence
