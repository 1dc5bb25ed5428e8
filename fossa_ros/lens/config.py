"""What a user can set about the lens."""

from __future__ import annotations

from dataclasses import dataclass

from fossa_ros.core.parameter import parameter


@dataclass(frozen=True)
class LensConfig:
    """Group ``lens``: the lens driver and the calibration of the lens."""

    backend: str = parameter("optotune_ld4", "Lens driver; other packages can add theirs")
    port: str = parameter(
        "/dev/ttyACM0",
        "Where the lens is: serial port, usb:VID:PID[:SERIAL], video device, node of a camera, or topic that sets it",
    )
    power_offset: float = parameter(
        0.0,
        "Dioptres that the fixed optics add to the tunable lens: 1 / focus distance = lens power + offset",
        unit="D",
    )
    options: str = parameter(
        "", "More options of the lens backend: NAME=VALUE, separated by spaces; docs/lenses.md lists them"
    )
    calibration: str | None = parameter(
        None, "File from 'fossa calibrate', which gives metres and corrects focus breathing; empty for none"
    )
    temperature_limit: float = parameter(
        5.0,
        "How far the lens may be outside the temperatures of its calibration before /diagnostics warns",
        unit="degC",
        minimum=0.0,
        maximum=100.0,
    )
