"""A flat printed target in front of the simulated camera, for calibrations of the lens."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import fft, special

from fossa_ros.core import optics
from fossa_ros.simulation.camera import SimulatedCamera, encoded

OVERSAMPLING = 2
MARGIN = 16
"""Pixels of print beyond each side of the image, more than breathing uncovers."""
SHARPEST = 0.35
"""Pixels: standard deviation of the Gaussian for diffraction and aberrations of the focused lens."""


class FlatTarget:
    """A print that fills the view, facing the camera.

    Unlike FocalVolume it does not interpolate between focus slices, because a calibration finds a maximum over focus to
    a small part of such a slice. The print is known on a grid of half pixels and repeats beyond it. Each image is its
    convolution with the blur disc, computed in the frequency domain and resampled for the breathing of the lens.

    Approximations: a thin lens for one colour, without aberrations except a slight constant softness; everything at one
    depth; no vignetting; the grain of the print has the same size in pixels at every distance.

    Args:
        camera: geometry, lens and breathing; its ``K`` holds at ``reference_power``.
        seed: of the print.
        reference_power: focus in dioptres at which the images have scale 1.
    """

    def __init__(self, camera: SimulatedCamera, seed: int = 0, reference_power: float = 2.0):
        self.camera, self.reference_power = camera, reference_power
        edges = camera.height + 2 * MARGIN, camera.width + 2 * MARGIN
        shape = [fft.next_fast_len(OVERSAMPLING * edge, real=True) for edge in edges]
        vertical, horizontal = fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])
        self._frequency = (OVERSAMPLING * np.hypot(vertical, horizontal)).astype(np.float32)  # cycles a pixel
        self._shape = shape
        spectrum = fft.rfft2(_print(np.random.default_rng(seed), shape, self._frequency))
        softness = np.exp(-2 * (np.pi * SHARPEST * self._frequency) ** 2)
        pixel = np.sinc(OVERSAMPLING * vertical) * np.sinc(OVERSAMPLING * horizontal)
        self._spectrum = (spectrum * softness * pixel).astype(np.complex64)

    def image(self, power: float, distance: float) -> np.ndarray:
        """Return the (H, W, 3) uint8 RGB image, without noise, of the target at ``distance`` (m).

        ``power`` is the focus of the whole optics in dioptres.
        """
        camera = self.camera
        focus = float(optics.metres(max(power, 1e-6)))
        radius = float(optics.blur_radius(distance, focus, camera.focal_length, camera.f_number, camera.pixel_size))
        K = camera.K_at(focus, float(optics.metres(self.reference_power)))
        scale = K[0, 0] / camera.fx
        blurred = fft.irfft2(self._spectrum * self._disc(radius / scale), s=self._shape, workers=2)
        # From a pixel of the image to the grid, where pixel (x, y) of the reference image is at 2 (x + MARGIN).
        to_grid = OVERSAMPLING * np.array([[1, 0, MARGIN], [0, 1, MARGIN]]) @ camera.K @ np.linalg.inv(K)
        light = cv2.warpAffine(
            blurred,
            to_grid,
            (camera.width, camera.height),
            flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_WRAP,
        )
        return np.repeat(encoded(light)[..., None], 3, axis=2)

    def _disc(self, radius: float) -> np.ndarray:
        """Return the transfer function of a disc of ``radius`` pixels on the frequencies of the grid."""
        argument = np.float32(2 * np.pi * radius) * self._frequency
        grid = np.linspace(0, float(argument.max()) + 1e-6, 8192)
        table = np.ones_like(grid)
        np.divide(2 * special.j1(grid), grid, out=table, where=grid > 0)
        return np.interp(argument, grid, table).astype(np.float32)


def _print(rng, shape, frequency) -> np.ndarray:
    """Draw black and white blots of all sizes from two pixels up, as (rows, columns) float32 linear light."""
    amplitude = np.where(frequency > 0, np.maximum(frequency, 1 / 128) ** -1.2, 0) * (frequency < 0.5)
    blots = fft.irfft2(amplitude * fft.rfft2(rng.standard_normal(shape)), s=shape)
    return (0.4 + 0.3 * np.tanh(2 * blots / blots.std())).astype(np.float32)
