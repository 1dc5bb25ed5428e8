"""Say whether the planes of a sweep show one view, and bring them there where a small motion parted them.

Positions and lengths are in px at network resolution (short edge 518), as in `fossa_ros.motion.registration`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from fossa_ros.motion.evidence import Difference, Misalignment, Prior, combine
from fossa_ros.motion.registration import (
    DISTINCT,
    UNLIKE,
    ZOOM,
    Frame,
    Geometry,
    Registration,
    agrees,
    noise_level,
    register,
    warp_planes,
)
from fossa_ros.stack import FocusStack

# Measured on renders of stacks with known motion; px.
_VIEW = Prior(
    plane=np.array([3.0, 3.0, 1.0, 3.0, 0.5, 0.5, 1.0, 1.0]),  # of each generator
    bias=np.array([0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]),
    fading=0.05,
)
_TILE = Prior(plane=1.0, bias=1.0, fading=0.1)
_TILE_FLOOR = {"same": 0.1, "neighbour": 0.3}  # what interpolation and blur do to a tile
_VIEW_FLOOR = {"same": 0.03, "neighbour": 0.05}  # the same for the view as a whole
_SIGNIFICANT = 2.0  # standard deviations by which a tile must exceed still_px to count as moving by itself
_CHANGED, _ALIKE = 0.3, 0.1  # mismatch at the same focus: another content, the same content


def _parameter(default, description: str, unit: str = "", minimum=None, maximum=None):
    metadata = {"description": description, "unit": unit, "minimum": minimum, "maximum": maximum}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class MotionConfig:
    """Thresholds of the motion check; lengths in px of an image whose short edge is 518 px."""

    still_px: float = _parameter(1.5, "Largest misalignment of a stack that is used as it is", "px", 0.1, 50.0)
    repair_px: float = _parameter(
        15.0, "Largest misalignment that is repaired by warping the planes; 0 repairs none", "px", 0.0, 50.0
    )
    moving_share: float = _parameter(
        0.02, "Largest share of the view that may move by itself before the sweep is rejected", "", 0.0, 1.0
    )
    breathing: float = _parameter(
        0.03,
        "Largest change of image scale between neighbouring planes that counts as focus breathing",
        "",
        0.0,
        0.2,
    )
    focus_tolerance: float = _parameter(
        0.08, "Largest relative difference of two focus distances that count as the same focus", "", 0.0, 0.5
    )
    min_texture: float = _parameter(
        0.05, "Smallest share of the view that must have texture for motion to be measurable", "", 0.0, 1.0
    )
    accept_unknown: bool = _parameter(
        False, "Whether a sweep whose motion cannot be measured is used instead of rejected"
    )


@dataclass(frozen=True, eq=False)
class MotionResult:
    """What the motion check found in one stack.

    Attributes:
        verdict: ``still``, ``repaired`` or ``rejected``.
        reason: one sentence why it was rejected; why motion is unknown where it was accepted all the same; else empty.
        motion_px: largest misalignment found within the stack before any repair, px at network resolution; NaN where
            nothing could be measured.
        uncertainty_px: standard deviation of that; NaN likewise.
        moving_share: share of the view (0..1) that moved by itself, against the rest of the view.
        stack: the aligned stack (the very object given when still), None when rejected.
        valid: (H, W) bool, False where a repaired plane lacks pixels because they lay outside its frame; None
            where all are there.
    """

    verdict: str
    reason: str
    motion_px: float
    uncertainty_px: float
    moving_share: float
    stack: FocusStack | None
    valid: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class _Measured:
    """One stack as the check sees it, and the next check remembers it."""

    frames: tuple[Frame, ...]
    focus_distances: np.ndarray
    turns: Misalignment  # (1, N, 8) amounts of the generators
    tiles: Misalignment  # (T, N, 2) beyond the turns
    mismatch: np.ndarray  # (N, T) residual over contrast between neighbouring planes
    moving: np.ndarray  # (N, T) bool
    textured: np.ndarray  # (T,) bool
    unmatched: str  # which neighbours have texture but nothing in common; empty when all match


class MotionCheck:
    """Judge the sweeps of one camera, one after another; each is compared within itself and with the one before.

    Not thread-safe: one check belongs to one stream of sweeps.
    """

    def __init__(self, config: MotionConfig = MotionConfig()):
        self.config = config
        self._previous: _Measured | None = None

    def forget(self) -> None:
        """Forget the previous sweep: after a gap, or when the camera is another."""
        self._previous = None

    def check(self, stack: FocusStack) -> MotionResult:
        """Return the verdict on a stack, repaired where that is possible."""
        of = Geometry.of(stack)
        if self._previous is not None and self._previous.frames[0].geometry.size != of.size:
            self.forget()
        measured = self._measure(stack, of)
        result = self._judge(stack, of, measured)
        self._previous = measured
        return result

    def _judge(self, stack: FocusStack, of: Geometry, measured: _Measured) -> MotionResult:
        config = self.config
        textured = float(measured.textured.mean())
        if textured < config.min_texture:
            reason = f"motion is unknown: only {textured:.0%} of the view has texture"
            verdict, kept = ("still", stack) if config.accept_unknown else ("rejected", None)
            return MotionResult(verdict, reason, np.nan, np.nan, 0.0, kept)
        by_plane, uncertainty = _largest(of, measured)
        motion = float(by_plane.max())
        share = float(measured.moving.any(axis=0).mean())
        rejected = MotionResult("rejected", "", motion, uncertainty, share, None)
        if measured.unmatched:
            return _because(rejected, measured.unmatched)
        if motion > config.still_px and motion > config.repair_px:
            return _because(rejected, f"{_planes(by_plane > config.still_px)} moved by {motion:.1f} px")
        if share > config.moving_share:
            where = _planes(measured.moving.mean(axis=1) > config.moving_share / 2)
            return _because(rejected, f"{share:.0%} of the view moved by itself in {where}")
        if motion <= config.still_px:
            return MotionResult("still", "", motion, uncertainty, share, stack)
        return self._repair(stack, of, measured, rejected)

    def _repair(self, stack: FocusStack, of: Geometry, measured: _Measured, rejected: MotionResult) -> MotionResult:
        homographies = [of.homography(turn) for turn in measured.turns.planes[0]]
        images, valid = warp_planes(stack, of, homographies)
        aligned = stack.with_images(images)
        left = self._measure(aligned, of)
        by_plane, _ = _largest(of, left)
        residual = float(by_plane.max())
        share = float(left.moving.any(axis=0).mean())
        if residual > self.config.still_px or share > self.config.moving_share or left.unmatched:
            rest = f"{residual:.1f} px" if residual > self.config.still_px else f"{share:.0%} of the view"
            return _because(
                rejected,
                f"planes moved by {rejected.motion_px:.1f} px and {rest} stays misaligned after repair",
            )
        return MotionResult(
            "repaired", "", rejected.motion_px, rejected.uncertainty_px, rejected.moving_share, aligned, valid
        )

    def _measure(self, stack: FocusStack, of: Geometry) -> _Measured:
        frames = tuple(Frame(plane.image, of) for plane in stack.planes)
        focus = stack.focus_distances
        count, places = len(frames), len(of.centres)
        order = np.argsort(focus, kind="stable")
        kinds = ["same" if self._same_focus(*focus[[a, b]]) else "neighbour" for a, b in pairwise(order)]
        found = [
            register(frames[base], frames[other], floor=_TILE_FLOOR[kind])
            for (base, other), kind in zip(pairwise(order), kinds, strict=True)
        ]
        noise = noise_level(frames, found)
        neighbours, tile_neighbours, unmatched = [], [], []
        contrast, mismatch = np.zeros((2, count, places))
        for (base, other), kind, each in zip(pairwise(order), kinds, found, strict=True):
            for plane in (base, other):
                contrast[plane] = np.maximum(contrast[plane], each.contrast)
                mismatch[plane] = np.maximum(mismatch[plane], each.mismatch)
            if not agrees(each, noise):
                unmatched.append(sorted((base + 1, other + 1)))
            view, tile = _differences(of, each, other, base, kind, self._breathing(of, kind))
            neighbours.append(view)
            tile_neighbours.append(tile)
        same, tile_same, changed, was_mismatch = self._compare_with_previous(of, frames, focus, noise)
        before = self._previous
        same_bias = self._same_bias(focus[order])
        turns = combine(stack.reference, neighbours, same, same_bias, before and before.turns, _VIEW)
        tiles = combine(stack.reference, tile_neighbours, tile_same, same_bias, before and before.tiles, _TILE)
        size = np.linalg.norm(tiles.planes, axis=2).T
        sigma = np.sqrt(np.linalg.eigvalsh(tiles.plane_covariance())[..., -1]).T
        moving = size - _SIGNIFICANT * sigma > self.config.still_px
        distinct = contrast > DISTINCT * noise
        moving |= changed & (mismatch >= was_mismatch)
        moving |= distinct & (mismatch > UNLIKE + was_mismatch)
        textured = distinct.any(axis=0)
        named = "; ".join(f"planes {a} and {b} show nothing in common" for a, b in unmatched)
        return _Measured(frames, focus, turns, tiles, mismatch, moving, textured, named)

    def _breathing(self, of: Geometry, kind: str) -> float:
        """Return how far the corner may move by focus breathing between two planes, px."""
        corner = of.network_scale * np.hypot(*of.size) / 2
        return self.config.breathing * corner if kind == "neighbour" else 0.0

    def _same_focus(self, a: float, b: float) -> bool:
        return a == b or abs(a - b) <= self.config.focus_tolerance * min(a, b)

    def _same_bias(self, sorted_focus: np.ndarray) -> list[tuple[int, int]]:
        """Return (previous, present) indices of the neighbours that have the same two focus distances."""
        if self._previous is None:
            return []
        before = np.sort(self._previous.focus_distances)
        return [
            (was, now)
            for now, pair in enumerate(pairwise(sorted_focus))
            for was, old in enumerate(pairwise(before))
            if all(self._same_focus(a, b) for a, b in zip(pair, old, strict=True))
        ]

    def _compare_with_previous(self, of: Geometry, frames: Sequence[Frame], focus: np.ndarray, noise: float):
        """Compare each plane with the plane of the same focus in the previous stack.

        Returns:
            Differences of the view and of the tiles, (N, T) whether a tile's content changed in some planes but not
            in others, and (N, T) how ill the previous stack's tiles fitted its own neighbouring planes.
        """
        previous = self._previous
        same, tile_same = [], []
        changed = np.zeros((len(frames), len(of.centres)), bool)
        was_mismatch = np.zeros(changed.shape)
        if previous is None:
            return same, tile_same, changed, was_mismatch
        alike = np.zeros_like(changed)
        for base, distance in enumerate(focus):
            other = int(np.argmin(np.abs(1 / previous.focus_distances - 1 / distance)))
            if not self._same_focus(previous.focus_distances[other], distance):
                continue
            found = register(frames[base], previous.frames[other], floor=_TILE_FLOOR["same"])
            if not agrees(found, noise):
                continue
            whole, each = _differences(of, found, other, base, "same", 0.0)
            same.append(whole)
            tile_same.append(each)
            ratio = found.mismatch
            changed[base] = (ratio > _CHANGED) & (found.contrast > DISTINCT * noise)
            alike[base] = (ratio < _ALIKE) | (found.residual < 2.0 * noise)
            was_mismatch[base] = previous.mismatch[other]
        return same, tile_same, changed & alike.any(axis=0), was_mismatch


def _differences(of: Geometry, found: Registration, plane: int, base: int, kind: str, breathing: float):
    """Return the misalignment between two frames of the whole view, and of each tile beyond that."""
    amount = of.motion(found.H)
    uncertainty = found.uncertainty + _VIEW_FLOOR[kind] ** 2 * np.eye(len(amount))
    excess = amount[ZOOM] - np.clip(amount[ZOOM], -breathing, breathing)
    if breathing:
        amount[ZOOM] = excess
        uncertainty[ZOOM, ZOOM] += breathing**2
    own = found.displacement - of.displacement(found.H)
    covariance = found.covariance + _TILE_FLOOR[kind] ** 2 * np.eye(2)
    covariance[found.mismatch > _CHANGED] = np.inf  # another content has no displacement
    return (
        Difference(plane, base, amount[None], uncertainty[None]),
        Difference(plane, base, own, covariance),
    )


def _largest(of: Geometry, measured: _Measured) -> tuple[np.ndarray, float]:
    """Return each plane's largest misalignment over the view (N,), and the standard deviation of the largest."""
    turns = measured.turns.planes[0]
    moved = np.linalg.norm(np.einsum("tik,nk->nti", of.fields, turns), axis=2)
    by_plane = moved.max(axis=1)
    worst = int(by_plane.argmax())
    place = of.fields[int(moved[worst].argmax())]
    covariance = place @ measured.turns.plane_covariance()[0, worst] @ place.T
    return by_plane, float(np.sqrt(np.linalg.eigvalsh(covariance)[-1]))


def _because(result: MotionResult, reason: str) -> MotionResult:
    return MotionResult("rejected", reason, result.motion_px, result.uncertainty_px, result.moving_share, None)


def _planes(which: np.ndarray) -> str:
    """Name the planes, counted from 1: "planes 3-5"."""
    numbers = np.flatnonzero(which) + 1
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    text = ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs if len(run))
    return f"plane {text}" if len(numbers) == 1 else f"planes {text}"
