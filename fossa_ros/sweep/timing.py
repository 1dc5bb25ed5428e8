"""When a frame was exposed, and from when on the lens may be trusted to stand still."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fossa_ros.errors import InputError


class StampReference(StrEnum):
    """The instant that a camera driver's stamp means."""

    EXPOSURE_START = "exposure_start"  # uvcvideo
    FIRST_ROW_END = "first_row_end"  # Raspberry Pi cameras
    EXPOSURE_END = "exposure_end"  # depthai: the last row's end


@dataclass(frozen=True)
class SweepTiming:
    """Timing of camera and lens, in nanoseconds.

    Attributes:
        settling_ns: from the acknowledged command until the lens stands still; 0 for what the lens itself says of
            each move.
        exposure_ns: exposure time of one row.
        readout_ns: start of the first row's exposure to start of the last row's (0 for a global shutter).
        clock_margin_ns: how far image stamps and the node's clock may disagree.
        frame_timeout_ns: how long after settling a plane waits for its frame before the sweep is given up.
        stamp_reference: what the camera's stamps mean.
    """

    settling_ns: int = 0
    exposure_ns: int = 10_000_000
    readout_ns: int = 0
    clock_margin_ns: int = 2_000_000
    frame_timeout_ns: int = 500_000_000
    stamp_reference: StampReference = StampReference.EXPOSURE_START

    def __post_init__(self):
        for name in ("settling_ns", "exposure_ns", "readout_ns", "clock_margin_ns"):
            if getattr(self, name) < 0:
                raise InputError(f"{name.removesuffix('_ns')} must not be negative; correct it.")
        if self.frame_timeout_ns <= 0:
            raise InputError("frame_timeout must be positive; correct it.")

    def exposure_start(self, stamp_ns: int) -> int:
        """Return when the first row of a frame with this stamp began its exposure."""
        match self.stamp_reference:
            case StampReference.EXPOSURE_START:
                return stamp_ns
            case StampReference.FIRST_ROW_END:
                return stamp_ns - self.exposure_ns
            case StampReference.EXPOSURE_END:
                return stamp_ns - self.exposure_ns - self.readout_ns

    def exposure_end(self, start_ns: int) -> int:
        """Return when the last row of a frame that began at ``start_ns`` ended its exposure."""
        return start_ns + self.exposure_ns + self.readout_ns
