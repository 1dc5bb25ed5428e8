"""The bag and the pictures of a replay, written sweep by sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import DepthMap
from fossa_ros.evaluation.replay_bag import ResultBag
from fossa_ros.evaluation.replay_sweeps import ReplayedSweep
from fossa_ros.evaluation.report_viewer import write_viewed
from fossa_ros.io.atomic import check_replaceable
from fossa_ros.io.pictures import confidence_picture, depth_picture, error_picture, write_picture
from fossa_ros.pipeline.result import SweepResult

BAG, PICTURES, SUMMARY = "bag", "pictures", "replay.json"


def check_replaced(out: Path, names: Sequence[str], source: Path | None = None) -> None:
    """Check, before the work, that results replace nothing but results.

    Args:
        out: folder of the results.
        names: of the folders in ``out`` that will be written.
        source: the recording that is read.

    Raises:
        InputError: one of them holds the recording, is no folder, or is not beside the results of a replay.
    """
    held_by = () if source is None else (source.resolve(), *source.resolve().parents)
    for folder in (out / name for name in names):
        if folder.resolve() in held_by:
            raise InputError(
                f"The results, {folder}, would replace the recording {source}; give another folder with --out, or "
                "leave them out with --no-bag or --pictures 0."
            )
    check_replaceable(out, names, SUMMARY, "replay")


class ReplayOutputs:
    """Write results to a folder; a context manager that closes the bag in order.

    Args:
        folder: where the bag and the folder of pictures are written.
        bag: the bag to write; None for none.
        picture_every: one of so many sweeps with depth is written as pictures; 0 for none.
    """

    def __init__(self, folder: Path, bag: ResultBag | None, picture_every: int):
        self._folder = folder / PICTURES
        self._bag = bag
        self._every = picture_every
        self._with_depth = 0

    def __enter__(self) -> ReplayOutputs:
        if self._bag is not None:
            self._bag.__enter__()
        if self._every:
            self._folder.mkdir()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bag is not None:
            self._bag.__exit__(*exception)

    def write(self, result: SweepResult, sweep: ReplayedSweep) -> None:
        """Write one result."""
        if self._bag is not None:
            self._bag.write(result, sweep.recorded_ns)
        if result.depth is None or not self._every:
            return
        if self._with_depth % self._every == 0:
            self._write_pictures(result.sweep.number, result.depth, result.seen(sweep.truth))
            write_viewed(self._folder, result.sweep.number, result.sweep.stack, result.depth)
        self._with_depth += 1

    def _write_pictures(self, number: int, depth: DepthMap, truth: np.ndarray | None) -> None:
        pictures = {
            "depth": depth_picture(depth.depth),
            "all_in_focus": depth.all_in_focus,
            "confidence": confidence_picture(depth.confidence),
        }
        if truth is not None:
            pictures["error"] = error_picture(depth.depth, truth)
        for name, picture in pictures.items():
            write_picture(self._folder / f"{number:06d}-{name}.png", picture)
