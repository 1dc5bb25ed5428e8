"""Gather the evidence of motion in one stack: neighbours in focus, the previous stack, and a gyroscope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from fossa_ros.core.stack import FocusStack
from fossa_ros.motion.config import MotionConfig
from fossa_ros.motion.frame import Frame
from fossa_ros.motion.frame_pairs import CHANGED, details, lost_detail_in_one_direction, view_and_tile_difference
from fossa_ros.motion.gyro_rotation import gyro_differences
from fossa_ros.motion.measurement import Measurement
from fossa_ros.motion.misalignment import Difference, Differences
from fossa_ros.motion.moving_region import SameFocusPair
from fossa_ros.motion.plane_registrations import PlaneRegistrations
from fossa_ros.motion.registration import DISTINCT, agrees, noise_level
from fossa_ros.motion.smear import share_kept, smeared_planes
from fossa_ros.motion.tiling import Tiling

if TYPE_CHECKING:
    from fossa_ros.sweep.gyro import GyroSamples

_ALIKE = 0.1  # mismatch of a tile that shows the same content at the same focus


@dataclass(frozen=True, eq=False)
class NeighbourEvidence:
    """Differences between neighbours in order of focus distance.

    Attributes:
        view, tiles: N - 1 differences of the view as a whole, and of its T tiles beyond that.
        mismatch: (N, T) how badly the tiles of neighbouring planes fit each other, 0..1.
        noise: mean square grey difference that noise causes between two frames.
        distinct: (N, T) bool, True where a tile has texture above the noise.
        unmatched: which neighbours have texture but nothing in common; empty when all match.
        blurred: (N,) bool, True where this plane lost detail in one direction.
    """

    view: list[Difference]
    tiles: list[Difference]
    mismatch: np.ndarray
    noise: float
    distinct: np.ndarray
    unmatched: str
    blurred: np.ndarray


@dataclass(frozen=True, eq=False)
class SameFocusEvidence:
    """Differences from the planes of the same focus in the previous stack.

    Attributes:
        view, tiles: differences of the view as a whole, and of its T tiles beyond that.
        changed: (N, T) bool, True where a tile shows other content in this plane, but not in all planes.
        previous_mismatch: (N, T) how badly the previous stack's tiles fitted its own neighbouring planes; NaN where
            unknown.
        blurred: (N,) bool, True where this plane lost detail in one direction.
        pairs: the pairs compared.
        biases: pairs (index in the previous stack, index in this one) of neighbours with the same two focus distances.
    """

    changed: np.ndarray
    previous_mismatch: np.ndarray
    blurred: np.ndarray
    view: list[Difference] = field(default_factory=list)
    tiles: list[Difference] = field(default_factory=list)
    pairs: list[SameFocusPair] = field(default_factory=list)
    biases: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything known of the motion in one stack.

    Attributes:
        frames: the N planes.
        neighbours, same_focus: what pairs of frames show.
        gyro: differences between planes that follow each other in time; empty without a gyroscope.
    """

    frames: tuple[Frame, ...]
    neighbours: NeighbourEvidence
    same_focus: SameFocusEvidence
    gyro: list[Difference]

    @property
    def view(self) -> Differences:
        """All differences of the view as a whole."""
        return Differences(self.neighbours.view, self.same_focus.view, self.gyro)

    @property
    def tiles(self) -> Differences:
        """All differences of the tiles."""
        return Differences(self.neighbours.tiles, self.same_focus.tiles)


def gather(
    stack: FocusStack,
    tiling: Tiling,
    previous: Measurement | None,
    config: MotionConfig,
    gyro: GyroSamples | None,
    registrations: PlaneRegistrations,
) -> Evidence:
    """Compare the planes of a stack with each other and with the previous stack.

    Args:
        stack: the planes, stamped where ``gyro`` is to be used.
        tiling: of its planes.
        previous: the measurement of the previous stack; None where there is none.
        config: thresholds.
        gyro: rates around the time of the stack; None without a gyroscope.
        registrations: pairs compared before are not compared again.
    """
    frames = tuple(registrations.frame(plane, tiling) for plane in stack.planes)
    focus = stack.focus_distances
    neighbours = _compare_neighbours(frames, focus, config, registrations)
    same_focus = _compare_same_focus(frames, focus, neighbours.noise, previous, config, registrations)
    return Evidence(frames, neighbours, same_focus, gyro_differences(gyro, stack, tiling, config))


