"""The exposure time of each frame, as the camera's metadata tells it: camera_ros's, or whatever has its form."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace

from fossa_ros.messages.fields import nanoseconds
from fossa_ros.sweep import Frame

KEY = "ExposureTime"  # libcamera's name and unit: microseconds
LONGEST_US = 10e6
REMEMBERED = 64  # stamps
PATIENCE = 10  # frames in a row without an exposure time, after which none is waited for


class ExposureTimes:
    """Give frames the exposure time that a message of the same stamp and optical frame tells, and pass them on.

    Such a message (``diagnostic_msgs/DiagnosticArray`` with the image's header and the key ``ExposureTime``) may come
    before its frame or after it; a frame waits for it until the next frame comes at the longest, and then goes on
    without, for the exposure that is configured. Frames keep their order. Not thread-safe.

    Args:
        on_frame: receives the frames.
    """

    def __init__(self, on_frame: Callable[[Frame], None]):
        self._on_frame = on_frame
        self._told: OrderedDict[tuple[int, str], int | None] = OrderedDict()  # ns by stamp and frame, None if refused
        self._waiting: tuple[tuple[int, str], Frame] | None = None
        self._gone: deque[tuple[int, str]] = deque(maxlen=REMEMBERED)  # frames that went without
        self._missed = 0  # in a row
        self._why = "nothing with an ExposureTime comes"

    def add_frame(self, frame: Frame, frame_id: str) -> None:
        """Take a frame of the camera whose optical frame is ``frame_id``."""
        if self._waiting is not None:
            self._pass(*self._waiting, None)
        key = frame.stamp_ns, frame_id
        for known in (key, (frame.stamp_ns, "")):
            if known in self._told:
                self._pass(key, frame, self._told.pop(known))
                return
        if self._missed < PATIENCE:
            self._waiting = key, frame
        else:
            self._pass(key, frame, None)

    def add_metadata(self, message) -> None:
        """Take a message; one that tells no exposure time is somebody else's, and one that cannot be is refused."""
        values = {pair.value for status in message.status for pair in status.values if pair.key == KEY}
        if not values:
            return
        key = nanoseconds(message.header.stamp), message.header.frame_id
        exposure_ns = self._exposure_ns(values)
        if self._told.get(key, exposure_ns) != exposure_ns:
            self._why = "several cameras tell theirs under one stamp and frame_id; give each its own frame_id"
            exposure_ns = None
        if self._waiting is not None and (key == self._waiting[0] or key == (self._waiting[0][0], "")):
            self._pass(*self._waiting, exposure_ns)
            return
        if key in self._gone and exposure_ns is not None:
            self._missed = 0  # it came too late for that one, but it comes
        elif exposure_ns is not None:
            self._why = f"what comes has other stamps than the images, or another frame_id ('{key[1]}')"
        self._told[key] = exposure_ns
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)

    def fault(self) -> str:
        """Return why the exposure time of frames is not known; empty while it is."""
        return self._why if self._missed >= PATIENCE else ""

    def _pass(self, key: tuple[int, str], frame: Frame, exposure_ns: int | None) -> None:
        self._waiting = None
        if exposure_ns is None:
            self._missed += 1
            self._gone.append(key)
        else:
            self._missed = 0
        self._on_frame(replace(frame, exposure_ns=exposure_ns))

    def _exposure_ns(self, values: set[str]) -> int | None:
        try:
            (value,) = values
            microseconds = float(value)
        except ValueError:
            microseconds = math.nan
        if not 0 < microseconds <= LONGEST_US:
            told = ", ".join(sorted(values))
            self._why = f"an ExposureTime of '{told}' cannot be, it is in microseconds"
            return None
        return round(microseconds * 1e3)
