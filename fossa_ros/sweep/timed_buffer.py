"""Samples sorted by time, for sensors whose past is looked up: lens position, gyroscope."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Generic, TypeVar

Value = TypeVar("Value")


class TimedBuffer(Generic[Value]):
    """The samples of the last span of time, each with its stamp; late ones are sorted in.

    Not thread-safe: the caller serialises.

    Args:
        span_ns: how far back from the newest sample the buffer reaches.
    """

    def __init__(self, span_ns: int):
        self._span_ns = span_ns
        self._samples: list[tuple[int, Value]] = []

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, stamp_ns: int, value: Value) -> bool:
        """Keep a sample; return False if its stamp is known already or older than the buffer reaches.

        A stamp more than the span behind the newest means that the clock was set back: the buffer is then emptied.
        """
        if self._samples and stamp_ns < self._samples[-1][0] - self._span_ns:
            self._samples.clear()
        index = bisect_left(self._samples, stamp_ns, key=_stamp)
        if index < len(self._samples) and self._samples[index][0] == stamp_ns:
            return False
        insort(self._samples, (stamp_ns, value), key=_stamp)
        oldest = self._samples[-1][0] - self._span_ns
        if self._samples[0][0] < oldest:
            del self._samples[: bisect_left(self._samples, oldest, key=_stamp)]
        return True

    def between(self, start_ns: int, end_ns: int) -> list[tuple[int, Value]]:
        """Return the samples of start <= stamp <= end, oldest first."""
        return self._samples[self.index_after(start_ns - 1) : self.index_after(end_ns)]

    def index_after(self, t_ns: int) -> int:
        """Return the index of the first sample later than ``t_ns``; the length if there is none."""
        return bisect_right(self._samples, t_ns, key=_stamp)

    def __getitem__(self, index: int) -> tuple[int, Value]:
        return self._samples[index]

    def __iter__(self) -> Iterator[tuple[int, Value]]:
        return iter(self._samples)

    def clear(self) -> None:
        """Remove all samples."""
        self._samples.clear()


def _stamp(sample: tuple[int, Value]) -> int:
    return sample[0]
