"""Pair messages of two topics by their stamps."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from fossa_ros.messages.fields import nanoseconds

QUEUE = 10  # messages of each topic that wait; the two topics of one driver are never more than a frame apart


class StampPairs:
    """Hold messages of two topics until both have one of the same stamp: the exact-time policy of message_filters.

    When too many wait, the first that arrived is dropped, whatever its stamp, so that pairs continue after time goes
    back.

    Args:
        on_pair: receives a message of topic 0 and one of topic 1.
        queue: messages of each topic that wait at most.
    """

    def __init__(self, on_pair: Callable[[Any, Any], None], queue: int = QUEUE):
        self._on_pair = on_pair
        self._queue = queue
        self._waiting: tuple[OrderedDict[int, Any], OrderedDict[int, Any]] = (OrderedDict(), OrderedDict())

    def add(self, topic: int, message: Any) -> None:
        """Add a message of topic 0 or 1."""
        stamp = nanoseconds(message.header.stamp)
        partner = self._waiting[1 - topic].pop(stamp, None)
        if partner is None:
            waiting = self._waiting[topic]
            waiting[stamp] = message
            while len(waiting) > self._queue:
                waiting.popitem(last=False)
            return
        for waiting in self._waiting:  # an older pair would be out of order
            for old in [key for key in waiting if key < stamp]:
                del waiting[old]
        self._on_pair(*((message, partner) if topic == 0 else (partner, message)))
