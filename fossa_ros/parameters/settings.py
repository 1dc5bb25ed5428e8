"""The parameters of ``fossa_node`` and its halves, and the objects they describe."""

from __future__ import annotations

import array
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from fossa_ros.calibration import breathing_correction
from fossa_ros.calibration.calibrated_lens import CalibratedLens
from fossa_ros.calibration.calibration_file import read_calibration
from fossa_ros.calibration.lens_calibration import LensCalibration
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusStack
from fossa_ros.estimators.estimator import (
    DEFAULT_ESTIMATOR,
    ESTIMATORS,
    Estimator,
    create_estimator,
    estimator_options,
)
from fossa_ros.lens import FocusLens, open_lens
from fossa_ros.lens.options import parse_options
from fossa_ros.motion import MotionConfig
from fossa_ros.parameters.parameter import Parameter
from fossa_ros.parameters.thresholds import DIAGNOSTICS
from fossa_ros.pipeline.temporal_filter import TemporalConfig, TemporalFilter
from fossa_ros.sweep import (
    ClockUse,
    GyroBuffer,
    StampReference,
    SweepConfig,
    SweepMode,
    SweepOutput,
    SweepPlan,
    SweepTiming,
)
from fossa_ros.sweep.track import LensResponse

SECONDS = 1e9  # parameters are in seconds, the library counts nanoseconds


def _seconds(field: str, of: type = SweepTiming) -> float:
    return getattr(of, field) / SECONDS


