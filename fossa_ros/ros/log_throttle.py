"""Limit repeated log messages: a fault that affects every sweep must not fill the disk."""

from __future__ import annotations

import re
import time
from collections import OrderedDict

REPEAT_S = 10.0
REMEMBERED = 32  # different messages
_NUMBERS = re.compile(r"[-+\d.,]+")


class LogThrottle:
    """Let each message through at most once every ``REPEAT_S``; messages that differ only in numbers count as one."""

    def __init__(self) -> None:
        self._logged: OrderedDict[str, tuple[float, int]] = OrderedDict()  # when last, and how many suppressed since

    def apply(self, message: str) -> str:
        """Return what to log: the message, with the number of suppressed ones, or an empty string."""
        kind, now = _NUMBERS.sub("#", message), time.monotonic()
        last, suppressed = self._logged.pop(kind, (-REPEAT_S, 0))
        repeat = now - last >= REPEAT_S
        self._logged[kind] = (now, 0) if repeat else (last, suppressed + 1)
        while len(self._logged) > REMEMBERED:
            self._logged.popitem(last=False)
        if not repeat:
            return ""
        return f"{message} (and {suppressed} more like it since the last message)" if suppressed else message
