"""ZEDD (Zuo et al., arXiv 2603.26658): focus stacks of a DSLR with laser depth.

The validation split is scored at 480 rows, cropped to the middle 640 columns. The depth of the test split is not
public; it is estimated at full size for the test server (``fossa_ros.evaluation.zedd_submission``).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.evaluation.datasets.benchmark import checked_K, locate, read_depth, require, within
from fossa_ros.evaluation.protocol import Sample, Setting, choose_planes
from fossa_ros.io.photographs import read_photograph

SOURCE = "ZEDD.zip from https://huggingface.co/datasets/venkatsubra/ZEDD"
METADATA = "metadata.txt"
RUNS = range(1, 10)
SIZES = {"val": (480, 640), "test": (1216, 1824)}  # rows, columns
NEAREST, FARTHEST = 0.01, 1000.0  # m; depth outside is not compared


class Zedd:
    """``metadata.txt`` with motor position and focus of every run, and scene folders under ``val`` or ``test``."""

    title = "ZEDD"
    protocol = Setting(2.8, 5, "fixed")
    in_disparity = False

    def __init__(self, folder: Path, split: str = "val", device: str = "cpu"):
        root = locate(folder, METADATA, ("ZEDD",), SOURCE)
        self._split = split
        self._runs = read_runs(root / METADATA)
        if not (root / split).is_dir():
            raise InputError(f"{root} has no folder {split}; unpack {SOURCE} again.")
        self._scenes = sorted(scene for scene in (root / split).iterdir() if scene.is_dir())
        if not self._scenes:
            raise InputError(f"{root / split} holds no scene; unpack {SOURCE} again.")
        self.names = [scene.name for scene in self._scenes]

    def check(self, setting: Setting) -> None:
        """Raise InputError if the setting was not recorded, or files of a scene are missing."""
        choose_planes(setting, self._distances(), np.ones((1, 1)))
        if setting.f_number is None:
            raise InputError("The stacks of ZEDD were taken with several apertures; give --apertures.")
        recorded = {
            float(found[1])
            for file in (self._scenes[0] / "focus_stack").glob("img_run_*.jpg")
            if (found := re.search(r"_aperture_F([\d.]+)\.jpg$", file.name))
        }
        if recorded and setting.f_number not in recorded:
            listed = ", ".join(f"{f_number:g}" for f_number in sorted(recorded))
            raise InputError(f"ZEDD was not taken with F{setting.f_number:g}; choose from {listed}.")
        # The planes of "uniform" depend on the scene.
        runs = RUNS if setting.focus == "uniform" else [RUNS[i] for i in self._chosen(setting, np.ones((1, 1)))]
        files = ["gt/K.txt", *(["gt/depth.npy"] if self._split == "val" else [])]
        files += [f"focus_stack/{self._file(run, setting)}" for run in runs]
        require([scene / file for scene in self._scenes for file in files], SOURCE)

    def sample(self, index: int, setting: Setting) -> Sample:
        """Read a stack."""
        scene = self._scenes[index]
        height, width = SIZES[self._split]
        stored = None
        size = SIZES["test"]
        if self._split == "val":
            stored = read_depth(scene / "gt" / "depth.npy")
            size = stored.shape
        depth = stored if stored is None or stored.shape[0] == height else None
        K = read_K(scene / "gt" / "K.txt")
        by = np.ones((1, 1)) if stored is None else within(stored, NEAREST, FARTHEST)
        planes, left = [], 0
        for run in (RUNS[i] for i in self._chosen(setting, by)):
            path = scene / "focus_stack" / self._file(run, setting)
            image = Image.fromarray(read_photograph(path, upright=False).image)
            if image.height != height:
                scaled = int(image.width * (height / image.height)), height
                if not planes:
                    K[0] *= scaled[0] / size[1]
                    K[1] *= height / size[0]
                    if stored is not None and depth is None:
                        depth = np.asarray(Image.fromarray(stored).resize(scaled, Image.Resampling.NEAREST))
                image = image.resize(scaled, Image.Resampling.LANCZOS)
            left = max(0, (image.width - width) // 2)
            planes.append(FocusPlane(np.asarray(image)[:, left : left + width], self._runs[run][1]))
        K[0, 2] -= left
        stack = FocusStack(tuple(planes), K=K, f_number=setting.f_number)
        if stored is None:
            truth = np.full(stack.size, np.nan, np.float32)
        else:
            truth = within(stored if depth is None else depth, NEAREST, FARTHEST)[:, left : left + width]
        if truth.shape != stack.size:
            raise InputError(f"{scene}: planes and depth differ in shape; unpack {SOURCE} again.")
        return Sample(self.names[index], stack, truth)

    def _distances(self) -> list[float]:
        return [self._runs[run][1] for run in RUNS]

    def _chosen(self, setting, depth) -> list[int]:
        return choose_planes(setting, self._distances(), depth)

    def _file(self, run, setting) -> str:
        return f"img_run_{run}_motor_{self._runs[run][0]}_aperture_F{setting.f_number:.1f}.jpg"


def read_runs(path: Path) -> dict[int, tuple[str, float]]:
    """Return the motor position, as written, and the focus distance in metres of each run, by number.

    Raises:
        InputError: a line cannot be read, or a run of ``RUNS`` is missing.
    """
    runs = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        found = re.fullmatch(r"run_(\d+)\t([0-9A-Fa-f]+)\t([\d.eE+-]+)", line.strip())
        try:
            runs[int(found[1])] = found[2], float(found[3])
        except (TypeError, ValueError):
            raise InputError(f"{path} has the line '{line[:60]}', which is not a run; unpack {SOURCE} again.") from None
    missing = [run for run in RUNS if run not in runs]
    if missing:
        raise InputError(f"{path} lacks run_{missing[0]}; unpack {SOURCE} again.")
    return runs


def read_K(path: Path) -> np.ndarray:
    """Return the (3, 3) matrix in a text file."""
    try:
        return checked_K([line.split() for line in path.read_text().splitlines() if line.strip()], path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read; unpack {SOURCE} again.") from error
