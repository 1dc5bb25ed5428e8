"""How fast blur grows with dioptres, measured on the board: what the entrance pupil of the lens is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from fossa_ros.calibration.board.observation import SweepObservation
from fossa_ros.calibration.board.projection import Camera, breathing_basis, image_centre
from fossa_ros.core.camera_model import Rectification
from fossa_ros.core.srgb import srgb_decode

_PATCH = 1.0  # of a square: side of the patch that is compared
_MOST_CORNERS = 10  # of a sweep
_MOST_FRAMES = 10
_LEAST, _MOST = 0.5, 12.0  # px: diameters that are tried
_RATIO = 1.12  # between neighbours of the diameters that are tried
_LIKE = 0.9  # correlation of the blurred patch with the frame's
_FEWEST = 12
_FINE = 8  # samples along a pixel of a disc
_SHARED = 0.01  # of the growth, by which all patches may be off together: each is taken to be at one distance

Images = Sequence[Callable[[], np.ndarray]]


@dataclass(frozen=True, eq=False)
class BlurGain:
    """Growth of the blur disc.

    Attributes:
        pixels_per_dioptre: diameter at the reference focus, on the optical axis.
        uncertainty: standard deviation, px/D.
        away: (N,) dioptres of the board less those of the focus, and
        diameters: (N,) px measured there, where the lens does not distort.
        encoded: whether the images fit sRGB better than linear light.
    """

    pixels_per_dioptre: float
    uncertainty: float
    away: npt.NDArray[np.float64]
    diameters: npt.NDArray[np.float64]
    encoded: bool


def measure_blur(
    sweeps: Sequence[SweepObservation],
    images: Sequence[Images],
    focus: Sequence[np.ndarray],
    dioptres: Sequence[np.ndarray],
    camera: Camera,
) -> BlurGain | None:
    """Blur the sharpest view of each corner until it looks like the others.

    Discs add as the squares of their diameters do, which accounts for the blur that the sharpest view has itself.

    Args:
        sweeps: observations.
        images: functions that load the frames of each sweep.
        focus: (F,) dioptres of the frames of each sweep.
        dioptres: (C,) of the corners of each sweep.
        camera: as adjusted, with breathing.

    Returns:
        None if too few views tell.
    """
    outcomes = []
    for encoded in (True, False):
        found: list[tuple[float, float, float, float]] = []
        for sweep, loads, at, powers in zip(sweeps, images, focus, dioptres, strict=True):
            found += _of_sweep(sweep, loads, at, powers, camera, encoded)
        outcomes.append((np.array(found).reshape(-1, 4), encoded))
    # The same pairs of patches under both responses: the better one is more alike.
    table, encoded = max(outcomes, key=lambda each: float(each[0][:, 3].sum()))
    table = table[table[:, 3] > _LIKE]
    if len(table) < _FEWEST:
        return None
    return _fitted(table, len(sweeps), encoded)


def _fitted(table: np.ndarray, sweeps: int, encoded: bool) -> BlurGain:
    """Return the growth that the rows of ``_of_sweep`` tell.

    A diameter is told to a part of a pixel whatever it is, so that its ratio to the dioptres is told better the larger
    it is. Which rows count is told by the diameter that is expected: to leave out what was measured as small, or as
    large, would leave out errors of one sign.
    """
    relative = np.sqrt(table[:, 0] ** 2 - table[:, 1] ** 2)
    ratios = table[:, 2] / relative
    gain = _weighted_median(ratios, relative**2)
    for _ in range(2):
        kept = (gain * relative < _MOST / 1.2) & (np.abs(np.log(ratios / gain)) < 0.5)
        gain = _weighted_median(ratios[kept], relative[kept] ** 2)
    spread = 1.4826 * _weighted_median(np.abs(ratios[kept] - gain), relative[kept] ** 2)
    diameters = np.sqrt(table[kept, 2] ** 2 + (gain * table[kept, 1]) ** 2)
    # Corners of one sweep share errors of focus: the number of sweeps counts rather than that of patches.
    uncertainty = math.hypot(spread / math.sqrt(max(sweeps, 1)), _SHARED * gain)
    return BlurGain(gain, uncertainty, table[kept, 0], diameters, encoded)


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    share = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(share, share[-1] / 2)])


def _of_sweep(
    sweep: SweepObservation, loads: Images, focus: np.ndarray, dioptres: np.ndarray, camera: Camera, encoded: bool
) -> list[tuple[float, float, float, float]]:
    """Return dioptres away, those of the sharpest view, relative diameter (px) and likeness, of each pair of views."""
    usable = np.flatnonzero(np.isfinite(sweep.sharpness).all(axis=0))
    usable = usable[:: max(len(usable) // _MOST_CORNERS, 1)][:_MOST_CORNERS]
    if not len(usable):
        return []
    chosen = np.unique(np.rint(np.linspace(0, len(focus) - 1, min(2 * _MOST_FRAMES, len(focus)))).astype(int))
    sharpest = {int(index): int(np.abs(focus - dioptres[index]).argmin()) for index in usable}
    needed = sorted({*chosen.tolist(), *sharpest.values()})
    pictures = {number: _linear(loads[number](), encoded) for number in needed}
    change = breathing_basis(camera, focus) @ camera.values
    centre = image_centre(camera.size)
    local = _local_scale(camera)
    found = []
    for index, sharp in sharpest.items():
        scale, shift = math.exp(change[sharp, 0]), change[sharp, 1:]
        still = centre + (sweep.places[index] - centre - shift) / scale
        size = max(int(_PATCH * sweep.side) // 2 * 2 + 1, 9)
        margin = int(_MOST) // 2 + 2
        template = _patch(pictures[sharp], centre + scale * (still - centre) + shift, 1.0, size + 2 * margin)
        bend = local(sweep.places[index])
        for number in chosen:
            away, own = focus[number] - dioptres[index], focus[sharp] - dioptres[index]
            if abs(away) < 1.5 * abs(own) + 0.1:
                continue
            factor = math.exp(change[number, 0])
            place = centre + factor * (still - centre) + change[number, 1:]
            view = _patch(pictures[number], place, factor / scale, size)
            diameter, likeness = _diameter(template, view, margin)
            if math.isfinite(diameter):
                found.append((away, own, diameter / (bend * scale), likeness))
    return found


def _patch(image: np.ndarray, place: np.ndarray, scale: float, size: int) -> npt.NDArray[np.float32]:
    """Return (size, size) pixels around a place, of an image that shows everything larger by ``scale``."""
    half = (size - 1) / 2
    to_image = np.array([[scale, 0, place[0] - scale * half], [0, scale, place[1] - scale * half]])
    patch = cv2.warpAffine(
        image, to_image, (size, size), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(patch, np.float32)


def _diameter(template: np.ndarray, view: np.ndarray, margin: int) -> tuple[float, float]:
    """Return the diameter of the disc that makes the template most like a view, and the correlation then."""
    inner = np.s_[margin : margin + view.shape[0], margin : margin + view.shape[1]]
    steps = np.arange(math.log(_MOST / _LEAST) / math.log(_RATIO))
    diameters = _LEAST * _RATIO**steps
    other = view - view.mean()
    energy = float(np.sum(other * other))
    scores = []
    for diameter in diameters:
        blurred = cv2.filter2D(template, -1, _disc(round(float(diameter), 4)), borderType=cv2.BORDER_REPLICATE)[inner]
        mine = blurred - blurred.mean()
        scores.append(float(np.sum(mine * other)) / math.sqrt(max(float(np.sum(mine * mine)) * energy, 1e-12)))
    best = int(np.argmax(scores))
    if best in (0, len(scores) - 1):
        return math.nan, scores[best]
    # The loss is a parabola in the square of the diameter rather than in its logarithm, but three neighbours suffice.
    before, at, after = scores[best - 1 : best + 2]
    shift = 0.5 * (before - after) / min(before - 2 * at + after, -1e-15)
    return float(diameters[best] * _RATIO**shift), at


@lru_cache(maxsize=64)
def _disc(diameter: float) -> npt.NDArray[np.float32]:
    """Return a normalised disc of a diameter in px as a kernel for images, whose pixels are averages over their areas.

    Samples on the pixels average the disc over a pixel. That would blur a template twice by its pixels, and tell every
    disc by about 4/3 px^2 too small in the square. The kernel is sharpened therefore until its second moment is that of
    the disc, d^2 / 16 along an axis.
    """
    half = math.ceil(diameter / 2) + 1
    fine = (np.arange((2 * half + 1) * _FINE) + 0.5) / _FINE - half - 0.5
    inside = np.hypot(fine, fine[:, None]) <= diameter / 2
    size = 2 * half + 1
    kernel = inside.reshape(size, _FINE, size, _FINE).mean(axis=(1, 3))
    kernel /= kernel.sum()
    excess = float(kernel.sum(axis=0) @ np.arange(-half, half + 1) ** 2) - diameter**2 / 16
    sharper = np.array([-excess / 2, 1 + excess, -excess / 2])
    kernel = cv2.sepFilter2D(kernel, -1, sharper, sharper, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(kernel, np.float32)


def _linear(image: np.ndarray, encoded: bool) -> npt.NDArray[np.float32]:
    """Return linear light of an (H, W) uint8 image in sRGB, or the values as they are."""
    code = np.arange(256, dtype=np.float64) / 255
    light = srgb_decode(code) if encoded else code
    return np.asarray(light.astype(np.float32)[image])


def _local_scale(camera: Camera) -> Callable[[np.ndarray], float]:
    """Return the function that gives how much larger the lens shows things at a pixel, by its distortion."""
    view = Rectification(tuple(camera.K.ravel().tolist()), camera.model, tuple(camera.D.tolist()))
    grid = view.local_scale(camera.K, camera.size)
    rows, columns = grid.shape

    def at(pixel: np.ndarray) -> float:
        column = int(np.clip(round(pixel[0] / (camera.size[1] - 1) * (columns - 1)), 0, columns - 1))
        row = int(np.clip(round(pixel[1] / (camera.size[0] - 1) * (rows - 1)), 0, rows - 1))
        return float(np.nan_to_num(grid[row, column], nan=1.0))

    return at
