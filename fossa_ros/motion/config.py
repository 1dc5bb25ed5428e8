"""The thresholds of the motion check, and their defaults: the one home of both."""

from __future__ import annotations

from dataclasses import dataclass

from fossa_ros.core.parameter import check_ranges, parameter


@dataclass(frozen=True)
class MotionConfig:
    """Thresholds of the motion check; lengths in px of an image whose short edge is 518 px."""

    still_px: float = parameter(
        1.5, "Largest misalignment of a stack that is used unchanged", unit="px", minimum=0.1, maximum=50.0, live=True
    )
    repair_px: float = parameter(
        15.0,
        "Largest misalignment that is repaired by warping the planes; 0 repairs none",
        unit="px",
        minimum=0.0,
        maximum=50.0,
        live=True,
    )
    moving_share: float = parameter(
        0.02,
        "Largest share of the view that may move independently of the camera without being masked",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    masked_share: float = parameter(
        0.4,
        "Largest share of the view that may move independently of the camera and is masked; beyond it the sweep is "
        "rejected",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    follow_share: float = parameter(
        0.0,
        "Largest share of the view that may move independently of the camera and is followed by optical flow, so that "
        "only the parts where flow is unreliable are masked; 0 masks all of it",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    breathing: float = parameter(
        0.03,
        "Largest change of image scale between neighbouring planes that counts as focus breathing",
        minimum=0.0,
        maximum=0.2,
        live=True,
    )
    focus_tolerance: float = parameter(
        0.08,
        "Largest relative difference of two focus distances that count as the same focus",
        minimum=0.0,
        maximum=0.5,
        live=True,
    )
    direction_loss: float = parameter(
        0.85,
        "Smallest share of detail that a plane keeps in its worst direction against its best, compared with "
        "the previous sweep, before it counts as blurred by motion",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    neighbour_direction_loss: float = parameter(
        0.8,
        "Smallest share of detail that a plane keeps in its worst direction against its best, compared with its "
        "neighbours in focus, before it counts as blurred by motion; 0 compares none",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    min_texture: float = parameter(
        0.05,
        "Smallest share of the view that must have texture for motion to be measurable",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    gyro_bias: float = parameter(
        0.01,
        "Standard deviation of the error of the gyroscope's rate about each axis",
        unit="rad/s",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    gyro_shift_px: float = parameter(
        1.0,
        "Standard deviation of the misalignment of neighbouring planes by shifts of the camera, which a gyroscope "
        "does not measure",
        unit="px",
        minimum=0.0,
        maximum=50.0,
        live=True,
    )
    accept_unknown: bool = parameter(
        False, "Whether a sweep whose motion cannot be measured is used, not rejected", live=True
    )

    def __post_init__(self) -> None:
        check_ranges(self)

    def is_same_focus(self, a: float, b: float) -> bool:
        """Return whether two focus distances (m) count as the same."""
        return bool(a == b or abs(a - b) <= self.focus_tolerance * min(a, b))
