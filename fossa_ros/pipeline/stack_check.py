"""Hold a stack against its own claim: planes of different focus must differ in blur as their foci and the lens say.

Every hypothesis below gives each textured pixel a likelihood in which its depth is free (``StackLikelihood``), so that
neither scene nor texture need be known. A hypothesis that contradicts the claim refuses the stack where it explains the
images clearly better. Without texture, or with a lens whose blur hardly changes, nothing can be told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np

from fossa_ros.core import optics
from fossa_ros.core.rectified import blur_scale
from fossa_ros.core.stack import FocusStack
from fossa_ros.estimators.classical.blur_factor import BlurFactor, FactorProfile
from fossa_ros.estimators.classical.blur_model import known_blur_gains
from fossa_ros.estimators.classical.stack_likelihood import StackLikelihood

SIZE = (320, 240)  # px, width and height that are looked at: all of the view, or its middle where blur is small
WIDTHS = (160, 640)  # px of the whole view at which they are taken
WANTED_BLUR = 4.0  # px of blur radius from the nearest to the farthest plane at that width; or 1 px a plane
MIN_BLUR = 0.75  # px likewise, at the largest width: less cannot be told from sharp
MAX_GAIN = 500.0  # px of blur radius per dioptre at a width of 640 px; a 200 mm F2 lens has 180
PLANES = 8  # that are compared, evenly chosen from more
MIN_PIXELS = 40  # of the grid, with texture
EQUAL_GAP = 0.1  # mean log-likelihood of a textured pixel by which planes that are equally sharp must be likelier
DISTORTION_GRID = 12, 16  # places at which the scale of blur through a lens with distortion is averaged
EQUAL_SLACK = 0.5  # likewise by which a lens of any other blur may be likelier; those that blur hardly always are
OTHER_GAP = 0.25  # likewise planes with other foci, of which there are many to choose from
CERTAIN = 30.0  # total log-likelihood likewise
EXPLAINED = 0.75  # share of the texture that the best lens must explain; planes that are not aligned fit none
MIN_BETWEEN = 0.25  # share of the texture that must lie between the planes for the blur factor to be a warning
SIMILAR = 0.02  # difference of two planes as a share of their texture up to which they may be one image taken twice
MIN_CONTRAST = 8  # grey levels between the darkest and the brightest pixel of frames that may be compared
WRONG_FACTOR = 1.15  # beyond it, or below its inverse, the lens is not as described
ABSURD_FACTOR = 4.0  # beyond it no depth is right
_ORDER = (
    "Blur changes against the stated focus distances (is their order reversed, or shifted by a plane?); check which "
    "frame belongs to which focus distance."
)


@dataclass(frozen=True)
class StackFindings:
    """What a stack says about its own claim.

    Attributes:
        refusal: the sentence why the stack cannot be what it claims; empty where it can, or where that cannot be told.
        warning: the sentence why its lens is not as described; empty likewise.
        stated: blur diameter per dioptre (px / D, in the stack's images) that lens and intrinsics say; NaN if unknown.
        blur: blur found over blur stated; None where it cannot be told.
    """

    refusal: str = ""
    warning: str = ""
    stated: float = math.nan
    blur: BlurFactor | None = None


NOTHING = StackFindings()


def repeated_frames(stack: FocusStack) -> str:
    """Return the sentence that two planes of different focus are one and the same image; empty if none are.

    The noise of two exposures differs, so equal images are one frame delivered twice. Images without any contrast,
    which are dark or saturated, may be equal.
    """
    rows = [plane.image[:: max(stack.size[0] // 16, 1)] for plane in stack.planes]
    equal = [
        (i, j)
        for i, j in combinations(range(len(stack)), 2)
        if stack.planes[i].focus_distance != stack.planes[j].focus_distance
        and np.array_equal(rows[i], rows[j])
        and np.array_equal(stack.planes[i].image, stack.planes[j].image)
        and np.ptp(rows[i]) > MIN_CONTRAST
    ]
    if not equal:
        return ""
    if [j for i, j in equal if i == 0] == list(range(1, len(stack))):
        return (
            f"All {len(stack)} planes are the same frame: the camera repeats one image, or the lens does not move; "
            "check both."
        )
    i, j = equal[0]
    near, far = stack.focus_distances[[i, j]]
    return (
        f"Planes {i + 1} and {j + 1}, focused at {near:.3g} and {far:.3g} m, are the same frame; check that the camera "
        "delivers new images."
    )


def check_stack(stack: FocusStack) -> StackFindings:
    """Return what an aligned stack says about its own claim.

    Nothing is said of planes that are all focused at one distance, which the estimators refuse.
    """
    powers = optics.dioptres(stack.focus_distances)
    order = np.argsort(-powers, kind="stable")
    if len(order) > PLANES:
        order = order[np.linspace(0, len(order) - 1, PLANES).round().astype(int)]
    focus = powers[order]
    span = float(focus[0] - focus[-1])
    if span == 0:
        return NOTHING
    width = stack.size[1]
    gains = known_blur_gains(stack, min(width, WIDTHS[1]))
    stated = math.nan
    if gains is not None:
        if (scale := blur_scale(stack, DISTORTION_GRID)) is not None:
            gains = gains * float(scale.mean())
        stated = 2.0 * float(np.median(gains)) * width / min(width, WIDTHS[1])
        gains = gains[order]
        if gains.max() * WIDTHS[1] / min(width, WIDTHS[1]) > MAX_GAIN:
            return StackFindings(_no_such_lens(stated), stated=stated)
        if span * gains.mean() < MIN_BLUR:
            return StackFindings(_too_little_blur(stack, 2.0 * span * float(gains.mean())), stated=stated)
    planes, blur = len(order), None if gains is None else span * float(gains.mean())
    taken_at = _width(width, planes, blur)
    likelihood = StackLikelihood.of([_taken(stack.planes[i].image, taken_at) for i in order])
    if len(likelihood.energy) < MIN_PIXELS:
        return StackFindings(stated=stated)
    focus = _rounded(focus, span)
    if gains is None:
        return _with_unknown_lens(stack, likelihood, order, focus, taken_at)
    gains = gains * (taken_at / min(width, WIDTHS[1]))
    gains = _rounded(gains, float(gains.max()))
    return _with_known_lens(stack, likelihood, order, focus, gains, stated)


def _with_known_lens(
    stack: FocusStack,
    likelihood: StackLikelihood,
    order: np.ndarray,
    focus: np.ndarray,
    gains: np.ndarray,
    stated: float,
) -> StackFindings:
    """Compare hypotheses whose blur is a multiple of what the lens says."""
    profile = FactorProfile(likelihood, focus, gains)
    equal = float(likelihood.equally_sharp().mean())
    expected = max(profile.mean(step) for step in (-1, 0, 1))
    best = profile.mean(profile.best())
    if _clearly(equal, expected, EQUAL_GAP, likelihood) and equal > best - EQUAL_SLACK:
        orders = _orders(focus, gains)
        if equal > max((float(likelihood.under(focus[of], gains[of]).averaged.mean()) for of in orders), default=best):
            return StackFindings(_does_not_move(stack), stated=stated)
        return StackFindings(_ORDER, stated=stated)
    if best < EXPLAINED * float(likelihood.energy.mean()):
        return StackFindings(stated=stated)
    blur = profile.factor()
    if refusal := _other_foci(stack, likelihood, order, focus, gains, blur.factor):
        return StackFindings(refusal, stated=stated)
    if math.isinf(blur.uncertainty) or blur.departs(ABSURD_FACTOR):
        return StackFindings(f"{_wrong_factor(blur)}; no depth is right.", stated=stated, blur=blur)
    warning = ""
    if blur.departs(WRONG_FACTOR) and likelihood.between(focus, gains * _stepped(blur.factor)) > MIN_BETWEEN:
        warning = f"{_wrong_factor(blur)}."
    return StackFindings(warning=warning, stated=stated, blur=blur)


def _with_unknown_lens(
    stack: FocusStack, likelihood: StackLikelihood, order: np.ndarray, focus: np.ndarray, width: int
) -> StackFindings:
    """Compare hypotheses of every blur that can be told from sharp."""
    gains = np.full(len(focus), WANTED_BLUR / (focus[0] - focus[-1]))
    profile = FactorProfile(likelihood, focus, gains)
    equal = float(likelihood.equally_sharp().mean())
    if _clearly(equal, max(profile.mean(step) for step in (-3, -2, 0, 2, 4)), EQUAL_GAP, likelihood):
        return StackFindings(_does_not_move(stack))
    gains *= _stepped(profile.factor().factor)
    if gains[0] * WIDTHS[1] / width > MAX_GAIN:
        return StackFindings(_no_such_lens(2.0 * float(gains[0]) * stack.size[1] / width))
    return StackFindings(_other_foci(stack, likelihood, order, focus, gains))


def _other_foci(
    stack: FocusStack,
    likelihood: StackLikelihood,
    order: np.ndarray,
    focus: np.ndarray,
    expected: np.ndarray,
    factor: float = 1.0,
) -> str:
    """Return the sentence that the planes have other foci than stated; empty where the stated ones are as good."""
    gains = expected * _stepped(factor)
    claim = float(likelihood.under(focus, gains).best.mean())
    planes = np.arange(len(focus))
    exchanged = [(of, _ORDER) for of in _orders(focus, gains)]
    for near, difference in enumerate(likelihood.differences() if len(focus) > 2 else ()):
        if difference < SIMILAR:
            of_planes = (
                np.where(planes == near, near + 1, planes),  # one command was missed
                np.where(planes == near + 1, near, planes),
                np.maximum(planes - 1, 0),  # each was carried out late by one
                np.minimum(planes + 1, len(planes) - 1),
                np.minimum(planes, near),  # the lens stopped, on its way to the far or to the near end
                np.maximum(planes, near + 1),
            )
            exchanged += [(of, _one_plane_twice(stack, order[near], order[near + 1])) for of in of_planes]
    blur = float(expected.mean())
    found = [
        (float(likelihood.under(focus[of], gains[of]).best.mean()), sentence)
        for of, sentence in exchanged
        if np.abs(focus[of] - focus).max() * blur > MIN_BLUR
    ]
    best, sentence = max(found, default=(claim, ""))
    explained = best > EXPLAINED * float(likelihood.energy.mean())
    return sentence if explained and _clearly(best, claim, OTHER_GAP, likelihood) else ""


def _rounded(values: np.ndarray, scale: float) -> np.ndarray:
    """Return values rounded to some 1 % of ``scale``.

    The blur models are then those of the sweep before where a lens reports slightly other foci in every sweep.
    """
    step = 2.0 ** round(math.log2(scale / 128.0))
    return np.asarray(np.round(values / step) * step)


def _orders(focus: np.ndarray, gains: np.ndarray) -> list[np.ndarray]:
    """Return other orders of the planes that can be told: whose focus each plane has in truth."""
    planes = np.arange(len(focus))
    orders = [np.roll(planes, shift) for shift in (1, -1)] if len(focus) > 2 else []
    # Reversed planes at even steps cannot be told from planes in order: each depth has a mirror image, whose blur is
    # the same in every plane.
    asymmetry = np.abs(focus + focus[::-1] - focus[0] - focus[-1]).max()
    return [*orders, planes[::-1]] if asymmetry * gains.mean() > MIN_BLUR else orders


def _stepped(factor: float) -> float:
    """Return a factor rounded to 9 %, so that the blur models are the same from sweep to sweep."""
    return float(2.0 ** (round(8.0 * math.log2(factor)) / 8.0))


def _clearly(better: float, worse: float, least: float, likelihood: StackLikelihood) -> bool:
    gap = better - worse
    return gap > least and gap * len(likelihood.energy) > CERTAIN


def _width(width: int, planes: int, blur: float | None) -> int:
    """Return the width at which planes are compared, from their blur (px) at that width or the largest, if smaller."""
    largest = min(width, WIDTHS[1])
    wanted = largest if blur is None else max(largest * max(WANTED_BLUR, planes - 1) / blur, WIDTHS[0])
    return width // max(round(width / min(wanted, largest)), 1)  # whole pixels are averaged five times as fast


def _taken(image: np.ndarray, reduced: int) -> np.ndarray:
    """Return the middle of an image reduced to a width of ``reduced``, at most SIZE large; SIZE is turned with it."""
    scale = reduced / image.shape[1]
    size = SIZE if image.shape[1] >= image.shape[0] else SIZE[::-1]
    height, width = (min(edge, round(limit / scale)) for edge, limit in zip(image.shape[:2], size[::-1], strict=True))
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    middle = np.ascontiguousarray(image[top : top + height, left : left + width])
    return middle if scale == 1.0 else cv2.resize(middle, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _extremes(stack: FocusStack) -> str:
    return f"planes at {min(stack.focus_distances):.3g} and {max(stack.focus_distances):.3g} m"


def _does_not_move(stack: FocusStack) -> str:
    return (
        f"The lens does not move: {_extremes(stack)} are equally sharp everywhere; check the lens, its cable and "
        "its driver."
    )


def _one_plane_twice(stack: FocusStack, near: int, far: int) -> str:
    i, j = sorted((int(near), int(far)))
    a, b = (stack.focus_distances[plane] for plane in (i, j))
    return (
        f"The lens did not move between planes {i + 1} and {j + 1}: at {a:.3g} and {b:.3g} m they are equally sharp "
        "everywhere; check the lens, or raise sweep.settling."
    )


def _too_little_blur(stack: FocusStack, blur: float) -> str:
    return (
        f"Blur differs by at most {blur:.2g} px between {_extremes(stack)}, too little to tell depth; give focus "
        "distances, focal length and pixels in their units, or use larger images or a longer lens."
    )


def _no_such_lens(gain: float) -> str:
    return (
        f"No lens blurs by {gain:.0f} px per dioptre, as these focus distances would need; give focus distances and "
        "focal length in metres."
    )


def _wrong_factor(blur: BlurFactor) -> str:
    bound = "more than " if math.isinf(blur.uncertainty) and blur.factor > 1 else ""
    factor = f"{blur.factor:.2g} times"
    return (
        f"Blur grows {bound}{factor} as fast as focal length, f-number and K say; correct camera.focal_length, "
        "camera.f_number or K, or check that the lens moves all of its way"
    )
