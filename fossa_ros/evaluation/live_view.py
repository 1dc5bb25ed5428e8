"""A window with the newest sweep: its planes, its depth and what became of it."""

from __future__ import annotations

import os
import sys

import cv2
import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.io.pictures import UNKNOWN, colour_depth, depth_range
from fossa_ros.pipeline.result import SweepResult

WIDTH = 960  # px
TEXT = 24  # px of the line below
TITLE = "fossa live"
KEYS_TO_END = (ord("q"), 27)  # Escape


def view_picture(result: SweepResult, width: int = WIDTH) -> np.ndarray:
    """Return what the window shows of a sweep, (H, width, 3) uint8 RGB.

    The planes are in a row above, the all-in-focus image and the depth below, and the verdict in a line of text. What a
    sweep does not have is dark.
    """
    stack, depth = result.sweep.stack, result.depth
    planes = [] if stack is None else [plane.image for plane in stack.planes]
    if depth is None or not (depth.depth > 0).any():
        lower = (
            [_dark(planes)] * 2 if depth is None else [depth.all_in_focus, np.full_like(depth.all_in_focus, UNKNOWN)]
        )
    else:
        lower = [depth.all_in_focus, colour_depth(depth.depth, *depth_range(depth.depth))]
    rows = [_row(planes or [_dark(planes)], width), _row(lower, width)]
    line = np.zeros((TEXT, width, 3), np.uint8)
    text = f"sweep {result.sweep.number}: {result.verdict} {result.reason}".rstrip()
    text = text.encode("ascii", "replace").decode()  # of OpenCV's font
    cv2.putText(line, text, (6, TEXT - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([*rows, line])


class LiveWindow:
    """A window of OpenCV; used by the main thread only.

    Raises:
        InputError: there can be no window here.
    """

    def __init__(self) -> None:
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise InputError("--view needs a display, and there is none here; use --out, or run it on a desktop.")
        try:
            cv2.namedWindow(TITLE)
        except cv2.error as error:
            raise InputError(
                "--view needs an OpenCV with windows; use --out, or run: pip uninstall opencv-python-headless, then "
                "pip install opencv-python."
            ) from error

    def show(self, result: SweepResult) -> None:
        """Show a sweep."""
        cv2.imshow(TITLE, cv2.cvtColor(view_picture(result), cv2.COLOR_RGB2BGR))

    def is_ended(self) -> bool:
        """Let the window work; return whether it was closed, or q or Escape pressed in it."""
        key = cv2.waitKey(1) & 0xFF
        return key in KEYS_TO_END or cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1

    def close(self) -> None:
        """Close the window."""
        cv2.destroyAllWindows()


def _dark(planes: list[np.ndarray]) -> np.ndarray:
    return np.full(planes[0].shape if planes else (3, 4, 3), UNKNOWN, np.uint8)


def _row(images: list[np.ndarray], width: int) -> np.ndarray:
    """Return images of one size side by side, (H, width, 3)."""
    edges = np.linspace(0, width, len(images) + 1).round().astype(int)
    height = max(round(images[0].shape[0] * width / len(images) / images[0].shape[1]), 1)
    return np.hstack(
        [
            cv2.resize(image, (int(right - left), height), interpolation=cv2.INTER_AREA)
            for image, left, right in zip(images, edges[:-1], edges[1:], strict=True)
        ]
    )
