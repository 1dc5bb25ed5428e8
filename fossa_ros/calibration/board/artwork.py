"""What is printed on a board: rectangles and dots, in millimetres, drawn one over the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fossa_ros.calibration.board.board import Board, dictionary

_CLEAR = 0.24  # of a square: no dot is this close to a corner, where its place is found to a part of a pixel
_MODULES = 6  # along a marker, its black rim included
_SUPERSAMPLED = 4
_BLACK_DOTS, _WHITE_DOTS = 60, 45  # attempts in a square; those that would touch another one are left out


@dataclass(frozen=True)
class Bar:
    """A rectangle: left, top, width and height in mm on the pattern, black or white."""

    x: float
    y: float
    width: float
    height: float
    black: bool = True


@dataclass(frozen=True)
class Dot:
    """A disc: centre and radius in mm on the pattern, black or white."""

    x: float
    y: float
    radius: float
    black: bool


def artwork(board: Board) -> Iterator[Bar | Dot]:
    """Yield the pattern as designed, what lies below first.

    Squares and markers are those of OpenCV's board. Dots of several sizes cover the black squares, and the white ones
    between rim and marker: without them a square would be sharp at its edges only, and a board that fills the view
    nearly nowhere.
    """
    side, marker = board.square_mm, board.marker_mm
    inset, module = (side - marker) / 2, marker / _MODULES
    rng = np.random.default_rng(board.first_id)
    number = board.first_id
    for row in range(board.rows):
        for column in range(board.columns):
            left, top = column * side, row * side
            if (row + column) % 2 == 0:
                yield Bar(left, top, side, side)
                for x, y, radius in _dots(rng, _WHITE_DOTS, (0.4, 1.2), side, 0.08 * side, None):
                    yield Dot(left + x, top + y, radius, False)
                continue
            for x, y, radius in _dots(rng, _BLACK_DOTS, (0.3, 0.6), side, 0.015 * side, inset - 0.5 * module):
                yield Dot(left + x, top + y, radius, True)
            yield Bar(left + inset, top + inset, marker, marker)
            bits = dictionary().generateImageMarker(number, _MODULES)
            for line, start, count in _runs(bits > 0):
                x, y = left + inset + start * module, top + inset + line * module
                yield Bar(x, y, count * module, module, False)
            number += 1


def raster(board: Board, pixels_per_mm: float) -> npt.NDArray[np.float32]:
    """Return the pattern as designed, (H, W) float32: 0 black, 1 white."""
    fine = _SUPERSAMPLED * pixels_per_mm
    shape = [round(count * board.square_mm * fine) for count in (board.rows, board.columns)]
    image = np.full(shape, 255, np.uint8)
    for each in artwork(board):
        ink = 0 if each.black else 255
        if isinstance(each, Bar):
            left, top, right, bottom = (
                round(edge * fine) for edge in (each.x, each.y, each.x + each.width, each.y + each.height)
            )
            image[top:bottom, left:right] = ink
        else:
            # Coordinates of OpenCV are those of pixel centres; four bits after the point.
            x, y, radius = (
                round(16 * value) for value in (each.x * fine - 0.5, each.y * fine - 0.5, each.radius * fine)
            )
            cv2.circle(image, (x, y), radius, ink, cv2.FILLED, cv2.LINE_8, 4)
    small = cv2.resize(image, None, fx=1 / _SUPERSAMPLED, fy=1 / _SUPERSAMPLED, interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / np.float32(255)


def _dots(
    rng: np.random.Generator, attempts: int, radii: tuple[float, float], side: float, margin: float, rim: float | None
) -> Iterator[tuple[float, float, float]]:
    """Yield centre and radius of dots in a square that touch neither each other nor its surroundings.

    Args:
        rng: of their places.
        attempts: to place one.
        radii: smallest and largest, mm.
        side: of the square, mm.
        margin: to its edge, mm.
        rim: width of the frame in which they lie, mm; None for the whole square.
    """
    placed: list[tuple[float, float, float]] = []
    for _ in range(attempts):
        radius = float(radii[0] * (radii[1] / radii[0]) ** rng.random())
        x, y = (float(value) for value in rng.uniform(margin + radius, side - margin - radius, 2))
        if rim is not None:  # to the nearest edge, rather than into the marker
            reach = rim - 2 * radius - margin
            if reach <= 0:
                continue
            depth = margin + radius + float(rng.random()) * reach
            x, y = ((x, depth), (x, side - depth), (depth, y), (side - depth, y))[int(rng.integers(4))]
        corner = np.hypot(min(x, side - x), min(y, side - y)) - radius
        if corner < _CLEAR * side:
            continue
        if any(np.hypot(x - a, y - b) < 1.3 * (radius + r) for a, b, r in placed):
            continue
        placed.append((x, y, radius))
        yield placed[-1]


def _runs(white: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int, int]]:
    """Yield row, first column and length of each run of white modules."""
    for row, modules in enumerate(white):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], modules.astype(np.int8), [0]])))
        for start, end in edges.reshape(-1, 2):
            yield row, int(start), int(end - start)
