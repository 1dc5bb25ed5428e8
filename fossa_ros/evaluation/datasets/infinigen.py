"""Infinigen Defocus (Zuo et al., arXiv 2603.26658): scenes rendered with a thin lens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.evaluation.datasets.benchmark import checked_K, inside, read_depth, require, within
from fossa_ros.evaluation.protocol import Sample, Setting, choose_planes
from fossa_ros.io.checked_arrays import open_npz
from fossa_ros.io.documents import convert, load_json
from fossa_ros.io.photographs import read_photograph

SOURCE = "InfinigenDefocus.zip from https://huggingface.co/datasets/venkatsubra/InfinigenDefocus"
SPLIT = "dataset/splits/infinigen_defocus/val.json of https://github.com/princeton-vl/FOSSA"
LIST = "val.json"
NEAREST, FARTHEST = 0.01, 1000.0  # m; depth outside is not compared
LARGEST_LIST = 100_000_000  # bytes


class _List(msgspec.Struct):
    files: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]

    def __post_init__(self) -> None:
        if not all("id" in scene for scene in self.files):
            raise ValueError("files must have an id each")


class Infinigen:
    """A folder for each scene, and ``val.json``, which lists the files of the evaluated scenes."""

    title = "Infinigen Defocus"
    protocol = Setting(1.4, 5, "fixed")
    in_disparity = False

    def __init__(self, folder: Path, device: str = "cpu"):
        self._list = find_list(folder)
        root = folder / "infinigen_defocus" if (folder / "infinigen_defocus").is_dir() else folder
        self._scenes = read_list(self._list)
        self.names = [str(scene["id"]) for scene in self._scenes]
        self._root = root

    def check(self, setting: Setting) -> None:
        """Raise InputError if the setting was not rendered, or files of a scene are missing."""
        distances = self._distances(setting)
        choose_planes(setting, distances, np.ones((1, 1)))
        files = []
        for scene in self._scenes:
            files += [self._path(scene, name) for name in ("depth", "camera")]
            chosen = range(len(distances))
            if setting.focus != "uniform":  # whose planes depend on the scene
                chosen = choose_planes(setting, distances, np.ones((1, 1)))
            files += [self._path(scene, plane(setting, distances[index])) for index in chosen]
        require(files, SOURCE)

    def sample(self, index: int, setting: Setting) -> Sample:
        """Read a stack."""
        scene = self._scenes[index]
        truth = within(read_depth(self._path(scene, "depth")), NEAREST, FARTHEST)
        camera = self._path(scene, "camera")
        with open_npz(camera) as arrays:
            K = checked_K(arrays.read("K", lambda shape, dtype: check_K(camera, shape)), camera)
        distances = self._distances(setting)
        chosen = [distances[i] for i in choose_planes(setting, distances, truth)]
        planes = tuple(
            FocusPlane(read_photograph(self._path(scene, plane(setting, s)), upright=False).image, s) for s in chosen
        )
        stack = FocusStack(planes, K=K, f_number=setting.f_number)
        if truth.shape != stack.size:
            raise InputError(f"{self._root / self.names[index]}: planes and depth differ in size; get {SOURCE} again.")
        return Sample(self.names[index], stack, truth)

    def _path(self, scene, name) -> Path:
        return inside(self._root, scene.get(name), self._list)

    def _distances(self, setting) -> list[float]:
        """Return the focus distances (m) rendered with an f-number, near first."""
        if setting.f_number is None:
            raise InputError("Infinigen Defocus was rendered with several apertures; give --apertures.")
        found = [re.fullmatch(r"image_ap_([\d.]+)_fd_([\d.]+)", name) for name in self._scenes[0]]
        rendered = {(float(match[1]), float(match[2])) for match in found if match}
        distances = sorted(distance for f_number, distance in rendered if f_number == setting.f_number)
        if not distances:
            listed = ", ".join(f"{f_number:g}" for f_number in sorted({f for f, _ in rendered}))
            raise InputError(
                f"Infinigen Defocus was not rendered with F{setting.f_number:g}; choose from {listed or 'none'}."
            )
        return distances


def plane(setting: Setting, distance: float) -> str:
    """Return the name of a plane in ``val.json``."""
    return f"image_ap_{setting.f_number:.1f}_fd_{distance:.1f}"


def find_list(folder: Path) -> Path:
    """Return the path of ``val.json``: in the folder, or where the repository of FOSSA has it beside the data.

    Raises:
        InputError: the file does not exist.
    """
    below = "splits/infinigen_defocus"
    for place in (folder, *(parent / below for parent in (folder, folder.parent, folder.parent.parent))):
        if (place / LIST).is_file():
            return place / LIST
    raise InputError(f"{folder} has no {LIST}, the list of evaluated scenes; put {SPLIT} there.")


def read_list(path: Path) -> list[dict[str, Any]]:
    """Return the scenes of ``val.json``."""
    return convert(load_json(path, f"get {SPLIT} again", LARGEST_LIST), _List, path).files


def check_K(path: Path, shape: tuple[int, ...]) -> None:
    """Check the shape of the K of a camera."""
    if shape != (3, 3):
        raise InputError(f"{path}: 'K' is not a 3x3 matrix; get {SOURCE} again.")
