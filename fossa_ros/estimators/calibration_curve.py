"""Confidence that means something: the probability that the relative error of a depth is below 10 %."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CLOSE = 0.1  # relative error of a depth that counts as right


@dataclass(frozen=True)
class CalibrationCurve:
    """Maps the confidence of an estimator to the share of pixels that are right, measured on stacks with known depth.

    Attributes:
        stated: ascending, from 0 to 1.
        measured: the share of right pixels at each of them, not descending; linear between.
    """

    stated: tuple[float, ...]
    measured: tuple[float, ...]

    def __call__(self, confidence: np.ndarray) -> np.ndarray:
        """Return float32 probabilities of the same shape."""
        return np.interp(confidence, self.stated, self.measured).astype(np.float32)
