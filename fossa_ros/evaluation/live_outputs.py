"""The files of ``fossa live``: the figures and pictures that a replay has, so that ``fossa report`` shows them."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from fossa_ros.evaluation.replay import METRICS, Replay, write_figures
from fossa_ros.evaluation.replay_figures import sweep_figures
from fossa_ros.evaluation.replay_outputs import PICTURES, ReplayOutputs, check_replaced
from fossa_ros.evaluation.replay_sweeps import ReplayedSweep
from fossa_ros.io.atomic import replacing_files
from fossa_ros.pipeline.result import SweepResult


class LiveOutputs:
    """Write results to a folder: all of them at the end, also where an error ends the run; a context manager.

    Args:
        folder: of the files.
        source: the camera, in words.
        estimator: its name.
        picture_every: one of so many sweeps with depth is written as pictures; 0 for none.
    """

    def __init__(self, folder: Path, source: str, estimator: str, picture_every: int):
        self._folder = folder
        self._every = picture_every
        self._done = Replay(source, estimator)

    def __enter__(self) -> LiveOutputs:
        check_replaced(self._folder, (PICTURES,) if self._every else ())
        with contextlib.ExitStack() as stack:
            self._work = stack.enter_context(replacing_files(self._folder, (METRICS,)))
            self._outputs = stack.enter_context(ReplayOutputs(self._work, None, self._every))
            self._stack = stack.pop_all()
        self._started = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            self._done.seconds = self._done.wall_seconds = time.monotonic() - self._started
            write_figures(self._done, self._work)

    def write(self, result: SweepResult) -> None:
        """Write one result."""
        self._outputs.write(result, ReplayedSweep(result.sweep, None, result.stamp_ns))
        self._done.sweeps.append(sweep_figures(result, None, result.stamp_ns))
