"""A confidence for networks that do not estimate one."""

from __future__ import annotations

import numpy as np

from fossa_ros.core import optics


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
