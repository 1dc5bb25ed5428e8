"""How sharp an image is, and at which command it would be sharpest: to a small part of a step."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fossa_ros.core.errors import InputError

_SMOOTHING = 0.8  # px: below it there is more noise than picture
_NEAR_PEAK = (0.7, 0.5)  # of the peak's height above the floor: what the fit looks at; lower where steps are coarse
_ENOUGH = 7  # points above the first of these
_FEWEST = 5  # points of a fit
_RIVAL = 0.7  # of the peak's height: a second maximum as high means a second thing in view
_FAINT = 0.2  # of the greatest sharpness: a peak that rises less above the floor could be anything


@dataclass(frozen=True)
class Peak:
    """Where a sharpness curve is greatest.

    Attributes:
        command: there, in the unit of the commands.
        uncertainty: standard deviation of it, from how well the fit goes through the curve.
        half_width: half the width of what was fitted, in the same unit.
    """

    command: float
    uncertainty: float
    half_width: float


def sharpness(image: np.ndarray) -> float:
    """Return the mean squared gradient of an (H, W) uint8 image over its squared mean, noise removed.

    The square mean takes out the brightness, so that flicker and the light lost by a breathing lens do not count.
    """
    grey = image.astype(np.float32)
    smooth = cv2.GaussianBlur(grey, (0, 0), _SMOOTHING)
    dx, dy = cv2.Sobel(smooth, -1, 1, 0, scale=0.125), cv2.Sobel(smooth, -1, 0, 1, scale=0.125)
    energy = float(np.mean(dx * dx) + np.mean(dy * dy))
    return max(energy - _noise(grey) ** 2 * _noise_gain(), 0.0) / max(float(smooth.mean()) ** 2, 1.0)


def find_peak(commands, values, name: str = "the target") -> Peak:
    """Fit the maximum of a sharpness curve.

    A quartic through the reciprocal of the points near the top: blur of radius r leaves about
    1 / (1 + a r^2 + b r^4) of the gradients, and the odd terms take up that commands are not even in blur, which
    would pull the vertex of an even curve to one side.

    Args:
        commands: (N,) in any order.
        values: (N,) sharpness.
        name: what the curve belongs to, for messages.

    Raises:
        InputError: no single clear maximum within the range, or too few steps across it.
    """
    commands, values = np.asarray(commands, np.float64), np.asarray(values, np.float64)
    order = np.argsort(commands, kind="stable")
    commands, values = commands[order], values[order]
    if len(commands) < _FEWEST:
        raise InputError(f"{name}: {len(commands)} images are too few for a peak; step the lens more finely.")
    floor, best = float(values.min()), int(values.argmax())
    height = values[best] - floor
    if height <= _FAINT * values[best]:
        raise InputError(
            f"{name}: no focus stands out, the sharpest image has {values[best] / max(floor, 1e-12):.2f} times the "
            "detail of the dullest; use a target with more texture, more light, or a wider range of commands."
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
            f"{name}: the lens was stepped too coarsely to find its sharpest focus near {commands[best]:g}; "
            "take more steps."
        )
    half_width = (commands[high] - commands[low]) / 2
    x = (commands[near] - commands[best]) / half_width
    top, spread = _vertex(x, -values[best] / np.maximum(values[near], 1e-3 * values[best]), share[near])
    return Peak(float(commands[best] + top * half_width), float(spread * half_width), float(half_width))


def _stretch(share, best: int, above: float) -> tuple[int, int]:
    """Return the first and last index of the run around ``best`` that lies above a share of the peak."""
    low = high = best
    while low > 0 and share[low - 1] > above:
        low -= 1
    while high < len(share) - 1 and share[high + 1] > above:
        high += 1
    return low, high


def _refuse_rivals(share, low: int, high: int, commands, name: str) -> None:
    for index in (*range(1, low), *range(high + 1, len(share) - 1)):
        valley = share[min(index, high) : max(index, low) + 1].min()
        crest = share[index] >= max(share[index - 1], share[index + 1])
        if crest and share[index] > _RIVAL and valley < 0.8 * share[index]:
            raise InputError(
                f"{name}: two things come into focus, at {commands[index]:g} and between {commands[low]:g} and "
                f"{commands[high]:g}; let the target fill the region (--roi)."
            )


def _vertex(x, y, weight) -> tuple[float, float]:
    """Return the maximum of a weighted quartic (less, for few points) through (x, y), and its deviation."""
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
    # The vertex solves slope(top) = 0: what moves the slope there moves the vertex by that over the curvature.
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
    """Return what white noise of unit variance adds to the mean squared gradient after the smoothing."""
    impulse = np.zeros((33, 33), np.float32)
    impulse[16, 16] = 1
    smooth = cv2.GaussianBlur(impulse, (0, 0), _SMOOTHING)
    return float(sum((cv2.Sobel(smooth, -1, *way, scale=0.125) ** 2).sum() for way in ((1, 0), (0, 1))))
