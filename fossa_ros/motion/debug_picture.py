"""Draw the evidence behind the verdict of the motion check."""

from __future__ import annotations

import cv2
import numpy as np

from fossa_ros.motion.measurement import Measurement
from fossa_ros.motion.tiling import FINEST
from fossa_ros.motion.verdict import MotionResult

MAGNIFIED = 8.0  # length of an arrow over the displacement
_PANEL = 2  # px for each px of the finest level
_LINE = 18  # px
_STILL, _MOVED, _SUSPECT = (90, 220, 90), (255, 190, 0), (255, 60, 60)  # RGB
_COLUMNS = 3


def debug_picture(found: MotionResult) -> np.ndarray:
    """Draw what the motion check found in a sweep.

    One panel for each plane, in the order taken. An arrow in each tile with texture points from its position to where
    the reference plane has it, magnified ``MAGNIFIED`` times: green when still, amber beyond. Tiles that moved by
    themselves are framed in red, and the masked region is tinted red. The verdict and its reason are on top.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    measured = found.measured
    if measured is None:
        raise ValueError("The result holds no measurement to draw.")
    width = measured.tiling.levels[FINEST][1] * _PANEL
    panels = [_panel(found, measured, plane) for plane in range(len(measured.frames))]
    columns = min(_COLUMNS, len(panels))
    panels += [np.zeros_like(panels[0])] * (-len(panels) % columns)
    rows = [np.hstack(panels[first : first + columns]) for first in range(0, len(panels), columns)]
    head = np.zeros((2 * _LINE + 6, columns * width, 3), np.uint8)
    summary = (
        f"{found.verdict}: {found.motion_px:.2f} +- {found.uncertainty_px:.2f} px, "
        f"{found.moving_share:.1%} moved independently of the camera; evidence: {', '.join(measured.evidence())}"
    )
    for line, text in enumerate((summary, found.reason)):
        _write(head, text, (6, _LINE * (line + 1) - 2))
    return np.vstack([head, *rows])


def _panel(found: MotionResult, measured: Measurement, plane: int) -> np.ndarray:
    tiling = measured.tiling
    height, width = (edge * _PANEL for edge in tiling.levels[FINEST])
    grey = np.clip(measured.frames[plane].levels[FINEST], 0, 255).astype(np.uint8)
    picture = cv2.cvtColor(cv2.resize(grey, (width, height)), cv2.COLOR_GRAY2RGB) // 2 + 40
    if found.moving is not None:
        region = cv2.resize(found.moving.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
        picture[region] = picture[region] // 2 + np.array(_SUSPECT, np.uint8) // 2
    shift = np.einsum("tik,k->ti", tiling.fields, measured.view.planes[0, plane]) + measured.tiles.planes[:, plane]
    scale = _PANEL / tiling.pitch(FINEST)
    middle = (np.array([width, height]) - 1) / 2
    half = tiling.tile(FINEST) * _PANEL / 2 - 2
    limit = found.still_px
    for tile in np.flatnonzero(measured.textured):
        centre = tiling.centres[tile] * scale + middle
        tip = centre + MAGNIFIED * scale * shift[tile]
        colour = _STILL if np.linalg.norm(shift[tile]) <= limit else _MOVED
        cv2.arrowedLine(picture, _whole(tip), _whole(centre), colour, 1, cv2.LINE_AA, tipLength=0.25)
        if measured.moving[plane, tile]:
            cv2.rectangle(picture, _whole(centre - half), _whole(centre + half), _SUSPECT, 1)
    name = f"plane {plane + 1}, {measured.focus_distances[plane]:.2f} m: {measured.motion_px[plane]:.2f} px"
    _write(picture, name + (", blurred by motion" if measured.blurred[plane] else ""), (6, _LINE - 2))
    return picture


def _whole(point: np.ndarray) -> tuple[int, int]:
    x, y = np.rint(np.clip(point, -1e4, 1e4)).astype(int)
    return int(x), int(y)


def _write(picture: np.ndarray, text: str, at: tuple[int, int]) -> None:
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, thickness, cv2.LINE_AA)
