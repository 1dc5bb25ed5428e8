"""Measure the motion in one stack: gather the evidence, combine it, and find what moved independently.

Lengths are in px at network resolution, as in `fossa_ros.motion.tiling`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fossa_ros.core.stack import FocusStack
from fossa_ros.motion.config import MotionConfig
from fossa_ros.motion.evidence import Evidence, gather
from fossa_ros.motion.measurement import Measurement
from fossa_ros.motion.misalignment import Misalignment, Prior, combine, largest_deviation
from fossa_ros.motion.plane_registrations import PlaneRegistrations
from fossa_ros.motion.registration import UNLIKE
from fossa_ros.motion.tiling import Tiling

if TYPE_CHECKING:
    from fossa_ros.sweep.gyro import GyroSamples

# Measured on renders of stacks with known motion; px.
_VIEW = Prior(
    plane=np.array([3.0, 3.0, 1.0, 3.0, 0.5, 0.5, 1.0, 1.0]),  # of each generator
    bias=0.15,
    fading=0.05,
)
_TILE = Prior(plane=1.0, bias=1.0, fading=0.1)
_MOVED = 0.6  # of still_px: a tile that far from where the view puts it moved independently ...
_SIGNIFICANT = 1.25  # ... if the distance is that many standard deviations
_MORE_UNLIKE = 0.15  # mismatch of neighbours beyond that of the previous stack, which had the same blur


def measure(
    stack: FocusStack,
    tiling: Tiling,
    previous: Measurement | None,
    config: MotionConfig,
    gyro: GyroSamples | None,
    registrations: PlaneRegistrations,
) -> Measurement:
    """Measure the misalignment of a stack's planes; the arguments are those of `fossa_ros.motion.evidence.gather`."""
    evidence = gather(stack, tiling, previous, config, gyro, registrations)
    same_bias = evidence.same_focus.biases
    earlier_view, earlier_tiles = (None, None) if previous is None else (previous.view, previous.tiles)
    view = combine(stack.reference, evidence.view, same_bias, earlier_view, _VIEW)
    tiles = combine(stack.reference, evidence.tiles, same_bias, earlier_tiles, _TILE)
    return Measurement(
        tiling=tiling,
        frames=evidence.frames,
        focus_distances=stack.focus_distances,
        stamps=stamps_of(stack),
        view=view,
        tiles=tiles,
        mismatch=evidence.neighbours.mismatch,
        suspicion=suspect(evidence, tiles, config),
        textured=np.any(evidence.neighbours.distinct, axis=0),
        blurred=evidence.neighbours.blurred | evidence.same_focus.blurred,
        unmatched=evidence.neighbours.unmatched,
        same_focus=tuple(evidence.same_focus.pairs),
        gyro=bool(evidence.gyro),
    )


def suspect(evidence: Evidence, tiles: Misalignment, config: MotionConfig) -> np.ndarray:
    """Return the (N, T) evidence that a tile of a plane moved independently; it counts as moved from 1 on."""
    size = np.linalg.norm(tiles.planes, axis=2).T
    sigma = largest_deviation(tiles.plane_covariance()).T
    suspicion = np.minimum(size / (_MOVED * config.still_px), size / (_SIGNIFICANT * sigma))
    neighbours, same_focus = evidence.neighbours, evidence.same_focus
    before = np.nan_to_num(same_focus.previous_mismatch, nan=UNLIKE - _MORE_UNLIKE)
    more_unlike = np.where(neighbours.distinct, (neighbours.mismatch - before) / _MORE_UNLIKE, 0.0)
    suspicion = np.maximum(suspicion, more_unlike)
    suspicion[same_focus.changed & (neighbours.mismatch >= before)] = 2.0  # else it moved in the previous stack
    return suspicion


def stamps_of(stack: FocusStack) -> frozenset[int]:
    """Return the stamps (ns) of the planes that have one."""
    return frozenset(plane.stamp_ns for plane in stack.planes if plane.stamp_ns is not None)
