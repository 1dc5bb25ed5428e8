"""DDFF-12 (Hazirbas et al. 2018), the validation split of DFV: stacks refocused from a light-field camera.

Truth and focus are disparities between neighbouring sub-apertures, in pixels, and errors are those of disparity.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.evaluation.datasets.benchmark import LARGEST_IMAGE
from fossa_ros.evaluation.protocol import Sample, Setting, choose_planes

SOURCE = "my_ddff_trainVal.h5, linked at https://github.com/fuy34/DFV"
BELOW = "ddff12_val_generation"
FILES = ("my_ddff_trainVal.h5", "dfv_trainVal.h5")
PLANES = 10
FOCUS = np.linspace(0.28, 0.02, PLANES)  # px of disparity, of every plane
FOCAL_LENGTH_PX, BASELINE = 521.4052, 0.0002708787058842817  # px, m: disparity = their product / depth
K = np.array([[521.4, 0.0, 285.11], [0.0, 521.4, 187.83], [0.0, 0.0, 1.0]])  # Hazirbas et al. 2018, page 7
PADDED = (384, 576)  # rows, columns; the loader of DFV reflects images at the bottom and the right to this size


class Ddff12:
    """An HDF5 file with ``stack_val`` (S, 10, H, W, 3) and ``disp_val`` (S, H, W) in pixels, 0 where unknown."""

    title = "DDFF-12"
    protocol = Setting(None, 5, "fixed")
    in_disparity = True

    def __init__(self, folder: Path, device: str = "cpu"):
        try:
            import h5py
        except ModuleNotFoundError as error:
            raise InputError("Reading DDFF-12 needs the Python package h5py; install fossa_ros[evaluation].") from error
        places = [folder] if folder.is_file() else [folder / below / f for below in ("", BELOW) for f in FILES]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise InputError(f"{folder} has no {FILES[0]}; put there {SOURCE}.")
        try:
            self._file = h5py.File(path, "r")
            self._stacks, self._disparities = self._file["stack_val"], self._file["disp_val"]
        except (OSError, KeyError) as error:
            raise InputError(f"{path} has no stack_val and disp_val; get {SOURCE} again.") from error
        shape, disparities = self._stacks.shape, self._disparities.shape
        fits = len(shape) == 5 and shape[1] == PLANES and shape[4] == 3 and disparities == (shape[0], *shape[2:4])
        if not fits or not shape[0] or shape[2] * shape[3] > LARGEST_IMAGE:
            raise InputError(f"{path} has stacks {shape} and disparities {disparities}; get {SOURCE} again.")
        if shape[2] > PADDED[0] or shape[3] > PADDED[1]:
            raise InputError(f"{path} has images of {shape[3]}x{shape[2]}, larger than 576x384; get {SOURCE}.")
        self.names = [f"{index:04}" for index in range(shape[0])]

    def check(self, setting: Setting) -> None:
        """Raise InputError if the setting was not recorded."""
        if setting.f_number is not None:
            raise InputError("DDFF-12 has a single, unspecified aperture; leave out --apertures.")
        choose_planes(setting, metres(FOCUS), np.ones((1, 1)), cut=True)

    def disparity(self, depth: np.ndarray) -> np.ndarray:
        """Return the disparity in pixels of depth in metres."""
        return metres(depth)

    def sample(self, index: int, setting: Setting) -> Sample:
        """Read a stack."""
        try:
            images, disparity = self._stacks[index], self._disparities[index].astype(np.float32)
        except OSError as error:
            raise InputError(f"{self._file.filename} is truncated; get {SOURCE} again.") from error
        below, right = PADDED[0] - disparity.shape[0], PADDED[1] - disparity.shape[1]
        disparity = np.pad(disparity, ((0, below), (0, right)))
        with np.errstate(divide="ignore", invalid="ignore"):
            truth = np.where(disparity > 0, metres(disparity), np.nan).astype(np.float32)
        distances = metres(FOCUS)
        images = np.pad(images.astype(np.uint8), ((0, 0), (0, below), (0, right), (0, 0)), mode="reflect")
        chosen = choose_planes(setting, distances, truth, cut=True)  # like the loader of DFV: 0, 2, 4, 6, 9
        return Sample(
            self.names[index],
            FocusStack(tuple(FocusPlane(images[i], float(distances[i])) for i in chosen), K=K.copy()),
            truth,
        )


def metres(disparity: np.ndarray) -> np.ndarray:
    """Convert disparities between sub-apertures (px) to depth (m), or depth to disparities."""
    return FOCAL_LENGTH_PX * BASELINE / disparity
