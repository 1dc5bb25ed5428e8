"""The classical estimator: blur matching between the planes, then edge-aware regression."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fossa_ros import optics
from fossa_ros.all_in_focus import blend_planes, compose_all_in_focus
from fossa_ros.classical import blur_model, depth_profile, filling, focus_measure
from fossa_ros.stack import DepthMap, FocusStack


@dataclass(frozen=True)
class ClassicalConfig:
    """Settings of the classical estimator.

    Attributes:
        width: images are processed at most this wide (px).
        levels: depth hypotheses, evenly spaced in dioptres.
        margin: how far depth may lie beyond the nearest and the farthest plane, in mean plane spacings.
        window: radius (standard deviation, px at half the processing resolution) over which texture is pooled.
        model_error: share of the texture's amplitude that the blur model is expected to get wrong.
        slope: how much the depth of neighbouring pixels may differ on a surface (dioptres per px, half resolution).
        jump: how much weaker the tie between neighbours is across an edge of the image, 0..1.
        edge: contrast (grey levels) that counts as an edge.
        min_confidence: depth below this confidence is NaN; 0 keeps everything that could be filled.
    """

    width: int = 640
    levels: int = 48
    margin: float = 0.5
    window: float = 1.0
    model_error: float = 0.1
    slope: float = 0.006
    jump: float = 0.002
    edge: float = 12.0
    min_confidence: float = 0.0
    step: float = 0.03
    doubt: float = 0.01


class ClassicalEstimator:
    """Estimate depth from an aligned focus stack without learnt weights."""

    name = "classical"

    def __init__(self, config: ClassicalConfig = ClassicalConfig()):
        self.config = config

    def estimate(self, stack: FocusStack) -> DepthMap:
        """Return metric depth, confidence and the all-in-focus image, seen from the reference plane."""
        config = self.config
        height, width = stack.size
        order = np.argsort(-optics.dioptres(stack.focus_distances), kind="stable")
        focus = optics.dioptres(stack.focus_distances)[order]
        scale = min(1.0, config.width / width)
        size = (round(width * scale), round(height * scale))
        images = [stack.planes[i].image for i in order]
        if scale < 1.0:
            images = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]
        gray = focus_measure.luminance(images)
        noise = focus_measure.noise_sigma(gray)
        statistics = focus_measure.band_statistics(gray, noise, config.window)
        half = statistics.energy.shape[1:]

        levels = depth_profile.dioptre_levels(focus, config.levels, config.margin)
        moments = depth_profile.normalised_moments(statistics, len(focus), config.model_error)
        gains = blur_model.known_blur_gains(stack, size[0])
        if gains is None:
            gains = np.full(len(focus), depth_profile.estimate_blur_gain(moments, levels, focus, np.median(statistics.slope)))
        else:
            gains = gains[order]
        scores = depth_profile.likelihood(moments, statistics.slope, levels, focus, gains)
        power, precision = (m.reshape(half) for m in depth_profile.peaks(scores, levels))

        small = [cv2.resize(image, half[::-1], interpolation=cv2.INTER_AREA) for image in images]
        guide = blend_planes(small, focus, power).astype(np.float32)
        ties = [w * np.float32(1.0 / config.slope**2) for w in filling.edge_weights(guide, config.edge, config.jump)]
        start = cv2.medianBlur(power, 5)
        loose = filling.discontinuities(start, 1.0 / np.maximum(precision, 1e-3), config.step, config.doubt)
        ties = [t * l for t, l in zip(ties, loose, strict=True)]
        fitted = filling.smooth(power, precision, *ties)
        support = filling.smooth(precision, np.full_like(precision, 1.0), *[t * 1e-3 for t in ties])
        fitted = np.clip(fitted, levels[0], levels[-1])

        power = cv2.resize(fitted.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        depth = 1.0 / power
        error = depth / np.sqrt(np.maximum(cv2.resize(support, (width, height)), 1e-6))
        confidence = (1.0 / (1.0 + np.square(error / 0.1))).astype(np.float32)
        all_in_focus = compose_all_in_focus(stack, depth)
        unknown = confidence < config.min_confidence
        depth[unknown] = np.nan
        confidence[unknown] = 0.0
        return DepthMap(depth, confidence, all_in_focus, stack.K, stack.stamp_ns, self.name)