_LENS = (
    Parameter("lens.backend", "optotune_ld4", "Which lens driver to use; other packages can add theirs"),
    Parameter(
        "lens.port",
        "/dev/ttyACM0",
        "Where the lens is: serial port, usb:VID:PID[:SERIAL], video device, or node of a camera",
    ),
    Parameter(
        "lens.power_offset",
        0.0,
        "Dioptres that the fixed optics add to the tunable lens: 1 / focus distance = lens power + offset",
        "D",
    ),
    Parameter(
        "lens.options",
        "",
        "More options of the lens backend: NAME=VALUE, separated by blanks; docs/lenses.md lists them",
    ),
    Parameter(
        "lens.calibration",
        "",
        "File of 'fossa calibrate', which tells metres and takes out focus breathing; empty for none",
    ),
    Parameter(
        "lens.temperature_limit",
        5.0,
        "How far the lens may leave the temperatures of its calibration before /diagnostics warns",
        "degC",
        minimum=0.0,
        maximum=100.0,
    ),
    Parameter("camera.focal_length", 0.0, "Focal length of the camera's optics, 0 if unknown", "m", minimum=0.0),
    Parameter("camera.f_number", 0.0, "F-number of the camera's optics, 0 if unknown", minimum=0.0),
)
_SWEEP = (
    Parameter(
        "sweep.mode",
        str(SweepConfig.mode),
        "How the lens moves: step from plane to plane, ramp evenly through them, or external: somebody else drives it "
        "and publishes lens/state",
        choices=tuple(str(mode) for mode in SweepMode),
    ),
    Parameter(
        "sweep.output",
        str(SweepConfig.output),
        "When there is depth: once a sweep, or rolling, whenever one plane is renewed",
        choices=tuple(str(output) for output in SweepOutput),
    ),
    Parameter("sweep.near", 0.35, "Nearest focus distance of a sweep", "m", minimum=0.01),
    Parameter("sweep.far", 6.0, "Farthest focus distance of a sweep; .inf is allowed", "m", minimum=0.01),
    Parameter("sweep.planes", 5, "Number of planes, evenly spaced in dioptres from near to far", minimum=2, maximum=64),
    Parameter(
        "sweep.bookend",
        SweepPlan.bookend,
        "Whether each sweep takes its first plane again at its end, which shows the motion check what moved meanwhile",
    ),
    Parameter(
        "sweep.focus_distances",
        array.array("d"),
        "Focus distances given one by one; replaces near, far and planes where not empty",
        "m",
    ),
    Parameter(
        "sweep.settling",
        _seconds("settling_ns"),
        "From the acknowledged lens command until the lens stands still; 0 for what the lens backend says of each move",
        "s",
        minimum=0.0,
        maximum=10.0,
    ),
    Parameter(
        "sweep.exposure",
        _seconds("exposure_ns"),
        "Exposure time of the camera; set it to the longest that auto-exposure may choose",
        "s",
        minimum=0.0,
        maximum=10.0,
    ),
    Parameter(
        "sweep.exposure_topic",
        "",
        "Topic of each frame's metadata, which tell its exposure time (docs/nodes.md); empty for sweep.exposure "
        "always, which also holds where the metadata does not come",
    ),
    Parameter(
        "sweep.readout",
        _seconds("readout_ns"),
        "Rolling shutter: from the first to the last row's start of exposure; 0 for a global shutter",
        "s",
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        "sweep.clock_margin",
        _seconds("clock_margin_ns"),
        "How far image stamps and this node's clock may disagree",
        "s",
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        "sweep.frame_timeout",
        _seconds("frame_timeout_ns"),
        "How long a settled plane waits for its frame before the sweep is given up",
        "s",
        minimum=0.001,
        maximum=60.0,
    ),
    Parameter(
        "sweep.stamp_reference",
        str(SweepTiming.stamp_reference),
        "The instant that the camera driver's stamps mean",
        choices=tuple(str(reference) for reference in StampReference),
    ),
    Parameter(
        "sweep.delay",
        _seconds("delay_ns"),
        "Longest time from the end of exposure to the stamp, where stamp_reference is arrival",
        "s",
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        "sweep.clock_offset",
        _seconds("clock_offset_ns"),
        "Added to every image stamp: what the camera's clock is behind this node's",
        "s",
        minimum=-10.0,
        maximum=10.0,
    ),
    Parameter(
        "sweep.clock_estimate",
        str(ClockUse.REPORT),
        "Whether the camera's clock is compared with the lens's by what images show of lens steps: not at all, "
        "reported in /diagnostics, or used to correct stamps where it is certain",
        choices=tuple(str(use) for use in ClockUse),
    ),
    Parameter(
        "sweep.arrival_jitter",
        _seconds("arrival_jitter_ns", SweepConfig),
        "How much longer than the quickest frame another may take to arrive before it is held until the camera's "
        "clock is proved intact",
        "s",
        minimum=0.0001,
        maximum=1.0,
    ),
    Parameter(
        "sweep.max_span",
        _seconds("max_span_ns", SweepConfig),
        "Longest time from the oldest to the newest plane of a stack, with rolling output or an external lens",
        "s",
        minimum=0.01,
        maximum=600.0,
    ),
    Parameter(
        "sweep.focus_tolerance",
        SweepConfig.focus_tolerance,
        "How uncertain a frame's focus may be while the lens moves; a ramp is made slow enough for it",
        "D",
        minimum=0.03,
        maximum=10.0,
    ),
    Parameter(
        "sweep.position_tolerance",
        SweepConfig.position_tolerance,
        "How far a lens may be off the plane it was told",
        "D",
        minimum=0.001,
        maximum=10.0,
    ),
    Parameter(
        "sweep.time_constant",
        _seconds("time_constant_ns", LensResponse),
        "Of the lens's exponential approach to its command, for a ramp",
        "s",
        minimum=0.0001,
        maximum=1.0,
    ),
    Parameter(
        "sweep.ramp_interval",
        _seconds("ramp_interval_ns", SweepConfig),
        "Between the lens commands of a ramp",
        "s",
        minimum=0.0005,
        maximum=1.0,
    ),
    Parameter(
        "sweep.state_gap",
        _seconds("state_gap_ns", SweepConfig),
        "External lens: longest silence of lens/state that is interpolated",
        "s",
        minimum=0.001,
        maximum=10.0,
    ),
    Parameter(
        "sweep.state_offset",
        _seconds("state_offset_ns", SweepConfig),
        "External lens: added to the stamps of lens/state: what their clock is behind this node's",
        "s",
        minimum=-10.0,
        maximum=10.0,
    ),
)
_MOTION = tuple(
    Parameter(
        f"motion.{field.name}",
        field.default,
        field.metadata["description"],
        field.metadata.get("unit", ""),
        minimum=field.metadata.get("minimum"),
        maximum=field.metadata.get("maximum"),
    )
    for field in fields(MotionConfig)
)
_ESTIMATOR = (
    Parameter(
        "estimator",
        DEFAULT_ESTIMATOR,
        "What turns a focus stack into depth: auto is fossa on a GPU, else classical; other packages can add theirs",
        choices=ESTIMATORS,
    ),
    Parameter("model", "nano", "FOSSA network, for estimator fossa and auto", choices=("vits", "vitb", "vitl", "nano")),
    Parameter(
        "checkpoint",
        "",
        "Weights of the FOSSA network: a file, or a name on the Hugging Face hub; empty for those that nano comes with",
    ),
    Parameter("device", "auto", "Where the network runs: auto, cpu, cuda or cuda:N"),
    Parameter("precision", "fp32", "Arithmetic of the network", choices=("fp32", "bf16", "fp16")),
    Parameter("compile", False, "Compile the network with torch.compile, at the first stack of each size"),
)
_OUTPUT = (
    Parameter(
        "depth.encoding",
        "32FC1",
        "Encoding of depth/image: 32FC1 in metres with NaN, or 16UC1 in millimetres with 0, where depth is unknown",
        choices=("32FC1", "16UC1"),
    ),
    Parameter(
        "depth.temporal_memory",
        0.0,
        "Share of the past averaged into each depth map where both show the same surface; 0 leaves each map as it is",
        minimum=0.0,
        maximum=0.95,
    ),
    Parameter(
        "depth.max_age",
        0.0,
        "Depth older than that, from its stamp until it is ready, is not published but reported as stale; 0: no bound",
        "s",
        minimum=0.0,
        maximum=3600.0,
    ),
)
_CAMERA = (
    Parameter(
        "image_transport",
        "raw",
        "How images come: raw on image, or compressed (jpeg, png) on image/compressed",
        choices=("raw", "compressed"),
    ),
)
_IMU = (
    Parameter(
        "imu.rotation",
        array.array("d", [0.0, 0.0, 0.0, 1.0]),
        "Quaternion (x, y, z, w) of the IMU's frame in the camera's optical frame",
    ),
    Parameter(
        "imu.clock_offset",
        0.0,
        "Added to every stamp of imu: what its clock is behind the camera's",
        "s",
        minimum=-10.0,
        maximum=10.0,
    ),
)
CAPTURE = (*_CAMERA, *_LENS, *_SWEEP, *_IMU)
DEPTH = (*_ESTIMATOR, *_MOTION, *_OUTPUT)
FOSSA_NODE = (*CAPTURE, *DEPTH, *DIAGNOSTICS)
SWEEP_NODE = (*CAPTURE, *DIAGNOSTICS)
DEPTH_NODE = (*DEPTH, *DIAGNOSTICS)


