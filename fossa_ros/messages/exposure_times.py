"""The exposure time of each frame, as the camera reports it in its metadata (camera_ros 0.7 and newer)."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fossa_ros.messages.fields import nanoseconds
from fossa_ros.sweep import Frame

KEY = "ExposureTime"  # libcamera's name and unit: microseconds
LONGEST_US = 10e6
REMEMBERED = 64  # stamps
PATIENCE = 10  # frames in a row without an exposure time, after which frames no longer wait for one

Key = tuple[int, str]  # stamp (ns) and optical frame


class ExposureTimes:
    """Add the reported exposure time to frames, and pass them on in their order. Not thread-safe.

    The report is a ``diagnostic_msgs/DiagnosticArray`` with the header of the image and the key ``ExposureTime``. It
    may arrive before or after its frame. A frame waits for it until the next frame arrives at the latest, and is passed
    on without an exposure time then; the configured one is used.

    Args:
        on_frame: receives the frames.
    """

    def __init__(self, on_frame: Callable[[Frame], None]):
        self._on_frame = on_frame
        self._reported: OrderedDict[Key, int | None] = OrderedDict()  # ns; None where the report is refused
        self._waiting: tuple[Key, Frame] | None = None
        self._passed_without: deque[Key] = deque(maxlen=REMEMBERED)
        self._missing = 0  # frames in a row
        self._why = f"nothing with an {KEY} arrives"

    def add_frame(self, frame: Frame, frame_id: str) -> None:
        """Add a frame of the camera whose optical frame is ``frame_id``."""
        if self._waiting is not None:
            self._pass_on(*self._waiting, None)
        key = frame.stamp_ns, frame_id
        for known in (key, (frame.stamp_ns, "")):
            if known in self._reported:
                self._pass_on(key, frame, self._reported.pop(known))
                return
        if self._missing < PATIENCE:
            self._waiting = key, frame
        else:
            self._pass_on(key, frame, None)

    def add_metadata(self, message: Any) -> None:
        """Add a message; one without an exposure time is ignored, and an impossible value is refused."""
        values = {pair.value for status in message.status for pair in status.values if pair.key == KEY}
        if not values:
            return
        key = nanoseconds(message.header.stamp), message.header.frame_id
        exposure_ns = self._exposure_ns(values)
        if self._reported.get(key, exposure_ns) != exposure_ns:
            self._why = "several cameras report theirs under one stamp and frame_id; give each its own frame_id"
            exposure_ns = None
        if self._waiting is not None and (key == self._waiting[0] or key == (self._waiting[0][0], "")):
            self._pass_on(*self._waiting, exposure_ns)
            return
        if key in self._passed_without and exposure_ns is not None:
            self._missing = 0  # too late for that frame, but reports arrive
        elif exposure_ns is not None:
            self._why = f"its messages have other stamps than the images, or another frame_id ('{key[1]}')"
        self._reported[key] = exposure_ns
        while len(self._reported) > REMEMBERED:
            self._reported.popitem(last=False)

    def fault(self) -> str:
        """Return why the exposure time of frames is unknown; empty while it is known."""
        return self._why if self._missing >= PATIENCE else ""

    def _pass_on(self, key: Key, frame: Frame, exposure_ns: int | None) -> None:
        self._waiting = None
        if exposure_ns is None:
            self._missing += 1
            self._passed_without.append(key)
        else:
            self._missing = 0
        self._on_frame(replace(frame, exposure_ns=exposure_ns))

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
