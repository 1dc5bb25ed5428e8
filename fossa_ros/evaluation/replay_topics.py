"""Find the topics of a bag that a replay reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fossa_ros.core.errors import InputError
from fossa_ros.messages import topics
from fossa_ros.messages.bags import BagReader
from fossa_ros.messages.topics import Topic

REMAPPED = (
    topics.FOCUS_STACK,
    topics.IMAGE,
    topics.CAMERA_INFO,
    topics.LENS_STATE,
    topics.LENS_TRIGGER,
    topics.IMU,
    topics.TRUE_DEPTH,
)
RESULTS = tuple(f"/{topic.name.split('/')[0]}" for topic in topics.RESULTS if topic.type == topics.CAMERA_INFO.type)
COMPRESSED = "/compressed"  # after the name of an image's topic


@dataclass(frozen=True)
class ReplayTopics:
    """The names of the topics that a replay reads, None for those that the bag lacks or that are not needed."""

    focus_stack: str | None = None
    image: str | None = None
    camera_info: str | None = None
    lens_state: str | None = None
    imu: str | None = None
    truth: str | None = None
    metadata: str | None = None
    lens_trigger: str | None = None

    @property
    def stacks(self) -> bool:
        """Whether recorded stacks are replayed, not frames."""
        return self.focus_stack is not None

    @property
    def names(self) -> set[str]:
        """All names."""
        return {name for name in vars(self).values() if name is not None}

    @property
    def namespace(self) -> str:
        """The namespace of the results: that of the stacks or of the frames."""
        return _namespace(self.focus_stack or self.image or "")


def find_topics(
    bag: BagReader,
    remapped: Mapping[str, str],
    frames: bool | None = None,
    exposure_topic: str | None = None,
    *,
    triggered: bool = False,
) -> ReplayTopics:
    """Choose the topics of a bag by the names that the nodes have for them, in any namespace.

    Args:
        bag: an open bag.
        remapped: names in the bag by the nodes' names, where they differ.
        frames: whether to replay frames although there are stacks; None for stacks where there are any.
        exposure_topic: the parameter ``sweep.exposure_topic``; None or empty for none.
        triggered: whether triggers take the place of lens states: the parameter ``sweep.mode`` is counted.

    Raises:
        InputError: a name is remapped that no topic has, or there are neither stacks nor frames with lens states or
            triggers, or several of them, or no ``exposure_topic``.
    """
    if unknown := set(remapped) - {topic.name for topic in REMAPPED}:
        raise InputError(
            f"No topic {min(unknown)} is replayed; --remap takes {', '.join(topic.name for topic in REMAPPED)}."
        )
    finder = _Finder(bag, remapped)
    truth = finder.find(topics.TRUE_DEPTH)
    stack = None if frames else finder.find(topics.FOCUS_STACK)
    if stack is not None:
        return ReplayTopics(focus_stack=stack, truth=truth)
    lens = topics.LENS_TRIGGER if triggered else topics.LENS_STATE
    found = {
        topics.IMAGE: finder.find_image(),
        topics.CAMERA_INFO: finder.find(topics.CAMERA_INFO),
        lens: finder.find(lens),
    }
    missing = [topic for topic, name in found.items() if name is None]
    if missing:
        raise InputError(
            f"{bag.path} has neither focus_stack nor all of image, camera_info and {lens.name}: "
            f"{'; '.join(finder.advice(topic) for topic in missing)}."
        )
    image, camera_info, of_lens = found.values()
    lens_state, lens_trigger = (None, of_lens) if triggered else (of_lens, None)
    metadata = None
    if exposure_topic:  # a relative name is in the namespace of the images
        metadata = exposure_topic if exposure_topic.startswith("/") else f"{_namespace(image)}/{exposure_topic}"
        bag.require(metadata, topics.METADATA.type)
    return ReplayTopics(None, image, camera_info, lens_state, finder.find(topics.IMU), truth, metadata, lens_trigger)


class _Finder:
    def __init__(self, bag: BagReader, remapped: Mapping[str, str]):
        self._bag = bag
        self._remapped = remapped

    def find(self, topic: Topic) -> str | None:
        """Return the name of a topic in the bag; None where it has none."""
        if (name := self._remapped.get(topic.name)) is not None:
            self._bag.require(name, topic.type)
            return name
        names = self._names(topic)
        if topic is topics.CAMERA_INFO:
            names = [name for name in names if _is_camera(_namespace(name))]
        return self._only(topic, names)

    def find_image(self) -> str | None:
        """Return the topic of the camera's images: one with a camera_info, not depth, raw rather than compressed."""
        if (name := self._remapped.get(topics.IMAGE.name)) is not None:
            self._bag.require(name, topics.IMAGE.type, topics.COMPRESSED_IMAGE.type)
            return name
        images = (*self._names(topics.COMPRESSED_IMAGE), *self._names(topics.IMAGE))
        cameras = {_namespace(name): name for name in images}  # raw images last: they replace compressed ones
        remapped = topics.CAMERA_INFO.name in self._remapped
        calibrated = {_namespace(name) for name in self._bag.types if name.endswith(f"/{topics.CAMERA_INFO.name}")}
        return self._only(
            topics.IMAGE,
            [name for camera, name in cameras.items() if _is_camera(camera) and (remapped or camera in calibrated)],
        )

    def advice(self, topic: Topic) -> str:
        """Say what to do about a topic that was not found."""
        foreign = [name for name in self._bag.unread if name.endswith(f"/{topic.name}")]
        if foreign:
            return f"the messages on {foreign[0]} are {self._bag.unread[foreign[0]]}"
        others = sorted(name for name, msgtype in self._bag.types.items() if msgtype == topic.type)
        if topic is topics.IMAGE:
            others += sorted(name for name, kind in self._bag.types.items() if kind == topics.COMPRESSED_IMAGE.type)
        if others:
            what = f"no topic {topic.name}" + (" with a camera_info beside it" if topic is topics.IMAGE else "")
            return f"{what}, choose with --remap {topic.name}:=TOPIC from {', '.join(others)}"
        if topic is topics.LENS_TRIGGER:
            return f"nothing tells when the sweeps began: record {topic.name} with the camera"
        if topic is topics.LENS_STATE:
            return (
                f"nothing tells where the lens was: record {topic.name}, which fossa_node and sweep_node publish, with "
                "the camera"
            )
        return f"no topic has the type {topic.type}, the topics are {self._bag.topics()}"

    def _names(self, topic: Topic) -> list[str]:
        names = [name for name, msgtype in self._bag.types.items() if msgtype == topic.type]
        return [name for name in names if name.endswith(f"/{topic.name}")]

    def _only(self, topic: Topic, names: list[str]) -> str | None:
        names = [name for name in names if self._bag.counts[name]] or names
        if len(names) > 1:
            raise InputError(
                f"{self._bag.path} has several topics for {topic.name} ({', '.join(sorted(names))}); choose with "
                f"--remap {topic.name}:=TOPIC."
            )
        return names[0] if names else None


def _namespace(name: str) -> str:
    return name.removesuffix(COMPRESSED).rpartition("/")[0]


def _is_camera(namespace: str) -> bool:
    """Say whether images in a namespace are a camera's, not what a node published."""
    return not namespace.endswith(RESULTS)
