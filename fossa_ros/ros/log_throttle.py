"""Limit repeated log messages: a fault that lasts, or affects every sweep, must not fill the disk."""

from __future__ import annotations

import re
import time
from collections import OrderedDict

REPEAT_S = 10.0
REMIND_S = 60.0
REMEMBERED = 32  # different messages
_NUMBERS = re.compile(r"[-+\d.,]+")


class Reminder:
    """Say when a fault that lasts is to be logged: when it begins or changes, and every ``REMIND_S`` while it lasts.

    Args:
        counted: whether the fault holds counts, so that one which differs only in numbers is the same.
    """

    def __init__(self, counted: bool = False) -> None:
        self._counted = counted
        self._fault, self._logged = "", 0.0

    def due(self, fault: str) -> bool:
        """Return whether to log ``fault`` now; an empty one has ended."""
        kind, now = _NUMBERS.sub("#", fault) if self._counted else fault, time.monotonic()
        if not kind or (kind == self._fault and now - self._logged < REMIND_S):
            self._fault = kind
            return False
        self._fault, self._logged = kind, now
        return True


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
