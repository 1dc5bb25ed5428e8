"""The exposure time and the number of each frame, as the camera reports them in its metadata.

camera_ros reports exposure times from version 0.7 on.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from fossa_ros.messages.fields import nanoseconds
from fossa_ros.sweep import Frame

KEY = "ExposureTime"  # libcamera's name and unit: microseconds
LONGEST_US = 10e6
REMEMBERED = 64  # stamps
PATIENCE = 10  # frames in a row without an exposure time, after which frames no longer wait for one

Key = tuple[int, str]  # stamp (ns) and optical frame


@dataclass(frozen=True)
class _Report:
    """What the camera says of a frame; None for what it does not say."""

    exposure_ns: int | None = None
    counter: int | None = None


_NOTHING = _Report()


class ExposureTimes:
    """Add the reported exposure time and number to frames, and pass them on in their order. Not thread-safe.

    The report is a ``diagnostic_msgs/DiagnosticArray`` with the header of the image and the key ``ExposureTime``, or
    the key of the counter. It may arrive before or after its frame. A frame waits for it until the next frame arrives
    at the latest, and is passed on without an exposure time then; the configured one is used.

    Args:
        on_frame: receives the frames.
        counter_key: whose value numbers the exposures; empty for none. Frames without it count as not reported.
    """

    def __init__(self, on_frame: Callable[[Frame], None], counter_key: str = ""):
        self._on_frame = on_frame
        self._counter_key = counter_key
        self._reported: OrderedDict[Key, _Report] = OrderedDict()  # _NOTHING where the report is refused
        self._waiting: tuple[Key, Frame] | None = None
        self._passed_without: deque[Key] = deque(maxlen=REMEMBERED)
        self._missing = 0  # frames in a row
        self._why = f"nothing with {f'the key {counter_key}' if counter_key else f'an {KEY}'} arrives"

    def add_frame(self, frame: Frame, frame_id: str) -> None:
        """Add a frame of the camera whose optical frame is ``frame_id``."""
        if self._waiting is not None:
            self._pass_on(*self._waiting, _NOTHING)
        key = frame.stamp_ns, frame_id
        for known in (key, (frame.stamp_ns, "")):
            if known in self._reported:
                self._pass_on(key, frame, self._reported.pop(known))
                return
        if self._missing < PATIENCE:
            self._waiting = key, frame
        else:
            self._pass_on(key, frame, _NOTHING)

    def add_metadata(self, message: Any) -> None:
        """Add a message; one with neither key is ignored, and an impossible value is refused."""
        pairs = [(pair.key, pair.value) for status in message.status for pair in status.values]
        values = {value for key, value in pairs if key == KEY}
        numbers = {value for key, value in pairs if self._counter_key and key == self._counter_key}
        if not values and not numbers:
            return
        key = nanoseconds(message.header.stamp), message.header.frame_id
        report = self._report(values, numbers)
        if self._reported.get(key, report) != report:
            self._why = "several cameras report theirs under one stamp and frame_id; give each its own frame_id"
            report = _NOTHING
        if self._waiting is not None and (key == self._waiting[0] or key == (self._waiting[0][0], "")):
            self._pass_on(*self._waiting, report)
            return
        if key in self._passed_without and report != _NOTHING:
            self._missing = 0  # too late for that frame, but reports arrive
        elif report != _NOTHING:
            self._why = f"its messages have other stamps than the images, or another frame_id ('{key[1]}')"
        self._reported[key] = report
        while len(self._reported) > REMEMBERED:
            self._reported.popitem(last=False)

    def fault(self) -> str:
        """Return why exposure time or number of frames are unknown; empty while they are known."""
        return self._why if self._missing >= PATIENCE else ""

    def _pass_on(self, key: Key, frame: Frame, report: _Report) -> None:
        self._waiting = None
        if report == _NOTHING:
            self._missing += 1
            self._passed_without.append(key)
        else:
            self._missing = 0
        self._on_frame(replace(frame, exposure_ns=report.exposure_ns, counter=report.counter))

    def _report(self, values: set[str], numbers: set[str]) -> _Report:
        """Return what a message reports; _NOTHING where a part of it cannot be used."""
        exposure_ns = counter = None
        if values and (exposure_ns := self._exposure_ns(values)) is None:
            return _NOTHING
        if self._counter_key and (counter := self._counter(numbers)) is None:
            return _NOTHING
        return _Report(exposure_ns, counter)

    def _counter(self, numbers: set[str]) -> int | None:
        try:
            (number,) = numbers
            return int(number)
        except ValueError:
            said = f"of '{', '.join(sorted(numbers))}' is no whole number" if numbers else "is missing beside others"
            self._why = f"the key {self._counter_key} {said}; correct sweep.counter_key"
            return None

    def _exposure_ns(self, values: set[str]) -> int | None:
        try:
            (value,) = values
            microseconds = float(value)
        except ValueError:
            microseconds = math.nan
        if not 0 < microseconds <= LONGEST_US:
            self._why = f"an {KEY} of '{', '.join(sorted(values))}' is impossible; the unit is microseconds"
            return None
        return round(microseconds * 1e3)
