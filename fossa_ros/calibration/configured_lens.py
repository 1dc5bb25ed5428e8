"""The lens that a node's parameters describe, with its calibration.

The calibration's modules are imported only if there is a calibration: their splines would double the time that a node
takes to start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusStack
from fossa_ros.lens import FocusLens, open_lens
from fossa_ros.lens.config import LensConfig
from fossa_ros.lens.options import parse_options

if TYPE_CHECKING:
    from fossa_ros.calibration.lens_calibration import LensCalibration


def configured_calibration(config: LensConfig) -> LensCalibration | None:
    """Read the calibration that ``lens.calibration`` names; None if it names none. Raises InputError."""
    if config.calibration is None:
        return None
    from fossa_ros.calibration.calibration_file import read_calibration

    return read_calibration(config.calibration)


def configured_lens(
    config: LensConfig, clock: Callable[[], int], calibration: LensCalibration | None = None
) -> FocusLens:
    """Open the lens.

    Args:
        config: group ``lens`` of the parameters.
        clock: gives nanoseconds on the clock that stamps images.
        calibration: of the lens; None for what its driver says.

    Raises:
        InputError: no port, an unknown backend, options that it does not take, or a calibration of another lens.
        LensError: the lens is absent or does not answer as it should.
    """
    if not config.port:
        raise InputError("lens.port is empty; set it to the lens's serial port, for example /dev/ttyACM0.")
    options = parse_options(config.options.split())
    if config.power_offset:  # not every backend has one
        options["power_offset"] = config.power_offset
    lens = open_lens(config.backend, config.port, clock=clock, **options)
    if calibration is None:
        return lens
    from fossa_ros.calibration.calibrated_lens import CalibratedLens

    try:
        return CalibratedLens(lens, calibration, clock=clock, temperature_limit=config.temperature_limit)
    except InputError:
        lens.close()
        raise


def configured_breathing(calibration: LensCalibration | None) -> Callable[[FocusStack], np.ndarray] | None:
    """Return the function that gives the scale and shift of a stack's planes; None if breathing was not calibrated."""
    if calibration is None or calibration.breathing is None:
        return None
    from fossa_ros.calibration.breathing_correction import plane_scales

    breathing = calibration.breathing
    return lambda stack: plane_scales(stack, breathing)
