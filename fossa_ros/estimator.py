"""What turns a focus stack into a depth map, and the one place where it is chosen by name."""

from __future__ import annotations

from typing import Protocol

from fossa_ros.stack import DepthMap, FocusStack


class Estimator(Protocol):
    """Depth from defocus: ``classical`` or ``fossa``."""

    name: str

    def estimate(self, stack: FocusStack) -> DepthMap:
        """Return the metric depth of an aligned stack, seen from its reference plane."""
        ...
