"""How far to trust a network that does not say so itself."""

from __future__ import annotations

import numpy as np

from fossa_ros.core import optics


def bracketing_confidence(depth: np.ndarray, focus_distances: np.ndarray) -> np.ndarray:
    """Return (H, W) float32 in 0..1: how well the sweep's focus distances bracket each depth.

    vits, vitb and vitl give depth alone. What is known besides is that defocus measures depth between the nearest
    and the farthest plane, and that beyond them it only grows: so 1 between them, falling by a factor of e with
    each mean plane spacing, in dioptres, beyond; 0 where depth is NaN. It knows nothing of texture or motion.
    """
    planes = optics.dioptres(focus_distances)
    near, far = planes.max(), planes.min()
    spacing = max((near - far) / (len(planes) - 1), 1e-3)
    power = 1.0 / depth
    beyond = np.maximum(np.maximum(power - near, far - power), 0.0)
    return np.nan_to_num(np.exp(-beyond / spacing), nan=0.0).astype(np.float32)
