"""Sharpness of an image, and the command at which it peaks, to a fraction of a step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fossa_ros.core.errors import InputError

_SMOOTHING = 0.8  # px: finer detail is mostly noise
_NEAR_PEAK = (0.7, 0.5)  # fit points above this share of the peak height; the second value for coarse steps
_ENOUGH = 7  # points above the first of these
_FEWEST = 5  # points of a fit
_RIVAL = 0.7  # of the peak height: a second maximum this high means a second object in view
_FLANK = 0.45  # of the greatest sharpness: how far down the flanks are fitted
_FAINT = 0.2  # of the highest sharpness: a lower peak above the floor is not reliable


@dataclass(frozen=True)
class Peak:
    """The maximum of a sharpness curve.

    Attributes:
        command: position of the maximum.
        uncertainty: its standard deviation, from the residuals of the fit.
        half_width: half the range of commands that was fitted.
    """

    command: float
    uncertainty: float
    half_width: float


def sharpness(image: np.ndarray) -> float:
    """Return the mean squared gradient of an (H, W) uint8 image, less that of its noise, over its squared mean.

    The division removes brightness, so that flicker and the light that a breathing lens loses have no influence.
    """
    energy, smooth, noise = gradient_energy(image)
    return max(float(energy.mean()) - noise, 0.0) / max(float(smooth.mean()) ** 2, 1.0)


def local_sharpness(image: np.ndarray, centres: np.ndarray, side: float) -> np.ndarray:
    """Return (N,) ``sharpness`` around places in an (H, W) uint8 image, NaN where the image does not show them.

    A window without edges (Hann) weights the pixels: what moves in or out of a square by a part of a pixel would
    otherwise look like sharpness.

    Args:
        image: the image.
        centres: (N, 2) pixels.
        side: of the window, px; half of its weight lies within a third of it.
    """
    energy, smooth, noise = gradient_energy(image)
    height, width = image.shape
    values = np.full(len(centres), np.nan)
    for index, (x, y) in enumerate(centres):
        columns = np.arange(math.ceil(x - side / 2), math.floor(x + side / 2) + 1)
        rows = np.arange(math.ceil(y - side / 2), math.floor(y + side / 2) + 1)
        if not len(columns) * len(rows) or min(columns[0], rows[0]) < 0 or columns[-1] >= width or rows[-1] >= height:
            continue
        across, down = (0.5 + 0.5 * np.cos(2 * np.pi * (at - c) / side) for at, c in ((columns, x), (rows, y)))
        part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        mean, bright = (float(down @ each[part] @ across) / (down.sum() * across.sum()) for each in (energy, smooth))
        values[index] = max(mean - noise, 0.0) / max(bright**2, 1.0)
    return values


def gradient_energy(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the squared gradient and the smooth brightness at each pixel, and the mean squared gradient of noise."""
    grey = image.astype(np.float32)
    smooth = cv2.GaussianBlur(grey, (0, 0), _SMOOTHING)
    dx, dy = cv2.Sobel(smooth, -1, 1, 0, scale=0.125), cv2.Sobel(smooth, -1, 0, 1, scale=0.125)
    return dx * dx + dy * dy, smooth, _noise(grey) ** 2 * _noise_gain()


def find_peak(commands: npt.ArrayLike, values: npt.ArrayLike, name: str = "the target") -> Peak:
    """Fit the maximum of a sharpness curve.

    The fit is a quartic through the reciprocals of the points near the top: a blur of radius r leaves about
    1 / (1 + a r^2 + b r^4) of the gradients. The odd terms absorb that blur is not linear in the command, which would
    shift the vertex of an even curve.

    Args:
        commands: (N,) in any order.
        values: (N,) sharpness.
        name: of the curve, for error messages.

    Raises:
        InputError: there is no single clear maximum within the range, or too few steps across it.
    """
    commands, values = np.asarray(commands, np.float64), np.asarray(values, np.float64)
    order = np.argsort(commands, kind="stable")
    commands, values = commands[order], values[order]
    if len(commands) < _FEWEST:
        raise InputError(f"{name}: {len(commands)} images are too few for a peak; use smaller steps.")
    floor, best = float(values.min()), int(values.argmax())
    height = values[best] - floor
    if height <= _FAINT * values[best]:
        raise InputError(
            f"{name}: the peak of sharpness is too low, {values[best] / max(floor, 1e-12):.2f} times the minimum; use "
            "a target with more texture, more light, or a wider range of commands."
        )
    if best in (0, len(commands) - 1):
        raise InputError(
            f"{name}: the image is sharpest at the end of the range of commands ({commands[best]:g}); move the "
            "target, or step over a wider range."
        )
    share = (values - floor) / height
    low, high = _stretch(share, best, _NEAR_PEAK[0])
    if high - low + 1 < _ENOUGH:
        low, high = _stretch(share, best, _NEAR_PEAK[1])
    _refuse_rivals(share, low, high, commands, name)
    while high - low + 1 < _FEWEST and (low > 0 or high < len(commands) - 1):
        low, high = max(low - 1, 0), min(high + 1, len(commands) - 1)
    near = slice(low, high + 1)
    if np.count_nonzero(share[near] > 0.2) < 3:
        raise InputError(
            f"{name}: the steps are too coarse to find the peak of sharpness near {commands[best]:g}; use more steps."
        )
    half_width = (commands[high] - commands[low]) / 2
    x = (commands[near] - commands[best]) / half_width
    top, spread = _vertex(x, -values[best] / np.maximum(values[near], 1e-3 * values[best]), share[near])
    return Peak(float(commands[best] + top * half_width), float(spread * half_width), float(half_width))


