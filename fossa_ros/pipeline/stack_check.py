"""Hold a stack against its own claim: planes of different focus must differ in blur as their foci and the lens say.

Every hypothesis below gives each textured pixel a likelihood in which its depth is free (``StackLikelihood``), so that
neither scene nor texture need be known. A hypothesis that contradicts the claim refuses the stack where it explains the
images clearly better. Without texture, or with a lens whose blur hardly changes, nothing can be told.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import cv2
import numpy as np

from fossa_ros.core import optics
from fossa_ros.core.rectified import blur_scale
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.estimators.classical.blur_factor import BlurFactor, FactorProfile
from fossa_ros.estimators.classical.blur_model import known_blur_gains
from fossa_ros.estimators.classical.focus_measure import FLICKER_GRID, MOST_FLICKER, flicker_gains
from fossa_ros.estimators.classical.stack_likelihood import StackLikelihood

SIZE = (320, 240)  # px, width and height that are looked at: all of the view, or its middle where blur is small
WIDTHS = (160, 640)  # px of the whole view at which they are taken
WANTED_BLUR = 4.0  # px of blur radius from the nearest to the farthest plane at that width; or 1 px a plane
MIN_BLUR = 0.75  # px likewise, at the largest width: less cannot be told from sharp
MAX_APERTURE = 0.25  # m of diameter, focal length over F-number: larger ones are millimetres given as metres
MAX_GAIN = 500.0  # px of blur radius per dioptre of an unknown lens, at a width of 640 px; a 200 mm F2 lens has 180
DISTORTION_GRID = 12, 16  # places at which the scale of blur through a lens with distortion is averaged
PLANES = 8  # that are compared, evenly chosen from more
MIN_PIXELS = 40  # of the grid, with texture
EQUAL_GAP = 0.1  # mean log-likelihood of a textured pixel by which planes that are equally sharp must be likelier
INFLUENCE = 0.5  # largest log-likelihood of a pixel there
EQUAL_SLACK = 0.5  # likewise by which a lens of any other blur may be likelier; those that blur hardly always are
OTHER_GAP = 0.25  # likewise planes with other foci, of which there are many to choose from
ORDER_GAP = 0.75  # likewise the same foci in another order
CERTAIN = 30.0  # total log-likelihood likewise
EXPLAINED = 0.75  # share of the texture that the best lens must explain; planes that are not aligned fit none
DRIFT = 1.25  # from the first plane to the last; focus itself changes brightness by (1 - f/d)^2, a tenth at 20 f
WITH_NOISE = 0.1  # by which single steps may add up to more than that
MIN_BETWEEN = 0.25  # share of the texture that must lie between the planes for the blur factor to be a warning
SIMILAR = 0.02  # difference of two planes as a share of their texture up to which they may be one image taken twice
MIN_CONTRAST = 8  # grey levels between the darkest and the brightest pixel of frames that may be compared
BRIGHTEST = 0.98  # quantile of the pixels that stands for the brightest, without reflections
WHITE = 250  # grey level: from there on a pixel may be clipped
MOSTLY_WHITE, TOO_WHITE = 0.5, 0.9  # shares of an image; what is clipped looks as if it had no texture, or sharp edges
DARK, TOO_DARK = 48, 16  # grey levels of those: below, rounding to whole levels hides how sharp a texture is
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
        unmoved: whether the refusal is that the lens does not move.
    """

    refusal: str = ""
    warning: str = ""
    stated: float = math.nan
    blur: BlurFactor | None = None
    unmoved: bool = False


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


def check_stack(stack: FocusStack, captured: FocusStack | None = None) -> StackFindings:
    """Return what an aligned stack says about its own claim.

    Nothing is said of planes that are all focused at one distance, which the estimators refuse.

    Args:
        stack: aligned planes.
        captured: the planes before they were warped, where they were. Warping by a part of a pixel blurs each plane
            differently, which can hide that a lens does not move.
    """
    counts = [_levels(plane.image) for plane in stack.planes]
    if refusal := _badly_exposed(counts, TOO_DARK, TOO_WHITE, "too {} to tell blur by"):
        return StackFindings(refusal)
    gains = as_captured = _brightness_gains(stack if captured is None else captured)
    if captured is not None and captured is not stack:
        if (found := _checked(captured, as_captured)).unmoved:
            return found
        gains = _brightness_gains(stack)
    found = _checked(stack, gains)
    if not (found.refusal or found.warning):
        doubtful = "so {} that depth is less certain than its confidence"
        warning = _drifting_exposure(as_captured) or _badly_exposed(counts, DARK, MOSTLY_WHITE, doubtful)
        found = replace(found, warning=warning)
    return found


