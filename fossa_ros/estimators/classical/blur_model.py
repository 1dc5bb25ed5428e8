"""The effect of defocus on each spatial frequency band: the signature of a depth across the planes of a stack.

A point at power d (dioptres) is blurred in plane i by a disc of radius ``gain_i * |d - d_i|`` pixels, which scales a
band of spatial frequencies by H_i(d). The normalised vector (H_1 .. H_N) depends on the depth alone: texture and
contrast cancel, and so would any blur that all planes share, if a band were one frequency. The estimator searches the
images for these signatures.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusStack
from fossa_ros.estimators.classical.bands import RADIAL_FREQUENCIES, band_transfer

SLOPES = np.linspace(0.5, 5.0, 46)  # of power spectra: granite 1, natural scenes 2.4, smooth paint 4
LENS_SOFTNESS = 0.1  # Gaussian roll-off of the disc's rim (aberrations) in units of the radius


def disc_transfer(radius: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """Return the transfer function of a soft-edged disc of ``radius`` px at ``frequency`` rad/px.

    A disc has 2 J1(rw) / (rw). The soft rim of a real lens damps the lobes beyond the first zero.
    """
    from scipy.special import j1  # here, as every node imports this module when it starts

    x = np.maximum(radius * frequency, 1e-6)
    return 2.0 * j1(x) / x * np.exp(-0.5 * (LENS_SOFTNESS * x) ** 2)


def soft_transfer(softness: float) -> np.ndarray:
    """Return the (F,) transfer function of a Gaussian of ``softness`` px at ``RADIAL_FREQUENCIES``."""
    return np.exp(-0.5 * (softness * RADIAL_FREQUENCIES) ** 2)


def known_blur_gains(stack: FocusStack, width: int) -> np.ndarray | None:
    """Return the (N,) blur radius per dioptre (px / D, at image ``width``) of each plane; None for an unknown lens."""
    if stack.K is None or stack.f_number is None or stack.focal_length is None:
        return None
    pixel = optics.pixel_size(stack.focal_length, stack.K[0, 0] * width / stack.size[1])
    focus = optics.dioptres(stack.focus_distances)
    return optics.blur_radius(
        optics.metres(focus + 1.0), stack.focus_distances, stack.focal_length, stack.f_number, pixel
    )


def near_to_far(stack: FocusStack) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the planes from the nearest focus to the farthest, and their foci in dioptres.

    Raises:
        InputError: all planes are focused at the same distance.
    """
    focus = optics.dioptres(stack.focus_distances)
    order = np.argsort(-focus, kind="stable")
    if focus.max() == focus.min():
        raise InputError(
            f"All planes are focused at {stack.focus_distances[0]:g} m; depth needs two different focus distances."
        )
    return order, focus[order]


class BlurModel:
    """The blur of every plane at every depth level, and its effect on textures.

    Args:
        levels: (L,) hypothesised depths in dioptres.
        focus: (N,) focus of the planes in dioptres.
        gains: (N,) blur radius in px per dioptre of defocus.
        softness: of the images, as in ``BandStatistics``.
    """

    def __init__(self, levels: npt.ArrayLike, focus: npt.ArrayLike, gains: npt.ArrayLike, softness: float = 0.0):
        radius = np.asarray(gains) * np.abs(np.asarray(levels)[:, None] - np.asarray(focus))
        transfer = disc_transfer(radius[..., None], RADIAL_FREQUENCIES) * soft_transfer(softness)
        self._pairs = transfer[:, :, None] * transfer[:, None]  # (L, N, N, F)

    def signatures(self, steepness: float) -> np.ndarray:
        """Return (B, L, N) unit vectors: relative strength of each band in each plane at each depth level.

        ``steepness`` is ln(power in the coarsest band / power in the finest band), each in the plane where it is
        strongest. The sharpest plane is blurred as well, much so for depth beyond the planes: at each level the
        spectrum is that which this blur makes as steep.
        """
        bands = band_transfer() ** 2
        energy = bands[:, None] * RADIAL_FREQUENCIES ** (1.0 - self._slopes(steepness)[:, None])  # (B, L, F)
        moments = np.einsum("lijf,blf->blij", self._pairs, energy, optimize=True)
        return np.linalg.eigh(moments)[1][..., -1]

    def _slopes(self, steepness: float) -> np.ndarray:
        """Return (L,) slopes of the spectrum of a texture that is as steep in the planes as stated."""
        spectra = RADIAL_FREQUENCIES[:, None] ** (1.0 - SLOPES)  # (F, S)
        squares = np.diagonal(self._pairs, axis1=1, axis2=2)  # (L, F, N)
        strongest = [
            np.einsum("lfn,fs->lns", squares, band[:, None] * spectra, optimize=True).max(axis=1)
            for band in band_transfer()[[0, -1]] ** 2
        ]
        finest, coarsest = np.maximum(strongest, 1e-30)
        ratios = np.maximum.accumulate(np.log(coarsest / finest), axis=1)  # rounding must not make them fall
        return np.array([np.interp(steepness, ratio, SLOPES) for ratio in ratios])
