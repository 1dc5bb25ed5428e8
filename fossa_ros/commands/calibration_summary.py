"""The summary that ``fossa calibrate`` prints."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from fossa_ros.calibration.calibrate import CalibrationResult
from fossa_ros.calibration.lens_calibration import CalibratedDevice


def print_summary(result: CalibrationResult, device: CalibratedDevice) -> None:
    """Print the sharpest command of each pass, the figures of the calibration, and its warnings."""
    table = Table("target", "direction", f"sharpest at [{device.unit}]", "+-", "degC")
    for each in result.passes:
        table.add_row(
            "?" if each.distance is None else f"{each.distance:g} m ({each.dioptres:.2f} D)",
            str(each.direction),
            f"{each.peak.command:.5g}",
            f"{each.peak.uncertainty:.2g}",
            "" if each.temperature is None else f"{each.temperature:.1f}",
        )
    Console().print(table)
    calibration = result.calibration
    if calibration is not None:
        click.echo(
            f"focus {calibration.range[0]:.2f} to {calibration.range[1]:.2f} D "
            f"+- {calibration.uncertainty:.3f} D, hysteresis {calibration.hysteresis:.3f} D"
        )
        temperature = calibration.temperature
        if temperature is not None and temperature.coefficient is not None:
            click.echo(f"drift {temperature.coefficient:+.4f} D/degC from {temperature.reference:.1f} degC")
        if calibration.breathing is not None:
            scale = calibration.breathing.scale
            click.echo(f"breathing {scale.max() / scale.min() - 1:.2%} over the range")
    for warning in result.warnings:
        click.echo(f"Warning: {warning}", err=True)
