"""What a person who moves the board is shown: the newest image, what boards have covered, and what is missing."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from fossa_ros.calibration.board.board import BOARDS, Board
from fossa_ros.calibration.board.detection import BoardFinder, papers_in
from fossa_ros.calibration.board.guidance import OUTER, QUARTERS, covered_quarters
from fossa_ros.calibration.board.observation import SweepObservation

_LARGEST = 1280  # px: width beyond which an image is shown, and the board looked for, smaller
_PERIOD_S = 0.3  # between two pictures, however many ask for them
_PATIENCE_S = 1.0  # for a picture that another thread draws
_QUALITY = 80  # of JPEG
_DARK, _GREY, _WHITE = (40, 36, 34), (120, 120, 120), (255, 255, 255)  # BGR
_FOUND, _MISSING, _BOARD = (80, 200, 60), (60, 150, 255), (200, 160, 60)
_CORNER = (80, 60, 230)  # as in the report
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class SessionView:
    """The state of a session. Thread-safe.

    The procedure tells what happens, which takes no longer than to store it. Pictures are drawn by whoever asks for
    them, and one at a time.

    Args:
        places: at which the board is to be.
    """

    def __init__(self, places: int):
        self._lock, self._drawing = threading.Lock(), threading.Lock()
        self._places = places
        self._image: np.ndarray | None = None
        self._images = 0
        self._frame = self._frames = 0
        self._ask = self._remark = ""
        self._missing: tuple[str, ...] = ()
        self._sweeps: tuple[SweepObservation, ...] = ()
        self._finder: BoardFinder | None = None
        self._drawn: tuple[Any, float, bytes] | None = None

    def show(self, image: np.ndarray) -> None:
        """Take the newest (H, W) uint8 image, which nobody changes any more."""
        with self._lock:
            self._image, self._images = image, self._images + 1

    def ask(self, words: str, missing: Sequence[str]) -> None:
        """Say what the person should do, and what the sweeps so far do not show."""
        with self._lock:
            self._ask, self._missing, self._frame, self._frames = words, tuple(missing), 0, 0

    def begin(self, words: str, frames: int) -> None:
        """Say that a sweep of so many frames begins."""
        with self._lock:
            self._ask, self._remark, self._frame, self._frames = words, "", 0, frames

    def advance(self) -> None:
        """Count a frame of the sweep."""
        with self._lock:
            self._frame += 1

    def remark(self, words: str) -> None:
        """Say what became of the last sweep."""
        with self._lock:
            self._remark = words

    def add(self, sweep: SweepObservation, board: Board) -> None:
        """Add a sweep that shows the board."""
        finder = self._finder or BoardFinder(board)
        with self._lock:
            self._finder, self._sweeps = finder, (*self._sweeps, sweep)

    def status(self) -> dict[str, Any]:
        """Return what is told in words and numbers, for JSON."""
        with self._lock:
            return {
                "image": self._images,
                "seen": len(self._sweeps),
                "places": self._places,
                "frame": self._frame,
                "frames": self._frames,
                "ask": self._ask,
                "remark": self._remark,
                "missing": list(self._missing),
            }

    def picture(self) -> bytes | None:
        """Return a JPEG: the newest image with the corners of the board in it, and beside it what boards have covered.

        Returns:
            None before the first image.
        """
        mine = self._drawing.acquire(timeout=_PATIENCE_S)
        try:
            with self._lock:
                image, sweeps, finder, drawn = self._image, self._sweeps, self._finder, self._drawn
                key = self._images, len(sweeps)
            if image is None:
                return None
            now = time.monotonic()
            if drawn is not None and (not mine or drawn[0] == key or now - drawn[1] < _PERIOD_S):
                return drawn[2]
            if not mine:
                return None
            picture = session_picture(image, sweeps, finder or _finder_in(image))
            data = bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1])
            with self._lock:
                self._drawn = key, now, data
            return data
        finally:
            if mine:
                self._drawing.release()


def session_picture(
    image: np.ndarray, sweeps: Sequence[SweepObservation], finder: BoardFinder | None = None
) -> np.ndarray:
    """Return an (H, 2 W, 3) uint8 BGR picture: an (H, W) uint8 image with the board's corners, and what is covered."""
    factor = min(_LARGEST / image.shape[1], 1.0)
    small = image if factor == 1 else cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    picture = cv2.cvtColor(np.ascontiguousarray(small), cv2.COLOR_GRAY2BGR)
    view = None if finder is None else finder.find(small)
    for place in () if view is None else view.pixels:
        cv2.circle(picture, _whole(place), 5, _CORNER, 1, cv2.LINE_AA)
    words = "no board is found" if view is None else f"{len(view.numbers)} corners are found"
    (across, down), _ = cv2.getTextSize(words, _FONT, 0.5, 1)
    cv2.rectangle(picture, (0, 0), (across + 12, down + 12), _DARK, cv2.FILLED)
    cv2.putText(picture, words, (6, down + 6), _FONT, 0.5, _MISSING if view is None else _FOUND, 1, cv2.LINE_AA)
    return np.hstack([picture, _coverage(sweeps, small.shape[:2])])


def _coverage(sweeps: Sequence[SweepObservation], size: tuple[int, int]) -> np.ndarray:
    """Return which parts of the image boards have covered, and which of its corners."""
    height, width = size
    covered = np.full((height, width, 3), _DARK, np.uint8)
    outlines = [
        np.rint(cv2.convexHull((sweep.places * (width / sweep.size[1])).astype(np.float32))[:, 0]).astype(np.int32)
        for sweep in sweeps
    ]
    for outline in outlines:
        board = covered.copy()
        cv2.fillConvexPoly(board, outline, _BOARD, cv2.LINE_AA)
        covered[:] = cv2.addWeighted(board, 0.35, covered, 0.65, 0)
    seen = covered_quarters(sweeps)
    for low, right in QUARTERS:
        far = np.array([right * (width - 1), low * (height - 1)])
        near = far + (1 - 2 * np.array([right, low])) * OUTER * np.array([width, height])
        cv2.rectangle(covered, _whole(far), _whole(near), _FOUND if (low, right) in seen else _MISSING, 2)
    for number, outline in enumerate(outlines):
        cv2.polylines(covered, [outline], True, _GREY, 1, cv2.LINE_AA)
        cv2.putText(covered, f"{number + 1}", _whole(outline.mean(axis=0)), _FONT, 0.5, _WHITE, 1, cv2.LINE_AA)
    return covered


def _finder_in(image: np.ndarray) -> BoardFinder | None:
    """Return what finds the board whose markers an image shows."""
    seen = papers_in([image]).most_common(1)
    return BoardFinder(BOARDS[seen[0][0]]) if seen else None


def _whole(place: np.ndarray) -> tuple[int, int]:
    x, y = np.rint(place).astype(int).tolist()
    return x, y
