"""The region of interest: the part of the view in which depth is made.

The checks of motion and focus see the whole images: in a part of them a difference of blur may look like motion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.parameter import check_ranges, parameter
from fossa_ros.core.stack import DepthMap, FocusStack

MARGIN = 96  # px around the region that estimators see: blur discs, matching windows, and enough of the scene to weigh
LEAST = 32  # px of its sides, below which no estimator and no registration has enough to see


@dataclass(frozen=True)
class Window:
    """A window of an image.

    Attributes:
        left, top: its first column and row.
        width, height: its size, px.
        whole: height and width of the image.
    """

    left: int
    top: int
    width: int
    height: int
    whole: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Its height and width."""
        return self.height, self.width

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Return the window of an image (H, W, ...) of the size ``whole``, without a copy."""
        if image.shape[:2] != self.whole:
            raise ValueError(f"A window of images of {self.whole} cannot be cut from one of {image.shape[:2]}.")
        return image[self.top : self.top + self.height, self.left : self.left + self.width]

    def intrinsics(self, K: np.ndarray) -> np.ndarray:
        """Return the (3, 3) intrinsics of the window of an image with ``K``."""
        return np.asarray(K - [[0, 0, self.left], [0, 0, self.top], [0, 0, 0]])

    def seen_from(self, other: Window) -> Window:
        """Return the same window in the pixels of the window ``other``."""
        return Window(self.left - other.left, self.top - other.top, self.width, self.height, other.size)


@dataclass(frozen=True)
class Region:
    """Group ``roi``: the part of the published view that depth is made of."""

    x: int = parameter(0, "First column of the region of interest", unit="px", minimum=0, maximum=100000, live=True)
    y: int = parameter(0, "First row of the region of interest", unit="px", minimum=0, maximum=100000, live=True)
    width: int = parameter(
        0, "Width of the region of interest; 0: to the right edge", unit="px", minimum=0, maximum=100000, live=True
    )
    height: int = parameter(
        0, "Height of the region of interest; 0: to the lower edge", unit="px", minimum=0, maximum=100000, live=True
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        for side in ("width", "height"):
            if 0 < getattr(self, side) < LEAST:
                raise InputError(f"roi.{side} must be 0 or at least {LEAST} px, not {getattr(self, side)}; correct it.")

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole view."""
        return not (self.x or self.y or self.width or self.height)

    def window(self, size: tuple[int, int]) -> Window:
        """Return the region in a view of ``size`` (height, width).

        Raises:
            InputError: it reaches beyond the view, or is smaller than ``LEAST``.
        """
        height, width = size
        window = Window(self.x, self.y, self.width or width - self.x, self.height or height - self.y, size)
        for axis, side, first, extent, whole in (
            ("x", "width", window.left, window.width, width),
            ("y", "height", window.top, window.height, height),
        ):
            if first + extent > whole or extent < LEAST:
                raise InputError(
                    f"roi.{axis} {first} and roi.{side} {getattr(self, side)} do not leave {LEAST} px or more within "
                    f"images with a {side} of {whole} px; correct them, or set all of roi to 0."
                )
        return window


def surroundings(window: Window, stack: FocusStack | None = None) -> Window:
    """Return the window of the images that the depth of ``window`` is made of.

    Args:
        window: of the published view, which has the size of the images.
        stack: whose lens may show the region elsewhere in the raw images; None for a rectified one.
    """
    height, width = window.whole
    columns, rows = [window.left, window.left + window.width - 1], [window.top, window.top + window.height - 1]
    if stack is not None and stack.rectification is not None and stack.K is not None:
        seen = stack.rectification.raw_pixels(stack.K, _border(window))
        if np.isfinite(seen).any():
            columns += [int(np.nanmin(seen[:, 0])), int(np.ceil(np.nanmax(seen[:, 0])))]
            rows += [int(np.nanmin(seen[:, 1])), int(np.ceil(np.nanmax(seen[:, 1])))]
    left, top = max(min(columns) - MARGIN, 0), max(min(rows) - MARGIN, 0)
    right, bottom = min(max(columns) + 1 + MARGIN, width), min(max(rows) + 1 + MARGIN, height)
    return Window(left, top, right - left, bottom - top, window.whole)


def cut_stack(stack: FocusStack, window: Window) -> FocusStack:
    """Return the window of a stack; it is that of a camera whose images show nothing else."""
    rectification = stack.rectification
    if rectification is not None:
        view = window.intrinsics(rectification.P)
        rectification = replace(rectification, projection=tuple(view.ravel().tolist()))
    return replace(
        stack,
        planes=tuple(replace(plane, image=np.ascontiguousarray(window.cut(plane.image))) for plane in stack.planes),
        K=None if stack.K is None else window.intrinsics(stack.K),
        rectification=rectification,
        cropped=True,
    )


def cut_depth(depth: DepthMap, window: Window) -> DepthMap:
    """Return the window of a depth map."""
    return replace(
        depth,
        depth=np.ascontiguousarray(window.cut(depth.depth)),
        confidence=np.ascontiguousarray(window.cut(depth.confidence)),
        sharp_image=lambda: np.ascontiguousarray(window.cut(depth.all_in_focus)),
        K=None if depth.K is None else window.intrinsics(depth.K),
    )


def _border(window: Window) -> np.ndarray:
    """Return (N, 2) pixels along the border of a window."""
    columns, rows = np.arange(window.width) + window.left, np.arange(window.height) + window.top
    sides = [
        *(np.column_stack([columns, np.full(window.width, row)]) for row in (rows[0], rows[-1])),
        *(np.column_stack([np.full(window.height, column), rows]) for column in (columns[0], columns[-1])),
    ]
    return np.concatenate(sides)
