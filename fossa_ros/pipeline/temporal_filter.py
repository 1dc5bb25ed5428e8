"""Average successive depth maps where they show the same surface.

The past map is warped to the new view by optical flow between the two all-in-focus images, by nearest pixel, because
interpolation would invent depth between two surfaces. Where the two differ in depth by more than noise, or in colour,
the new map is kept as it is, so edges, moving objects and newly visible surfaces are not smeared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from fossa_ros.core.stack import DepthMap

_FLOW_EDGE = 240  # px, short edge at which flow is computed
_COLOUR = 20.0  # grey levels by which one surface may differ between two images
_EDGE = 3  # px: neighbourhood in which the depth must be smooth


@dataclass(frozen=True)
class TemporalConfig:
    """Weight of the past, and which depths agree.

    Attributes:
        memory: weight of the past map relative to a new map of the same confidence, 0..1; 1 - 1 / N averages N maps.
        agreement: largest relative difference in depth that counts as the same surface.
    """

    memory: float = 0.7
    agreement: float = 0.06


class TemporalFilter:
    """Filter the depth maps of one camera, in the order they were taken.

    Not thread-safe.

    Args:
        config: weights and limits.
    """

    def __init__(self, config: TemporalConfig | None = None):
        self.config = config or TemporalConfig()
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._last: DepthMap | None = None
        self._weight = np.zeros((0, 0), np.float32)  # (H, W) of the last map: confidence accumulated so far

    def reset(self) -> None:
        """Forget the past: after a gap, or for another camera."""
        self._last = None

    def filter(self, new: DepthMap) -> DepthMap:
        """Return the map with the past averaged in; unknown depth stays unknown."""
        last = self._last
        weight = np.where(np.isfinite(new.depth), np.maximum(new.confidence, 1e-3), 0).astype(np.float32)
        if last is None or last.depth.shape != new.depth.shape:
            self._last, self._weight = new, weight
            return new
        columns, rows, seen = self._sources(new.all_in_focus, last.all_in_focus)
        past, past_weight = last.depth[rows, columns], self._weight[rows, columns] * np.float32(self.config.memory)
        with np.errstate(invalid="ignore"):
            alike = np.abs(past - new.depth) <= self.config.agreement * np.minimum(past, new.depth)
        alike &= seen & _smooth(new.depth, self.config.agreement)
        past_weight = np.where(alike, past_weight, np.float32(0))
        total = np.maximum(weight + past_weight, np.float32(1e-6))
        # Inverse depth is averaged: defocus measures it with errors that do not grow with distance.
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = (weight / new.depth + np.where(alike, past_weight / past, np.float32(0))) / total
            depth = np.where(alike, 1 / inverse, new.depth).astype(np.float32)
        self._weight = np.where(alike, total, weight)
        self._last = replace(new, depth=depth, sharp_image=new.all_in_focus)
        return self._last

    def _sources(self, image: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the column and row in the earlier image that show the same as each pixel, and where they do."""
        height, width = image.shape[:2]
        shrink = min(1.0, _FLOW_EDGE / min(height, width))
        size = (round(width * shrink), round(height * shrink))
        here, there = (
            cv2.cvtColor(cv2.resize(each, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
            for each in (image, before)
        )
        flow = self._flow.calc(here, there, None)  # type: ignore[call-overload]  # None: no initial flow
        flow = cv2.resize(flow, (width, height)) / np.float32(shrink)
        columns = np.rint(flow[..., 0] + np.arange(width, dtype=np.float32)).astype(np.intp)
        rows = np.rint(flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]).astype(np.intp)
        seen = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        columns, rows = columns.clip(0, width - 1), rows.clip(0, height - 1)
        there = cv2.GaussianBlur(before, (0, 0), 1.0)[rows, columns]
        differs = cv2.absdiff(cv2.GaussianBlur(image, (0, 0), 1.0), there).max(axis=2)
        return columns, rows, seen & (differs < _COLOUR)


def _smooth(depth: np.ndarray, agreement: float) -> np.ndarray:
    """Return where depth is known and has no edge nearby."""
    known = np.where(np.isfinite(depth), depth, np.float32(0))
    kernel = np.ones((_EDGE, _EDGE), np.uint8)
    nearest, farthest = cv2.erode(known, kernel), cv2.dilate(known, kernel)
    return (nearest > 0) & (farthest <= nearest * (1 + agreement))
