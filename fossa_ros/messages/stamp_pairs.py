"""Pair messages of two topics by their stamps."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from fossa_ros.messages.fields import nanoseconds

QUEUE = 10  # pairs in the making; the two topics of one driver are never more than a frame apart


class StampPairs:
    """Hold messages of two topics until both have one of the same stamp: message_filters' exact-time policy.

    The oldest arrival gives way where too many wait, whatever its stamp, so that pairs go on when time goes back.
    """

    def __init__(self, on_pair: Callable, queue: int = QUEUE):
        self._on_pair = on_pair
        self._queue = queue
        self._waiting: tuple[OrderedDict, OrderedDict] = (OrderedDict(), OrderedDict())

    def add(self, topic: int, message) -> None:
        """Take a message of topic 0 or 1."""
        stamp = nanoseconds(message.header.stamp)
        partner = self._waiting[1 - topic].pop(stamp, None)
        if partner is None:
            mine = self._waiting[topic]
            mine[stamp] = message
            while len(mine) > self._queue:
                mine.popitem(last=False)
            return
        for waiting in self._waiting:  # what is older can no longer be in time order
            for old in [key for key in waiting if key < stamp]:
                del waiting[old]
        self._on_pair(*((message, partner) if topic == 0 else (partner, message)))
