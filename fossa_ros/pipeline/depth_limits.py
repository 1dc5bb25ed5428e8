"""Which pixels of a depth map are published: those that are certain enough, and within a range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.parameter import check_ranges, parameter
from fossa_ros.core.stack import DepthMap


@dataclass(frozen=True)
class DepthLimits:
    """Limits of confidence and range, applied to depth and cloud alike."""

    min_confidence: float = parameter(
        0.5,
        "Depth with a lower confidence, the probability that its error is below 10 %, is unknown; 0 keeps all",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    min_range: float = parameter(
        0.0,
        "Nearer depth is unknown",
        unit="m",
        minimum=0.0,
        maximum=1000.0,
        live=True,
    )
    max_range: float = parameter(
        0.0,
        "Farther depth is unknown; 0: no limit",
        unit="m",
        minimum=0.0,
        maximum=10000.0,
        live=True,
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        if 0 < self.max_range <= self.min_range:
            raise InputError(
                f"depth.max_range, {self.max_range:g} m, must exceed depth.min_range, {self.min_range:g} m; raise it, "
                "or set it to 0 for no limit."
            )

    def apply(self, depth: DepthMap) -> DepthMap:
        """Return the map with unknown depth, and confidence 0, outside the limits."""
        if not (self.min_confidence or self.min_range or self.max_range):
            return depth
        farthest = self.max_range or np.inf
        with np.errstate(invalid="ignore"):
            inside = (depth.depth >= self.min_range) & (depth.depth <= farthest)
            inside &= depth.confidence >= self.min_confidence
        return depth.within(inside)
