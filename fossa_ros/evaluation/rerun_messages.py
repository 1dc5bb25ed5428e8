"""Log the messages of the nodes for the viewer rerun, live or from a bag."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.replay_outputs import BAG
from fossa_ros.evaluation.rerun_log import RerunLog
from fossa_ros.messages import topics
from fossa_ros.messages.bags import BagReader
from fossa_ros.messages.fields import captured_sweep, depth_from_message, nanoseconds
from fossa_ros.messages.images import rgb_from_message
from fossa_ros.messages.topics import Topic

VIEWED = (
    *(topics.FOCUS_STACK, topics.DEPTH_CAMERA_INFO, topics.DEPTH),
    *(topics.ALL_IN_FOCUS, topics.CONFIDENCE, topics.SWEEP),
)


class MessageLog:
    """Log messages of the topics ``VIEWED`` in any order; the cloud is made of depth, K and colour with equal stamps.

    Attributes:
        counts: of the messages logged, by name of their topic.
    """

    def __init__(self, log: RerunLog):
        self._log = log
        self._newest: dict[Topic, tuple[int, np.ndarray]] = {}  # of the parts of the cloud, with their stamp
        self.counts = dict.fromkeys((topic.name for topic in VIEWED), 0)

    def add(self, topic: Topic, message: Any) -> None:
        """Log a message; raises InputError if its image cannot be decoded."""
        stamp_ns = nanoseconds(message.header.stamp)
        if topic is topics.SWEEP:
            self._log.verdict(
                message.sweep, message.verdict, message.reason, message.accepted, message.motion_px, stamp_ns
            )
        elif topic is topics.FOCUS_STACK:
            self._add_planes(message)
        elif topic is topics.DEPTH_CAMERA_INFO:
            K = np.reshape(np.array(message.k, np.float64), (3, 3))
            self._log.camera(K, (message.height, message.width), stamp_ns)
            self._keep(topic, stamp_ns, K)
        elif topic is topics.CONFIDENCE:
            self._log.confidence(depth_from_message(message), stamp_ns)
        elif topic is topics.DEPTH:
            depth = depth_from_message(message)
            self._log.depth(depth, stamp_ns)
            self._keep(topic, stamp_ns, depth)
        elif topic is topics.ALL_IN_FOCUS:
            colour = rgb_from_message(message)
            self._log.colour(colour, stamp_ns)
            self._keep(topic, stamp_ns, colour)
        self.counts[topic.name] += 1

    def _add_planes(self, message: Any) -> None:
        stack = captured_sweep(message).stack
        for place, plane in enumerate(() if stack is None else stack.planes):
            self._log.plane(place, plane.image, plane.focus_distance, plane.stamp_ns or 0)

    def _keep(self, topic: Topic, stamp_ns: int, content: np.ndarray) -> None:
        """Keep one of the parts of the cloud, and log the cloud once all of a stamp are there."""
        self._newest[topic] = stamp_ns, content
        parts = [self._newest.get(part) for part in (topics.DEPTH, topics.DEPTH_CAMERA_INFO, topics.ALL_IN_FOCUS)]
        found = [part[1] for part in parts if part is not None and part[0] == stamp_ns]
        if len(found) == len(parts):
            depth, K, colour = found
            if colour.shape[:2] == depth.shape:
                self._log.points(depth, K, colour, stamp_ns)


def log_bag(path: Path, log: RerunLog, namespace: str | None, progress: Callable[[float], None]) -> MessageLog:
    """Log the results in a bag.

    Args:
        path: of the bag, or of what ``fossa replay`` wrote.
        log: where they go.
        namespace: of the node; None for the one that the bag has.
        progress: receives the share of the bag that is logged, 0..1.

    Raises:
        InputError: the bag cannot be read, or holds no results, or those of several nodes.
    """
    bag_path = path / BAG if (path / BAG).is_dir() else path
    with BagReader(bag_path) as bag:
        names = _names(bag, namespace)
        messages = MessageLog(log)
        length = max(bag.end_ns - bag.begin_ns, 1)
        for recorded in bag.messages(names):
            try:
                messages.add(names[recorded.topic], bag.read(recorded))
            except InputError as error:
                bag.refuse(recorded, error)
            progress((recorded.recorded_ns - bag.begin_ns) / length)
    return messages


def _names(bag: BagReader, namespace: str | None) -> dict[str, Topic]:
    """Return the topics to log by their names in a bag."""
    sweeps = [name for name, kind in bag.types.items() if kind == topics.SWEEP.type]
    found = [name.rpartition("/")[0] for name in sweeps if name.endswith(f"/{topics.SWEEP.name}")]
    if namespace is not None:
        found = [one for one in found if one.strip("/") == namespace.strip("/")]
    if not found:
        raise InputError(
            f"{bag.path} holds no results of a node{'' if namespace is None else f' in {namespace}'} (no topic sweep); "
            "replay it first: fossa replay."
        )
    if len(found) > 1:
        listed = ", ".join(sorted(one or "/" for one in found))
        raise InputError(f"{bag.path} holds results of several nodes; choose with --namespace from {listed}.")
    names = {f"{found[0]}/{topic.name}": topic for topic in VIEWED}
    return {name: topic for name, topic in names.items() if bag.types.get(name) == topic.type}
