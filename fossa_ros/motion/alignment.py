"""Align a hand-held focus stack, whose planes differ by shift, rotation and focus breathing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusStack
from fossa_ros.motion.frame import Frame
from fossa_ros.motion.one_view import ALIKE, check_one_view, likeness, plane_names, sentence_of
from fossa_ros.motion.registration import Registration, register
from fossa_ros.motion.tiling import Tiling, in_pixels, warp_planes

_SHORT_EDGE = 480  # px at which files are aligned, more precisely and slower than a sweep
_UNALIGNED = 2.0  # px at that size between neighbours after alignment; good stacks show at most 0.7
_FLOOR = 0.3  # px at network resolution by which blur and parallax move a tile


@dataclass(frozen=True, eq=False)
class AlignmentReport:
    """The misalignment of the planes of a stack relative to its reference plane, before and after alignment.

    Attributes:
        homographies: (N, 3, 3): pixel (x, y) of the aligned stack was at H (x, y, 1) of each plane.
        shift_px: (N,) largest displacement over the view, px of the stack's images.
        scale: (N,) size of the plane's image relative to the reference plane's: the breathing of focus.
        misalignment_px: (N - 1,) median displacement of the parts of the view between neighbours in order of
            focus distance, before; NaN where nothing could be measured. Px of the stack's images.
        residual_px: (N - 1,) the same after alignment.
        valid: (H, W) bool, False where an aligned plane has no pixels because they lay outside its frame; depth is
            unknown there.
    """

    homographies: np.ndarray
    shift_px: np.ndarray
    scale: np.ndarray
    misalignment_px: np.ndarray
    residual_px: np.ndarray
    valid: np.ndarray


def align_stack(stack: FocusStack, names: Sequence[str] = ()) -> tuple[FocusStack, AlignmentReport]:
    """Warp every plane to the view of the reference plane.

    Neighbours in focus distance differ least in blur, so they are registered to each other and the homographies are
    chained to the reference plane. Sizes and intrinsics are kept; where a plane has no pixels, its edge is repeated and
    ``report.valid`` is False.

    Args:
        stack: the planes.
        names: of the planes, for the error; their focus distances by default.

    Raises:
        InputError: a plane is turned, mirrored or of another scene, or cannot be aligned; names it.
    """
    check_one_view(stack, names)
    tiling = Tiling.for_stack(stack, _SHORT_EDGE)
    order = np.argsort(stack.focus_distances, kind="stable")
    frames = [Frame(stack.planes[plane].image, tiling) for plane in order]
    small = [Frame(stack.planes[plane].image, Tiling.for_stack(stack)) for plane in order]
    before = [_register(*pairs) for pairs in zip(pairwise(frames), pairwise(small), strict=True)]
    start = int(np.flatnonzero(order == stack.reference)[0])
    chain = {stack.reference: np.eye(3)}
    for step in range(start, len(order) - 1):
        chain[order[step + 1]] = before[step].H @ chain[order[step]]
    for step in range(start, 0, -1):
        chain[order[step - 1]] = np.linalg.inv(before[step - 1].H) @ chain[order[step]]
    homographies = [chain[plane] for plane in range(len(stack))]
    images, valid = warp_planes(stack, tiling, homographies, cv2.INTER_LANCZOS4)
    aligned = stack.with_images(images)
    frames = [Frame(aligned.planes[plane].image, tiling) for plane in order]
    after = [register(a, b, floor=_FLOOR) for a, b in pairwise(frames)]
    apart = [_misalignment(found) for found in after]
    for step in sorted(range(len(apart)), key=lambda step: abs(step - start + 0.5)):  # outwards from the reference
        if apart[step] > _UNALIGNED:
            plane = int(order[step + 1] if step >= start else order[step])
            raise InputError(_refusal(stack, plane, apart[step] / tiling.network_scale, names))
    pixels = np.array([in_pixels(H, stack.size) for H in homographies])
    report = AlignmentReport(
        homographies=pixels,
        shift_px=np.array([np.linalg.norm(tiling.displacement(H), axis=1).max() for H in homographies])
        / tiling.network_scale,
        scale=np.array([_scale(H) for H in homographies]),
        misalignment_px=np.array([_misalignment(found) for found in before]) / tiling.network_scale,
        residual_px=np.array(apart) / tiling.network_scale,
        valid=np.ones(stack.size, bool) if valid is None else valid,
    )
    return aligned, report


def _refusal(stack: FocusStack, plane: int, apart_px: float, names: Sequence[str]) -> str:
    """Return which plane cannot be aligned, and the cure."""
    words = (
        f"{plane_names(stack, names)[plane]} cannot be aligned with the others: it is still {apart_px:.1f} px from its "
        "neighbour; remove it, or take the stack again with a steadier camera."
    )
    return sentence_of(words, names)


def _register(pair: tuple[Frame, Frame], small: tuple[Frame, Frame]) -> Registration:
    """Register two neighbours, precisely or, where their blur differs too much for that, at the smaller size."""
    found = register(*pair, floor=_FLOOR)
    return register(*small, floor=_FLOOR) if likeness(*small, found.H) < ALIKE else found


def _scale(H: np.ndarray) -> float:
    """Return the magnification at the centre of the view."""
    return float(np.sqrt(np.linalg.det((H[:2, :2] - np.outer(H[:2, 2], H[2, :2])) / H[2, 2])))


def _misalignment(found: Registration) -> float:
    """Return the median displacement of the tiles that have one, px at network resolution; NaN where none has."""
    sigma = np.sqrt(found.covariance.trace(axis1=1, axis2=2))
    known = np.isfinite(sigma) & (sigma < 1.0)
    return float(np.median(np.linalg.norm(found.displacement[known], axis=1))) if known.any() else np.nan