def sweep_plan(values: dict[str, Any]) -> SweepPlan:
    """Return the planes to sweep; raises InputError."""
    bookend = values["sweep.bookend"]
    if bookend and (values["sweep.mode"], values["sweep.output"]) != (SweepMode.STEP, SweepOutput.SWEEP):
        raise InputError("sweep.bookend needs sweep.mode step and sweep.output sweep; change them or turn it off.")
    try:
        if values["sweep.focus_distances"]:
            return SweepPlan(tuple(values["sweep.focus_distances"]), bookend)
        return SweepPlan.evenly(values["sweep.near"], values["sweep.far"], values["sweep.planes"], bookend)
    except InputError as error:
        names = "sweep.focus_distances" if values["sweep.focus_distances"] else "sweep.near, sweep.far, sweep.planes"
        raise InputError(f"{names}: {error}") from error


def sweep_timing(values: dict[str, Any]) -> SweepTiming:
    """Return the timing of camera and lens; raises InputError."""
    spans = ("settling", "exposure", "readout", "delay", "clock_offset", "clock_margin", "frame_timeout")
    return SweepTiming(
        **{f"{span}_ns": round(values[f"sweep.{span}"] * SECONDS) for span in spans},
        stamp_reference=StampReference(values["sweep.stamp_reference"]),
    )


