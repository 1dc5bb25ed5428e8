"""The thresholds of the motion check, and their defaults: the one home of both."""

from __future__ import annotations

from dataclasses import dataclass, field


def _parameter(default, description: str, unit: str = "", minimum=None, maximum=None):
    metadata = {"description": description, "unit": unit, "minimum": minimum, "maximum": maximum}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class MotionConfig:
    """Thresholds of the motion check; lengths in px of an image whose short edge is 518 px."""

    still_px: float = _parameter(1.5, "Largest misalignment of a stack that is used as it is", "px", 0.1, 50.0)
    repair_px: float = _parameter(
        15.0, "Largest misalignment that is repaired by warping the planes; 0 repairs none", "px", 0.0, 50.0
    )
    moving_share: float = _parameter(
        0.02, "Largest share of the view that may move by itself and yet is left as it is", "", 0.0, 1.0
    )
    masked_share: float = _parameter(
        0.4,
        "Largest share of the view that may move by itself and is masked; beyond it the sweep is rejected",
        "",
        0.0,
        1.0,
    )
    follow_share: float = _parameter(
        0.0,
        "Largest share of the view that may move by itself and is followed by flow, so that only what flow cannot be "
        "trusted with is masked; 0 masks all of it",
        "",
        0.0,
        1.0,
    )
    breathing: float = _parameter(
        0.03,
        "Largest change of image scale between neighbouring planes that counts as focus breathing",
        "",
        0.0,
        0.2,
    )
    focus_tolerance: float = _parameter(
        0.08, "Largest relative difference of two focus distances that count as the same focus", "", 0.0, 0.5
    )
    direction_loss: float = _parameter(
        0.85,
        "Smallest share of detail that a plane keeps in its worst direction against its best, compared with "
        "the previous sweep, before it counts as blurred by motion",
        "",
        0.0,
        1.0,
    )
    min_texture: float = _parameter(
        0.05, "Smallest share of the view that must have texture for motion to be measurable", "", 0.0, 1.0
    )
    gyro_bias: float = _parameter(
        0.01, "How wrong the gyroscope's rate may be about each axis (standard deviation)", "rad/s", 0.0, 1.0
    )
    gyro_shift_px: float = _parameter(
        1.0,
        "Standard deviation of what shifts of the camera, which a gyroscope does not see, misalign neighbouring planes",
        "px",
        0.0,
        50.0,
    )
    accept_unknown: bool = _parameter(False, "Whether a sweep whose motion is unknown is used; else it is refused")
