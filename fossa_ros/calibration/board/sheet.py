"""The sheet that is printed: the board, a bar to check the printer with, and a description; a vector PDF."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fossa_ros.calibration.board.artwork import Bar, Dot, artwork
from fossa_ros.calibration.board.board import Board
from fossa_ros.core.errors import InputError
from fossa_ros.io.pictures import write_figure

if TYPE_CHECKING:
    from matplotlib.patches import Patch

_INCH = 25.4  # mm
_EDGE = 5.0  # mm that printers leave blank
_CODE = 15.0  # mm: side of the QR code
_GAP = 4.0  # mm between pattern and bar


def write_sheet(path: Path, board: Board, enlarged: float = 1.0) -> None:
    """Write the sheet as a PDF of the size of the paper.

    Args:
        path: ends in .pdf.
        board: as designed.
        enlarged: factor by which everything is drawn larger, for a printer that prints it smaller.

    Raises:
        InputError: the path is no PDF, the enlarged board does not fit the paper, or the file cannot be written.
    """
    from matplotlib.collections import PatchCollection
    from matplotlib.figure import Figure

    if path.suffix.lower() != ".pdf":
        raise InputError(f"--out {path} must end in .pdf: only a PDF is printed at its exact size.")
    width, height = board.paper_mm
    across, down = (count * board.square_mm * enlarged for count in (board.columns, board.rows))
    left, top = (width - across) / 2, (height - down - _GAP - _CODE) / 2
    if min(left, top) < _EDGE:
        raise InputError(
            f"The board enlarged by {enlarged - 1:.1%} does not fit {board.paper}; switch 'fit to page' of the printer "
            "off, or print as it is and give --measured to 'fossa calibrate board'."
        )
    figure = Figure(figsize=(width / _INCH, height / _INCH))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    shapes = [_placed(each, left, top, enlarged) for each in artwork(board)]
    below = top + down + _GAP
    shapes += _bar(left, below, board.bar_mm, enlarged)
    shapes += _code(left + across - _CODE, below, f"{board.described()}, bar {board.bar_mm:g} mm")
    inks = ["black" if each.black else "white" for each in shapes]
    axes.add_collection(PatchCollection([_patch(each) for each in shapes], facecolors=inks, linewidths=0))
    text = (
        f"{board.described()}\n"
        f"Print at 100 % (actual size), glue onto something flat. The bar is {board.bar_mm:g} mm from end to end;\n"
        "if a ruler says otherwise, give what it says to 'fossa calibrate board --measured'."
    )
    axes.text(left, below + 5.5, text, fontsize=7.5, va="top")
    write_figure(path, figure)


def _placed(shape: Bar | Dot, left: float, top: float, enlarged: float) -> Bar | Dot:
    x, y = left + shape.x * enlarged, top + shape.y * enlarged
    if isinstance(shape, Bar):
        return Bar(x, y, shape.width * enlarged, shape.height * enlarged, shape.black)
    return Dot(x, y, shape.radius * enlarged, shape.black)


def _patch(shape: Bar | Dot) -> Patch:
    from matplotlib.patches import Circle, Rectangle

    if isinstance(shape, Bar):
        return Rectangle((shape.x, shape.y), shape.width, shape.height)
    return Circle((shape.x, shape.y), shape.radius)


def _bar(x: float, y: float, length: float, enlarged: float) -> list[Bar | Dot]:
    """Return a bar from end to end, with a notch every 10 mm."""
    notches = [Bar(x + mark * enlarged - 0.1, y + 1.25, 0.2, 1.25, False) for mark in np.arange(10.0, length, 10.0)]
    return [Bar(x, y, length * enlarged, 2.5), *notches]


def _code(x: float, y: float, text: str) -> list[Bar | Dot]:
    """Return a QR code."""
    modules = cv2.QRCodeEncoder.create().encode(text)
    side = _CODE / modules.shape[0]
    return [Bar(x + column * side, y + row * side, side, side) for row, column in np.argwhere(modules == 0)]
