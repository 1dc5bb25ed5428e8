"""Synthetic defocus of a real photograph whose depth is known.

The views of the synthetic aperture (thin_lens.py) are the photograph, seen from other points of the lens. A view sees
the first surface, from near to far, that the ray of a pixel meets. The background is therefore visible around a blurred
foreground, and does not bleed over a sharp one. Approximations: what an edge of the foreground hides is not in the
photograph, and is taken from the farthest surface near that edge; surfaces are shells that a ray can pass behind;
highlights are as dim as the photograph clipped them.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.thin_lens import Synthesis

STEP = 0.25  # px of the photograph between the depths at which a ray is tried
SHELL = 0.03  # neighbours whose disparities differ by more than this share belong to different surfaces


def refocus_photograph(
    photograph, depth, K, focal_length, f_number, focus_distances, *, ratio=1.0, rng=None, views=256, workers=1
) -> tuple[FocusStack, np.ndarray]:
    """Turn a photograph with depth into a focus stack.

    Args:
        photograph: (H, W, 3) uint8 sRGB, sharp everywhere.
        depth: (H, W) z-depth in metres; unknown where it is not positive and finite.
        K: (3, 3) intrinsic matrix of the photograph; the blur disc is round, of the size that fx gives.
        focal_length: metres.
        f_number: focal length over aperture diameter.
        focus_distances: (N,) metres.
        ratio: pixels of the photograph per pixel of the stack, 1 or more; above 1 the blur and noise of the photograph
            itself have less effect.
        rng: generator or seed of the sensor noise; None for none.
        views: pinholes across the aperture, up to 256.
        workers: threads.

    Returns:
        The stack, and its (h, w) float32 depth in metres, NaN where unknown. Both are smaller than the photograph by a
        border as wide as the largest blur.

    Raises:
        InputError: no depth is known, or the blur is so wide that nothing is left.
    """
    K, depth = np.asarray(K, dtype=np.float64), np.asarray(depth, dtype=np.float32)
    known = np.isfinite(depth) & (depth > 0)
    if not known.any():
        raise InputError("The photograph has no pixel of known depth; give one with depth.")
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    power = (1 / np.where(known, depth, 1.0))[tuple(nearest)].astype(np.float32)
    height, width = (int(side / ratio) for side in depth.shape)
    camera = SimulatedCamera(width, height, K[0, 0] / ratio, focal_length, f_number)
    focus_distances = camera.checked_focus(focus_distances)
    extremes = [1 / power.max(), 1 / power.min()]
    blur = [optics.blur_radius(z, focus_distances, focal_length, f_number, camera.pixel_size).max() for z in extremes]
    edge = int(np.ceil(max(blur))) + 1
    frame = edge, edge, width - 2 * edge, height - 2 * edge
    if min(frame[2:]) < 16:
        raise InputError(f"Blur of {max(blur):.0f} px leaves nothing of {width}x{height} px; raise the f-number.")
    lens = _PhotographLens(camera, focus_distances, views, frame)
    lens.photograph, lens.power, lens.ratio = photograph, power, ratio
    light = lens.light(lambda _: (), workers=workers)
    rng = np.random.default_rng(rng) if isinstance(rng, int) else rng
    planes = tuple(
        FocusPlane(camera.expose(image, rng), float(s)) for image, s in zip(light, focus_distances, strict=True)
    )
    columns, rows = (
        np.rint(ratio * (np.arange(start, start + size) + 0.5) - 0.5).astype(int)
        for start, size in zip(frame[:2], frame[2:], strict=True)
    )
    truth = np.where(known, depth, np.float32(np.nan))[rows[:, None], columns]
    cropped = K / ratio
    cropped[:2, 2] = (K[:2, 2] + 0.5) / ratio - 0.5 - edge
    cropped[2] = 0, 0, 1
    inside = (cropped[:2, 2] >= 0).all() and cropped[0, 2] < frame[2] and cropped[1, 2] < frame[3]
    stack = FocusStack(planes, cropped if inside else None, f_number, focal_length)
    return stack, truth


class _PhotographLens(Synthesis):
    """A synthetic aperture whose views are warped photographs."""

    photograph: np.ndarray
    power: np.ndarray
    ratio: float

    def view(self, index, surfaces, pose):
        """Render pinhole ``index`` from the photograph instead of the surfaces."""
        size = self.width + 2 * self.border, self.height + 2 * self.border
        start = np.array([self.left, self.top]) - self.border + self.samples.jitter[index]
        start = self.ratio * (start + 0.5) - 0.5  # in the photograph, of the first pixel, without parallax
        parallax = self.ratio * self.K[0, 0] * self.points[index]  # px of the photograph per dioptre

        low, high = float(self.power.min()), float(self.power.max())
        count = 2 + int(np.abs(parallax).max() * (high - low) / STEP)
        step = (high - low) / (count - 1) + 1e-6
        # For every ray: the disparity at which it meets a surface, the farthest surface it has passed, and where.
        met = np.full(size[::-1], np.nan, np.float32)
        farthest = np.full(size[::-1], np.inf, np.float32)
        beside = np.full(size[::-1], low, np.float32)
        before = np.full(size[::-1], -np.inf, np.float32)
        for power in np.linspace(high + step, low - step, count + 2):
            x, y = start + parallax * power
            surface = cv2.warpAffine(
                self.power,
                np.array([[self.ratio, 0, x], [0, self.ratio, y]]),
                size,
                flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
            behind = surface - np.float32(power)  # positive once the ray has passed the surface
            hit = np.isnan(met) & (behind >= 0) & (before < 0) & (behind < 1.5 * step + SHELL * power)
            met[hit] = surface[hit]
            farther = surface <= farthest
            farthest[farther] = surface[farther]
            beside[farther] = power
            before = behind
        place = np.where(np.isnan(met), beside, met)
        rows, columns = np.mgrid[: size[1], : size[0]].astype(np.float32)
        x = self.ratio * columns + np.float32(start[0]) + np.float32(parallax[0]) * place
        y = self.ratio * rows + np.float32(start[1]) + np.float32(parallax[1]) * place
        # No interpolation: the positions of the views within the pixel do that, and in linear light.
        return cv2.remap(self.photograph, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
