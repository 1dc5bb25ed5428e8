"""Log sweeps for the viewer rerun: planes, depth, cloud, confidence and verdicts on one timeline."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.geometry import point_cloud
from fossa_ros.io.atomic import check_files, replacing
from fossa_ros.io.pictures import confidence_picture
from fossa_ros.pipeline.result import SweepResult

TIMELINE = "stamp"
QUALITY = 80  # of the JPEG of a picture
EVERY = 4  # pixels along both sides make one point: more slow the viewer down
TABS = 5  # planes that the layout shows


class RerunLog:
    """Write an .rrd file, or show what is logged in the viewer; a context manager.

    Args:
        path: of the file; None opens the viewer.

    Raises:
        InputError: rerun is not installed, its viewer does not start, or the file cannot be written.
    """

    def __init__(self, path: Path | None):
        try:
            import rerun
        except ImportError as error:
            raise InputError("This needs the package rerun-sdk; install it: pip install rerun-sdk.") from error
        self._rerun = rerun
        self._path = path
        if path is not None:
            check_files([path])

    def __enter__(self) -> RerunLog:
        self._stream = self._rerun.RecordingStream("fossa_ros")
        with contextlib.ExitStack() as stack:
            try:
                if self._path is None:
                    self._stream.spawn(default_blueprint=self._layout())
                else:
                    partial = stack.enter_context(replacing(self._path))
                    self._stream.save(str(partial), default_blueprint=self._layout())
            except (OSError, RuntimeError) as error:
                reason = str(error).strip().partition("\n")[0].rstrip(".:")  # rerun's says more, on many lines
                if self._path is None:
                    raise InputError(
                        f"The viewer does not start ({reason}); write a file with --save FILE.rrd."
                    ) from error
                raise InputError(f"{self._path} cannot be written ({reason}); give another place.") from error
            stack.callback(self._end)  # the file is complete before it gets its name
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._open.__exit__(*exception)

    def _end(self) -> None:
        self._stream.flush()
        self._stream.disconnect()

    def log(self, result: SweepResult) -> None:
        """Log one sweep."""
        sweep, depth = result.sweep, result.depth
        for place, plane in enumerate(sweep.stack.planes if sweep.stack is not None else ()):
            self.plane(place, plane.image, plane.focus_distance, plane.stamp_ns or 0)
        self.verdict(sweep.number, result.verdict, result.reason, depth is not None, result.motion_px, result.stamp_ns)
        if depth is not None:
            if depth.K is not None:
                self.camera(depth.K, depth.depth.shape, result.stamp_ns)
            self.depth(depth.depth, result.stamp_ns)
            self.colour(depth.all_in_focus, result.stamp_ns)
            self.confidence(depth.confidence, result.stamp_ns)
            if depth.K is not None:
                self.points(depth.depth, depth.K, depth.all_in_focus, result.stamp_ns)

    def plane(self, place: int, image: np.ndarray, focus_distance: float, stamp_ns: int) -> None:
        """Log a plane, (H, W, 3) uint8 RGB, and where it is focused (m)."""
        self._at(stamp_ns)
        self._stream.log(f"sweep/plane_{place}", self._rerun.Image(image).compress(QUALITY))
        self._stream.log("lens/focus_distance", self._rerun.Scalars(focus_distance))

    def verdict(self, number: int, verdict: str, reason: str, accepted: bool, motion_px: float, stamp_ns: int) -> None:
        """Log what became of a sweep."""
        self._at(stamp_ns)
        text = f"sweep {number} {verdict} {reason}".rstrip()
        self._stream.log("verdict", self._rerun.TextLog(text, level="INFO" if accepted else "WARN"))
        self._stream.log("motion_px", self._rerun.Scalars(motion_px))

    def camera(self, K: np.ndarray, size: tuple[int, ...], stamp_ns: int) -> None:
        """Log the (3, 3) intrinsics of depth maps of a size (height, width)."""
        self._at(stamp_ns)
        self._stream.log("camera", self._rerun.Pinhole(image_from_camera=K, width=size[1], height=size[0]))

    def depth(self, depth: np.ndarray, stamp_ns: int) -> None:
        """Log a depth map, (H, W) float32 metres."""
        self._at(stamp_ns)
        self._stream.log("camera/depth", self._rerun.DepthImage(depth, meter=1.0))

    def colour(self, image: np.ndarray, stamp_ns: int) -> None:
        """Log an all-in-focus image, (H, W, 3) uint8 RGB."""
        self._at(stamp_ns)
        self._stream.log("all_in_focus", self._rerun.Image(image).compress(QUALITY))

    def confidence(self, confidence: np.ndarray, stamp_ns: int) -> None:
        """Log a confidence, (H, W) 0..1."""
        self._at(stamp_ns)
        self._stream.log("confidence", self._rerun.Image(confidence_picture(confidence)))

    def points(self, depth: np.ndarray, K: np.ndarray, colour: np.ndarray, stamp_ns: int) -> None:
        """Log the cloud of a depth map, thinned."""
        self._at(stamp_ns)
        points = point_cloud(depth, K)[::EVERY, ::EVERY].reshape(-1, 3)
        colours = colour[::EVERY, ::EVERY].reshape(-1, 3)
        known = np.isfinite(points[:, 2])
        self._stream.log("points", self._rerun.Points3D(points[known], colors=colours[known]))

    def _at(self, stamp_ns: int) -> None:
        self._stream.set_time(TIMELINE, timestamp=stamp_ns * 1e-9)

    def _layout(self) -> Any:
        """Return where the viewer shows what."""
        from rerun import blueprint

        def image(origin: str) -> Any:
            return blueprint.Spatial2DView(origin=origin, name=origin)

        planes = blueprint.Tabs(*(image(f"sweep/plane_{place}") for place in range(TABS)))
        log = blueprint.TextLogView(origin="verdict", name="verdicts")
        motion = blueprint.TimeSeriesView(origin="motion_px", name="motion, px")
        return blueprint.Blueprint(
            blueprint.Horizontal(
                blueprint.Vertical(planes, image("all_in_focus"), log),
                blueprint.Vertical(blueprint.Spatial3DView(origin="/", contents="points", name="cloud"), motion),
                blueprint.Vertical(image("camera/depth"), image("confidence")),
            )
        )
