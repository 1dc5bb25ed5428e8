"""Quantities of one pair of frames: the difference of their misalignments, and detail lost to motion blur."""

from __future__ import annotations

import numpy as np

from fossa_ros.motion.frame import Frame, lower
from fossa_ros.motion.misalignment import Difference
from fossa_ros.motion.plane_registrations import NEIGHBOUR_FLOOR, SAME_FOCUS_FLOOR
from fossa_ros.motion.registration import Registration
from fossa_ros.motion.tiling import FINEST, ZOOM, Tiling, transform

CHANGED = 0.3  # mismatch of a tile that shows other content
_VIEW_FLOOR = {False: 0.03, True: 0.05}  # px: error of the view as a whole, by whether the focus differs
_TILE_FLOOR = {False: SAME_FOCUS_FLOOR, True: NEIGHBOUR_FLOOR}


def view_and_tile_difference(
    tiling: Tiling, found: Registration, plane: int, base: int, *, breathing: float = 0.0, biased: bool = False
) -> tuple[Difference, Difference]:
    """Return the misalignment between two frames of the view as a whole, and of each tile beyond that.

    Args:
        tiling: of both frames.
        found: how frame ``plane`` lies relative to frame ``base``.
        plane, base: their indices.
        breathing: magnification (px at the corner) that is attributed to the lens and not counted.
        biased: whether the focus differs.
    """
    amount = tiling.motion(found.H)
    uncertainty = found.uncertainty + _VIEW_FLOOR[biased] ** 2 * np.eye(len(amount))
    amount[ZOOM] -= np.clip(amount[ZOOM], -breathing, breathing)
    uncertainty[ZOOM, ZOOM] += breathing**2
    own = found.displacement - tiling.displacement(found.H)
    covariance = found.covariance + _TILE_FLOOR[biased] ** 2 * np.eye(2)
    covariance[found.mismatch > CHANGED] = np.inf  # other content has no displacement
    return (
        Difference(plane, base, amount[None], uncertainty[None], biased),
        Difference(plane, base, own, covariance, biased),
    )


def details(found: Registration, frame: Frame, earlier: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Return the detail, `Frame.detail`, of both frames of a same-focus pair; both frames keep it.

    The earlier frame's tiles are moved by whole px, since interpolation would blur in the direction of the rest.
    """
    x, y = np.rint(transform(found.H, np.zeros(2)) / frame.tiling.pitch(FINEST)).astype(int)
    return frame.detail(), earlier.detail((int(x), int(y)))


def lost_detail_in_one_direction(detail: np.ndarray, before: np.ndarray, limit: float) -> bool:
    """Return whether most tiles, (T, 3, 3) of `Frame.detail`, lost much more detail in one direction than in another.

    A focus error affects all directions alike, so two directions are compared with each other; a moving object affects
    few tiles, so the median is taken. If it was the earlier frame that lost detail, one direction shows a gain. The
    contrast of the tile, which blur hardly changes, cancels the exposure.

    Args:
        detail, before: of this frame and of the earlier one.
        limit: smallest ratio of the detail kept in the worst direction to that in the best.
    """
    worst, best = kept_by_direction(detail, before)
    return worst < limit * best and worst * best < 1.0


def kept_by_direction(detail: np.ndarray, before: np.ndarray) -> tuple[float, float]:
    """Return the median of detail, as above, over that before, in the worst and in the best direction."""
    contrast = before[:, 2, 2] / detail[:, 2, 2]
    detail, before = detail[:, :2, :2], before[:, :2, :2]
    whitened = np.linalg.inv(np.linalg.cholesky(before.sum(axis=0)))
    _, directions = np.linalg.eigh(whitened @ detail.sum(axis=0) @ whitened.T)  # ascending
    directions = whitened.T @ directions
    # d^T M d of every tile and both directions: one product of large matrices.
    products = (directions[:, None] * directions[None, :]).reshape(4, 2)
    kept, expected = (each.reshape(-1, 4) @ products for each in (detail, before))
    kept = kept / expected * contrast[:, None]
    worst, best = (lower(each, 0.5) for each in kept.T)
    return worst, best
