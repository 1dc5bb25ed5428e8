"""Configuration of the capture: camera, lens, sweeps and gyroscope."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from fossa_ros.core.errors import InputError
from fossa_ros.core.parameter import parameter, seconds, within
from fossa_ros.core.sample_range import PAYLOADS
from fossa_ros.lens.config import LensConfig
from fossa_ros.messages.camera_info import ImageKind
from fossa_ros.parameters.config import parameters_of
from fossa_ros.sweep import (
    ClockUse,
    StampReference,
    SweepConfig,
    SweepMode,
    SweepOutput,
    SweepPlan,
    SweepTiming,
    check_triggers,
)

UNIT_LENGTH = 1e-3  # by which a quaternion may differ from length 1


@dataclass(frozen=True)
class CameraConfig:
    """Group ``camera``: the camera's optics and images."""

    focal_length: float | None = parameter(
        None, "Focal length of the camera's optics, 0 if unknown", unit="m", minimum=0.0, maximum=2.0
    )
    image: ImageKind = parameter(
        "auto",
        "Whether images are raw (K and D of camera_info count) or rectified (P counts); auto takes them for rectified "
        "if a part of the resolved name of their topic begins with rect",
    )
    f_number: float | None = parameter(
        None, "F-number of the camera's optics, 0 if unknown", minimum=0.0, maximum=128.0
    )
    bits: int | None = parameter(
        None,
        "Bits that the camera uses of its 16-bit pixels, 8 to 16; 0 finds them: the least of 8, 10, 12, 14 and 16 that "
        "holds every value so far",
        minimum=0,
        maximum=16,
    )
    frame_id: str = parameter(
        "", "Frame of everything that is published, in place of the one that camera_info says; empty keeps that one"
    )
    source: str = parameter(
        "",
        "Camera that the node opens itself through OpenCV: its number (0), device, file, URL or GStreamer pipeline; "
        "empty for a camera on the topic image",
    )
    info_url: str = parameter(
        "", "Calibration of that camera, a file of camera_calibration: its path or file:///PATH; its image size counts"
    )
    pixel_format: str = parameter("", "Four letters to ask that camera for, such as MJPG or YUYV; empty for its own")

    def __post_init__(self) -> None:
        if self.source and not self.info_url:
            raise InputError("camera.source needs the camera's calibration; set camera.info_url to its file.")
        for name in ("info_url", "pixel_format"):
            if getattr(self, name) and not self.source:
                raise InputError(f"camera.{name} has no effect without camera.source; set that too, or leave it empty.")
        if self.pixel_format and (len(self.pixel_format) != 4 or not self.pixel_format.isascii()):
            raise InputError(f"camera.pixel_format must be four letters, not '{self.pixel_format}'; correct it.")
        if self.bits is not None and self.bits < PAYLOADS[0]:
            raise InputError(f"camera.bits must be 0 or within 8 .. 16, not {self.bits}; correct it.")


@dataclass(frozen=True)
class SweepParameters:
    """Group ``sweep``: where to focus, how to take a sweep, and when frames are exposed.

    Raises:
        InputError: the values do not go together.
    """

    near: float = parameter(0.35, "Nearest focus distance of a sweep", unit="m", minimum=0.01, live=True)
    far: float = parameter(
        6.0, "Farthest focus distance of a sweep; .inf is allowed", unit="m", minimum=0.01, live=True
    )
    planes: int = parameter(
        5, "Number of planes, evenly spaced in dioptres from near to far", minimum=2, maximum=64, live=True
    )
    bookend: bool = parameter(
        SweepPlan.bookend,
        "Whether each sweep takes its first plane again at its end, which shows the motion check what moved meanwhile",
        live=True,
    )
    focus_distances: tuple[float, ...] = parameter(
        (), "Focus distances one by one; replaces near, far and planes unless empty", unit="m", live=True
    )
    config: SweepConfig = field(default_factory=SweepConfig, metadata=within(""))
    timing: SweepTiming = field(default_factory=SweepTiming, metadata=within(""))
    exposure_topic: str | None = parameter(
        None,
        "Topic of each frame's metadata, which gives its exposure time (docs/nodes.md); sweep.exposure is used if this "
        "is empty, and for frames without metadata",
    )
    counter_key: str = parameter(
        "",
        "Key in the messages on sweep.exposure_topic whose value numbers the camera's exposures, one after another; "
        "counted sweeps hold it against their planes; empty for none",
    )
    clock_estimate: ClockUse = parameter(
        ClockUse.REPORT,
        "What to do with the offset of the camera's clock, estimated from the lens steps that images show: nothing, "
        "report it in /diagnostics, or also correct stamps while it is certain",
    )

    def __post_init__(self) -> None:
        if self.bookend and (self.config.mode, self.config.output) != (SweepMode.STEP, SweepOutput.SWEEP):
            raise InputError("sweep.bookend needs sweep.mode step and sweep.output sweep; change them or turn it off.")
        if self.counter_key and not self.exposure_topic:
            raise InputError("sweep.counter_key needs sweep.exposure_topic, on which the counter comes; set it.")
        if self.config.mode is SweepMode.COUNTED:
            if self.config.output is SweepOutput.ROLLING:
                raise InputError("sweep.mode counted needs sweep.output sweep; change one of them.")
            check_triggers(self.timing, self.config)
        _ = self.plan  # raises InputError if there is none

    @cached_property
    def plan(self) -> SweepPlan:
        """The planes to sweep."""
        try:
            if self.focus_distances:
                return SweepPlan(self.focus_distances, self.bookend)
            return SweepPlan.evenly(self.near, self.far, self.planes, self.bookend)
        except InputError as error:
            names = "sweep.focus_distances" if self.focus_distances else "sweep.near, sweep.far, sweep.planes"
            raise InputError(f"{names}: {error}") from error

    def plan_of(self, planes: int, near: float, far: float) -> SweepPlan | None:
        """Return the plan of a single sweep.

        Args:
            planes: number of planes, evenly spaced in dioptres; 0 for as many as ``plan`` has.
            near, far: metres; 0 or NaN for the nearest and the farthest plane of ``plan``.

        Returns:
            None if all three stand for those of ``plan``.

        Raises:
            InputError: a value is out of the range of its parameter, or near does not lie before far.
        """
        goal = {"planes": planes, "near": near, "far": far}
        given = {name: value for name, value in goal.items() if value and not math.isnan(value)}
        if not given:
            return None
        ranges = {each.name: each for each in parameters_of(SweepParameters)}
        for name, value in given.items():
            problem = ranges[name].problem(value)
            if problem:
                raise InputError(f"{problem}; correct the goal.")
        own = self.plan.focus_distances
        near, far = given.get("near", own[0]), given.get("far", own[-1])
        return SweepPlan.evenly(near, far, int(given.get("planes", len(own))), self.plan.bookend)