def _levels(image: np.ndarray) -> np.ndarray:
    """Return how often each of the 256 grey levels occurs in some pixels of an image."""
    return np.bincount(image[::4, ::4].ravel(), minlength=256)


def _badly_exposed(counts: Sequence[np.ndarray], dark: int, white: float, so: str) -> str:
    """Return the sentence that all planes are darker than ``dark``, or whiter than ``white``; empty if they are not.

    ``counts`` are those of ``_levels``, ``so`` says how bad that is.
    """
    brightest = max(int(np.searchsorted(each.cumsum(), BRIGHTEST * each.sum())) for each in counts)
    if brightest < dark:
        return (
            f"Images are {so.format('dark')}: {BRIGHTEST:.0%} of their pixels are below {brightest} of 255 grey "
            "levels; expose longer, or raise the gain or the light."
        )
    share = min(float(each[WHITE:].sum() / each.sum()) for each in counts)
    if share > white:
        return (
            f"Images are {so.format('bright')}: {share:.0%} of their pixels are white; expose for a shorter time, or "
            "lower the gain or the light."
        )
    return ""


def _checked(stack: FocusStack, brightness: np.ndarray) -> StackFindings:
    powers = optics.dioptres(stack.focus_distances)
    order = np.argsort(-powers, kind="stable")
    if len(order) > PLANES:
        order = order[np.linspace(0, len(order) - 1, PLANES).round().astype(int)]
    focus = powers[order]
    span = float(focus[0] - focus[-1])
    if span == 0:
        return NOTHING
    if refusal := _unequal_brightness([stack.planes[i] for i in order], brightness[order]):
        return StackFindings(refusal)
    width = stack.size[1]
    gains = known_blur_gains(stack, min(width, WIDTHS[1]))
    stated = math.nan
    if gains is not None:
        if (scale := blur_scale(stack, DISTORTION_GRID)) is not None:
            gains = gains * float(scale.mean())
        stated = 2.0 * float(np.median(gains)) * width / min(width, WIDTHS[1])
        gains = gains[order]
        if refusal := _too_large_aperture(stack):
            return StackFindings(refusal, stated=stated)
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
    best = profile.mean(profile.best())
    if _equally_sharp(likelihood, profile, (-1, 0, 1)) and equal > best - EQUAL_SLACK:
        ordered = [float(likelihood.under(focus[of], gains[of]).averaged.mean()) for of in _orders(focus, gains)]
        reordered = max(ordered, default=-math.inf) > equal
        return StackFindings(_ORDER if reordered else _does_not_move(stack), stated=stated, unmoved=not reordered)
    if best < EXPLAINED * float(likelihood.energy.mean()):
        return StackFindings(stated=stated)
    blur = profile.factor()
    if refusal := _other_foci(stack, likelihood, order, focus, gains, blur.factor):
        return StackFindings(refusal, stated=stated)
    if blur.factor < 1.0 and best < equal + EQUAL_GAP:  # hardly any blur is seen, so that it has no factor
        return StackFindings(stated=stated)
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
    if _equally_sharp(likelihood, profile, (-3, -2, 0, 2, 4)):
        return StackFindings(_does_not_move(stack), unmoved=True)
    gains *= _stepped(profile.factor().factor)
    if gains[0] * WIDTHS[1] / width > MAX_GAIN:
        return StackFindings(_no_such_lens(2.0 * float(gains[0]) * stack.size[1] / width))
    return StackFindings(_other_foci(stack, likelihood, order, focus, gains))


def _equally_sharp(likelihood: StackLikelihood, profile: FactorProfile, steps: Iterable[int]) -> bool:
    """Return whether the planes are equally sharp rather than blurred by a lens with one of these blur factors.

    Two differences of log-likelihood are added: one with depth averaged, one at the best depth of each pixel, in which
    things that move count little. Smooth textures, which blur changes little, tell a lens only by the latter.
    """
    equal = likelihood.equally_sharp()
    lenses = [profile.at(step) for step in steps]
    averaged = float(equal.mean()) - max(float(lens.averaged.mean()) for lens in lenses)
    at_best = min(float(np.clip(equal - lens.best, -INFLUENCE, INFLUENCE).mean()) for lens in lenses)
    return averaged + at_best > EQUAL_GAP and averaged * len(equal) > CERTAIN


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
    exchanged = [(of, _ORDER) for of in _orders(focus, gains)]
    if len(focus) > 2:
        similar = likelihood.differences() < SIMILAR
        exchanged += [
            (of, _one_plane_twice(stack, order[near], order[near + 1]))
            for near, of in _lost_commands(focus * float(expected.mean()), similar)
        ]
    found = [(float(likelihood.under(focus[of], gains[of]).best.mean()), sentence) for of, sentence in exchanged]
    best, sentence = max(found, default=(claim, ""))
    explained = best > EXPLAINED * float(likelihood.energy.mean())
    least = ORDER_GAP if sentence == _ORDER else OTHER_GAP
    return sentence if explained and _clearly(best, claim, least, likelihood) else ""


