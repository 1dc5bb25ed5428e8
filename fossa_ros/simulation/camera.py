"""The simulated camera: geometry, thin lens and sensor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from fossa_ros.core import optics
from fossa_ros.core.camera_model import Rectification
from fossa_ros.core.errors import InputError
from fossa_ros.core.parameter import parameter
from fossa_ros.core.srgb import srgb_decode, srgb_encode

FULL_SCALE = 65535.0
"""Linear light that saturates the sensor, in the integer units in which views are summed."""


LIGHT_OF_CODE = np.rint(FULL_SCALE * srgb_decode(np.arange(256) / 255.0)).astype(np.float32)
"""(256,) linear light of every sRGB code value, as integers, so that float32 sums of 256 views are exact."""

_CODE_OF_LIGHT = np.rint(255 * srgb_encode(np.arange(65536) / FULL_SCALE)).astype(np.uint8)


def encoded(light: np.ndarray) -> np.ndarray:
    """Convert linear light, saturated to 0..1, to uint8 sRGB code values."""
    return _CODE_OF_LIGHT.take(np.rint(np.clip(light, 0, 1) * FULL_SCALE).astype(np.uint16))


@dataclass(frozen=True)
class SimulatedCamera:
    """A calibrated camera with a thin lens.

    ``fx`` is the focal length in pixels of the published images. Without breathing it holds at every focus distance, as
    for a rig that is calibrated and resampled; the diameter of the blur disc is optics.circle_of_confusion divided by
    ``pixel_size``. With breathing it holds at the reference plane, and the others are magnified and shifted.

    Attributes:
        fx: in pixels; the principal point is the image's centre.
        full_well: electrons at code value 255, which determines shot and read noise; infinity for none.
        read_noise: electrons, standard deviation.
        vignetting: light lost in the corners, 0..1.
        breathing_length: metres in optics.magnification: the focal length for a lens that moves, the distance from
            the pupil for a tunable lens; 0 for none.
        distortion: coefficients of the lens's distortion, as camera_info has them; the images are raw, then. The depth
            of their rectified view, which has the same ``K``, is what is known as true.
        breathing_shift: px right and down by which the image moves per dioptre, as behind a tilted lens.
    """

    width: int = parameter(640, "Image width", unit="px", minimum=64, maximum=4096)
    height: int = parameter(480, "Image height", unit="px", minimum=64, maximum=4096)
    fx: float = parameter(600.0, "Focal length in pixels", unit="px", minimum=10.0)
    focal_length: float = parameter(0.012, "Focal length", unit="m", minimum=0.001)
    f_number: float = parameter(1.4, "Focal length over aperture diameter", minimum=0.5)
    full_well: float = 10000.0
    read_noise: float = 5.0
    vignetting: float = 0.0
    breathing_length: float = parameter(
        0.0,
        "Focus breathing: the scale grows by this times dioptres; the intrinsics hold while the lens rests",
        unit="m",
        minimum=0.0,
        maximum=0.05,
    )
    distortion_model: Literal["plumb_bob", "rational_polynomial", "equidistant"] = parameter(
        "plumb_bob", "Model of the lens's distortion, as in camera_info"
    )
    distortion: tuple[float, ...] = parameter((), "Coefficients of the lens's distortion; empty for none")
    breathing_shift: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self):
        for name in ("width", "height", "fx", "focal_length", "f_number", "full_well"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} of a simulated camera must be positive, not {getattr(self, name)}.")
        if not (0 <= self.vignetting < 1 and 0 <= self.read_noise < np.inf):
            raise InputError("vignetting must be in 0..1 and read_noise zero or a positive number of electrons.")
        _ = self.rectification  # raises InputError

    @property
    def K(self) -> np.ndarray:
        """(3, 3) float64 intrinsic matrix; pixel centres are at integer coordinates."""
        return np.array([[self.fx, 0, (self.width - 1) / 2], [0, self.fx, (self.height - 1) / 2], [0, 0, 1.0]])

    @cached_property
    def rectification(self) -> Rectification | None:
        """From the raw images to their rectified view, which has the same ``K``; None without distortion."""
        if not self.distortion:
            return None
        made = Rectification(tuple(self.K.ravel().tolist()), self.distortion_model, self.distortion)
        return made if made.distorts else None

    @property
    def pixel_size(self) -> float:
        """Pixel pitch in metres."""
        return float(optics.pixel_size(self.focal_length, self.fx))

    @property
    def aperture(self) -> float:
        """Diameter of the entrance pupil in metres."""
        return self.focal_length / self.f_number

    def checked_focus(self, focus_distances) -> np.ndarray:
        """Return focus distances as (N,) float64 metres, infinity allowed.

        Raises:
            InputError: one is not beyond the focal length.
        """
        focus_distances = np.asarray(focus_distances, dtype=np.float64)
        if not (focus_distances > self.focal_length).all():
            raise InputError(
                f"Focus distances must be beyond the focal length of {self.focal_length:g} m, "
                f"not {focus_distances.min():g} m."
            )
        return focus_distances

    def K_at(self, focus_distance: float, reference: float) -> np.ndarray:
        """Return the (3, 3) intrinsic matrix at ``focus_distance``, where ``K`` holds at ``reference`` (m)."""
        scale = optics.magnification(focus_distance, self.breathing_length)
        scale = float(scale / optics.magnification(reference, self.breathing_length))
        travel = float(optics.dioptres(focus_distance) - optics.dioptres(reference))
        K = self.K * np.array([[scale, 1, 1], [1, scale, 1], [1, 1, 1]])
        K[:2, 2] += np.multiply(self.breathing_shift, travel)
        return K

    def vignette(self) -> np.ndarray | None:
        """Return the (H, W, 1) float32 share of light that arrives; None if all of it does."""
        if self.vignetting == 0:
            return None
        y, x = np.mgrid[: self.height, : self.width].astype(np.float32)
        squared = (x - self.K[0, 2]) ** 2 + (y - self.K[1, 2]) ** 2
        return (1 - self.vignetting * squared / squared.max())[..., None]

    def expose(self, light: np.ndarray, rng: np.random.Generator | None = None, gain: float = 1.0) -> np.ndarray:
        """Turn light into an image: exposure, shot and read noise, saturation, sRGB, 8 bits.

        Args:
            light: (H, W, 3) float32 linear light, 1 saturates.
            rng: source of the noise; None for none.
            gain: exposure relative to the nominal one (a longer shutter, a flickering lamp).

        Returns:
            (H, W, 3) uint8 sRGB.

        Shot noise is Gaussian with a variance equal to the electron count, which holds above about ten electrons.
        """
        light = light * np.float32(gain)
        shade = self.vignette()
        if shade is not None:
            light *= shade
        if rng is not None:
            light += self.noise_deviation(light) * rng.standard_normal(light.shape, dtype=np.float32)
        return encoded(light)

    def noise_deviation(self, light: np.ndarray) -> np.ndarray:
        """Return the standard deviation of the noise on linear ``light``, in the same unit."""
        return np.sqrt(np.maximum(light, 0) / self.full_well + (self.read_noise / self.full_well) ** 2)