@dataclass(frozen=True)
class ImuConfig:
    """Group ``imu``: the gyroscope beside the camera."""

    rotation: tuple[float, ...] = parameter(
        (0.0, 0.0, 0.0, 1.0), "Quaternion (x, y, z, w) of the IMU's frame in the camera's optical frame"
    )
    clock_offset_ns: int = seconds(
        0, "Added to every stamp of imu: how far its clock is behind the camera's", minimum=-10.0, maximum=10.0
    )


@dataclass(frozen=True)
class TransformConfig:
    """Group ``tf``: the static transform to the camera's optical frame."""

    publish: bool = parameter(
        False, "Publish the transform on /tf_static; leave it to the robot's description where that has the camera"
    )
    parent: str = parameter("camera_link", "Frame in which the camera is mounted")
    translation: tuple[float, ...] = parameter(
        (0.0, 0.0, 0.0), "Place (x, y, z) of the camera's optical frame in tf.parent", unit="m"
    )
    rotation: tuple[float, ...] = parameter(
        (-0.5, 0.5, -0.5, 0.5),
        "Quaternion (x, y, z, w) of the optical frame in tf.parent; by default that of an optical frame in a link "
        "whose x points along the optical axis and z up (REP 103)",
    )

    def __post_init__(self) -> None:
        if len(self.translation) != 3:
            raise InputError(f"tf.translation must be three numbers x, y, z, not {list(self.translation)}; correct it.")
        if len(self.rotation) != 4 or abs(math.hypot(*self.rotation) - 1.0) > UNIT_LENGTH:
            raise InputError(
                f"tf.rotation must be a quaternion (x, y, z, w) of length 1, not {list(self.rotation)}; correct it."
            )


@dataclass(frozen=True)
class CaptureConfig:
    """Everything that decides how sweeps are captured."""

    image_transport: Literal["raw", "compressed"] = parameter(
        "raw", "How images arrive: raw on image, or compressed (jpeg, png) on image/compressed"
    )
    lens: LensConfig = field(default_factory=LensConfig, metadata=within("lens."))
    camera: CameraConfig = field(default_factory=CameraConfig, metadata=within("camera."))
    sweep: SweepParameters = field(default_factory=SweepParameters, metadata=within("sweep."))
    imu: ImuConfig = field(default_factory=ImuConfig, metadata=within("imu."))
    tf: TransformConfig = field(default_factory=TransformConfig, metadata=within("tf."))

    def __post_init__(self) -> None:
        nearest, focal_length = min(self.sweep.plan.focus_distances), self.camera.focal_length
        if self.sweep.config.mode is not SweepMode.EXTERNAL and focal_length is not None and nearest <= focal_length:
            raise InputError(
                f"The nearest plane of the sweep, {nearest:g} m, must lie beyond camera.focal_length, "
                f"{focal_length:g} m; correct one of them, in metres (12 mm is 0.012)."
            )
        if not self.camera.source:
            return
        if self.image_transport != "raw":
            raise InputError("image_transport compressed has no effect with camera.source; leave one of them out.")
        if self.sweep.exposure_topic:
            raise InputError("sweep.exposure_topic has no effect with camera.source; leave one of them empty.")
        timing = self.sweep.timing
        if timing.stamp_reference is StampReference.ARRIVAL and not timing.delay_ns:
            raise InputError(
                "camera.source with sweep.stamp_reference arrival needs sweep.delay, the longest time from the end of "
                "an exposure to its arrival; set it."
            )
