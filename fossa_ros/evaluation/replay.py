"""Replay a bag: its sweeps through the nodes' own motion check and estimator, as fast as the machine can."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.estimator import Estimator
from fossa_ros.evaluation.metrics import mean_metrics
from fossa_ros.evaluation.replay_bag import ResultBag
from fossa_ros.evaluation.replay_figures import SweepFigures, sweep_figures
from fossa_ros.evaluation.replay_sweeps import ReplayedSweep, replayed_sweeps
from fossa_ros.evaluation.replay_topics import find_topics
from fossa_ros.evaluation.results import Results, Run, write_results
from fossa_ros.io.atomic import replacing_files
from fossa_ros.io.documents import convert, load_json
from fossa_ros.io.pictures import confidence_picture, depth_picture, error_picture, write_picture
from fossa_ros.messages.bags import BagReader
from fossa_ros.motion import MotionCheck
from fossa_ros.parameters.node_config import FossaNodeConfig
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.pipeline.steps import check_motion, estimate_depth

FORMAT = "fossa_ros replay 1"
SUMMARY, METRICS, BAG, PICTURES = "replay.json", "metrics.json", "bag", "pictures"
LARGEST_SUMMARY = 256_000_000  # bytes
WAITING = 2  # sweeps that wait for the workers, beside those at work


@dataclass(frozen=True)
class ReplayOptions:
    """How a bag is replayed.

    Attributes:
        config: the parameters of ``fossa_node``.
        remapped: topics by the node's name for them, where the bag has them under another.
        frames: replay frames even though there are stacks; None for stacks where there are any.
        rate: bag time by wall time; 0 for as fast as the machine can.
        workers: estimators at work beside each other; 0 for one a processor, or a single one that needs a GPU.
        picture_every: of how many sweeps with depth one is written as pictures; 0 for none.
        bag: whether to write a bag.
        compress: whether to compress it.
    """

    config: FossaNodeConfig
    remapped: dict[str, str] = field(default_factory=dict)
    frames: bool | None = None
    rate: float = 0.0
    workers: int = 0
    picture_every: int = 5
    bag: bool = True
    compress: bool = False


@dataclass
class Replay:
    """What came of a bag.

    Attributes:
        source: the bag.
        estimator: name of what made the depths.
        sweeps: figures of each, in their order.
        seconds: of the bag that were replayed.
        wall_seconds: that it took.
        damage: why not all of the bag was read; empty where it was.
        interrupted: whether somebody ended it before the bag did.
    """

    source: str
    estimator: str
    sweeps: list[SweepFigures] = field(default_factory=list)
    seconds: float = 0.0
    wall_seconds: float = 0.0
    damage: str = ""
    interrupted: bool = False

    def verdicts(self) -> Counter[str]:
        """Count the sweeps by verdict."""
        return Counter(sweep.verdict for sweep in self.sweeps)

    def metrics(self) -> dict[str, float]:
        """Return the mean metrics of the sweeps with truth; empty where there are none."""
        scored = [sweep.metrics for sweep in self.sweeps if sweep.metrics]
        return mean_metrics(scored) if scored else {}

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON holds it."""
        return {
            "format": FORMAT,
            **{name: getattr(self, name) for name in ("source", "estimator", "damage", "interrupted")},
            "seconds": round(self.seconds, 3),
            "wall_seconds": round(self.wall_seconds, 3),
            "sweeps": [sweep.as_json() for sweep in self.sweeps],
        }


def read_replay(path: str | Path) -> Replay:
    """Read a ``replay.json`` that ``replay`` wrote.

    Raises:
        InputError: the file is missing, of another format, or an entry cannot be used; names the entry.
    """
    content = load_json(path, "replay the bag again", LARGEST_SUMMARY)
    if content.get("format") != FORMAT:
        raise InputError(f"{path} is not marked '{FORMAT}'; replay the bag again.")
    if isinstance(sweeps := content.get("sweeps"), list):
        content["sweeps"] = [SweepFigures.nan_for_null(sweep) for sweep in sweeps]
    return convert(content, Replay, path)


def replay(
    path,
    out,
    options: ReplayOptions,
    *,
    progress: Callable[[Replay, float], None] = lambda replay, total: None,
    ended: threading.Event | None = None,
    watch: Callable[[SweepResult], None] | None = None,
) -> Replay:
    """Replay one bag and write what comes of it to the folder ``out``.

    Written are ``bag`` (what the node would have published), ``replay.json``, ``pictures`` and, where the bag tells
    the truth, ``metrics.json``; all of it whole or not at all.

    Args:
        path: of the bag.
        out: folder.
        options: how.
        progress: called after every sweep with what there is so far and the seconds of the whole bag.
        ended: set from outside to end in order with what there is.
        watch: receives every result in its order.

    Raises:
        FossaError: the bag or the parameters cannot be used, or the results not be written.
    """
    ended = ended or threading.Event()
    estimator = options.config.estimator.create()
    with BagReader(path) as bag, replacing_files(out, (METRICS,)) as work:
        done = Replay(str(path), estimator.name, damage=bag.damage)
        total = (bag.end_ns - bag.begin_ns) / 1e9
        topics = find_topics(bag, options.remapped, options.frames, options.config.sweep.exposure_topic)
        began = time.monotonic()

        def keep(result: SweepResult, figures: SweepFigures, sweep: ReplayedSweep) -> None:
            outputs.write(result, sweep)
            done.sweeps.append(figures)
            done.seconds = (sweep.recorded_ns - bag.begin_ns) / 1e9
            done.wall_seconds = time.monotonic() - began
            if watch is not None:
                watch(result)
            progress(done, total)

        motion = MotionCheck(options.config.motion)
        with ExitStack() as stack:
            outputs = stack.enter_context(_Outputs(work, topics.namespace, options))
            line = stack.enter_context(_Line(motion, estimator, keep, options.workers))
            for sweep in _paced(replayed_sweeps(bag, topics, options.config), bag.begin_ns, options.rate, ended):
                line.submit(sweep)
        done.interrupted = ended.is_set()
        if not done.interrupted:
            done.seconds = total
        done.wall_seconds = time.monotonic() - began
        done.damage = bag.damage
        progress(done, total)
        _write_figures(done, work)
    return done


