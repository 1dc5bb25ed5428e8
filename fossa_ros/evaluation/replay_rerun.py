"""Log replayed sweeps for the viewer rerun: planes, depth, cloud and verdicts on one timeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.geometry import point_cloud
from fossa_ros.io.pictures import confidence_picture
from fossa_ros.pipeline.result import SweepResult

TIMELINE = "stamp"
QUALITY = 80  # of the JPEG of a picture
EVERY = 4  # pixels along both sides make one point: more slow the viewer down


class RerunLog:
    """Write an .rrd file; a context manager.

    Args:
        path: of the file.

    Raises:
        InputError: rerun is not installed, or the file cannot be written.
    """

    def __init__(self, path: Path):
        try:
            import rerun
        except ImportError as error:
            raise InputError("--rerun needs the package rerun-sdk; install it: pip install rerun-sdk.") from error
        self._rerun = rerun
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")

    def __enter__(self) -> RerunLog:
        self._stream = self._rerun.RecordingStream("fossa_ros")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._stream.save(str(self._partial))
        except (OSError, RuntimeError) as error:
            raise InputError(f"{self._path} cannot be written ({error}); give another place.") from error
        return self

    def __exit__(self, kind, *_) -> None:
        self._stream.flush()
        self._stream.disconnect()
        if kind is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink(missing_ok=True)

    def log(self, result: SweepResult) -> None:
        """Log one sweep."""
        rerun, stream, sweep = self._rerun, self._stream, result.sweep
        for place, plane in enumerate(sweep.stack.planes if sweep.stack is not None else ()):
            self._at(plane.stamp_ns)
            stream.log(f"sweep/plane_{place}", rerun.Image(plane.image).compress(QUALITY))
            stream.log("lens/focus_distance", rerun.Scalars(plane.focus_distance))
        self._at(result.stamp_ns)
        level = "INFO" if result.depth is not None else "WARN"
        text = f"sweep {sweep.number} {result.verdict} {result.reason}".rstrip()
        stream.log("verdict", rerun.TextLog(text, level=level))
        stream.log("motion_px", rerun.Scalars(result.motion_px))
        if result.depth is None:
            return
        depth = result.depth
        height, width = depth.depth.shape
        if depth.K is not None:
            stream.log("camera", rerun.Pinhole(image_from_camera=depth.K, width=width, height=height))
            points = point_cloud(depth.depth, depth.K)[::EVERY, ::EVERY].reshape(-1, 3)
            colours = depth.all_in_focus[::EVERY, ::EVERY].reshape(-1, 3)
            known = np.isfinite(points[:, 2])
            stream.log("points", rerun.Points3D(points[known], colors=colours[known]))
        stream.log("camera/depth", rerun.DepthImage(depth.depth, meter=1.0))
        stream.log("all_in_focus", rerun.Image(depth.all_in_focus).compress(QUALITY))
        stream.log("confidence", rerun.Image(confidence_picture(depth.confidence)))

    def _at(self, stamp_ns: int) -> None:
        self._stream.set_time(TIMELINE, timestamp=stamp_ns * 1e-9)
