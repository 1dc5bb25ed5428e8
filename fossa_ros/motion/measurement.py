"""Measure what moved in one stack: within itself, and against the stack before.

Lengths are in px at network resolution, as in `fossa_ros.motion.tiling`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from fossa_ros.core.stack import FocusStack
from fossa_ros.motion.config import MotionConfig
from fossa_ros.motion.frame_memory import FrameMemory
from fossa_ros.motion.gyro_rotation import turn_differences
from fossa_ros.motion.misalignment import Difference, Misalignment, Prior, combine
from fossa_ros.motion.moving_region import moving_region
from fossa_ros.motion.registration import (
    DISTINCT,
    UNLIKE,
    Frame,
    Registration,
    agrees,
    lower,
    noise_level,
)
from fossa_ros.motion.tiling import FINEST, ZOOM, Tiling, transform

if TYPE_CHECKING:
    from fossa_ros.sweep.gyro import GyroSamples

# Measured on renders of stacks with known motion; px.
_VIEW = Prior(
    plane=np.array([3.0, 3.0, 1.0, 3.0, 0.5, 0.5, 1.0, 1.0]),  # of each generator
    bias=0.15,
    fading=0.05,
)
_TILE = Prior(plane=1.0, bias=1.0, fading=0.1)
TILE_FLOOR = {False: 0.1, True: 0.3}  # what interpolation does to a tile, and what blur does if it differs
_VIEW_FLOOR = {False: 0.03, True: 0.05}  # the same for the view as a whole
_MOVED = 0.6  # of still_px: a tile that is so far from where the view is has moved by itself ...
_SIGNIFICANT = 1.25  # ... if that is so many standard deviations
_CHANGED, _ALIKE = 0.3, 0.1  # mismatch at the same focus: another content, the same content
_UNLIKER = 0.15  # mismatch of neighbours beyond that of the stack before, which had the same blur


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was measured in one stack, and what the next measurement needs of it.

    Attributes:
        tiling: the T tiles of the view.
        frames: the N planes as the registration sees them.
        focus_distances: (N,) metres.
        turns: (B = 1, d = 8) how the view of each plane lies, in amounts of the tiling's generators.
        tiles: (B = T, d = 2) how each tile lies beyond that.
        mismatch: (N, T) how ill the tiles of neighbouring planes fit each other, 0..1.
        suspicion: (N, T) how far a tile of a plane looks as if it moved by itself; 1 and more where it does.
        textured: (T,) bool, True where motion could be seen.
        blurred: (N,) bool, True where a plane is blurred by motion.
        unmatched: which neighbours have texture but nothing in common; empty when all match.
        same_focus: plane, frame of the stack before, and homography from that plane to that frame.
        gyro: whether a gyroscope told how the camera turned.
    """

    tiling: Tiling
    frames: tuple[Frame, ...]
    focus_distances: np.ndarray
    turns: Misalignment
    tiles: Misalignment
    mismatch: np.ndarray
    suspicion: np.ndarray
    textured: np.ndarray
    blurred: np.ndarray
    unmatched: str
    same_focus: tuple[tuple[int, Frame, np.ndarray], ...]
    gyro: bool

    @property
    def motion_px(self) -> np.ndarray:
        """(N,) largest misalignment of each plane over the view."""
        return self._displacement.max(axis=1)

    @property
    def uncertainty_px(self) -> float:
        """Standard deviation of the largest misalignment."""
        plane, place = np.unravel_index(self._displacement.argmax(), self._displacement.shape)
        field = self.tiling.fields[place]
        covariance = field @ self.turns.plane_covariance()[0, plane] @ field.T
        return float(_largest_deviation(covariance))

    @property
    def moving(self) -> np.ndarray:
        """(N, T) bool, True where a tile of a plane moved by itself."""
        return self.suspicion >= 1.0

    def evidence(self) -> list[str]:
        """Name what spoke, strongest first."""
        told = []
        if self.same_focus:
            told.append(f"the same focus in the sweep before ({len(self.same_focus)} planes)")
        if self.gyro:
            told.append("gyroscope")
        return [*told, "neighbours in focus"]

    def homographies(self) -> list[np.ndarray]:
        """Return for each plane H (3, 3): what is at p in the reference plane is at H(p) in it."""
        return [self.tiling.homography(turn) for turn in self.turns.planes[0]]

    def moving_region(self) -> np.ndarray:
        """Outline what moved by itself: (h, w) bool at the finest level, seen from the reference plane."""
        order = np.argsort(self.focus_distances, kind="stable")
        suspicion = self.suspicion.max(axis=0)
        return moving_region(self.frames, order, self.homographies(), self.same_focus, suspicion)

    def same_focus_plane(self, focus_distance: float, config: MotionConfig) -> int | None:
        """Return the plane with this focus distance (m), None where there is none."""
        plane = int(np.argmin(np.abs(1 / self.focus_distances - 1 / focus_distance)))
        return plane if is_same_focus(self.focus_distances[plane], focus_distance, config) else None

    def remembered(self) -> Measurement:
        """Return the measurement with only what the next one needs of its frames."""
        return replace(self, frames=tuple(frame.without_templates() for frame in self.frames), same_focus=())

    @property
    def _displacement(self) -> np.ndarray:
        return np.linalg.norm(np.einsum("tik,nk->nti", self.tiling.fields, self.turns.planes[0]), axis=2)


