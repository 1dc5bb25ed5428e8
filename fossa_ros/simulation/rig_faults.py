"""What can go wrong with a camera and a lens, on request: for rehearsing what a robot does about it."""

from __future__ import annotations

from enum import StrEnum

from fossa_ros.simulation.ld4_device import SimulatedLd4
from fossa_ros.simulation.misbehaviour import Misbehaviour


class RigFault(StrEnum):
    """One thing that is wrong while it lasts."""

    NONE = "none"
    CAMERA_STOPPED = "camera_stopped"
    HALF_RATE = "half_rate"
    OTHER_SIZE = "other_size"  # the middle of the image, with the calibration of that
    OTHER_ENCODING = "other_encoding"  # one that can be decoded
    UNKNOWN_ENCODING = "unknown_encoding"
    PAST_STAMPS = "past_stamps"  # an hour ago
    NO_CAMERA_INFO = "no_camera_info"
    ZERO_CAMERA_INFO = "zero_camera_info"
    OTHER_CAMERA_INFO = "other_camera_info"  # of an image of another size
    LENS_SILENT = "lens_silent"
    LENS_SLOW = "lens_slow"  # acknowledges late
    LENS_LYING = "lens_lying"  # goes elsewhere than it is told
    LENS_HOT = "lens_hot"


ALWAYS = 2**31  # replies
_REPLIES = {RigFault.LENS_SILENT: Misbehaviour(silent=True), RigFault.LENS_SLOW: Misbehaviour(delay=0.1)}
STRAY = 0.4  # dioptres
HEAT = 55.0  # degC


def spoil_lens(device: SimulatedLd4, fault: RigFault) -> None:
    """Give the lens driver ``fault`` and no other; faults of the camera are none of its."""
    device.misbehave(_REPLIES.get(fault, Misbehaviour()), ALWAYS if fault in _REPLIES else 0)
    device.stray = STRAY if fault is RigFault.LENS_LYING else 0.0
    device.heat = HEAT if fault is RigFault.LENS_HOT else 0.0
