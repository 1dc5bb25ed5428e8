"""When a frame was exposed, and from when on the lens may be trusted to stand still."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fossa_ros.core.errors import InputError
from fossa_ros.lens import LensMove
from fossa_ros.sweep.frame import Frame


class StampReference(StrEnum):
    """The instant that a camera driver's stamp means."""

    EXPOSURE_START = "exposure_start"  # uvcvideo
    FIRST_ROW_END = "first_row_end"  # Raspberry Pi cameras
    EXPOSURE_END = "exposure_end"  # depthai: the last row's end
    ARRIVAL = "arrival"  # the driver took the time when it had the image: some delay after the last row's end


@dataclass(frozen=True)
class SweepTiming:
    """Timing of camera and lens, in nanoseconds.

    Attributes:
        settling_ns: from the acknowledged command until the lens stands still; 0 for what the lens itself says of
            each move.
        exposure_ns: exposure time of one row, of frames that do not tell their own.
        readout_ns: start of the first row's exposure to start of the last row's (0 for a global shutter).
        delay_ns: longest delay from the end of exposure to a stamp that means arrival.
        clock_offset_ns: added to every stamp: what the camera's clock is behind the node's.
        clock_margin_ns: how far image stamps and the node's clock may still disagree.
        frame_timeout_ns: how long after settling a plane waits for its frame before the sweep is given up.
        stamp_reference: what the camera's stamps mean.
    """

    settling_ns: int = 0
    exposure_ns: int = 10_000_000
    readout_ns: int = 0
    delay_ns: int = 0
    clock_offset_ns: int = 0
    clock_margin_ns: int = 2_000_000
    frame_timeout_ns: int = 500_000_000
    stamp_reference: StampReference = StampReference.EXPOSURE_START

    def __post_init__(self):
        for name in ("settling_ns", "exposure_ns", "readout_ns", "delay_ns", "clock_margin_ns"):
            if getattr(self, name) < 0:
                raise InputError(f"{name.removesuffix('_ns')} must not be negative; correct it.")
        if self.frame_timeout_ns <= 0:
            raise InputError("frame_timeout must be positive; correct it.")

    @property
    def window_ns(self) -> int:
        """Length of the window that ``exposed`` returns for a frame that does not tell its exposure."""
        return self.exposure_ns + self.readout_ns + self._doubt_ns

    def settled_ns(self, move: LensMove) -> int:
        """Return from when on the lens stands still after ``move``."""
        return move.acknowledged_ns + (self.settling_ns or move.settling_ns)

    @property
    def _doubt_ns(self) -> int:
        """How much earlier than the latest possible a frame may have been exposed."""
        return self.delay_ns if self.stamp_reference is StampReference.ARRIVAL else 0

    def exposed(self, frame: Frame) -> tuple[int, int]:
        """Return the window within which every row of ``frame`` was exposed, on the node's clock.

        It begins with the first row's exposure and ends with the last row's; where stamps mean arrival, it is longer
        by the delay that is not known.
        """
        exposure = self.exposure_ns if frame.exposure_ns is None else frame.exposure_ns
        length = exposure + self.readout_ns + self._doubt_ns
        before = {
            StampReference.EXPOSURE_START: 0,
            StampReference.FIRST_ROW_END: exposure,
            StampReference.EXPOSURE_END: exposure + self.readout_ns,
            StampReference.ARRIVAL: length,
        }[self.stamp_reference]
        start = frame.stamp_ns + self.clock_offset_ns - before
        return start, start + length