def _lost_commands(blur: np.ndarray, similar: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return ways in which a lens may have missed commands, for planes that are equal as far as can be seen.

    Args:
        blur: (N,) falling focus of the planes, in px of blur.
        similar: (N - 1,) whether a plane looks like the next.

    Returns:
        For each way the first of two planes with one focus, and whose focus each plane has in truth.
    """
    planes, last = np.arange(len(blur)), len(blur) - 1
    ways = []
    for near in np.flatnonzero(similar):
        if blur[near] - blur[near + 1] > MIN_BLUR:
            ways += [np.where(planes == near, near + 1, planes), np.where(planes == near + 1, near, planes)]
            ways += [np.maximum(planes - 1, 0)] if near == 0 else []  # each is carried out late by one
            ways += [np.minimum(planes + 1, last)] if near == last - 1 else []
        if similar[near:].all() and blur[near] - blur[last] > MIN_BLUR:
            ways.append(np.minimum(planes, near))  # the lens stopped on its way to the far end
        if similar[: near + 1].all() and blur[0] - blur[near + 1] > MIN_BLUR:
            ways.append(np.maximum(planes, near + 1))  # to the near end
    return [(int(np.flatnonzero(of[:-1] == of[1:])[0]), of) for of in ways]


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


def _unequal_brightness(planes: Sequence[FocusPlane], gains: np.ndarray) -> str:
    """Return the refusal of planes whose brightness differs by more than the estimators equalise, or nothing."""
    odd = int(np.abs(np.log(np.maximum(gains, 1e-6))).argmax())
    ratio = max(gains[odd], 1.0 / max(gains[odd], 1e-6))
    if ratio <= MOST_FLICKER:
        return ""
    return (
        f"The plane focused at {planes[odd].focus_distance:.3g} m is {'darker' if gains[odd] > 1 else 'brighter'} than "
        f"the others by a factor of {ratio:.2g}; keep exposure, gain and pixel format fixed during a sweep."
    )


def _brightness_gains(stack: FocusStack) -> np.ndarray:
    """Return the (N,) factors that make the planes equally bright."""
    small = [cv2.resize(plane.image, FLICKER_GRID, interpolation=cv2.INTER_AREA) for plane in stack.planes]
    return flicker_gains(np.stack(small).astype(np.float32).mean(axis=-1))


def _drifting_exposure(gains: np.ndarray) -> str:
    """Return a warning of planes whose brightness changes steadily in the order they were taken, or nothing.

    The estimators equalise it, but automatic exposure is about to change by more than that, or has.
    """
    steps = -np.diff(np.log(np.maximum(gains, 1e-6)))
    ratio = float(np.exp(np.abs(steps.sum())))
    if len(steps) < 2 or ratio < DRIFT or np.abs(steps).sum() > abs(steps.sum()) * (1 + WITH_NOISE):
        return ""
    return (
        f"Images become {'brighter' if steps.sum() > 0 else 'darker'} by a factor of {ratio:.2g} during the sweep; "
        "switch automatic exposure and gain off, or let them adapt between sweeps only."
    )


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
        "everywhere; check the lens, or let it settle for longer (in a node sweep.settling)."
    )


def _too_little_blur(stack: FocusStack, blur: float) -> str:
    return (
        f"Blur differs by at most {blur:.2g} px between {_extremes(stack)}, too little to tell depth; give focus "
        "distances, focal length and pixels in their units, or use larger images or a longer lens."
    )


def _too_large_aperture(stack: FocusStack) -> str:
    assert stack.focal_length is not None and stack.f_number is not None
    diameter = stack.focal_length / stack.f_number
    if diameter < MAX_APERTURE:
        return ""
    return (
        f"A focal length of {stack.focal_length:.3g} m at F/{stack.f_number:.3g} needs a lens {diameter:.2g} m wide; "
        "give the focal length, and the focus distances, in metres."
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
        f"Blur grows {bound}{factor} as fast as focal length, f-number and K say; correct these (in a node "
        "camera.focal_length, camera.f_number and camera_info), or check that the lens moves all of its way"
    )
