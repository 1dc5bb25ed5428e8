"""Work on planes that is done once: while the sweep is still being captured, or for a stack that shares them."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from fossa_ros.motion.registration import Frame, Registration, register
from fossa_ros.motion.tiling import Tiling

FRAMES = 16  # a sweep in the making and the one before; a rolling stack needs as many as it has planes


class FrameMemory:
    """Frames by their image, and registrations by their two frames, of the newest images.

    An image is known by its identity: it must not be changed after it was given.
    """

    def __init__(self, frames: int = FRAMES):
        self._most = frames
        self._frames: OrderedDict[int, tuple[np.ndarray, Frame]] = OrderedDict()
        self._pairs: dict[tuple[int, int], tuple[Frame, Frame, Registration]] = {}

    def clear(self) -> None:
        """Forget everything."""
        self._frames.clear()
        self._pairs.clear()

    def hold(self, frames: int) -> None:
        """Remember at least so many frames."""
        self._most = max(self._most, frames)

    def frame(self, image: np.ndarray, tiling: Tiling) -> Frame:
        """Return an image as the registration sees it."""
        known = self._frames.get(id(image))
        if known is not None and known[1].tiling is tiling:
            self._frames.move_to_end(id(image))
            return known[1]
        frame = Frame(image, tiling)
        self._frames[id(image)] = image, frame
        while len(self._frames) > self._most:
            _, (_, old) = self._frames.popitem(last=False)
            old.without_templates()
            self._pairs = {key: pair for key, pair in self._pairs.items() if old is not pair[0] and old is not pair[1]}
        return frame

    def register(self, template: Frame, frame: Frame, floor: float) -> Registration:
        """Register two frames, or return what came of it before."""
        key = id(template), id(frame)
        known = self._pairs.get(key)
        if known is not None:
            return known[2]
        found = register(template, frame, floor)
        self._pairs[key] = template, frame, found
        return found
