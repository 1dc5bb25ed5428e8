"""Find the board in an image: which corners, where, to a small part of a pixel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fossa_ros.calibration.board.board import BOARDS, Board, dictionary

FEWEST_CORNERS = 6
"""Corners of a view that is used: enough for a pose whose error shows."""
_WINDOW = 0.12  # of a square: half the window of a corner; markers and dots lie outside, foreshortened too
_SMALLEST, _LARGEST = 2, 12  # px, of the same
_ITERATIONS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-3)


@dataclass(frozen=True, eq=False)
class BoardView:
    """Corners of the board in one image.

    Attributes:
        numbers: (N,) of the corners.
        pixels: (N, 2).
        side: of a square, px, the median.
    """

    numbers: npt.NDArray[np.int_]
    pixels: npt.NDArray[np.float64]
    side: float


class BoardFinder:
    """Find one board in images. Raises InputError if OpenCV is too old."""

    def __init__(self, board: Board):
        self._columns = board.columns - 1
        self._detector = cv2.aruco.CharucoDetector(board.opencv())

    def find(self, image: np.ndarray) -> BoardView | None:
        """Return the corners in an (H, W) uint8 image; None if there are fewer than ``FEWEST_CORNERS``.

        A corner looks the same after half a turn, so that a symmetric blur, and whatever a camera does to brightness,
        leaves it in its place as long as the window shows nothing else.
        """
        corners, numbers, _, _ = self._detector.detectBoard(image)
        if numbers is None or len(numbers) < FEWEST_CORNERS:
            return None
        found = np.asarray(numbers).ravel()
        pixels = np.asarray(corners, np.float32).reshape(-1, 1, 2)
        side = self._side(found, pixels[:, 0])
        half = int(np.clip(round(_WINDOW * side), _SMALLEST, _LARGEST))
        refined = cv2.cornerSubPix(image, pixels.copy(), (half, half), (-1, -1), _ITERATIONS)
        moved = np.hypot(*(refined - pixels)[:, 0].T)
        inside = (refined[:, 0] > half).all(axis=1) & (refined[:, 0] < np.array(image.shape[::-1]) - 1 - half).all(
            axis=1
        )
        kept = (moved < half) & inside
        if kept.sum() < FEWEST_CORNERS:
            return None
        return BoardView(found[kept], refined[kept, 0].astype(np.float64), side)

    def _side(self, numbers: np.ndarray, pixels: np.ndarray) -> float:
        """Return the median distance of neighbours, px."""
        places = {int(number): pixel for number, pixel in zip(numbers, pixels, strict=True)}
        steps = [
            float(np.hypot(*(places[other] - pixel)))
            for number, pixel in places.items()
            for other in (number + 1, number + self._columns)
            if other in places and (other % self._columns or other != number + 1)
        ]
        return float(np.median(steps)) if steps else 0.0


def papers_in(images: Iterable[np.ndarray]) -> Counter[str]:
    """Return how many markers of each paper's board some images show."""
    seen: Counter[str] = Counter()
    detector = cv2.aruco.ArucoDetector(dictionary())
    for image in images:
        _, numbers, _ = detector.detectMarkers(image)
        for number in () if numbers is None else np.asarray(numbers).ravel():
            seen.update(paper for paper, board in BOARDS.items() if number in board.markers)
    return seen
