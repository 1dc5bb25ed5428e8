"""The classical estimator: blur matching between the planes, then edge-aware regression."""

from __future__ import annotations

import cv2
import numpy as np

from fossa_ros.core.all_in_focus import compose_all_in_focus
from fossa_ros.core.rectified import blur_scale
from fossa_ros.core.stack import DepthMap, FocusStack
from fossa_ros.estimators.calibration_curve import CLOSE, CalibrationCurve
from fossa_ros.estimators.classical import blur_model, depth_profile, focus_measure
from fossa_ros.estimators.classical.config import ClassicalConfig
from fossa_ros.estimators.classical.surfaces import Surfaces, regressed_surfaces
from fossa_ros.estimators.estimator import Estimator

MIN_SUPPORT = 0.2  # reached at 1.6 times config.reach from texture
# Measured by benchmarks/confidence.py on the choosing set of docs/validation.md.
CALIBRATION = CalibrationCurve(
    stated=(0.0, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.855, 0.935, 0.97, 1.0),
    measured=(0.25, 0.40, 0.54, 0.56, 0.60, 0.70, 0.81, 0.905, 0.934, 0.969, 0.995, 1.0),
)


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
        levels = depth_profile.dioptre_levels(focus, config.levels, config.margin, config.near_share)
        known = blur_model.known_blur_gains(stack, images[0].shape[1])
        known = None if known is None else known[order]
        gains, softness = depth_profile.lens_of_stack(statistics, moments, levels, focus, known)
        half = statistics.steepness.shape
        scale = blur_scale(stack, half)  # of a raw image, whose lens distorts blur too
        peaks = depth_profile.most_likely(moments, statistics.steepness, levels, focus, gains, scale, softness)
        small = [cv2.resize(image, half[::-1], interpolation=cv2.INTER_AREA) for image in images]
        surfaces = regressed_surfaces(peaks, small, focus, levels, config)
        confidence = CALIBRATION(_confidence(surfaces) * surfaces.support) * surfaces.within

        power = cv2.resize(surfaces.power, (width, height), interpolation=cv2.INTER_LINEAR)
        confidence = cv2.resize(confidence, (width, height), interpolation=cv2.INTER_LINEAR)
        unknown = cv2.resize(surfaces.support, (width, height), interpolation=cv2.INTER_LINEAR) < MIN_SUPPORT
        unknown |= confidence < config.min_confidence
        complete = 1.0 / power
        depth = np.where(unknown, np.float32(np.nan), complete)
        confidence[unknown] = 0.0
        return DepthMap(
            depth, confidence, lambda: compose_all_in_focus(stack, complete), stack.K, stack.stamp_ns, self.name
        )


def _confidence(surfaces: Surfaces) -> np.ndarray:
    """Return the probability that a normally distributed error is close, before it is calibrated."""
    from scipy.special import erf  # slow to import; nodes start without it

    return np.asarray(erf(CLOSE * surfaces.power / np.sqrt(2.0 * surfaces.variance)), np.float32)
