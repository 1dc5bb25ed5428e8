"""Replay a bag: run motion check and estimator on its sweeps as the nodes do, as fast as possible."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.metrics import mean_metrics
from fossa_ros.evaluation.replay_bag import ResultBag
from fossa_ros.evaluation.replay_figures import SweepFigures
from fossa_ros.evaluation.replay_outputs import BAG, PICTURES, SUMMARY, ReplayOutputs, check_replaced
from fossa_ros.evaluation.replay_sweeps import ReplayedSweep, replayed_sweeps
from fossa_ros.evaluation.replay_topics import find_topics
from fossa_ros.evaluation.replay_workers import ReplayWorkers
from fossa_ros.evaluation.results import Results, Run, write_results
from fossa_ros.io.atomic import replacing_files
from fossa_ros.io.documents import convert, load_json
from fossa_ros.messages.bags import BagReader
from fossa_ros.messages.camera_info import takes_rectified
from fossa_ros.motion import MotionCheck
from fossa_ros.parameters.node_config import FossaNodeConfig
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.sweep import SweepMode

FORMAT = "fossa_ros replay 1"
METRICS = "metrics.json"
LARGEST_SUMMARY = 256_000_000  # bytes


@dataclass(frozen=True)
class ReplayOptions:
    """Options of a replay.

    Attributes:
        config: the parameters of ``fossa_node``.
        remapped: names of topics in the bag by the node's names, where they differ.
        frames: whether to replay frames although there are stacks; None for stacks where there are any.
        rate: bag time divided by wall time; 0 for as fast as possible.
        workers: see ``ReplayWorkers``.
        picture_every: one of so many sweeps with depth is written as pictures; 0 for none.
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
    """The figures of a replay.

    Attributes:
        source: the bag.
        estimator: its name.
        sweeps: figures of each sweep, in order.
        seconds: time of the bag that was replayed.
        wall_seconds: duration of the replay.
        image: for what its images are taken, raw or rectified, and the range of 16-bit pixels, and why.
        damage: why the bag could not be read to its end; empty where it could.
        fault: why no frame of the bag could be used, as the node would say it; empty where some could.
        interrupted: whether the replay was ended before the end of the bag.
    """

    source: str
    estimator: str
    sweeps: list[SweepFigures] = field(default_factory=list)
    seconds: float = 0.0
    wall_seconds: float = 0.0
    image: str = ""
    damage: str = ""
    fault: str = ""
    interrupted: bool = False

    def verdicts(self) -> Counter[str]:
        """Count the sweeps by verdict."""
        return Counter(sweep.verdict for sweep in self.sweeps)

    def reasons(self) -> list[tuple[str, str, int]]:
        """Return verdict and reason of the sweeps without depth, and how many they are, the most frequent first.

        Reasons that differ in numbers only are alike; the first of them is returned.
        """
        kinds: dict[tuple[str, str], list[str]] = {}
        for sweep in self.sweeps:
            if not sweep.accepted:
                kind = sweep.verdict, kind_of_reason(sweep.reason)
                kinds.setdefault(kind, []).append(sweep.reason)
        found = [(verdict, reasons[0], len(reasons)) for (verdict, _), reasons in kinds.items()]
        return sorted(found, key=lambda entry: -entry[2])

    def warnings(self) -> list[str]:
        """Return the warnings of the sweeps that have one."""
        return [sweep.warning for sweep in self.sweeps if sweep.warning]

    def metrics(self) -> dict[str, float]:
        """Return the mean metrics of the sweeps with truth; empty where there are none."""
        scored = [sweep.metrics for sweep in self.sweeps if sweep.metrics]
        return mean_metrics(scored) if scored else {}

    def as_json(self) -> dict[str, Any]:
        """Return the content of ``replay.json``."""
        return {
            "format": FORMAT,
            **{
                name: getattr(self, name) for name in ("source", "estimator", "image", "damage", "fault", "interrupted")
            },
            "seconds": round(self.seconds, 3),
            "wall_seconds": round(self.wall_seconds, 3),
            "sweeps": [sweep.as_json() for sweep in self.sweeps],
        }


