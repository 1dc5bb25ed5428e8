"""The printed board: OpenCV finds what is drawn, where it should be, and the PDF has the size that it says."""

from __future__ import annotations

import re
import zlib

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from fossa_ros.calibration.board.artwork import raster
from fossa_ros.calibration.board.board import BOARDS
from fossa_ros.commands.cli import main
from fossa_ros.core.errors import InputError

POINT = 25.4 / 72  # mm


def drawn_boxes(path) -> np.ndarray:
    """Return left, bottom, width and height, mm, of every filled path of straight lines in a PDF."""
    data = path.read_bytes()
    boxes = []
    for stream in re.findall(rb"stream\n(.*?)\nendstream", data, re.DOTALL):
        try:
            text = zlib.decompress(stream).decode("latin-1")
        except zlib.error:
            continue
        for part in re.findall(r"((?:[-\d.]+ [-\d.]+ [ml]\s+){4,5})h\s+f", text):
            points = np.array(re.findall(r"([-\d.]+) ([-\d.]+) [ml]", part), float) * POINT
            boxes.append([*points.min(0), *np.ptp(points, axis=0)])
    return np.array(boxes)


@pytest.mark.parametrize("paper", BOARDS)
def test_opencv_finds_every_corner_where_it_is_drawn(paper):
    board = BOARDS[paper]
    image = np.pad((255 * raster(board, 3)).astype(np.uint8), 60, constant_values=255)
    corners, numbers, _, markers = cv2.aruco.CharucoDetector(board.opencv()).detectBoard(image)
    expected = board.corners[numbers.ravel(), :2] * 3000 + 60 - 0.5
    assert sorted(numbers.ravel()) == list(range(24))
    assert sorted(markers.ravel()) == list(board.markers)
    assert corners.reshape(-1, 2) == pytest.approx(expected, abs=0.01)


def test_boards_of_different_papers_share_no_marker():
    numbers = [number for board in BOARDS.values() for number in board.markers]
    assert len(set(numbers)) == len(numbers)


def test_both_kinds_of_squares_have_texture_but_not_at_corners():
    board = BOARDS["a4"]
    image = raster(board, 4)
    side = round(4 * board.square_mm)
    black, white = image[:side, :side], image[:side, side : 2 * side]
    assert 0.04 < black.mean() < 0.3
    rim = white.copy()
    rim[20:-20, 20:-20] = 1
    assert 0.003 < 1 - rim.mean() < 0.1
    corner = image[side - 25 : side + 25, side - 25 : side + 25]
    assert set(np.unique(corner)) == {0.0, 1.0}


@pytest.mark.parametrize("paper", ["a4", "a3"])
def test_sheet_has_the_sizes_that_it_says(paper, tmp_path):
    board, out = BOARDS[paper], tmp_path / "board.pdf"
    done = CliRunner().invoke(main, ["calibrate", "print", "--paper", paper, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert f"{board.bar_mm:g} mm" in done.output
    media = [float(number) for number in re.search(rb"MediaBox \[([^]]+)\]", out.read_bytes())[1].split()]
    assert np.multiply(media[2:], POINT) == pytest.approx(board.paper_mm, abs=0.01)
    boxes = drawn_boxes(out)
    bar = boxes[np.abs(boxes[:, 2] - board.bar_mm) < 1]
    assert bar[:, 2] == pytest.approx([board.bar_mm], abs=0.01)
    squares = boxes[np.abs(boxes[:, 2:] - board.square_mm).max(axis=1) < 1]
    assert len(squares) == 18
    assert squares[:, 2:] == pytest.approx(np.full((18, 2), board.square_mm), abs=0.01)
    assert np.ptp(squares[:, 0]) == pytest.approx(6 * board.square_mm, abs=0.01)
    assert np.ptp(squares[:, 1]) == pytest.approx(4 * board.square_mm, abs=0.01)


def test_a_printer_that_scaled_gets_a_larger_drawing(tmp_path):
    out = tmp_path / "board.pdf"
    done = CliRunner().invoke(main, ["calibrate", "print", "--measured", "178.4", "--out", str(out)])
    assert done.exit_code == 0, done.output
    boxes = drawn_boxes(out)
    bar = boxes[np.abs(boxes[:, 3] - 2.5) < 0.01]
    assert bar[:, 2].max() == pytest.approx(180**2 / 178.4, abs=0.01)


def test_measured_bar_scales_the_board():
    board = BOARDS["a4"].as_measured(178.4)
    assert board.square * 1000 == pytest.approx(35 * 178.4 / 180)
    assert board.corners[23, :2] == pytest.approx(np.array([6, 4]) * board.square)
    assert np.array(board.opencv().getChessboardCorners()) == pytest.approx(board.corners, abs=1e-6)
    with pytest.raises(InputError, match="measure the whole bar in millimetres"):
        BOARDS["a4"].as_measured(17.8)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--out", "board.png"], "must end in .pdf"),
        (["--measured", "163", "--paper", "a4"], "does not fit a4"),
        (["--measured", "90"], "too far from that"),
    ],
)
def test_sheets_that_cannot_be_printed_are_refused(arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["calibrate", "print", *arguments])
    assert done.exit_code == 1
    assert sentence in done.output
    assert not list(tmp_path.iterdir())
