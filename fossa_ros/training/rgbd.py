"""RGB-D images as scenes: data sets in their published layouts.

An image does not show what its foreground hides, so each of its depth layers is continued behind the nearer ones with
the colours at its edge. The continuation is only visible through blurred edges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fossa_ros.core.errors import InputError
from fossa_ros.io.checked_arrays import open_npz
from fossa_ros.training.surfaces import Surfaces

LAYERS = 8
FARTHEST = 1000.0  # m; the sky

# Hypersim renders 1024 x 768 with a horizontal field of view of 60 degrees unless its camera table says otherwise.
HYPERSIM_FX = 886.81 / 1024  # of the width
# TartanAir: 640 x 480, fx = fy = 320, from its documentation.
TARTANAIR_FX = 320 / 640


@dataclass(frozen=True)
class RgbdFrame:
    """An image with depth.

    Attributes:
        colour: (H, W, 3) uint8 sRGB.
        depth: (H, W) float32 metres along the optical axis; NaN where unknown.
        focal_length: in image widths.
    """

    colour: np.ndarray
    depth: np.ndarray
    focal_length: float


class RgbdFrames:
    """The frames of a data set in a folder."""

    def __init__(self, layout: str, folder: str | Path):
        """Find the frames.

        Args:
            layout: ``hypersim``, ``rooms`` or ``tartanair``.
            folder: folder of the data set or of a part of it; subfolders are searched.

        Raises:
            InputError: the layout is unknown, or the folder has no frame with depth.
        """
        if layout not in LAYOUTS:
            raise InputError(f"There is no RGB-D layout '{layout}'; choose one of {', '.join(LAYOUTS)}.")
        self.layout = layout
        find, self._read = LAYOUTS[layout]
        self.paths = [pair for pair in find(Path(folder)) if pair[1].is_file()]
        if not self.paths:
            raise InputError(f"'{folder}' holds no image with a depth in the layout of {layout}; see docs/training.md.")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> RgbdFrame:
        return self._read(*self.paths[index])


def find_hypersim(folder: Path) -> list[tuple[Path, Path]]:
    """Pair ``images/scene_CAM_final_preview/frame.N.tonemap.jpg`` with ``scene_CAM_geometry_hdf5/...``."""
    pairs = []
    for image in sorted(folder.glob("**/images/scene_*_final_preview/frame.*.tonemap.jpg")):
        camera = image.parent.name.removesuffix("_final_preview")
        number = image.name.split(".")[1]
        pairs.append((image, image.parent.parent / f"{camera}_geometry_hdf5" / f"frame.{number}.depth_meters.hdf5"))
    return pairs


def read_hypersim(image: Path, depth: Path) -> RgbdFrame:
    """Read a frame; the data set's depth is the distance from the camera centre, which is converted."""
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise InputError("Reading Hypersim needs the Python package h5py; install fossa_ros[training].") from error
    try:
        with h5py.File(depth, "r") as file:
            data = file["dataset"]
            if data.ndim != 2 or data.size > 1 << 26:
                raise InputError(f"Depth '{depth}' is not a two-dimensional array; download it again.")
            distance = data[...].astype(np.float32)
    except (OSError, KeyError) as error:
        raise InputError(f"Depth '{depth}' cannot be read; download it again.") from error
    height, width = distance.shape
    focal = HYPERSIM_FX * width
    x = (np.arange(width, dtype=np.float32) - (width - 1) / 2) / focal
    y = (np.arange(height, dtype=np.float32) - (height - 1) / 2) / focal
    along = distance / np.sqrt(1 + x[None] ** 2 + y[:, None] ** 2)
    return checked(image, along, HYPERSIM_FX)


def find_tartanair(folder: Path) -> list[tuple[Path, Path]]:
    """Pair ``image_left/N_left.png`` with ``depth_left/N_left_depth.npy``."""
    return [
        (image, image.parent.parent / "depth_left" / f"{image.stem}_depth.npy")
        for image in sorted(folder.glob("**/image_left/*_left.png"))
    ]