def _compare_neighbours(
    frames: Sequence[Frame], focus: np.ndarray, config: MotionConfig, registrations: PlaneRegistrations
) -> NeighbourEvidence:
    """Compare each plane with its neighbour in focus."""
    tiling = frames[0].tiling
    order = np.argsort(focus, kind="stable")
    pairs = [
        (int(base), int(other), config.is_same_focus(focus[base], focus[other])) for base, other in pairwise(order)
    ]
    found = [registrations.register(frames[base], frames[other], same_focus=same) for base, other, same in pairs]
    noise = noise_level(frames, found)
    breathing = config.breathing * tiling.network_scale * np.hypot(*tiling.size) / 2  # px at the corner
    contrast, mismatch = np.zeros((2, len(frames), len(tiling.centres)))
    view, tiles, unmatched = [], [], []
    for (base, other, same), each in zip(pairs, found, strict=True):
        for plane in (base, other):
            contrast[plane] = np.maximum(contrast[plane], each.contrast)
            mismatch[plane] = np.maximum(mismatch[plane], each.mismatch)
        if not agrees(each, noise):
            unmatched.append("planes {} and {} show nothing in common".format(*sorted((base + 1, other + 1))))
        whole, tile = view_and_tile_difference(
            tiling, each, other, base, breathing=0.0 if same else breathing, biased=not same
        )
        view.append(whole)
        tiles.append(tile)
    blurred = np.zeros(len(frames), bool)
    if config.neighbour_direction_loss > 0 and not unmatched:
        kept = [
            share_kept(each, frames[base], frames[other]) for (base, other, _), each in zip(pairs, found, strict=True)
        ]
        blurred[order[smeared_planes(kept, config.neighbour_direction_loss)]] = True
    return NeighbourEvidence(view, tiles, mismatch, noise, contrast > DISTINCT * noise, "; ".join(unmatched), blurred)


def _compare_same_focus(
    frames: Sequence[Frame],
    focus: np.ndarray,
    noise: float,
    previous: Measurement | None,
    config: MotionConfig,
    registrations: PlaneRegistrations,
) -> SameFocusEvidence:
    """Compare each plane with the plane of the same focus in the previous stack."""
    tiling = frames[0].tiling
    shape = len(frames), len(tiling.centres)
    changed, alike = np.zeros((2, *shape), bool)
    evidence = SameFocusEvidence(changed, np.full(shape, np.nan), np.zeros(len(frames), bool))
    if previous is None:
        return evidence
    for base, distance in enumerate(focus):
        other = previous.same_focus_plane(distance, config)
        if other is None:
            continue
        frame, earlier = frames[base], previous.frames[other]
        pair = registrations.register(frame, earlier, same_focus=True)
        if not agrees(pair, noise):
            continue
        view, tile = view_and_tile_difference(previous.tiling, pair, other, base)
        evidence.pairs.append(SameFocusPair(base, earlier, pair.H))
        evidence.view.append(view)
        evidence.tiles.append(tile)
        textured = pair.contrast > DISTINCT * noise
        changed[base] = (pair.mismatch > CHANGED) & textured
        alike[base] = (pair.mismatch < _ALIKE) | (pair.residual < 2.0 * noise)
        evidence.previous_mismatch[base] = previous.mismatch[other]
        compared = alike[base] & textured
        if compared.any():
            detail, before = (each[compared] for each in details(pair, frame, earlier))
            evidence.blurred[base] = lost_detail_in_one_direction(detail, before, config.direction_loss)
    changed &= alike.any(axis=0)
    evidence.biases.extend(_same_biases(np.sort(focus), np.sort(previous.focus_distances), config))
    return evidence


def _same_biases(focus: np.ndarray, previous: np.ndarray, config: MotionConfig) -> list[tuple[int, int]]:
    """Return (previous, present) indices of the neighbours with the same two focus distances; both rise."""
    return [
        (before, now)
        for now, pair in enumerate(pairwise(focus))
        for before, old in enumerate(pairwise(previous))
        if all(config.is_same_focus(a, b) for a, b in zip(pair, old, strict=True))
    ]
