"""The interface of depth estimators."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from fossa_ros.core.stack import DepthMap, FocusStack


class Estimator(ABC):
    """Depth from defocus: a focus stack in, the depth map of its reference plane out.

    Only ``estimate`` must be implemented, and ``name`` set. One instance is used by one thread at a time.

    Attributes:
        name: what reports and depth maps call the estimator.
    """

    name: str

    @abstractmethod
    def estimate(self, stack: FocusStack) -> DepthMap:
        """Return the metric depth of an aligned stack, seen from its reference plane.

        Raises:
            FossaError: the stack cannot be used; the sentence becomes the reason in its SweepReport.
        """

    def estimate_unrounded(self, stack: FocusStack, images: np.ndarray) -> DepthMap:
        """Estimate a stack whose planes are also known before they were rounded to 8 bits; benchmarks have such planes.

        Args:
            stack: the planes as a camera would deliver them.
            images: (N, H, W, 3) float32 in 0..255. The default ignores them.
        """
        return self.estimate(stack)

    @property
    def description(self) -> str:
        """Say what runs where, for the log; by default the name."""
        return self.name

    def gpu_memory(self) -> tuple[int, int] | None:
        """Return (used, total) bytes of the estimator's GPU, all processes; None if it uses no GPU."""
        return None

    def warm_up(self, size: tuple[int, int], planes: int) -> None:
        """Prepare for stacks of ``planes`` images of ``size`` (H, W), so that the first is as fast as the others.

        Called once, from another thread than ``estimate`` but never at the same time. By default nothing is done.
        """
        return
