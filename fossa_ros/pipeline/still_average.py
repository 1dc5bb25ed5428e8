"""Average the planes of successive sweeps where nothing moved, which lowers their noise.

Of a still view the mean of the images holds all that they tell about depth, if the noise of each is its own. So images
are averaged before depth is estimated, and not depth maps, or their probabilities, afterwards.
"""

from __future__ import annotations

import cv2
import numpy as np

from fossa_ros.core.stack import FocusStack
from fossa_ros.estimators.classical.focus_measure import noise_sigma

WINDOW = 9  # px: side of the window in which a difference is compared with noise
LIMIT = 1.8  # times the variance of noise, above which something moved; it also has to hold for bright, noisier parts
QUIETEST = 0.2  # quantile of the differences that is taken for noise alone
CORRELATED = 1.25  # times the noise of single pixels that it may seem to have, as after JPEG and demosaicing
LEAST_STILL = 0.5  # share of the view below which the camera moved
SAME_FOCUS = 0.02  # relative difference of focus distances that counts as none


class StillAverage:
    """Average successive stacks of one camera, in the order they were taken.

    Not thread-safe.

    Args:
        sweeps: number of sweeps that are averaged at most; 1 takes each on its own. It may change between stacks.
    """

    def __init__(self, sweeps: int = 1):
        self.sweeps = sweeps
        self._focus = np.zeros(0)  # (N,) metres, near to far; none before the first stack
        self._mean = np.zeros((0, 0, 0, 3), np.float32)  # (N, H, W, 3) of those planes
        self._count = np.zeros((0, 0), np.float32)  # (H, W) sweeps in the mean

    def reset(self) -> None:
        """Forget the past: after a gap, or for another camera."""
        self._focus = np.zeros(0)

    def add(self, stack: FocusStack) -> FocusStack:
        """Return the stack with its planes averaged with those before, at the pixels where no plane changed."""
        if self.sweeps == 1:
            self.reset()
            return stack
        order = np.argsort(stack.focus_distances)  # a sweep may run either way
        images, focus = stack.images()[order].astype(np.float32), stack.focus_distances[order]
        same_lens = focus.shape == self._focus.shape and np.allclose(focus, self._focus, rtol=SAME_FOCUS)
        if same_lens and images.shape == self._mean.shape:
            still = self._still(images)
            still &= still.mean() >= LEAST_STILL
            self._count = np.where(still, np.minimum(self._count + 1, self.sweeps), np.float32(1))
            self._mean += (images - self._mean) / self._count[..., None]
        else:
            self._mean, self._count = images, np.ones(stack.size, np.float32)
        self._focus = focus
        averaged = np.rint(self._mean).astype(np.uint8)[np.argsort(order)]
        return stack.with_images(averaged)

    def _still(self, images: np.ndarray) -> np.ndarray:
        """Return (H, W) where no plane differs from the mean by more than noise."""
        gray = images.mean(axis=3)
        difference = (gray - self._mean.mean(axis=3)) / np.sqrt(1 + 1 / self._count)
        square = np.stack([cv2.blur(each * each, (WINDOW, WINDOW)) for each in difference])
        most = (CORRELATED * noise_sigma(gray)) ** 2
        noise = np.minimum(np.quantile(square[:, ::WINDOW, ::WINDOW], QUIETEST, axis=(1, 2)), most)
        return (square <= LIMIT * noise[:, None, None]).all(axis=0)
