"""Whether all planes of a stack show one view: none turned, mirrored or of another scene.

Registration alone does not tell: tiles of two unrelated photographs match where both are smooth. The planes are
therefore compared, once they are registered, where blur cannot make them differ: in the detail of about a fortieth of
the short edge, its contrast normalized so that all parts of the view count alike. There, neighbours in focus of one
scene are almost equal however large their blur, and those of two scenes are not correlated
(benchmarks/foreign_planes.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import cv2
import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusStack
from fossa_ros.motion.frame import Frame
from fossa_ros.motion.registration import register
from fossa_ros.motion.tiling import Tiling

ALIKE = 0.75  # of the likeness: between 0.64, the most of two views, and 0.86, the least of one, among rendered stacks
_WIDE = 3.0  # px of the coarsest level: sigma of what is too coarse to count
_PART = 6.0  # px of the coarsest level: sigma of the part of the view in which contrast is normalized
_FAINT = 1.0  # grey levels: contrast at the coarsest level below which there is no texture
_OF_NOISE = 0.5  # times the noise of the finest level: the same, eight times what is left of it at the coarsest
_TEXTURED = 0.05  # of the view: with less texture, nothing can be said
_VIEWS = 4  # views that a plane is compared with, of a stack that shows many: those seen last
_SHOWN = 5  # planes that are named
_FLOOR = 0.3  # px at network resolution by which blur and parallax move a tile

_Turn = Callable[[np.ndarray], np.ndarray]
_TURNS: tuple[tuple[str, _Turn], ...] = (
    ("turned by 180 degrees", lambda image: image[::-1, ::-1]),
    ("mirrored", lambda image: image[:, ::-1]),
    ("mirrored", lambda image: image[::-1]),
)
_QUARTER_TURNS: tuple[tuple[str, _Turn], ...] = (  # of a square
    ("turned by 90 degrees", lambda image: np.rot90(image)),
    ("turned by 90 degrees", lambda image: np.rot90(image, 3)),
    ("mirrored", lambda image: image.transpose(1, 0, 2)),
    ("mirrored", lambda image: image[::-1, ::-1].transpose(1, 0, 2)),
)


def likeness(template: Frame, frame: Frame, H: np.ndarray) -> float:
    """Return the correlation (-1..1) of the coarse detail of two frames; NaN where neither has texture.

    Args:
        template, frame: of one tiling.
        H: (3, 3) homography from ``template`` to ``frame``, px at network resolution.
    """
    tiling = template.tiling
    (a, power_a), (b, power_b) = _coarse_detail(template), _coarse_detail(frame)
    b, power_b = tiling.warp(b, H), tiling.warp(power_b, H)
    seen = tiling.warp(np.ones_like(a), H, border=cv2.BORDER_CONSTANT) > 0.99
    faint = max(_FAINT**2, _OF_NOISE * max(template.noise, frame.noise))
    textured = seen & (np.maximum(power_a, power_b) > faint)
    if textured.sum() < _TEXTURED * textured.size:
        return float("nan")
    a, b = (band[textured] / np.sqrt(power[textured] + faint) for band, power in ((a, power_a), (b, power_b)))
    return float(a @ b / np.sqrt(max((a @ a) * (b @ b), 1e-12)))


def check_one_view(stack: FocusStack, names: Sequence[str] = ()) -> None:
    """Check that all planes of a stack show one scene the same way up; hand-held planes may be misaligned.

    Neighbours in focus distance, whose blur differs least, are compared. Planes without texture belong to any stack.

    Args:
        stack: the planes.
        names: of the planes, for the error; their focus distances by default.

    Raises:
        InputError: a plane is turned, mirrored or of another scene; names it.
    """
    tiling = Tiling.for_stack(stack)
    order = [int(plane) for plane in np.argsort(stack.focus_distances, kind="stable")]
    frames = {plane: Frame(stack.planes[plane].image, tiling) for plane in order}
    parts = [[order[0]]]
    for near, far in pairwise(order):
        if _are_alike(frames[near], frames[far]):
            parts[-1].append(far)
        else:
            parts.append([far])
    if len(parts) == 1:
        return
    main = _largest_view(parts, frames, stack.reference)
    odd = [plane for plane in order if plane not in main]
    raise InputError(_refusal(stack, odd, main, names))


def plane_names(stack: FocusStack, names: Sequence[str]) -> Sequence[str]:
    """Return the names of the planes; where none are given, what they are focused at."""
    return names or [f"the plane focused at {distance:g} m" for distance in stack.focus_distances]


def sentence_of(words: str, names: Sequence[str]) -> str:
    """Return words that begin with one of ``plane_names`` as a sentence; given names are left as they are."""
    return words if names else words[0].upper() + words[1:]


def _are_alike(template: Frame, frame: Frame) -> bool:
    """Return whether two frames show one view, or too little texture to tell."""
    return not likeness(template, frame, register(template, frame, _FLOOR).H) < ALIKE  # NaN is alike


def _largest_view(parts: list[list[int]], frames: dict[int, Frame], reference: int) -> set[int]:
    """Return the planes of the view that most planes show; of two with as many, the one with the reference plane.

    Args:
        parts: planes in order of focus, split where neighbours are not alike; a foreign plane splits a view in two.
        frames: of the planes.
        reference: plane whose viewpoint counts.
    """
    views: list[list[int]] = []
    for part in parts:
        known = next((view for view in views[-_VIEWS:] if _are_alike(frames[view[-1]], frames[part[0]])), None)
        if known is None:
            known = []
        else:
            views.remove(known)
        views.append([*known, *part])
    return set(max((len(view), reference in view, view) for view in views)[2])


def _refusal(stack: FocusStack, odd: Sequence[int], main: set[int], given: Sequence[str]) -> str:
    """Return what is wrong with the planes ``odd``, which do not show the view of the planes ``main``, and the cure."""
    names, it = plane_names(stack, given), "it" if len(odd) == 1 else "them"
    found: dict[str, list[str]] = {}
    against = ""
    for plane in odd[:_SHOWN]:
        near = min(main, key=lambda other: abs(1 / stack.focus_distances[other] - 1 / stack.focus_distances[plane]))
        against = against or names[near]
        found.setdefault(_turn_between(stack.planes[near].image, stack.planes[plane].image), []).append(names[plane])
    clauses = [
        f"{_listed(planes)} {'is' if len(planes) == 1 else 'are'} {turn}" for turn, planes in found.items() if turn
    ]
    cure = f"turn {it} as the others are" if clauses else ""
    if len(odd) > _SHOWN:
        found.setdefault("", []).append(f"{len(odd) - _SHOWN} more")
    if others := found.get(""):
        verbs = ("shows", "was") if len(others) == 1 else ("show", "were")
        clauses.append(f"{_listed(others)} {verbs[0]} another scene, or {verbs[1]} taken from elsewhere")
        cure = f"{cure}, or remove what does not belong" if cure else f"remove {it}, or take the stack again"
    return sentence_of(f"{' and '.join(clauses)}, compared with {against}; {cure}.", given)


def _turn_between(image: np.ndarray, odd: np.ndarray) -> str:
    """Return how ``odd`` is turned against ``image``, (H, W, 3) both, in words; empty if no turn makes them alike."""
    edge = min(image.shape[:2])
    top, left = ((side - edge) // 2 for side in image.shape[:2])
    square = np.s_[top : top + edge, left : left + edge]
    for (seen, other), turns in (((image, odd), _TURNS), ((image[square], odd[square]), _QUARTER_TURNS)):
        tiling = Tiling.for_planes(seen.shape[:2], None)
        template = Frame(np.ascontiguousarray(seen), tiling)
        for words, turn in turns:
            if _are_alike(template, Frame(np.ascontiguousarray(turn(other)), tiling)):
                return words
    return ""


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _coarse_detail(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Return the coarsest level of a frame, band-passed, and its mean square around each pixel."""
    image = frame.levels[0]
    band = image - cv2.GaussianBlur(image, (0, 0), _WIDE)
    return band, cv2.GaussianBlur(band * band, (0, 0), _PART)
