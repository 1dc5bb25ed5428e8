"""Photographs with known depth, refocused through a synthetic aperture that sees past the edges of the foreground.

The folder holds scenes of Middlebury 2005 and 2014 and views of DIODE and iBims-1 in their own layouts, which their
licences do not allow this project to include. The depth of Middlebury is computed from disparities, with the published
constants.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.datasets.rendered import SENSOR_WIDTH, check_rendered
from fossa_ros.evaluation.protocol import Sample, Setting, choose_distances
from fossa_ros.io.photographs import read_photograph
from fossa_ros.io.stack_files import centred_intrinsics
from fossa_ros.simulation.photograph_lens import refocus_photograph

WIDTH = 480  # px; photographs are reduced to this width, and by a factor of 1.5 or more
WORKERS = 2


class Photographs:
    """Every photograph of a known layout. The planes have sensor noise and are registered."""

    title = "photographs, refocused"
    protocol = Setting(1.4, 5, "uniform")
    in_disparity = False

    def __init__(self, folder: Path, device: str = "cpu"):
        self._photographs = load_rgbd(folder)
        self.names = [source.name for source in self._photographs]

    def check(self, setting: Setting) -> None:
        """Raise InputError if the setting cannot be rendered."""
        check_rendered(setting)

    def sample(self, index: int, setting: Setting) -> Sample:
        """Refocus a photograph."""
        source = self._photographs[index]
        width = source.image.shape[1]
        stack, truth = refocus_photograph(
            source.image,
            source.depth,
            source.K,
            SENSOR_WIDTH * source.K[0, 0] / width,
            setting.f_number,
            choose_distances(setting, source.depth[source.depth > 0])[::-1],  # near first
            ratio=max(1.5, width / WIDTH),
            rng=index,
            workers=WORKERS,
        )
        return Sample(source.name, stack, truth)


@dataclass(frozen=True, eq=False)
class Photograph:
    """A sharp photograph: (H, W, 3) uint8 RGB, (H, W) z-depth (m, NaN unknown), (3, 3) intrinsics."""

    name: str
    image: np.ndarray
    depth: np.ndarray
    K: np.ndarray


def load_rgbd(root: str | Path) -> list[Photograph]:
    """Read every image under ``root`` that has a known layout.

    Raises:
        InputError: there is no such image.
    """
    root = Path(root)
    images = [*_middlebury_2005(root), *_middlebury_2014(root), *_diode(root), *_ibims(root)]
    if not images:
        raise InputError(f"{root} has no images of Middlebury, DIODE or iBims-1; give the parent of their folders.")
    return images


def _middlebury_2005(root):
    for file in sorted(root.glob("middlebury2005/*/disp1.png")):
        disparity = read_photograph(file).image[..., 0].astype(np.float64)
        offset = float((file.parent / "dmin.txt").read_text().split()[0])
        depth = np.where(disparity > 0, 0.001 * 3740 * 160 / (disparity + offset), np.nan)
        yield _image(file.parent.name, file.parent / "view1.png", depth, fx=3740 / 3)


def _middlebury_2014(root):
    for file in sorted(root.glob("middlebury2014_*/*_disp.npz")):
        with np.load(file) as arrays:
            depth = 0.001 * 994.978 * 193.001 / (arrays["arr_0"] + 31.086)
        K = np.array([[994.978, 0, 311.193], [0, 994.978, 254.877], [0, 0, 1]])
        name = file.name.removesuffix("_disp.npz")
        yield _image(name, file.with_name(f"{name}_left.png"), depth, K=K)


def _diode(root):
    for file in sorted(root.glob("diode*/*_depth.npy")):
        name = file.name.removesuffix("_depth.npy")
        depth = np.load(file)[..., 0]
        depth[np.load(file.with_name(f"{name}_depth_mask.npy")) < 0.5] = np.nan
        # Laser points beside a depth edge are noisy.
        rows, columns = np.gradient(depth)
        depth[np.hypot(rows, columns) > 0.05 * depth] = np.nan
        K = np.array([[886.81, 0, 512], [0, 927.06, 384], [0, 0, 1]])
        yield _image(f"diode {name[:11]}", file.with_name(f"{name}.png"), depth, K=K)


def _ibims(root):
    for file in sorted(root.glob("ibims1_*/gt_depth_m.npy")):
        depth = np.load(file)
        # The files have no intrinsics. A field of view of 60 degrees is assumed; it affects blur, not depth.
        yield _image(file.parent.name, file.with_name("rgb.png"), depth, fx=0.866 * depth.shape[1])


def _image(name, photograph, depth, K=None, fx=None):
    image = read_photograph(photograph).image
    K = centred_intrinsics(fx, image.shape[:2]) if K is None else K
    return Photograph(name, image, np.where(np.isfinite(depth) & (depth > 0), depth, np.nan).astype(np.float32), K)
