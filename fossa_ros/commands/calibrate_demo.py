"""Calibrate a simulated lens whose true properties are known: the whole procedure without hardware."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fossa_ros.calibration.calibrate import CalibrationResult
from fossa_ros.calibration.live import both_ways, device_of, record_series, soak
from fossa_ros.calibration.recording import RecordingWriter
from fossa_ros.calibration.series import CalibrationSeries, Direction
from fossa_ros.core.optics import metres
from fossa_ros.lens import open_lens
from fossa_ros.simulation.target_rig import TargetRig, TargetRigConfig

DISTANCES = tuple(metres([2.2, 0.5, 1.2, 4.4, 3.3]).round(3).tolist())
"""Metres; the last one is recorded again with the warm lens."""
SOAK_S = 300.0


def record_demo(
    folder,
    config: TargetRigConfig | None = None,
    steps: int = 31,
    progress: Callable[[], None] = lambda: None,
) -> tuple[TargetRig, list[CalibrationSeries]]:
    """Record a simulated lens, driven by current over a pseudo-terminal, with targets at ``DISTANCES``.

    Returns:
        The closed rig, whose configuration has the true values, and the series.
    """
    # The device is a thread of this process, which a busy machine may delay: hence the long timeout.
    options = {"control": "current", "timeout": 5.0}
    with TargetRig(config) as rig, open_lens("optotune_ld4", rig.port, clock=rig.clock, **options) as lens:
        command = lens.capabilities.command
        commands = both_ways(command.least, command.greatest, steps)
        recording = RecordingWriter(folder, device_of(lens))
        series = []
        for number, distance in enumerate((*DISTANCES, DISTANCES[-1])):
            if number == len(DISTANCES):
                soak(lens, rig, SOAK_S)
            rig.distance = distance
            series.append(record_series(lens, rig, commands, distance, recording, f"{number}", progress))
    return rig, series


def errors(config: TargetRigConfig, result: CalibrationResult, temperature: float) -> tuple[float, float]:
    """Return the largest errors of focus (D) and scale between the outermost distances at a temperature (degC)."""
    calibration, model = result.calibration, config.lens
    focus = []
    for way, play in zip(Direction, (-0.5, 0.5), strict=True):
        knots = calibration.curve(way).commands
        commands = np.linspace(knots[0], knots[-1], 200)
        power = np.array([model.power(each / calibration.device.greatest) for each in commands])
        truth = power + play * model.hysteresis + model.drift * (temperature - model.ambient) + config.power_offset
        focus.append(np.abs(calibration.dioptres(commands, way, temperature) - truth).max())
    ends = calibration.rising.dioptres[[0, -1]]
    scale = [_scale_error(config, calibration, place) for place in np.linspace(ends.min(), ends.max(), 50)]
    return float(max(focus)), float(max(scale))


def _scale_error(config: TargetRigConfig, calibration, dioptres: float) -> float:
    K = config.camera.K_at(1 / dioptres, 1 / config.reference_power)
    return abs(calibration.scale(dioptres) * config.camera.fx / K[0, 0] - 1)
