"""A confidence for networks that do not estimate one."""

from __future__ import annotations

import numpy as np

from fossa_ros.core import optics
from fossa_ros.estimators.calibration_curve import CalibrationCurve

# Of nano with its shipped weights; measured by benchmarks/confidence.py on the choosing set of docs/validation.md.
NANO_CALIBRATION = CalibrationCurve(
    stated=(0.0, 0.25, 0.36, 0.55, 0.66, 0.76, 0.855, 0.93, 0.966, 0.985, 1.0),
    measured=(0.0, 0.01, 0.20, 0.24, 0.33, 0.41, 0.635, 0.875, 0.955, 0.955, 0.98),
)


def bracketing_confidence(depth: np.ndarray, focus_distances: np.ndarray) -> np.ndarray:
    """Return (H, W) float32 in 0..1: how well the focus distances bracket each depth.

    Defocus determines depth between the nearest and the farthest plane; beyond them it only grows. The confidence is 1
    between them, decreases by a factor of e per mean plane spacing (in dioptres) beyond, and is 0 where depth is NaN.
    It does not depend on texture or motion.

    Args:
        depth: (H, W) metres, NaN where unknown.
        focus_distances: (N,) metres.
    """
    planes = optics.dioptres(focus_distances)
    near, far = planes.max(), planes.min()
    spacing = max((near - far) / (len(planes) - 1), 1e-3)
    power = 1.0 / depth
    beyond = np.maximum(np.maximum(power - near, far - power), 0.0)
    return np.nan_to_num(np.exp(-beyond / spacing), nan=0.0).astype(np.float32)
