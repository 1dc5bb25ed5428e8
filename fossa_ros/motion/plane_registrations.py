"""Frames of planes and registrations of frame pairs, each computed once while its planes are in use."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from fossa_ros.core.stack import FocusPlane
from fossa_ros.motion.frame import Frame
from fossa_ros.motion.registration import Registration, register
from fossa_ros.motion.tiling import Tiling

SAME_FOCUS_FLOOR = 0.1  # px by which interpolation moves a tile
NEIGHBOUR_FLOOR = 0.3  # px by which a difference of blur moves a tile


class PlaneRegistrations:
    """Compute frames and registrations on first use.

    Planes are compared as they arrive, and rolling stacks share planes: what is known of a plane is dropped together
    with the plane. Images must not change after the plane was given. Not thread-safe.
    """

    def __init__(self) -> None:
        self._frames: WeakKeyDictionary[FocusPlane, Frame] = WeakKeyDictionary()
        self._found: WeakKeyDictionary[Frame, WeakKeyDictionary[Frame, Registration]] = WeakKeyDictionary()

    def frame(self, plane: FocusPlane, tiling: Tiling) -> Frame:
        """Return a plane as the registration needs it."""
        frame = self._frames.get(plane)
        if frame is None or frame.tiling != tiling:
            frame = self._frames[plane] = Frame(plane.image, tiling)
        return frame

    def register(self, template: Frame, frame: Frame, *, same_focus: bool) -> Registration:
        """Return how ``frame`` lies relative to ``template``."""
        known = self._found.setdefault(template, WeakKeyDictionary())
        found = known.get(frame)
        if found is None:
            floor = SAME_FOCUS_FLOOR if same_focus else NEIGHBOUR_FLOOR
            found = known[frame] = register(template, frame, floor)
        return found
