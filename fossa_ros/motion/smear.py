"""Whether a plane is blurred in one direction, as by motion, compared with its neighbours in focus alone.

Defocus blurs all directions alike, so that neighbours in focus differ in detail by as much in one direction as in
another. Of 100 stacks, rendered and photographed, the worst pair keeps 0.86 as much in its worst direction as in its
best (bars of a fence in front of a room), all other scenes 0.93; of 258 sweeps of the motion benchmark, 0.88. A box
blur of 11 px at a width of 640 px leaves 0.54 to 0.84, one of 7 px 0.78 to 0.97.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from fossa_ros.core.errors import RefusedStack
from fossa_ros.core.stack import FocusStack
from fossa_ros.motion.config import MotionConfig
from fossa_ros.motion.frame import Frame
from fossa_ros.motion.frame_pairs import details, kept_by_direction
from fossa_ros.motion.one_view import plane_names, sentence_of
from fossa_ros.motion.plane_registrations import NEIGHBOUR_FLOOR
from fossa_ros.motion.registration import DISTINCT, Registration, register
from fossa_ros.motion.tiling import Tiling

_FEWEST = 4  # tiles with texture
# Of the detail in the best direction: that of stripes with noise is 0.005 across, of scenes 0.2 and more.
_ACROSS = 0.02


def check_smear(stack: FocusStack, names: Sequence[str] = ()) -> None:
    """Check that no plane lost detail in one direction against its neighbours in focus.

    Args:
        stack: the planes, aligned.
        names: of the planes, for the error; their focus distances by default.

    Raises:
        RefusedStack: a plane is blurred in one direction; names it, or the two of which one is.
    """
    tiling = Tiling.for_stack(stack)
    order = [int(plane) for plane in np.argsort(stack.focus_distances, kind="stable")]
    frames = [Frame(stack.planes[plane].image, tiling) for plane in order]
    kept = [share_kept(register(*pair, NEIGHBOUR_FLOOR), *pair) for pair in pairwise(frames)]
    smeared = smeared_planes(kept, MotionConfig.neighbour_direction_loss)
    if not smeared:
        return
    known = plane_names(stack, names)
    words = (
        f"{' or '.join(known[order[place]] for place in smeared)} is blurred in one direction, as by motion: against "
        f"its neighbour it keeps {min(kept):.0%} as much detail in one direction as in another; remove it, or take the "
        "stack again without motion."
    )
    raise RefusedStack(sentence_of(words, names))


def smeared_planes(kept: Sequence[float], limit: float) -> list[int]:
    """Return the places of the planes that are blurred in one direction.

    Args:
        kept: ``share_kept`` of neighbours, in the order of the planes.
        limit: smallest share that is none of motion.

    Returns:
        The planes that kept less against both neighbours, the two of which one did where none is such, or nothing.
    """
    low = [share < limit for share in kept]
    if not any(low):
        return []
    worst = int(np.argmin(kept))
    return [place for place in range(1, len(low)) if low[place - 1] and low[place]] or [worst, worst + 1]


def share_kept(found: Registration, near: Frame, far: Frame) -> float:
    """Return the detail that differs least between neighbours in focus over that which differs most, by direction.

    1 where all directions differ alike, or where there is too little texture to tell, or texture in one direction only.

    Args:
        found: how ``far`` lies relative to ``near``.
        near, far: neighbours in focus, in any order.
    """
    textured = found.seen & (found.contrast > DISTINCT * max(near.noise, far.noise))
    if textured.sum() < _FEWEST:
        return 1.0
    one, other = (each[textured] for each in details(found, near, far))
    if max(_detail_across(one), _detail_across(other)) < _ACROSS:
        return 1.0
    return min(worst / best for worst, best in (kept_by_direction(one, other), kept_by_direction(other, one)))


def _detail_across(detail: np.ndarray) -> float:
    """Return the detail of tiles, (T, 3, 3) of `Frame.detail`, in its worst direction over that in its best."""
    worst, best = np.linalg.eigvalsh(detail[:, :2, :2].sum(axis=0))
    return float(worst / best)
