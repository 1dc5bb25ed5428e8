"""Sharpness of an image, and the command at which it peaks, to a fraction of a step."""

from __future__ import annotations

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
    grey = image.astype(np.float32)
    smooth = cv2.GaussianBlur(grey, (0, 0), _SMOOTHING)
    dx, dy = cv2.Sobel(smooth, -1, 1, 0, scale=0.125), cv2.Sobel(smooth, -1, 0, 1, scale=0.125)
    energy = float(np.mean(dx * dx) + np.mean(dy * dy))
    return max(energy - _noise(grey) ** 2 * _noise_gain(), 0.0) / max(float(smooth.mean()) ** 2, 1.0)


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
