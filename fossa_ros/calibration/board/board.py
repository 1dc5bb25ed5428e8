"""The printed ChArUco board: its papers, its geometry, and what its markers are called.

Coordinates on the board are metres from the upper left corner of its pattern: x right, y down, z into the paper. A
board whose axes are those of a camera's optical frame faces it upright.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fossa_ros.core.errors import InputError

DICTIONARY = "DICT_4X4_100"
_MOST_SCALED = 0.1  # by which a printer scales; more is a bar that was read wrong


@dataclass(frozen=True)
class Board:
    """A board as designed, and how large it was printed.

    Every paper has markers of its own, so that an image tells which board it shows.

    Attributes:
        paper: a4, a3 or letter.
        paper_mm: width and height of the sheet, landscape.
        columns, rows: squares.
        square_mm, marker_mm: sides as designed.
        first_id: of the markers, which are numbered row by row.
        bar_mm: length of the scale bar as designed.
        scale: size as printed over size as designed.
        measured: whether the bar was measured.
    """

    paper: str
    paper_mm: tuple[float, float]
    square_mm: float
    first_id: int
    bar_mm: float
    columns: int = 7
    rows: int = 5
    scale: float = 1.0
    measured: bool = False

    @property
    def marker_mm(self) -> float:
        """Side of a marker as designed: 0.7 of a square leaves a white rim and room for texture."""
        return 0.7 * self.square_mm

    @property
    def square(self) -> float:
        """Side of a square as printed, metres."""
        return self.square_mm * self.scale / 1000

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the pattern as printed, metres."""
        return self.columns * self.square, self.rows * self.square

    @cached_property
    def corners(self) -> npt.NDArray[np.float64]:
        """(N, 3) inner corners of the squares as printed, metres, row by row: the corner of number n is at n."""
        x, y = np.meshgrid(np.arange(1, self.columns), np.arange(1, self.rows))
        return self.square * np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)]).astype(np.float64)

    @property
    def markers(self) -> range:
        """Numbers of the markers."""
        return range(self.first_id, self.first_id + self.columns * self.rows // 2)

    def described(self) -> str:
        """Return what stands on the sheet."""
        return (
            f"fossa board {self.paper}: {self.columns}x{self.rows} squares of {self.square_mm:g} mm, "
            f"{DICTIONARY} from {self.first_id}"
        )

    def as_measured(self, bar_mm: float) -> Board:
        """Return the board as printed where its bar is ``bar_mm`` long.

        Raises:
            InputError: the length is far from that designed.
        """
        scale = bar_mm / self.bar_mm
        if not abs(scale - 1) <= _MOST_SCALED:
            raise InputError(
                f"The bar of the {self.paper} board is designed {self.bar_mm:g} mm long, and {bar_mm:g} mm is too far "
                "from that; measure the whole bar in millimetres, or print again at 100 %."
            )
        return replace(self, scale=scale, measured=True)

    def opencv(self) -> Any:
        """Return it as OpenCV's ``CharucoBoard``, in metres."""
        ids = np.array(self.markers)
        marker = self.marker_mm * self.scale / 1000
        return cv2.aruco.CharucoBoard((self.columns, self.rows), self.square, marker, dictionary(), ids)


BOARDS = {
    board.paper: board
    for board in (
        Board("a4", (297.0, 210.0), 35.0, 0, 180.0),
        Board("a3", (420.0, 297.0), 50.0, 17, 280.0),
        Board("letter", (279.4, 215.9), 35.0, 34, 180.0),
    )
}
"""The boards that 'fossa calibrate print' prints, by paper."""


def dictionary() -> Any:
    """Return OpenCV's dictionary of the markers.

    Raises:
        InputError: OpenCV is too old to find boards.
    """
    if not hasattr(cv2, "aruco") or not hasattr(cv2.aruco, "CharucoDetector"):
        raise InputError(
            f"OpenCV {cv2.__version__} cannot find boards; run: pip install 'opencv-python-headless>=4.8' (in the "
            "virtual environment that README describes)."
        )
    return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, DICTIONARY))
