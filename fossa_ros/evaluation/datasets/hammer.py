"""HAMMER (Jung et al. 2022) as packed by MoGe: a JPEG, a PNG of depth and normalised intrinsics per frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.datasets.benchmark import LARGEST_IMAGE, checked_K, inside, locate, require
from fossa_ros.evaluation.datasets.rendered import PROTOCOL, RgbdImage, check_rendered, render_sample
from fossa_ros.evaluation.protocol import Sample, Setting
from fossa_ros.io.documents import load_json
from fossa_ros.io.photographs import read_photograph

SOURCE = "HAMMER.zip from https://huggingface.co/datasets/Ruicheng/monocular-geometry-evaluation"
INDEX = ".index.txt"
UNKNOWN_DEPTH = 1000.0  # m, used by the published evaluation where depth is unknown
UNKNOWN, INFINITE = 0, 65535  # values of a pixel


class Hammer:
    """Frames listed in ``.index.txt``, each a folder of ``image.jpg``, ``depth.png`` and ``meta.json``."""

    title = "HAMMER"
    protocol = PROTOCOL
    in_disparity = False

    def __init__(self, folder: Path, device: str = "cpu"):
        self._device = device
        root = locate(folder, INDEX, ("HAMMER",), SOURCE)
        lines = (root / INDEX).read_text(encoding="utf-8", errors="replace").split("\n")
        self.names = [line.strip() for line in lines if line.strip()]
        self._frames = [inside(root, name, root / INDEX) for name in self.names]
        if not self._frames:
            raise InputError(f"{root / INDEX} lists no frame; unpack {SOURCE} again.")

    def check(self, setting: Setting) -> None:
        """Raise InputError if the setting cannot be rendered, or frames are missing."""
        check_rendered(setting)
        require([f / name for f in self._frames for name in ("image.jpg", "depth.png", "meta.json")], SOURCE)

    def sample(self, index: int, setting: Setting) -> Sample:
        """Render the stack of a frame."""
        frame = self._frames[index]
        colour = read_photograph(frame / "image.jpg", upright=False).image
        depth = read_moge_depth(frame / "depth.png")
        if depth.shape != colour.shape[:2]:
            raise InputError(f"{frame}: image and depth differ in size; unpack {SOURCE} again.")
        valid = np.isfinite(depth) & (depth > 0)
        filled = np.where(valid, depth, np.float32(UNKNOWN_DEPTH))
        K = read_intrinsics(frame / "meta.json", *depth.shape)
        return render_sample(self.names[index], RgbdImage(colour, filled, valid, K), setting, self._device)


def read_moge_depth(path: Path) -> np.ndarray:
    """Read a 16-bit PNG whose values are logarithms of depth between its text fields ``near`` and ``far``.

    The optional text field ``unit`` is their unit in metres.

    Returns:
        (H, W) float32 metres; NaN where unknown, infinity where infinite.

    Raises:
        InputError: the file is missing or not such a PNG.
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if not image.mode.startswith("I") or image.width * image.height > LARGEST_IMAGE:
                raise ValueError
            values = np.array(image)
            near, far = (float(image.info[name]) for name in ("near", "far"))
            unit = float(image.info.get("unit", 1.0))
    except FileNotFoundError:
        raise InputError(f"{path} is missing; unpack {SOURCE} again.") from None
    except (OSError, SyntaxError, KeyError, ValueError, TypeError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path} is not a 16-bit depth with the fields near and far; unpack {SOURCE} again."
        ) from error
    if not 0 < near <= far < np.inf or not 0 < unit < np.inf:
        raise InputError(f"{path} has depth from {near:g} to {far:g} in units of {unit:g} m; unpack {SOURCE} again.")
    share = (values.astype(np.float32) - np.float32(1)) / np.float32(65533)
    depth = np.float32(near) ** (1 - share) * np.float32(far) ** share * np.float32(unit)
    depth[values == UNKNOWN] = np.nan
    depth[values == INFINITE] = np.inf
    return depth


def read_intrinsics(path: Path, height: int, width: int) -> np.ndarray:
    """Return K (3, 3) in pixels from a ``meta.json`` that has it in units of image width and height."""
    K = checked_K(load_json(path, f"unpack {SOURCE} again").get("intrinsics"), path)
    return K * np.array([[width], [height], [1.0]])