def read_tartanair(image: Path, depth: Path) -> RgbdFrame:
    """Read a frame; the data set's depth is along the optical axis."""
    try:
        along = np.load(depth, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise InputError(f"Depth '{depth}' cannot be read; download it again.") from error
    if along.ndim != 2 or along.size > 1 << 26:
        raise InputError(f"Depth '{depth}' is not a two-dimensional array; download it again.")
    return checked(image, np.array(along, np.float32), TARTANAIR_FX)


def find_rooms(folder: Path) -> list[tuple[Path, Path]]:
    """Pair ``NAME.png`` with ``NAME.npz``, as ``python -m fossa_ros.evaluation.path_traced --sharp`` writes them."""
    return [(image, image.with_suffix(".npz")) for image in sorted(folder.glob("**/*.png"))]


def read_room(image: Path, depth: Path) -> RgbdFrame:
    """Read a frame; depth is along the optical axis, and pixels are square."""

    def check(shape: tuple[int, ...], dtype: np.dtype) -> None:
        if len(shape) != 2 or math.prod(shape) > 1 << 26 or dtype.kind != "f":
            raise InputError(f"'{depth}' must hold a depth (H, W) and K (3, 3) in floating point; render it again.")

    with open_npz(depth) as arrays:
        along, K = (arrays.read(name, check) for name in ("depth", "K"))
    return checked(image, along, float(K[0, 0]) / along.shape[1])


LAYOUTS = {
    "hypersim": (find_hypersim, read_hypersim),
    "rooms": (find_rooms, read_room),
    "tartanair": (find_tartanair, read_tartanair),
}


def checked(image: Path, depth: np.ndarray, focal_length: float) -> RgbdFrame:
    """Return a frame, with NaN where depth is not a positive number."""
    colour = cv2.imread(str(image), cv2.IMREAD_COLOR)
    if colour is None:
        raise InputError(f"Image '{image}' cannot be read; download it again.")
    if colour.shape[:2] != depth.shape:
        raise InputError(f"Image '{image}' and its depth differ in size; download them again.")
    with np.errstate(invalid="ignore"):
        depth = np.where(np.isfinite(depth) & (depth > 0), np.minimum(depth, FARTHEST), np.nan).astype(np.float32)
    return RgbdFrame(colour[..., ::-1], depth, focal_length)


def depth_layers(colour: Tensor, power: Tensor, layers: int = LAYERS) -> Surfaces:
    """Cut an image into layers of depth, each continued behind the nearer ones.

    Args:
        colour: (3, H, W) float32 linear radiance.
        power: (H, W) float32 dioptres, known everywhere.
    """
    edges = torch.linspace(float(power.min()), float(power.max()), layers + 1, device=power.device)
    number = torch.bucketize(power.contiguous(), edges[1:-1])
    surfaces = []
    for layer in range(layers):
        own = number == layer
        if not own.any() and surfaces:
            continue
        # A layer covers its own pixels and those of nearer layers, which hide it there.
        cover = (number >= layer).float() if surfaces else torch.ones_like(power)
        continued = torch.where(own, colour, inpaint(colour, own)) if own.any() else colour
        surfaces.append((continued, cover, power.clamp(edges[layer], edges[layer + 1])))
    return Surfaces(*(torch.stack(parts) for parts in zip(*surfaces, strict=True)))


def inpaint(colour: Tensor, own: Tensor) -> Tensor:
    """Fill (3, H, W) colour outside ``own`` (H, W) bool from the nearest known pixels, by pull-push."""
    weight = own[None, None].float()
    levels = [(colour[None] * weight, weight)]
    while min(levels[-1][1].shape[2:]) > 1:
        levels.append(tuple(F.avg_pool2d(level, 2, ceil_mode=True) for level in levels[-1]))
    sums, weight = levels[-1]
    filled = sums / weight.clamp_min(1e-9)
    for sums, weight in reversed(levels[:-1]):
        filled = F.interpolate(filled, sums.shape[2:], mode="bilinear", align_corners=False)
        filled = torch.where(weight > 1e-3, sums / weight.clamp_min(1e-9), filled)
    return filled[0]
