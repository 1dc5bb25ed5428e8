"""When a frame was exposed, and when the lens has settled."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fossa_ros.core.parameter import check_ranges, parameter, seconds
from fossa_ros.lens import LensMove
from fossa_ros.sweep.frame import Frame


class StampReference(StrEnum):
    """The instant that a camera driver's stamps refer to."""

    EXPOSURE_START = "exposure_start"  # uvcvideo
    FIRST_ROW_END = "first_row_end"  # Raspberry Pi cameras
    EXPOSURE_END = "exposure_end"  # depthai: the last row's end
    ARRIVAL = "arrival"  # when the driver received the image: some delay after the last row's end


@dataclass(frozen=True)
class SweepTiming:
    """Timing of camera and lens.

    Raises:
        InputError: a value is outside the range of its parameter.
    """

    settling_ns: int = seconds(
        0,
        "Time from the acknowledged lens command until the lens is still; 0 for what its backend says of each move",
        minimum=0.0,
        maximum=10.0,
    )
    exposure_ns: int = seconds(
        10_000_000,
        "Exposure time of the camera; set it to the longest that auto-exposure may choose",
        minimum=0.0,
        maximum=10.0,
        live=True,
    )
    readout_ns: int = seconds(
        0,
        "Rolling shutter: time from the first to the last row's start of exposure; 0 for a global shutter",
        minimum=0.0,
        maximum=1.0,
    )
    clock_margin_ns: int = seconds(
        2_000_000, "How far image stamps and this node's clock may disagree", minimum=0.0, maximum=1.0
    )
    frame_timeout_ns: int = seconds(
        500_000_000,
        "How long a settled plane waits for its frame before the sweep is abandoned",
        minimum=0.001,
        maximum=60.0,
        live=True,
    )
    stamp_reference: StampReference = parameter(
        StampReference.EXPOSURE_START, "Instant that the camera driver's stamps refer to"
    )
    delay_ns: int = seconds(
        0,
        "Longest time from the end of exposure to the stamp, if stamp_reference is arrival",
        minimum=0.0,
        maximum=1.0,
    )
    clock_offset_ns: int = seconds(
        0,
        "Added to every image stamp: how far the camera's clock is behind this node's",
        minimum=-10.0,
        maximum=10.0,
    )

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def window_ns(self) -> int:
        """Length of the ``window`` of a frame with the configured exposure time."""
        return self.exposure_ns + self.readout_ns + self.doubt_ns

    def settled_ns(self, move: LensMove) -> int:
        """Return the time from which the lens stands still after ``move``."""
        return move.acknowledged_ns + (self.settling_ns or move.settling_ns)

    @property
    def doubt_ns(self) -> int:
        """How much earlier than the latest possible a frame may have been exposed."""
        return self.delay_ns if self.stamp_reference is StampReference.ARRIVAL else 0

    def exposed(self, frame: Frame) -> tuple[int, int]:
        """Return the ``window`` of a frame."""
        return self.window(frame.stamp_ns, frame.exposure_ns)

    def window(self, stamp_ns: int, exposure_ns: int | None = None) -> tuple[int, int]:
        """Return the start and the end of the time within which every row was exposed, on the node's clock.

        It begins with the first row's exposure and ends with the last row's; where stamps mean arrival, it is longer
        by the delay that is not known.

        Args:
            stamp_ns: the driver's stamp.
            exposure_ns: exposure time of one row; None for the one configured.
        """
        exposure = self.exposure_ns if exposure_ns is None else exposure_ns
        length = exposure + self.readout_ns + self.doubt_ns
        before = {
            StampReference.EXPOSURE_START: 0,
            StampReference.FIRST_ROW_END: exposure,
            StampReference.EXPOSURE_END: exposure + self.readout_ns,
            StampReference.ARRIVAL: length,
        }[self.stamp_reference]
        start = stamp_ns + self.clock_offset_ns - before
        return start, start + length
