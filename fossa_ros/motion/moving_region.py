"""Outline what moved independently, by residual optical flow between the planes and from the previous stack.

The tiles of the registration detect motion reliably, but locate it only coarsely. Dense flow (Dense Inverse Search,
Kroeger et al. 2016) draws the outline. Only regions that contain a moved tile count, so flow that blur causes never
makes a region on its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

from fossa_ros.motion.frame import Frame
from fossa_ros.motion.tiling import FINEST, Tiling

_STEP_PX = 1.0  # flow between neighbours that blur does not cause; px at network resolution
_SAME_FOCUS_PX = 1.2  # flow from the same focus of the previous stack
_FAR_PX = 10.0  # longer flow from there also shows where the moving object had been
_FLAT = 3.0  # grey levels of local contrast below which a frame counts as flat
_NORMALIZED = 2.0  # px of the finest level: scale of contrast normalization; a strong edge reaches that far
_WINDOW, _NOISE = 5, 10  # px of the finest level; of the 48 levels a standard deviation in normalized views
_REACH = 17  # px of the finest level: twice the distance that a region may extend beyond its tiles
_HALF_SURE = 0.6  # suspicion of a tile around which a region may extend
_OPEN, _CLOSE, _RIM = 3, 9, 3  # px of the finest level; flow patches extend a rim beyond what moves


class SameFocusPair(NamedTuple):
    """A plane of this stack and the frame of the same focus in the previous one.

    Attributes:
        plane: index of the plane.
        earlier: frame of the previous stack.
        H: (3, 3) homography from the plane to that frame.
    """

    plane: int
    earlier: Frame
    H: np.ndarray


@cache
def _disc(diameter: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))


@cache
def _flow_engine() -> cv2.DISOpticalFlow:
    engine = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    engine.setFinestScale(0)
    engine.setPatchSize(8)
    engine.setPatchStride(3)
    return engine


def normalize_contrast(frame: Frame, H: np.ndarray | None = None) -> np.ndarray:
    """Return the finest level of a frame with its local contrast normalized, so that flow ignores blur and light.

    Args:
        frame: the frame.
        H: (3, 3) homography that brings it to another view: the point at H(p) moves to p.

    Returns:
        (h, w) uint8; mean 128, 48 levels a standard deviation.
    """
    image = frame.levels[FINEST]
    if H is not None:
        image = frame.tiling.warp(image, H)
    band = image - cv2.GaussianBlur(image, (0, 0), _NORMALIZED)
    spread = cv2.sqrt(cv2.GaussianBlur(band * band, (0, 0), _NORMALIZED) + _FLAT**2)
    return cv2.convertScaleAbs(cv2.divide(band, spread) * 48.0 + 128.0)


def optical_flow(template: np.ndarray, frame: np.ndarray, tiling: Tiling) -> np.ndarray:
    """Return (h, w, 2) float32 displacements from the template to the frame, network px."""
    flow = _flow_engine().calc(template, frame, None)  # type: ignore[call-overload]  # None: no initial flow
    return flow * np.float32(tiling.pitch(FINEST))


def moving_region(
    frames: Sequence[Frame],
    order: Sequence[int] | np.ndarray,
    homographies: Sequence[np.ndarray],
    same_focus: Sequence[SameFocusPair],
    suspicion: np.ndarray,
) -> np.ndarray:
    """Outline what moved independently.

    Args:
        frames: the N planes.
        order: plane indices by focus distance.
        homographies: of each plane: the point at p in the reference plane is at H(p) in it.
        same_focus: pairs with the previous stack.
        suspicion: (T,) evidence that something moved independently in each tile; it counts as moved from 1 on.

    Returns:
        (h, w) bool at the finest level, seen from the reference plane.
    """
    tiling = frames[0].tiling
    if suspicion.max() < 1.0:
        return np.zeros(tiling.levels[FINEST], bool)
    views = [normalize_contrast(frame, H) for frame, H in zip(frames, homographies, strict=True)]
    moved, unequal = np.zeros((2, *tiling.levels[FINEST]), bool)
    for a, b in pairwise(order):
        differ = _differ(views[a], views[b])
        unequal |= differ
        for first, second in ((a, b), (b, a)):
            moved |= differ & (np.linalg.norm(optical_flow(views[first], views[second], tiling), axis=2) > _STEP_PX)
    # Where the planes of this stack agree, something was elsewhere in the previous stack.
    near = cv2.dilate(unequal.astype(np.uint8), _disc(_CLOSE)) > 0
    for plane, earlier, H in same_focus:
        before = normalize_contrast(earlier, H @ homographies[plane])
        size = np.linalg.norm(optical_flow(views[plane], before, tiling), axis=2)
        moved |= near & _differ(views[plane], before) & (size > _SAME_FOCUS_PX) & (size < _FAR_PX)
    return _grow(moved, suspicion, tiling)


def _differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return where two normalized views differ by more than noise; flow is meaningless elsewhere."""
    return cv2.blur(cv2.absdiff(a, b), (_WINDOW, _WINDOW)) > _NOISE


def _grow(moved: np.ndarray, suspicion: np.ndarray, tiling: Tiling) -> np.ndarray:
    """Return the regions of ``moved`` that contain a moved tile, without holes.

    A moved tile without a region is a region itself. Regions extend little beyond tiles that are at least half sure.
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
    kept = np.zeros(count, bool)
    kept[np.unique(label[seeded > 0])] = True
    kept[0] = False
    region = kept[label]
    _, part = cv2.connectedComponents(seeded, connectivity=4)
    covered = np.zeros(int(part.max()) + 1, bool)
    covered[np.unique(part[region])] = True
    covered[0] = True
    return region | ~covered[part]


def _spread(tiles: np.ndarray, tiling: Tiling) -> np.ndarray:
    """Return (h, w) uint8 at the finest level: 1 in the tiles that are true."""
    spread, edge = np.zeros(tiling.levels[FINEST], np.uint8), tiling.tile(FINEST)
    marked = tiles.reshape(tiling.tiles).astype(np.uint8)
    spread[tiling.window(FINEST)] = np.kron(marked, np.ones((edge, edge), np.uint8))
    return spread


def enlarge_region(region: np.ndarray, tiling: Tiling) -> np.ndarray:
    """Enlarge a region of the finest level to (H, W) bool of the frames."""
    height, width = tiling.size
    return cv2.resize(region.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
