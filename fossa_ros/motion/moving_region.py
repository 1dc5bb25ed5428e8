"""Outline what moved by itself in a stack: residual flow between its planes, and against the stack before.

The tiles of the registration say surely that something moved, but only coarsely where. Here dense flow (Dense Inverse
Search, Kroeger et al. 2016) draws the outline, and only regions that hold such a tile count, so that what blur does to
flow never makes a region by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import cv2
import numpy as np

from fossa_ros.motion.registration import Frame
from fossa_ros.motion.tiling import FINEST, Tiling

_STEP_PX = 1.0  # flow from plane to plane that blur does not make; px at network resolution
_SAME_FOCUS_PX = 1.2  # flow against the same focus of the stack before
_FAR_PX = 10.0  # beyond which that flow shows where the mover had been, too
_FLAT = 3.0  # grey levels of local contrast below which a frame counts as flat
_EVEN = 2.0  # px of the finest level: scale at which contrast is evened out; a strong edge reaches so far
_WINDOW, _NOISE = 5, 10  # px of the finest level; of the evened views' 48 levels a standard deviation
_REACH = 17  # px of the finest level: twice how far a region may leave its tiles
_HALF_SURE = 0.6  # suspicion of a tile next to which a region may grow
_OPEN, _CLOSE, _RIM = 3, 9, 3  # px of the finest level; flow's patches reach a rim beyond what moves


@cache
def _disc(diameter: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))


@cache
def _flow_engine() -> cv2.DISOpticalFlow:
    engine = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    engine.setFinestScale(0)
    engine.setPatchSize(8)
    engine.setPatchStride(3)
    return engine


def even(frame: Frame, H: np.ndarray | None = None) -> np.ndarray:
    """Return the finest level of a frame, uint8, its contrast evened out: what flow follows whatever blur and light.

    ``H`` brings it to another view: what is at H(p) comes to p.
    """
    image = frame.levels[FINEST]
    if H is not None:
        image = frame.tiling.warp(image, H)
    band = image - cv2.GaussianBlur(image, (0, 0), _EVEN)
    spread = cv2.sqrt(cv2.GaussianBlur(band * band, (0, 0), _EVEN) + _FLAT**2)
    return cv2.convertScaleAbs(cv2.divide(band, spread) * 48.0 + 128.0)


def flow(template: np.ndarray, frame: np.ndarray, tiling: Tiling) -> np.ndarray:
    """Return (h, w, 2) float32: where what is at p in the template is in the frame, less p; network px."""
    return _flow_engine().calc(template, frame, None) * np.float32(tiling.pitch(FINEST))


def moving_region(
    frames: Sequence[Frame],
    order: Sequence[int],
    homographies: Sequence[np.ndarray],
    same_focus: Sequence[tuple[int, Frame, np.ndarray]],
    suspicion: np.ndarray,
) -> np.ndarray:
    """Outline what moved by itself.

    Args:
        frames: the N planes.
        order: plane indices by focus distance.
        homographies: of each plane: what is at p in the reference plane is at H(p) in it.
        same_focus: plane, frame of the stack before, and homography from the plane to that frame.
        suspicion: (T,) of each tile that something moved by itself; at 1 and more it did.

    Returns:
        (h, w) bool at the finest level, seen from the reference plane.
    """
    tiling = frames[0].tiling
    if suspicion.max() < 1.0:
        return np.zeros(tiling.levels[FINEST], bool)
    views = [even(frame, H) for frame, H in zip(frames, homographies, strict=True)]
    moved, unequal = np.zeros((2, *tiling.levels[FINEST]), bool)
    for a, b in pairwise(order):
        differ = _differ(views[a], views[b])
        unequal |= differ
        for first, second in ((a, b), (b, a)):
            moved |= differ & (np.linalg.norm(flow(views[first], views[second], tiling), axis=2) > _STEP_PX)
    # Where the planes of this stack agree, it is the stack before in which something was elsewhere.
    near = cv2.dilate(unequal.astype(np.uint8), _disc(_CLOSE)) > 0
    for plane, frame, H in same_focus:
        was = even(frame, H @ homographies[plane])
        size = np.linalg.norm(flow(views[plane], was, tiling), axis=2)
        moved |= near & _differ(views[plane], was) & (size > _SAME_FOCUS_PX) & (size < _FAR_PX)
    return _grown(moved, suspicion, tiling)


def _differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Say where two evened views differ by more than noise does: flow says nothing where they do not."""
    return cv2.blur(cv2.absdiff(a, b), (_WINDOW, _WINDOW)) > _NOISE


def _grown(moved: np.ndarray, suspicion: np.ndarray, tiling: Tiling) -> np.ndarray:
    """Return the regions of ``moved`` that hold a sure tile, without holes; one without a region is one by itself.

    They reach little farther than the tiles that are sure or half so.
    """
    seeded = _spread(suspicion >= 1.0, tiling)
    near = cv2.dilate(_spread(suspicion >= _HALF_SURE, tiling), _disc(_REACH))
    moved = moved & (near > 0)
    region = cv2.morphologyEx(moved.astype(np.uint8), cv2.MORPH_OPEN, _disc(_OPEN))
    region = cv2.morphologyEx(region, cv2.MORPH_CLOSE, _disc(_CLOSE))
    outlines, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(region, outlines, -1, 1, cv2.FILLED)
    region = cv2.erode(region, _disc(_RIM))
    count, label = cv2.connectedComponents(region, connectivity=4)
    held = np.unique(label[seeded > 0])
    kept = np.zeros(count, bool)
    kept[held] = True
    kept[0] = False
    region = kept[label]
    _, part = cv2.connectedComponents(seeded, connectivity=4)
    found = np.zeros(part.max() + 1, bool)
    found[np.unique(part[region])] = True
    found[0] = True
    return region | ~found[part]


def _spread(tiles: np.ndarray, tiling: Tiling) -> np.ndarray:
    """Return (h, w) uint8 at the finest level: 1 in the tiles that are true."""
    spread, edge = np.zeros(tiling.levels[FINEST], np.uint8), tiling.tile(FINEST)
    marked = tiles.reshape(tiling.tiles).astype(np.uint8)
    spread[tiling.window(FINEST)] = np.kron(marked, np.ones((edge, edge), np.uint8))
    return spread


def at_size(region: np.ndarray, tiling: Tiling) -> np.ndarray:
    """Enlarge a region of the finest level to (H, W) bool of the frames."""
    height, width = tiling.size
    return cv2.resize(region.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
