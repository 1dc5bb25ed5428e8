"""A calibration as a picture: sharpness, focus, residuals and breathing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fossa_ros.calibration.calibrate import CalibrationResult
from fossa_ros.calibration.lens_calibration import CalibratedDevice, LensCalibration
from fossa_ros.calibration.peaks import FocusPass
from fossa_ros.calibration.series import Direction
from fossa_ros.io.pictures import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {Direction.RISING: "tab:blue", Direction.FALLING: "tab:orange"}


def plot_calibration(path: str | Path, result: CalibrationResult, device: CalibratedDevice) -> None:
    """Draw sharpness, focus, residuals and breathing.

    Raises:
        InputError: matplotlib does not know the format, or the file cannot be written.
    """
    # pyplot would need a display, or change the backend of the user.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), dpi=90, layout="constrained")
    calibration = result.calibration
    if calibration is None:
        sharp, breathing = figure.subplots(1, 2)
    else:
        (sharp, focus), (left, breathing) = figure.subplots(2, 2)
        _focus(focus, calibration, result.passes, device)
        _residuals(left, calibration, result.residuals)
    _sharpness(sharp, result.passes, device)
    _breathing(breathing, result, device)
    figure.suptitle(f"{device.identity}: {device.quantity}", fontsize=11)
    write_figure(path, figure)


def _command_label(device: CalibratedDevice) -> str:
    return f"{device.quantity} [{device.unit}]"


def _sharpness(axes: Axes, passes: Sequence[FocusPass], device: CalibratedDevice) -> None:
    for each in passes:
        colour = _COLOURS[each.direction]
        axes.plot(each.commands, each.values / each.values.max(), ".-", color=colour, lw=0.7, ms=3, alpha=0.7)
        axes.axvline(each.peak.command, color=colour, lw=0.6)
    for way in dict.fromkeys(each.direction for each in passes):
        axes.plot([], [], color=_COLOURS[way], label=str(way))
    axes.set(title="sharpness of each pass, and its peak", xlabel=_command_label(device), ylabel="relative sharpness")
    axes.legend(fontsize=8)


def _focus(axes: Axes, calibration: LensCalibration, passes: Sequence[FocusPass], device: CalibratedDevice) -> None:
    for way, colour in _COLOURS.items():
        curve = calibration.curve(way)
        reach = 0.1 * np.ptp(curve.commands)
        commands = np.linspace(curve.commands[0] - reach, curve.commands[-1] + reach, 300)
        commands = commands[(commands >= device.least) & (commands <= device.greatest)]
        axes.plot(commands, curve.focus(commands), color=colour, lw=1)
    for each in passes:
        axes.plot(each.peak.command, each.dioptres, "o", ms=4, mfc="none", color=_COLOURS[each.direction])
    words = f"hysteresis up to {calibration.hysteresis:.3f} D, uncertainty {calibration.uncertainty:.3f} D"
    temperature = calibration.temperature
    if temperature is not None and temperature.coefficient is not None:
        words += f"\n{temperature.coefficient:+.4f} D/degC from {temperature.reference:.1f} degC"
    axes.text(0.03, 0.97, words, transform=axes.transAxes, va="top", fontsize=8)
    axes.set(title="focus", xlabel=_command_label(device), ylabel="focus [D]")


def _residuals(axes: Axes, calibration: LensCalibration, by_direction: Mapping[Direction, np.ndarray]) -> None:
    for way, residuals in by_direction.items():
        inner = calibration.curve(way).dioptres[1:-1]
        axes.plot(inner, 1e3 * residuals, "o-", color=_COLOURS[way], lw=0.7, ms=4, label=str(way))
    axes.axhline(0, color="grey", lw=0.6)
    axes.set(title="leave-one-out residuals of the distances", xlabel="focus [D]", ylabel="[mD]")
    axes.legend(fontsize=8)


def _breathing(axes: Axes, result: CalibrationResult, device: CalibratedDevice) -> None:
    curve = result.breathing
    if curve is None:
        axes.text(0.5, 0.5, "breathing was not measured", ha="center", transform=axes.transAxes)
        return
    known = None if result.calibration is None else result.calibration.breathing
    places = np.linspace(curve.positions[0], curve.positions[-1], 200)
    start = places[0] if known is None else known.reference
    values, knots = curve.at(places) - curve.at(start), curve.at(curve.positions) - curve.at(start)
    axes.plot(places, 100 * np.expm1(values[:, 0]), color="tab:green", label="scale")
    axes.plot(curve.positions, 100 * np.expm1(knots[:, 0]), ".", color="tab:green")
    axes.set(
        title=f"breathing ({curve.registered[0]} pairs of images, residual {100 * curve.residual:.3f} %)",
        xlabel=_command_label(device) if known is None else "focus [D]",
        ylabel="scale - 1 [%]",
    )
    shift = axes.twinx()
    shift.plot(places, values[:, 1], "--", color="tab:purple", lw=0.8, label="shift right")
    shift.plot(places, values[:, 2], ":", color="tab:purple", lw=0.8, label="shift down")
    shift.set_ylabel("shift [px]")
    lines, names = (
        a + b for a, b in zip(axes.get_legend_handles_labels(), shift.get_legend_handles_labels(), strict=True)
    )
    shift.legend(lines, names, fontsize=8, loc="center right")
