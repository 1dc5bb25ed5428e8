"""Focus stacks of known lenses, made of a sharp image with depth: one image gives as many as training wants.

A path-traced stack takes seconds, one that is made of a sharp view of the same scene a third of a second, and it can
have any blur, however little: in photographs of far scenes it is less than a pixel.
"""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fossa_ros.core import optics
from fossa_ros.core.srgb import srgb_decode
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.io.stack_files import centred_intrinsics
from fossa_ros.simulation.camera import encoded
from fossa_ros.training import textures
from fossa_ros.training.defocus import MARGIN, render_planes
from fossa_ros.training.lenses import TrainingLens, draw_focus
from fossa_ros.training.psf import deviation
from fossa_ros.training.random_source import RandomSource
from fossa_ros.training.rgbd import RgbdFrame, depth_layers
from fossa_ros.training.variations import ENLARGED, ENLARGEMENT, SOFT, SOFTNESS, delivered

WIDEST = 320  # px; wider images are reduced
BLUR = (0.25, 16.0)  # px: radius in the plane in which the scene is least sharp, log-uniform
CENTRAL = (0.02, 0.98)  # quantiles of the scene's dioptres between which that holds
PLANES = (3, 4, 5, 5, 6, 7, 9)
LONGEST = 0.05  # m, of the focal length, which is at most a tenth of the nearest distance
SHAPES = (2.0, 32.0)  # exponents of the point spread: from a Gaussian to nearly a disc
NOISE = (0.3, 3.0)  # grey levels at half of full scale, in half of the stacks
TEXTURED = 0.3  # share of the stacks whose surfaces all have texture, as outdoors and in the simulator
CONTRAST = (0.03, 0.4)  # standard deviation of its logarithm, log-uniform
SLOPE = (0.2, 1.8)  # of its amplitude spectrum, 1 / f^slope
GRAIN = 8  # grey levels: noise and fine texture that are smoothed away, wholly in half of the stacks


class SharpScene:
    """A sharp image with depth.

    Attributes:
        depth: (H, W) float32 metres, NaN where unknown.
    """

    def __init__(self, frame: RgbdFrame):
        scale = min(1.0, WIDEST / frame.depth.shape[1])
        size = tuple(round(scale * side) for side in frame.depth.shape[::-1])
        colour = cv2.resize(frame.colour, size, interpolation=cv2.INTER_AREA)
        self.depth = cv2.resize(frame.depth, size, interpolation=cv2.INTER_NEAREST)  # no depths between two surfaces
        gray = cv2.cvtColor(np.ascontiguousarray(colour), cv2.COLOR_RGB2GRAY)  # evidence sees no colour
        # Noise of a sharp image is blurred with it, as texture that a bare wall does not have.
        smooth = cv2.fastNlMeansDenoising(gray, None, GRAIN, 5, 15)
        self._gray, self._smooth = (_extended(srgb_decode(np.float32(image) / 255)) for image in (gray, smooth))
        self._focal_length_px = frame.focal_length * size[0]
        known = np.isfinite(self.depth)
        farthest = self.depth[known].max() if known.any() else 1.0  # what no ray meets is the sky
        power = optics.dioptres(np.where(known, self.depth, farthest))
        self._power = torch.from_numpy(power.astype(np.float32))

    def stack(self, rng: RandomSource) -> FocusStack:
        """Photograph the scene with a lens, a sweep and a sensor drawn at random; (N, H, W, 3) gray."""
        light = torch.lerp(self._smooth, self._gray, rng.choice((0.0, rng.uniform())))
        if rng.chance(TEXTURED):
            light = light * _texture(rng, light.shape)
        surfaces = depth_layers(light[None], _extended(self._power))
        focus = draw_focus(rng, self._power, rng.choice(PLANES))
        lens = self._lens(focus, rng)
        planes, per_dioptre = (
            torch.from_numpy(np.asarray(value, np.float32))[:, None, None, None]
            for value in (optics.dioptres(focus), lens.blur_per_dioptre(focus))
        )
        inner = surfaces.power[:, None, None, MARGIN:-MARGIN, MARGIN:-MARGIN]
        shape = rng.log_uniform(*SHAPES)
        # The variance of the blur is that of the lens's disc, whatever its shape.
        radius = per_dioptre * (planes - inner).abs() * (0.5 / deviation(shape))
        images = render_planes(surfaces, radius, psf_power=shape)
        exposure, noise = rng.uniform(0.6, 1.05), rng.choice((0.0, rng.log_uniform(*NOISE)))
        codes = (encoded(exposure * image[0].numpy()) for image in images)
        softness = rng.uniform(*SOFTNESS) if rng.chance(SOFT) else 0.0
        normal = np.random.default_rng(rng.integer(0, 2**31)).standard_normal
        enlargement = rng.uniform(*ENLARGEMENT) if rng.chance(ENLARGED) else 1.0
        gray = (delivered(code, softness, enlargement, noise, normal) for code in codes)
        return FocusStack(
            tuple(
                FocusPlane(image[..., None].repeat(3, axis=2), float(distance))
                for image, distance in zip(gray, focus, strict=True)
            ),
            centred_intrinsics(self._focal_length_px, self.depth.shape),
            lens.f_number,
            lens.focal_length,
        )

    def _lens(self, focus: np.ndarray, rng: RandomSource) -> TrainingLens:
        """Return a lens with an aperture that gives the blur that is drawn."""
        far, near = np.quantile(self._power.numpy(), CENTRAL).tolist()
        powers = optics.dioptres(focus)
        defocus = max(near - float(powers.min()), float(powers.max()) - far)
        focal_length = min(LONGEST, 0.1 / near)
        fully_open = TrainingLens(self.depth.shape[1], self._focal_length_px, focal_length, 1.0)
        blur = float(fully_open.blur_per_dioptre(math.inf)) * defocus
        return replace(fully_open, f_number=blur / rng.log_uniform(*BLUR))


def _texture(rng: RandomSource, size: torch.Size) -> Tensor:
    """Return (H, W) factors of the light: grain that a bare wall does not have."""
    height, width = size
    grain = textures.noise(rng, 1, max(size), rng.uniform(*SLOPE), "cpu")[0, :height, :width]
    return (rng.log_uniform(*CONTRAST) * grain).exp()


def _extended(image: np.ndarray | Tensor) -> Tensor:
    """Mirror (H, W) at its borders, by the margin that blur consumes."""
    image = torch.as_tensor(image, dtype=torch.float32)
    return F.pad(image[None, None], (MARGIN,) * 4, mode="reflect")[0, 0]
