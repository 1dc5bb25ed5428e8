"""How sweeps are taken: who moves the lens, when a stack is complete, and what is certain enough."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from fossa_ros.core.optics import dioptres
from fossa_ros.core.parameter import check_ranges, parameter, seconds, within
from fossa_ros.sweep.lens_response import LensResponse
from fossa_ros.sweep.plan import SweepPlan
from fossa_ros.sweep.timing import SweepTiming

SAMPLED = 3.0  # by which the focus of a moving lens is less certain from samples than from its commands


class SweepMode(StrEnum):
    """Who moves the lens, and how."""

    STEP = "step"
    RAMP = "ramp"
    EXTERNAL = "external"
    COUNTED = "counted"

    @property
    def drives_lens(self) -> bool:
        """Whether this program drives the lens."""
        return self in (SweepMode.STEP, SweepMode.RAMP)


class TriggerOrder(StrEnum):
    """The order in which a triggered rig goes through the planes."""

    NEAR_TO_FAR = "near_to_far"
    FAR_TO_NEAR = "far_to_near"
    SOURCE = "source"  # the field source of each trigger says which of the two


class SweepOutput(StrEnum):
    """When a stack is complete."""

    SWEEP = "sweep"  # once every plane is new
    ROLLING = "rolling"  # whenever one plane is new


@dataclass(frozen=True)
class SweepConfig:
    """How sweeps are taken.

    Raises:
        InputError: a value is outside the range of its parameter.
    """

    mode: SweepMode = parameter(
        SweepMode.STEP,
        "How the lens moves: step from plane to plane, ramp evenly through them, external: another node drives it "
        "and publishes lens/state, or counted: hardware triggers lens and camera, and lens/trigger says when a sweep "
        "began",
    )
    output: SweepOutput = parameter(
        SweepOutput.SWEEP, "When a depth map is made: once per sweep, or rolling: whenever a plane is renewed"
    )
    arrival_jitter_ns: int = seconds(
        20_000_000,
        "How much longer than the fastest frame another may take to arrive; a later one is held until the camera's "
        "clock is known to be intact",
        minimum=0.0001,
        maximum=1.0,
    )
    max_span_ns: int = seconds(
        1_000_000_000,
        "Longest time from the oldest to the newest plane of a stack, with rolling output or an external lens; "
        "triggers of counted sweeps are waited for twice as long",
        minimum=0.01,
        maximum=600.0,
        live=True,
    )
    focus_tolerance: float = parameter(
        0.25,
        "Largest uncertainty of a frame's focus while the lens moves; a ramp is made slow enough for it",
        unit="D",
        minimum=0.03,
        maximum=10.0,
        live=True,
    )
    position_tolerance: float = parameter(
        0.05,
        "How far a lens may be from the plane it was commanded to",
        unit="D",
        minimum=0.001,
        maximum=10.0,
        live=True,
    )
    response: LensResponse = field(default_factory=LensResponse, metadata=within(""))
    ramp_interval_ns: int = seconds(4_000_000, "Time between the lens commands of a ramp", minimum=0.0005, maximum=1.0)
    state_gap_ns: int = seconds(
        100_000_000,
        "External lens: longest gap in lens/state that is interpolated",
        minimum=0.001,
        maximum=10.0,
    )
    state_offset_ns: int = seconds(
        0,
        "External lens: added to the stamps of lens/state and lens/trigger: how far their clock is behind this node's",
        minimum=-10.0,
        maximum=10.0,
    )
    trigger_period_ns: int = seconds(
        33_333_333,
        "Counted sweeps: time from the exposure of one plane to that of the next",
        minimum=0.0005,
        maximum=10.0,
    )
    trigger_delay_ns: int = seconds(
        0,
        "Counted sweeps: time from the stamp of lens/trigger to the start of the first plane's exposure",
        minimum=-10.0,
        maximum=10.0,
    )
    trigger_order: TriggerOrder = parameter(
        TriggerOrder.NEAR_TO_FAR,
        "Counted sweeps: the order of the planes; source: the field source of each trigger says which",
    )

    def __post_init__(self) -> None:
        check_ranges(self)

    def ramp_plane_ns(self, plan: SweepPlan, timing: SweepTiming, command_ns: int, measures: bool = False) -> int:
        """Return the least time from one plane of a ramp to the next at which its focus is certain enough.

        ``command_ns`` is how long a command takes to be acknowledged.
        """
        powers = dioptres(plan.focus_distances).tolist()
        spacing = max(nearer - farther for nearer, farther in pairwise(powers))
        tolerance = self.focus_tolerance / SAMPLED if measures else self.focus_tolerance
        return self.response.slowest_ns(spacing, tolerance, timing.clock_margin_ns, command_ns)
