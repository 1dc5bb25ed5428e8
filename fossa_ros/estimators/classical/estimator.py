"""The classical estimator: blur matching between the planes, then edge-aware regression."""

from __future__ import annotations

import cv2
import numpy as np

from fossa_ros.core.all_in_focus import blend_planes, compose_all_in_focus
from fossa_ros.core.rectified import blur_scale
from fossa_ros.core.stack import DepthMap, FocusStack
from fossa_ros.estimators.calibration_curve import CLOSE, CalibrationCurve
from fossa_ros.estimators.classical import blur_model, depth_profile, filling, focus_measure
from fossa_ros.estimators.classical.bands import gaussian
from fossa_ros.estimators.classical.config import ClassicalConfig
from fossa_ros.estimators.estimator import Estimator

EDGE_RISK = 0.3  # chance that a pixel beside a depth edge lies on its other side
POOLED = 4.0  # px at half resolution: standard deviation of the window over which precision is averaged
# Least precision around a pixel, in units of that of "one of the levels", from which blur tells depth. The smoothing
# averages over many pixels, so less than 1 is of use; images of 64x48 px with next to no blur have 0.2 to 0.3.
TOLD = 0.35
MIN_SUPPORT = 0.2  # reached at 1.6 times config.reach from texture
AGREEING = 4.0  # pixels with independent errors that the smoothing averages
UNTOLD = 0.25  # standard deviation of a depth that nothing tells, in units of the range of the levels
# Measured by benchmarks/confidence.py on the choosing set of docs/validation.md.
CALIBRATION = CalibrationCurve(
    stated=(0.0, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.855, 0.935, 0.97, 1.0),
    measured=(0.25, 0.40, 0.54, 0.56, 0.60, 0.70, 0.81, 0.905, 0.934, 0.969, 0.995, 1.0),
)
EDGE_REACH = 9  # px at half resolution: width of the window around such an edge


class ClassicalEstimator(Estimator):
    """Estimate depth from an aligned focus stack without learnt weights.

    If the stack has intrinsics, focal length and f-number, the blur of every depth is known. Otherwise its only
    unknown, pixels of blur per dioptre, is estimated from the stack itself.
    """

    name = "classical"

    def __init__(self, config: ClassicalConfig | None = None):
        self.config = config or ClassicalConfig()

    def estimate(self, stack: FocusStack) -> DepthMap:
        """Return metric depth, confidence and the all-in-focus image, seen from the reference plane.

        The order of the planes does not matter. Depth is NaN too far from any texture. The confidence is
        the probability that its relative error is below 10 %.

        Raises:
            InputError: all planes are focused at the same distance.
        """
        config = self.config
        height, width = stack.size
        order, focus = blur_model.near_to_far(stack)
        images = focus_measure.reduced([stack.planes[i].image for i in order], config.width)

        gray = focus_measure.luminance(images)
        statistics = focus_measure.band_statistics(gray, focus_measure.noise_sigma(gray), config.window)
        moments = depth_profile.normalised_moments(statistics, config.model_error)
        levels = depth_profile.dioptre_levels(focus, config.levels, config.margin)
        gains = blur_model.known_blur_gains(stack, images[0].shape[1])
        if gains is None:
            gains = depth_profile.estimate_blur_gains(moments, statistics.steepness, levels, focus)
        else:
            gains = gains[order]
        half = statistics.steepness.shape
        scale = blur_scale(stack, half)  # of a raw image, whose lens distorts blur too
        measured, precision, texture = depth_profile.most_likely(
            moments, statistics.steepness, levels, focus, gains, scale
        )

        texture = np.where(_tells_depth(precision, levels), texture, 0.0)
        sharp = blend_planes([cv2.resize(i, half[::-1], interpolation=cv2.INTER_AREA) for i in images], focus, measured)
        couplings = filling.couplings(sharp, measured, precision, config)
        power = np.clip(filling.regress(measured, precision, couplings), float(levels[0]), float(levels[-1]))
        support = filling.support(texture, couplings, config.reach, config.slope)
        confidence = CALIBRATION(_confidence(power, precision, levels) * support)

        power = cv2.resize(power, (width, height), interpolation=cv2.INTER_LINEAR)
        confidence = cv2.resize(confidence, (width, height), interpolation=cv2.INTER_LINEAR)
        unknown = cv2.resize(support, (width, height), interpolation=cv2.INTER_LINEAR) < MIN_SUPPORT
        unknown |= confidence < config.min_confidence
        complete = 1.0 / power
        depth = np.where(unknown, np.float32(np.nan), complete)
        confidence[unknown] = 0.0
        return DepthMap(
            depth, confidence, lambda: compose_all_in_focus(stack, complete), stack.K, stack.stamp_ns, self.name
        )


def _tells_depth(precision: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return where the images tell depth (dioptres, with ``precision``) better than that it is one of the levels.

    Elsewhere blur hardly changes from plane to plane, in pixels: images too small, a lens too short, planes too far
    away or given in a wrong unit. Any depth there would be that of the smoothing.
    """
    variance_of_levels = (levels[-1] - levels[0]) ** 2 / 12.0
    return np.asarray(gaussian(precision, POOLED) * variance_of_levels > TOLD)


def _confidence(power: np.ndarray, precision: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the probability that a normally distributed error is close, before it is calibrated.

    The variance is that of the data around a pixel, but not more than that of any of the levels, and more near a depth
    edge, where the pixel may lie on its other side.
    """
    from scipy.special import erf  # slow to import; nodes start without it

    untold = (UNTOLD * (levels[-1] - levels[0])) ** 2
    variance = 1.0 / (AGREEING * gaussian(precision, POOLED) + 1.0 / untold)
    window = np.ones((EDGE_REACH, EDGE_REACH), np.uint8)
    jump = np.maximum(cv2.dilate(power, window) - power, power - cv2.erode(power, window))
    variance += EDGE_RISK * np.square(jump)
    return np.asarray(erf(CLOSE * power / np.sqrt(2.0 * variance)), np.float32)