def find_centre(focus: npt.ArrayLike, values: npt.ArrayLike, start: float) -> tuple[float, float] | None:
    """Return the centre of a sharpness curve over dioptres, and its standard deviation, dioptres.

    Blur grows alike on both sides of the focus, in dioptres. The flanks then tell the centre, and tell it better than
    the flat top of the curve of a lens whose blur grows slowly. Where ``find_peak`` needs no knowledge of the lens, the
    dioptres of this one need be right but for an offset and a factor.

    Args:
        focus: (N,) dioptres, in any order.
        values: (N,) sharpness.
        start: dioptres of the peak, roughly.

    Returns:
        None if the curve does not tell.
    """
    focus, values = np.asarray(focus, np.float64), np.asarray(values, np.float64)
    share = values / values.max()
    centre, spread = start, np.inf
    for _ in range(12):
        # As far on one side as on the other: what is asymmetric, such as the tails of a neighbour, is kept out.
        reach = min(centre - focus.min(), focus.max() - centre)
        above = np.abs(focus - centre)[share > _FLANK]
        reach = min(reach, float(above.max())) if len(above) else reach
        away = focus - centre
        usable = share > 0.5 * _FLANK
        near = (np.abs(away) <= reach + 1e-9) & usable
        if near.sum() <= _FEWEST:  # close to the end of the range: one flank tells, less well
            near = (np.abs(away) <= (float(above.max()) if len(above) else reach) + 1e-9) & usable
        if near.sum() < _FEWEST + 1:
            return None
        away, y = away[near], 1 / share[near]
        weight = share[near]
        squared = away * away
        even = np.column_stack([np.ones_like(away), squared, squared * squared])
        solution, *_ = np.linalg.lstsq(even * weight[:, None], y * weight, rcond=None)
        slope = -(2 * solution[1] * away + 4 * solution[2] * away * squared)
        design = np.column_stack([slope, even]) * weight[:, None]
        residual = (y - even @ solution) * weight
        step, *_ = np.linalg.lstsq(design, residual, rcond=None)
        move = float(np.clip(step[0], -0.5 * reach, 0.5 * reach))
        centre += move
        if abs(move) < 1e-5 * max(reach, 1e-9):
            break
    if solution[1] <= 0 or not focus.min() < centre < focus.max():
        return None
    variance = float(residual @ residual) / max(len(away) - 4, 1)
    spread = float(np.sqrt(max(variance * np.linalg.pinv(design.T @ design)[0, 0], 0.0)))
    return float(centre), spread


def _stretch(share: np.ndarray, best: int, above: float) -> tuple[int, int]:
    """Return the first and last index of the run around ``best`` in which ``share`` exceeds ``above``."""
    low = high = best
    while low > 0 and share[low - 1] > above:
        low -= 1
    while high < len(share) - 1 and share[high + 1] > above:
        high += 1
    return low, high


def _refuse_rivals(share: np.ndarray, low: int, high: int, commands: np.ndarray, name: str) -> None:
    for index in (*range(1, low), *range(high + 1, len(share) - 1)):
        valley = share[min(index, high) : max(index, low) + 1].min()
        crest = share[index] >= max(share[index - 1], share[index + 1])
        if crest and share[index] > _RIVAL and valley < 0.8 * share[index]:
            raise InputError(
                f"{name}: there are two peaks of sharpness, at {commands[index]:g} and between {commands[low]:g} and "
                f"{commands[high]:g}; make the target fill the region (--roi)."
            )


def _vertex(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Return the maximum of a weighted quartic (of lower degree for few points) through (x, y), and its deviation."""
    degree = min(4, len(np.unique(x)) - 2)
    basis = np.vander(x, degree + 1)
    root = np.sqrt(weight)
    solution, *_ = np.linalg.lstsq(basis * root[:, None], y * root, rcond=None)
    slope = np.polyder(solution)
    roots = np.roots(slope)
    roots = roots[np.isreal(roots)].real
    roots = roots[np.polyval(np.polyder(slope), roots) < 0]
    if not len(roots):
        return 0.0, 1.0
    top = float(roots[np.abs(roots).argmin()])
    if abs(top) > 1.0:
        return 0.0, 1.0
    left = root * (y - basis @ solution)
    variance = float(left @ left) / max(len(x) - degree - 1, 1)
    covariance = variance * np.linalg.pinv((basis * weight[:, None]).T @ basis)
    # The vertex solves slope(top) = 0, so an error of the slope there moves it by that error over the curvature.
    gradient = np.array([k * top ** (k - 1) if k else 0.0 for k in range(degree, -1, -1)])
    curvature = float(np.polyval(np.polyder(slope), top))
    return top, float(np.sqrt(max(gradient @ covariance @ gradient, 0.0)) / abs(curvature))


def _noise(grey: np.ndarray) -> float:
    """Estimate the standard deviation of the noise from the flattest tenth of the image (Immerkaer, 1996)."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
    response = np.abs(cv2.filter2D(grey, -1, kernel))
    size = max(grey.shape[1] // 16, 1), max(grey.shape[0] // 16, 1)
    return float(np.sqrt(np.pi / 2) * np.quantile(cv2.resize(response, size, interpolation=cv2.INTER_AREA), 0.1))


def _noise_gain() -> float:
    """Return the mean squared gradient of smoothed white noise of unit variance."""
    impulse = np.zeros((33, 33), np.float32)
    impulse[16, 16] = 1
    smooth = cv2.GaussianBlur(impulse, (0, 0), _SMOOTHING)
    return float(sum((cv2.Sobel(smooth, -1, *way, scale=0.125) ** 2).sum() for way in ((1, 0), (0, 1))))
