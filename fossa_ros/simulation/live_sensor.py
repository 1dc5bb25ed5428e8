"""Sensor noise at video rate."""

from __future__ import annotations

import cv2
import numpy as np

from fossa_ros.simulation.camera import FULL_SCALE, LIGHT_OF_CODE, SimulatedCamera, encoded

POOL = 4
"""Noise fields in the pool."""
SPARE = 64
"""Pixels by which a field is larger than the image, so that it can be laid in 64 x 64 ways."""
UNIT = 256.0
"""Integer units of the pool per standard deviation."""


class LiveSensor:
    """Exposure, shot and read noise of one camera on 8-bit images, fast.

    The noise equals that of SimulatedCamera.expose to first order: its deviation in linear light, times the slope of
    the sRGB curve, is added to code values. Each frame takes one of POOL precomputed Gaussian fields, with a random
    offset and a random sign; two frames share field and offset once in about 33 000 frames.

    Args:
        camera: whose full well, read noise and vignetting apply.
        seed: of the noise.
    """

    def __init__(self, camera: SimulatedCamera, seed: int = 0):
        self.rng = np.random.default_rng(seed)
        shape = POOL, camera.height + SPARE, camera.width + SPARE, 3
        self.pool = np.rint(UNIT * self.rng.standard_normal(shape, dtype=np.float32)).astype(np.int16)
        light = LIGHT_OF_CODE / FULL_SCALE
        slope = np.gradient(np.arange(256.0), light.astype(np.float64))
        self.deviation = np.rint(UNIT * np.minimum(slope * camera.noise_deviation(light), 64)).astype(np.int16)
        self.shade = camera.vignette()

    def expose(self, image: np.ndarray, gain: float = 1.0) -> np.ndarray:
        """Return (H, W, 3) uint8 ``image`` as this sensor sees it in its next frame.

        ``gain`` is the exposure relative to the nominal one; light that was saturated before stays so at
        gains below 1 only down to the code of full scale times the gain.
        """
        if self.shade is not None:
            image = encoded(LIGHT_OF_CODE.take(image) * (self.shade * (gain / FULL_SCALE)))
        elif gain != 1:
            image = cv2.LUT(image, encoded(LIGHT_OF_CODE * np.float32(gain / FULL_SCALE)))
        if not self.deviation.any():
            return image.copy()
        height, width = image.shape[:2]
        field, top, left = (int(self.rng.integers(end)) for end in (POOL, SPARE, SPARE))
        noise = self.pool[field, top : top + height, left : left + width]
        sign = 1 - 2 * int(self.rng.integers(2))
        noise = cv2.multiply(cv2.LUT(image, self.deviation), noise, scale=sign / UNIT**2)
        return cv2.add(image, noise, dtype=cv2.CV_8U)
