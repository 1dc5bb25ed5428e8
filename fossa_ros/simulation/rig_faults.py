"""Faults of a camera and a lens that the simulated rig can inject, to rehearse how a robot handles them."""

from __future__ import annotations

from enum import StrEnum

from fossa_ros.simulation.ld4_device import SimulatedLd4
from fossa_ros.simulation.serial_device import LineFault


class RigFault(StrEnum):
    """A fault of the simulated rig."""

    NONE = "none"
    CAMERA_STOPPED = "camera_stopped"
    HALF_RATE = "half_rate"
    OTHER_SIZE = "other_size"  # the middle of the image, with its calibration
    OTHER_ENCODING = "other_encoding"  # another that can be decoded
    TEN_BITS = "ten_bits"  # of 16, grey
    TWELVE_BITS = "twelve_bits"  # the same
    UNKNOWN_ENCODING = "unknown_encoding"
    PAST_STAMPS = "past_stamps"  # an hour ago
    NO_CAMERA_INFO = "no_camera_info"
    ZERO_CAMERA_INFO = "zero_camera_info"
    OTHER_CAMERA_INFO = "other_camera_info"  # of an image of another size
    LENS_SILENT = "lens_silent"
    LENS_SLOW = "lens_slow"  # acknowledges late
    LENS_ELSEWHERE = "lens_elsewhere"  # goes elsewhere than commanded
    LENS_HOT = "lens_hot"
    LENS_STUCK = "lens_stuck"  # reports that it moves, and stays where it is
    FRAMES_REPEAT = "frames_repeat"  # the camera sends its last image with new stamps


ALWAYS = 2**31  # replies
_REPLIES = {RigFault.LENS_SILENT: LineFault(silent=True), RigFault.LENS_SLOW: LineFault(delay=0.1)}
STRAY = 0.4  # dioptres
HEAT = 55.0  # degC


def inject_lens_fault(device: SimulatedLd4, fault: RigFault) -> None:
    """Inject ``fault`` into the lens driver and clear any other; a fault of the camera only clears it."""
    device.inject(_REPLIES.get(fault, LineFault()), ALWAYS if fault in _REPLIES else 0)
    device.stray = STRAY if fault is RigFault.LENS_ELSEWHERE else 0.0
    device.heat = HEAT if fault is RigFault.LENS_HOT else 0.0
