"""Focus stacks rendered from RGB-D images as in the evaluation of FOSSA: thin lens, Gaussian blur, 36 mm sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.evaluation.protocol import Sample, Setting, choose_distances

SENSOR_WIDTH = 0.036  # m, of the longer side of the image
PROTOCOL = Setting(1.4, 5, "uniform")


@dataclass(frozen=True, eq=False)
class RgbdImage:
    """A sharp image with depth.

    Attributes:
        colour: (H, W, 3) uint8 sRGB.
        depth: (H, W) float32 metres, positive everywhere, from which defocus is rendered.
        valid: (H, W) bool, where that depth is true.
        K: (3, 3) intrinsic matrix.
    """

    colour: np.ndarray
    depth: np.ndarray
    valid: np.ndarray
    K: np.ndarray


def check_rendered(setting: Setting) -> None:
    """Raise InputError if the setting cannot be rendered."""
    if setting.f_number is None:
        raise InputError("Rendering defocus needs an f-number; give --apertures.")
    choose_distances(setting, np.ones((1, 1), np.float32))


def render_sample(name: str, image: RgbdImage, setting: Setting, device: str = "cpu") -> Sample:
    """Return the focus stack of an image.

    Args:
        name: of the sample.
        image: in front of the lens.
        setting: of the stack.
        device: that renders.
    """
    import torch

    from fossa_ros.evaluation.gaussian_defocus import gather_defocus

    pitch = SENSOR_WIDTH / max(image.depth.shape)
    focal_length = pitch * (image.K[0, 0] + image.K[1, 1]) / 2
    distances = choose_distances(setting, image.depth)
    radius = optics.blur_radius(image.depth, distances[:, None, None], focal_length, setting.f_number, pitch)
    colour = torch.from_numpy(image.colour).to(device).permute(2, 0, 1).float()
    planes = gather_defocus(colour, torch.from_numpy(radius.astype(np.float32)).to(device))
    unrounded = planes.permute(0, 2, 3, 1).cpu().numpy()
    rounded = np.rint(unrounded).clip(0, 255).astype(np.uint8)
    stack = FocusStack(
        tuple(FocusPlane(plane, float(distance)) for plane, distance in zip(rounded, distances, strict=True)),
        K=image.K,
        f_number=setting.f_number,
        focal_length=focal_length,
    )
    return Sample(name, stack, np.where(image.valid, image.depth, np.float32(np.nan)), unrounded)
