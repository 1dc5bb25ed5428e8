"""iBims-1 (Koch et al. 2018) and DIODE (Vasiljevic et al. 2019), with the holes of their depth filled for rendering.

Both are published for FOSSA in one layout: an ``.npy`` file with a pickled dictionary for each image. A restricted
unpickler that accepts arrays only reads it, so that it cannot run code.
"""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy._core import multiarray  # NumPy 1.26 has it under this name too

from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.datasets.benchmark import LARGEST_IMAGE, checked_K
from fossa_ros.evaluation.datasets.rendered import PROTOCOL, RgbdImage, check_rendered, render_sample
from fossa_ros.evaluation.protocol import Sample, Setting

SOURCE = "DefocusUniformat.zip from https://huggingface.co/datasets/venkatsubra/Uniformat"
FOLDER = "defocus_uniformat"
LARGEST_FILE = 2_000_000_000  # bytes

_KNOWN = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{
        (f"numpy.{core}.multiarray", name): getattr(multiarray, name)
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    },
}


class _Uniformat:
    """A set whose images are in one or more folders, its ``parts``, as ``000000.npy`` and so on."""

    title: str
    name: str
    parts: tuple[str, ...]
    transposed_K = False
    protocol = PROTOCOL
    in_disparity = False

    def __init__(self, folder: Path, device: str = "cpu"):
        self._device = device
        places = (folder / FOLDER / self.name, folder / self.name, folder)
        place = next((place for place in places if any(any((place / p).glob("*.npy")) for p in self.parts)), folder)
        self._files = []
        for part in self.parts:
            files = sorted((place / part).glob("*.npy"))
            if not files:
                raise InputError(f"{place} has no {part or self.name}/000000.npy; give the folder of {SOURCE}.")
            self._files += files
        self.names = [str(Path(file.parent.name if len(self.parts) > 1 else "", file.stem)) for file in self._files]

    def check(self, setting: Setting) -> None:
        """Raise InputError if the setting cannot be rendered."""
        check_rendered(setting)

    def sample(self, index: int, setting: Setting) -> Sample:
        """Render the stack of an image."""
        image = read_uniformat(self._files[index])
        if self.transposed_K:
            image = replace(image, K=image.K.T)
        return render_sample(self.names[index], image, setting, self._device)


class Ibims(_Uniformat):
    """``ibims/000000.npy`` and so on."""

    title, name, parts = "iBims-1", "ibims", ("",)
    transposed_K = True  # in this part of the archive


class Diode(_Uniformat):
    """``diode/diode_indoor_v2/000000.npy`` and so on, and ``diode/diode_outdoor_v2``."""

    title, name, parts = "DIODE", "diode", ("diode_indoor_v2", "diode_outdoor_v2")


def read_uniformat(path: Path) -> RgbdImage:
    """Read one image: ``rgb``, ``K``, ``depth_filled`` (known everywhere) and ``valid_mask`` (where it was measured).

    Raises:
        InputError: the content differs.
    """
    content = read_dictionary(path)

    def array(name: str) -> np.ndarray:
        value = content.get(name)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub" or value.size > LARGEST_IMAGE * 3:
            raise InputError(f"{path} has no array '{name}'; unpack {SOURCE} again.")
        return value

    colour, depth, valid = array("rgb"), np.squeeze(array("depth_filled")), np.squeeze(array("valid_mask"))
    if colour.dtype != np.uint8 or colour.ndim != 3 or colour.shape[2] != 3:
        raise InputError(f"{path}: 'rgb' is {colour.shape} {colour.dtype}, not (H, W, 3) uint8; get {SOURCE} again.")
    if depth.shape != colour.shape[:2] or valid.shape != depth.shape:
        raise InputError(f"{path}: image, depth and mask differ in size; get {SOURCE} again.")
    depth = depth.astype(np.float32)
    if not (np.isfinite(depth) & (depth > 0)).all():
        raise InputError(f"{path}: 'depth_filled' has holes, and defocus needs depth everywhere; get {SOURCE} again.")
    return RgbdImage(colour, depth, valid.astype(bool), checked_K(content.get("K"), path))


def read_dictionary(path: Path) -> dict:
    """Read an ``.npy`` that holds one dictionary of arrays.

    Raises:
        InputError: the content differs, or has other objects than arrays.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f"{path} is too large for an image with depth; unpack {SOURCE} again.")
        with open(path, "rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            if shape != () or not dtype.hasobject:
                raise ValueError
            content = _Arrays(file).load()
        content = content.item() if isinstance(content, np.ndarray) and content.shape == () else content
        if not isinstance(content, dict):
            raise ValueError
        return content
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the file.") from error
    except InputError:
        raise
    except Exception as error:  # an invalid pickle may raise anything
        raise InputError(f"{path} is not a dictionary of arrays, or is truncated; unpack {SOURCE} again.") from error


class _Arrays(pickle.Unpickler):
    """An unpickler that refuses every class and function but those of arrays."""

    def find_class(self, module, name):
        if (module, name) not in _KNOWN:
            raise InputError(
                f"Data holds the Python object {module}.{name}, which is never loaded; get {SOURCE} again."
            )
        return _KNOWN[module, name]