def kind_of_reason(reason: str) -> str:
    """Return a reason with N for its numbers and without the list of unused frames, the same for all of a kind."""
    return re.sub(r"-?[\d.]*\d(, -?[\d.]*\d)*", "N", re.sub(r" \(frames not used: .*\)", "", reason))


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
    path: Path | str,
    out: Path | str,
    options: ReplayOptions,
    *,
    progress: Callable[[Replay, float], None] = lambda replay, total: None,
    ended: threading.Event | None = None,
    watch: Callable[[SweepResult], None] | None = None,
) -> Replay:
    """Replay one bag and write the results to the folder ``out``.

    These are ``bag`` (the messages that the node would have published), ``replay.json``, ``pictures`` and, where the
    bag holds the truth, ``metrics.json``. Either all of them are written or none.

    Args:
        path: of the bag.
        out: folder of the results.
        options: of the replay.
        progress: called after every sweep with the figures so far and the duration of the whole bag in seconds.
        ended: set it to end the replay in order; the results so far are written.
        watch: receives every result in order.

    Raises:
        FossaError: the bag or the parameters cannot be used, or the results cannot be written or would replace the bag.
    """
    ended = ended or threading.Event()
    written = [name for name, wanted in ((BAG, options.bag), (PICTURES, options.picture_every)) if wanted]
    check_replaced(Path(out), written, Path(path))
    estimator = options.config.estimator.create()
    with BagReader(path) as bag, replacing_files(out, (METRICS,)) as work:
        done = Replay(str(path), estimator.name, damage=bag.damage)
        total = (bag.end_ns - bag.begin_ns) / 1e9
        topics = find_topics(
            bag,
            options.remapped,
            options.frames,
            options.config.sweep.exposure_topic,
            triggered=options.config.sweep.config.mode is SweepMode.COUNTED,
        )
        if topics.image is not None:
            _, done.image = takes_rectified(options.config.camera.image, topics.image)
        start = time.monotonic()

        def on_result(result: SweepResult, figures: SweepFigures, sweep: ReplayedSweep) -> None:
            outputs.write(result, sweep)
            done.sweeps.append(figures)
            done.seconds = (sweep.recorded_ns - bag.begin_ns) / 1e9
            done.wall_seconds = time.monotonic() - start
            if watch is not None:
                watch(result)
            progress(done, total)

        result_bag = None
        if options.bag:
            result_bag = ResultBag(work / BAG, topics.namespace, options.config.format, options.compress)
        motion = MotionCheck(options.config.motion)
        with (
            ReplayOutputs(work, result_bag, options.picture_every) as outputs,
            ReplayWorkers(
                motion,
                estimator,
                on_result,
                options.workers,
                limits=options.config.limits,
                focus_check=options.config.depth.focus_check,
                region=options.config.roi,
                temporal=options.config.depth.temporal,
                still_sweeps=options.config.depth.still_sweeps,
            ) as workers,
        ):
            sweeps = replayed_sweeps(
                bag, topics, options.config, lambda fault: setattr(done, "fault", fault), _ImageLog(done)
            )
            for sweep in _paced(sweeps, bag.begin_ns, options.rate, ended):
                workers.submit(sweep)
        done.interrupted = ended.is_set()
        if not done.interrupted:
            done.seconds = total
        done.wall_seconds = time.monotonic() - start
        done.damage = bag.damage
        progress(done, total)
        write_figures(done, work)
    return done


class _ImageLog:
    """Add to a replay what is found out of its images."""

    def __init__(self, done: Replay):
        self._done = done

    def info(self, message: str, /) -> None:
        self._done.image = f"{self._done.image} {message}".strip()

    warning = info


def _paced(
    sweeps: Iterator[ReplayedSweep], begin_ns: int, rate: float, ended: threading.Event
) -> Iterator[ReplayedSweep]:
    """Yield sweeps at ``rate`` times the speed of the bag until ``ended`` is set; at once with a rate of 0."""
    start = time.monotonic()
    for sweep in sweeps:
        if rate:
            ended.wait(max(start + (sweep.recorded_ns - begin_ns) / 1e9 / rate - time.monotonic(), 0.0))
        if ended.is_set():
            return
        yield sweep


def write_figures(done: Replay, folder: Path) -> None:
    """Write the figures of a replay to a folder: ``replay.json`` and, where there was truth, ``metrics.json``."""
    scored = {f"{sweep.sweep:06d}": sweep.metrics for sweep in done.sweeps if sweep.metrics}
    (folder / SUMMARY).write_text(json.dumps(done.as_json(), allow_nan=False) + "\n", encoding="utf-8")
    if scored:
        write_results(folder / METRICS, Results(Path(done.source).name, {"name": done.estimator}, (Run({}, scored),)))