@dataclass(frozen=True, eq=False)
class _Comparison:
    """What the planes of the same focus in the previous stack say.

    Attributes:
        view, tiles: differences of the whole view, and of the tiles beyond that.
        changed: (N, T) bool, True where a tile shows another content in this plane, but not in all planes.
        was_mismatch: (N, T) how ill the previous stack's tiles fitted its own neighbouring planes; NaN where unknown.
        blurred: (N,) bool, True where this plane lost detail in one direction.
        pairs: plane, frame of the stack before, and homography from that plane to that frame.
    """

    view: list[Difference]
    tiles: list[Difference]
    changed: np.ndarray
    was_mismatch: np.ndarray
    blurred: np.ndarray
    pairs: list[tuple[int, Frame, np.ndarray]]


def measure(
    stack: FocusStack,
    tiling: Tiling,
    previous: Measurement | None,
    config: MotionConfig,
    gyro: GyroSamples | None = None,
    memory: FrameMemory | None = None,
) -> Measurement:
    """Measure the misalignment of a stack's planes, with the evidence of the previous stack and of a gyroscope.

    What ``memory`` knows of the planes is not done again.
    """
    memory = memory or FrameMemory()
    memory.hold(2 * len(stack))
    frames = tuple(memory.frame(plane.image, tiling) for plane in stack.planes)
    focus = stack.focus_distances
    order = np.argsort(focus, kind="stable")
    same_focus = [is_same_focus(*focus[[a, b]], config) for a, b in pairwise(order)]
    found = [
        memory.register(frames[base], frames[other], TILE_FLOOR[not same])
        for (base, other), same in zip(pairwise(order), same_focus, strict=True)
    ]
    noise = noise_level(frames, found)
    breathing = config.breathing * tiling.network_scale * np.hypot(*tiling.size) / 2  # px at the corner
    contrast, mismatch = np.zeros((2, len(frames), len(tiling.centres)))
    neighbours, tile_neighbours, unmatched = [], [], []
    for (base, other), same, each in zip(pairwise(order), same_focus, found, strict=True):
        for plane in (base, other):
            contrast[plane] = np.maximum(contrast[plane], each.contrast)
            mismatch[plane] = np.maximum(mismatch[plane], each.mismatch)
        if not agrees(each, noise):
            unmatched.append("planes {} and {} show nothing in common".format(*sorted((base + 1, other + 1))))
        view, tile = _differences(tiling, each, other, base, 0.0 if same else breathing, biased=not same)
        neighbours.append(view)
        tile_neighbours.append(tile)
    distinct = contrast > DISTINCT * noise

    before = _compare(frames, focus, noise, previous, config, memory)
    same_bias = _same_bias(focus[order], previous, config)
    turned = turn_differences(gyro, stack, tiling, config)
    turns, tiles = (
        combine(stack.reference, *evidence, same_bias, was, prior, told)
        for evidence, was, prior, told in (
            ((neighbours, before.view), previous and previous.turns, _VIEW, turned),
            ((tile_neighbours, before.tiles), previous and previous.tiles, _TILE, ()),
        )
    )
    size = np.linalg.norm(tiles.planes, axis=2).T
    sigma = _largest_deviation(tiles.plane_covariance()).T
    suspicion = np.minimum(size / (_MOVED * config.still_px), size / (_SIGNIFICANT * sigma))
    was = np.nan_to_num(before.was_mismatch, nan=UNLIKE - _UNLIKER)
    suspicion = np.maximum(suspicion, np.where(distinct, (mismatch - was) / _UNLIKER, 0.0))
    suspicion[before.changed & (mismatch >= was)] = 2.0  # else it was the previous stack that moved
    textured, unmatched = distinct.any(axis=0), "; ".join(unmatched)
    pairs = tuple(before.pairs)
    return Measurement(
        tiling,
        frames,
        focus,
        turns,
        tiles,
        mismatch,
        suspicion,
        textured,
        before.blurred,
        unmatched,
        pairs,
        bool(turned),
    )