def _paced(sweeps: Iterator[ReplayedSweep], begin_ns: int, rate: float, ended: threading.Event):
    """Yield sweeps no earlier than ``rate`` times their own time, until the end or ``ended``."""
    began = time.monotonic()
    for sweep in sweeps:
        if rate:
            ended.wait(max(began + (sweep.recorded_ns - begin_ns) / 1e9 / rate - time.monotonic(), 0.0))
        if ended.is_set():
            return
        yield sweep


class _Line:
    """Check, estimate and write sweeps, each on threads of its own, in their order and never too many at once.

    Nothing is superseded: ``submit`` blocks until there is room. A context manager: leaving it finishes all sweeps
    under way.
    """

    def __init__(
        self,
        motion: MotionCheck,
        estimator: Estimator,
        keep: Callable[[SweepResult, SweepFigures, ReplayedSweep], None],
        workers: int,
    ):
        workers = workers or (_processors() if estimator.name == "classical" else 1)
        self._motion = motion
        self._estimator = estimator
        self._keep = keep
        self._room = threading.Semaphore(workers + WAITING)
        self._checking = ThreadPoolExecutor(1, "motion-check")
        self._estimating = ThreadPoolExecutor(workers, "depth-estimate")
        self._keeping = ThreadPoolExecutor(1, "results")
        self._failure: BaseException | None = None

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, kind, *_) -> None:
        for stage in (self._checking, self._estimating, self._keeping):
            stage.shutdown()
        if kind is None and self._failure is not None:
            raise self._failure

    def submit(self, sweep: ReplayedSweep) -> None:
        """Queue a sweep once there is room; raises what went wrong with an earlier one."""
        self._room.acquire()
        if self._failure is not None:
            raise self._failure
        checked = self._checking.submit(check_motion, sweep.sweep, self._motion)
        estimated = self._estimating.submit(self._estimate, checked, sweep.truth)
        self._keeping.submit(self._finish, estimated, sweep)

    def _estimate(self, checked: Future, truth: np.ndarray | None) -> tuple[SweepResult, SweepFigures]:
        result = checked.result()
        if result.stack is not None:
            result = estimate_depth(result, self._estimator)
        return result, sweep_figures(result, truth, result.stamp_ns)

    def _finish(self, estimated: Future, sweep: ReplayedSweep) -> None:
        try:
            if self._failure is None:
                result, figures = estimated.result()
                self._keep(result, figures, sweep)
        except BaseException as error:
            self._failure = error
        finally:
            self._room.release()


class _Outputs:
    """Everything that is written sweep by sweep; a context manager."""

    def __init__(self, folder: Path, namespace: str, options: ReplayOptions):
        self._folder = folder
        self._every = options.picture_every
        self._with_depth = 0
        self._bag = None
        if options.bag:
            self._bag = ResultBag(folder / BAG, namespace, options.config.depth.encoding, options.compress)

    def __enter__(self) -> _Outputs:
        if self._bag is not None:
            self._bag.__enter__()
        if self._every:
            (self._folder / PICTURES).mkdir()
        return self

    def __exit__(self, *exception) -> None:
        if self._bag is not None:
            self._bag.__exit__(*exception)

    def write(self, result: SweepResult, sweep: ReplayedSweep) -> None:
        """Write one result."""
        if self._bag is not None:
            self._bag.write(result, sweep.recorded_ns)
        if result.depth is None or not self._every:
            return
        if self._with_depth % self._every == 0:
            self._write_pictures(result, sweep.truth)
        self._with_depth += 1

    def _write_pictures(self, result: SweepResult, truth: np.ndarray | None) -> None:
        depth = result.depth
        pictures = {
            "depth": depth_picture(depth.depth),
            "all_in_focus": depth.all_in_focus,
            "confidence": confidence_picture(depth.confidence),
        }
        if truth is not None and truth.shape == depth.depth.shape:
            pictures["error"] = error_picture(depth.depth, truth)
        for name, picture in pictures.items():
            write_picture(self._folder / PICTURES / f"{result.sweep.number:06d}-{name}.png", picture)


def _write_figures(done: Replay, folder: Path) -> None:
    scored = {f"{sweep.sweep:06d}": sweep.metrics for sweep in done.sweeps if sweep.metrics}
    (folder / SUMMARY).write_text(json.dumps(done.as_json(), allow_nan=False) + "\n", encoding="utf-8")
    if scored:
        write_results(folder / METRICS, Results(Path(done.source).name, {"name": done.estimator}, (Run({}, scored),)))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