def sweep_config(values: dict[str, Any]) -> SweepConfig:
    """Return how sweeps are taken; raises InputError."""
    spans = ("max_span", "arrival_jitter", "ramp_interval", "state_gap", "state_offset")
    return SweepConfig(
        mode=SweepMode(values["sweep.mode"]),
        output=SweepOutput(values["sweep.output"]),
        focus_tolerance=values["sweep.focus_tolerance"],
        position_tolerance=values["sweep.position_tolerance"],
        response=LensResponse(time_constant_ns=round(values["sweep.time_constant"] * SECONDS)),
        **{f"{span}_ns": round(values[f"sweep.{span}"] * SECONDS) for span in spans},
    )


def motion_config(values: dict[str, Any]) -> MotionConfig:
    """Return the thresholds of the motion check."""
    return MotionConfig(**{field.name: values[f"motion.{field.name}"] for field in fields(MotionConfig)})


def temporal_filter(values: dict[str, Any]) -> TemporalFilter | None:
    """Return what steadies successive depth maps; None where that is off."""
    memory = values["depth.temporal_memory"]
    return TemporalFilter(TemporalConfig(memory=memory)) if memory else None


def camera_optics(values: dict[str, Any]) -> dict[str, float | None]:
    """Return ``focal_length`` (m) and ``f_number``, None where unknown."""
    return {name: values[f"camera.{name}"] or None for name in ("focal_length", "f_number")}


def estimator(values: dict[str, Any]) -> Estimator:
    """Return the estimator, its model loaded; raises InputError."""
    name = values["estimator"]
    return create_estimator(name, **{option: values[option] or None for option in estimator_options(name)})


def lens_calibration(values: dict[str, Any]) -> LensCalibration | None:
    """Return the lens's calibration, None where there is none; raises InputError."""
    return read_calibration(values["lens.calibration"]) if values["lens.calibration"] else None


def plane_scales(calibration: LensCalibration | None) -> Callable[[FocusStack], np.ndarray] | None:
    """Return what tells the breathing of a stack's planes, None where it was not calibrated."""
    if calibration is None or calibration.breathing is None:
        return None
    return lambda stack: breathing_correction.plane_scales(stack, calibration.breathing)


def gyro_buffer(values: dict[str, Any]) -> GyroBuffer:
    """Return what holds the samples of ``imu``; raises InputError."""
    return GyroBuffer(values["imu.rotation"], round(values["imu.clock_offset"] * SECONDS))


def lens_opener(
    values: dict[str, Any], clock: Callable[[], int], calibration: LensCalibration | None = None
) -> Callable[[], FocusLens]:
    """Return what opens the lens, now and again after it was lost."""

    def open_it() -> FocusLens:
        if not values["lens.port"]:
            raise InputError("lens.port is empty; set it to the lens's serial port, for example /dev/ttyACM0.")
        options = parse_options(values["lens.options"].split())
        if values["lens.power_offset"]:  # not every backend has one
            options["power_offset"] = values["lens.power_offset"]
        lens = open_lens(values["lens.backend"], values["lens.port"], clock=clock, **options)
        if calibration is None:
            return lens
        try:
            return CalibratedLens(lens, calibration, clock=clock, temperature_limit=values["lens.temperature_limit"])
        except InputError:
            lens.close()
            raise

    return open_it