def _compare(
    frames: Sequence[Frame],
    focus: np.ndarray,
    noise: float,
    previous: Measurement | None,
    config: MotionConfig,
    memory: FrameMemory,
) -> _Comparison:
    """Compare each plane with the plane of the same focus in the previous stack."""
    shape = len(frames), len(frames[0].tiling.centres)
    changed, alike = np.zeros((2, *shape), bool)
    found = _Comparison([], [], changed, np.full(shape, np.nan), np.zeros(len(frames), bool), [])
    if previous is None:
        return found
    for base, distance in enumerate(focus):
        other = previous.same_focus_plane(distance, config)
        if other is None:
            continue
        pair = memory.register(frames[base], previous.frames[other], TILE_FLOOR[False])
        if not agrees(pair, noise):
            continue
        view, tile = _differences(previous.tiling, pair, other, base, breathing=0.0, biased=False)
        found.pairs.append((base, previous.frames[other], pair.H))
        found.view.append(view)
        found.tiles.append(tile)
        textured = pair.contrast > DISTINCT * noise
        changed[base] = (pair.mismatch > _CHANGED) & textured
        alike[base] = (pair.mismatch < _ALIKE) | (pair.residual < 2.0 * noise)
        found.was_mismatch[base] = previous.mismatch[other]
        compared = alike[base] & textured
        if compared.any():
            offset = pixel_offset(pair, previous.tiling)
            details = frames[base].detail()[compared], previous.frames[other].detail(offset)[compared]
            found.blurred[base] = _lost_in_one_direction(*details, config.direction_loss)
    changed &= alike.any(axis=0)
    return found


def pixel_offset(found: Registration, tiling: Tiling) -> tuple[int, int]:
    """Return a registration's shift of the view's centre in whole px (x, y) of the finest level.

    Whole, because interpolation would blur in the direction of the rest.
    """
    x, y = np.rint(transform(found.H, np.zeros(2)) / tiling.pitch(FINEST)).astype(int)
    return int(x), int(y)


def _lost_in_one_direction(detail: np.ndarray, was: np.ndarray, limit: float) -> bool:
    """Say whether most tiles lost detail, `Frame.detail` (T, 3, 3), in one direction much more than in another.

    Focus error changes all directions alike, so the two are compared with each other; a mover changes few
    tiles, so the median is taken. If instead the previous frame lost detail, one direction shows a gain.
    Contrast, which blur hardly changes, removes the exposure.
    """
    detail, was, contrast = detail[:, :2, :2], was[:, :2, :2], was[:, 2, 2] / detail[:, 2, 2]
    whitened = np.linalg.inv(np.linalg.cholesky(was.sum(axis=0)))
    _, directions = np.linalg.eigh(whitened @ detail.sum(axis=0) @ whitened.T)  # ascending
    directions = whitened.T @ directions
    # d^T M d of every tile and both directions: one product of large matrices.
    products = (directions[:, None] * directions[None, :]).reshape(4, 2)
    kept, before = (each.reshape(-1, 4) @ products for each in (detail, was))
    kept = kept / before * contrast[:, None]
    worst, best = (lower(each, 0.5) for each in kept.T)
    return bool(worst < limit * best and worst * best < 1.0)


def _largest_deviation(covariance: np.ndarray) -> np.ndarray:
    """Return the standard deviation in the worst direction for symmetric (..., 2, 2) covariances."""
    xx, xy, yy = covariance[..., 0, 0], covariance[..., 0, 1], covariance[..., 1, 1]
    return np.sqrt((xx + yy) / 2 + np.hypot((xx - yy) / 2, xy))


def is_same_focus(a: float, b: float, config: MotionConfig) -> bool:
    """Say whether two focus distances (m) count as the same."""
    return a == b or abs(a - b) <= config.focus_tolerance * min(a, b)


def _same_bias(sorted_focus: np.ndarray, previous: Measurement | None, config: MotionConfig) -> list[tuple[int, int]]:
    """Return (previous, present) indices of the neighbours that have the same two focus distances."""
    if previous is None:
        return []
    return [
        (was, now)
        for now, pair in enumerate(pairwise(sorted_focus))
        for was, old in enumerate(pairwise(np.sort(previous.focus_distances)))
        if all(is_same_focus(a, b, config) for a, b in zip(pair, old, strict=True))
    ]


def _differences(
    tiling: Tiling, found: Registration, plane: int, base: int, breathing: float, biased: bool
) -> tuple[Difference, Difference]:
    """Return the misalignment between two frames of the whole view, and of each tile beyond that.

    Magnification of up to ``breathing`` (px at the corner) is taken for the lens's and not counted.
    """
    amount = tiling.motion(found.H)
    uncertainty = found.uncertainty + _VIEW_FLOOR[biased] ** 2 * np.eye(len(amount))
    amount[ZOOM] -= np.clip(amount[ZOOM], -breathing, breathing)
    uncertainty[ZOOM, ZOOM] += breathing**2
    own = found.displacement - tiling.displacement(found.H)
    covariance = found.covariance + TILE_FLOOR[biased] ** 2 * np.eye(2)
    covariance[found.mismatch > _CHANGED] = np.inf  # another content has no displacement
    return (
        Difference(plane, base, amount[None], uncertainty[None], biased),
        Difference(plane, base, own, covariance, biased),
    )
