"""A frame as it arrived, and the reasons why a frame is not used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Drop(StrEnum):
    """Why a frame was not used."""

    BEFORE_COMMAND = "exposed before the lens was commanded"
    SETTLING = "exposed while the lens was settling"
    COMMAND_DURING = "the lens was commanded during its exposure"
    PLANE_TAKEN = "its plane already had a frame"
    NO_STAMP = "its stamp is zero (let the camera's driver set it)"
    DUPLICATE = "its stamp was seen before"
    FUTURE = "its stamp is ahead of the clock (check sweep.stamp_reference, sweep.exposure and clock synchronisation)"
    FORMAT = "its size or encoding differs from the first frame of the sweep"
    CAMERA_INFO = "its intrinsics differ from the first frame of the sweep"
    CLOCK_JUMP = (
        "the camera's clock jumped against this node's (its frames are used again once the two agree as before, or "
        "agree differently for 5 s)"
    )
    LATE = "it arrived much later than the others, or the camera's clock jumped (see sweep.arrival_jitter)"
    LENS_ELSEWHERE = "the lens was measured away from its plane"
    UNCERTAIN = "the focus of the moving lens was not certain enough (see sweep.focus_tolerance)"
    NO_LENS_STATE = "no lens state covers its exposure (set sweep.settling if the lens does not measure its position)"
    AWAITING_LENS = "no later lens state has arrived"
    NOT_TRIGGERED = "no plane of a trigger was due when it was exposed"
    OUTSIDE_PLAN = "the lens was outside the planes of the sweep"


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame as it arrived, pixels untouched.

    Attributes:
        stamp_ns: the driver's stamp.
        arrival_ns: when it arrived, on the same clock.
        format: anything comparable that must not change within a sweep (size, encoding, optical frame).
        intrinsics: the calibration of the camera, which must not change within a sweep: what the ``camera`` of a
            SweepDecoder reads, by default the nine numbers of K, row by row.
        image: the image in the form in which it came, to be decoded later.
        camera_info: the calibration message that came with it, passed on unchanged; None without one.
        exposure_ns: exposure time of one row if the camera reports it; None for the configured one.
        counter: the camera's number of the frame, one more than that of the exposure before; None without one.
    """

    stamp_ns: int
    arrival_ns: int
    format: Hashable
    intrinsics: Hashable
    image: Any
    camera_info: Any = None
    exposure_ns: int | None = None
    counter: int | None = None


def describe_drops(drops: Counter[Drop]) -> str:
    """Say how many frames were not used and why, the most frequent reason first; empty for none."""
    return "; ".join(f"{count} {drop}" for drop, count in drops.most_common())
