"""Depth of nano as one of the inputs of the lens-aware network.

Nano has learnt how rooms and things look, and tells depth on bare surfaces, where the lens tells nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from fossa_ros.core.optics import dioptres
from fossa_ros.core.stack import FocusStack
from fossa_ros.estimators.fossa.predictor import Predictor


class Prior(NamedTuple):
    """What nano says of a stack.

    Attributes:
        power: (h, w) float32 dioptres.
        confidence: (h, w) float32 in 0..1, of the network itself.
    """

    power: np.ndarray
    confidence: np.ndarray


def nano_prior(nano: Predictor, stack: FocusStack, size: tuple[int, ...]) -> Prior:
    """Return nano's prior of a stack at ``size`` (h, w). A stack without intrinsics gets those of a usual lens."""
    if stack.K is None:
        height, width = stack.size
        K = np.array([[width, 0.0, width / 2], [0.0, width, height / 2], [0.0, 0.0, 1.0]])
        stack = FocusStack(stack.planes, K)
    depth, confidence = nano.prediction(stack)
    assert confidence is not None
    power = np.nan_to_num(dioptres(depth), nan=float(dioptres(stack.focus_distances).min()))
    return Prior(*(cv2.resize(np.float32(x), size[::-1], interpolation=cv2.INTER_AREA) for x in (power, confidence)))
