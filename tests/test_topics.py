"""The table of topics is the one that the documentation shows, and that everything else uses."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from fossa_ros.core.errors import InputError
from fossa_ros.messages import topics
from fossa_ros.messages.definitions import typestore
from fossa_ros.messages.topics import Profile, Topic
from fossa_ros.msg import SweepReport
from fossa_ros.pipeline.result import Verdict
from fossa_ros.ros.conversions import message_class
from fossa_ros.ros.qos import PROFILES
from fossa_ros.ros.topic_camera import TopicCamera
from fossa_ros.ros.topic_view import TopicView

ROOT = Path(__file__).parents[1]
ALL = {value for value in vars(topics).values() if isinstance(value, Topic)}


def table_after(text: str, heading: str) -> list[tuple[str, str]]:
    """Return the first two columns of the table under a line of the page."""
    rows = re.match(r"\s*\|.*\n\|[-|]+\n((?:\|.*\n)+)", text.partition(f"{heading}\n")[2]).group(1)
    return [tuple(cell.strip(" `") for cell in row.split("|")[1:3]) for row in rows.splitlines()]


def test_the_page_of_the_nodes_lists_every_topic_with_its_type():
    page = (ROOT / "docs" / "nodes.md").read_text()
    for heading, listed in (("The nodes subscribe to:", topics.INPUTS), ("They publish:", topics.OUTPUTS)):
        assert table_after(page, heading) == [(topic.name, topic.type.replace("/msg/", "/")) for topic in listed]


def test_the_readme_names_topics_that_exist():
    (sentence,) = re.findall(r"The node subscribes to (.*?)\. The service", (ROOT / "README.md").read_text(), re.DOTALL)
    named = re.findall(r"`([^`]+)`", sentence)
    assert len(named) == 9 and set(named) <= {topic.name for topic in ALL}


def test_every_topic_has_a_message_definition_for_rclpy_and_for_bags():
    store = typestore()
    for topic in ALL:
        if topic is not topics.TF_STATIC or find_spec("tf2_msgs"):  # not on PyPI
            assert message_class(topic.type).__name__ == topic.type.rsplit("/")[-1]
        assert topic.type in store.types
    assert set(PROFILES) == set(Profile) and len({topic.name for topic in ALL}) == len(ALL)


def test_no_topic_is_named_a_second_time_in_the_code():
    names = [topic.name for topic in ALL if "/" in topic.name]
    kinds = {topic.type for topic in ALL}
    for folder in ("calibration", "evaluation", "messages", "pipeline", "ros", "simulation"):
        for file in (ROOT / "fossa_ros" / folder).rglob("*.py"):
            text = file.read_text()
            repeated = [word for word in (*names, *kinds) if f'"{word}"' in text]
            assert file.name == "topics.py" or not repeated, (file, repeated)


def test_every_verdict_is_a_constant_of_the_report():
    definition = (ROOT / "msg" / "SweepReport.msg").read_text()
    constants = dict(re.findall(r'^string ([A-Z]+)="(\w+)"', definition, re.MULTILINE))
    assert constants == {verdict.upper(): verdict for verdict in constants.values()}
    of_motion = re.findall(r'verdict="(\w+)"', (ROOT / "fossa_ros" / "motion" / "verdict.py").read_text())
    assert len(of_motion) == 5 and {*of_motion, *map(str, Verdict)} == set(constants.values())
    for kind in (SweepReport, typestore().types["fossa_ros/msg/SweepReport"]):  # of nodes, and of bags
        assert {name: getattr(kind, name) for name in constants} == constants


@pytest.mark.parametrize("name", ["not a topic", "", "a//b", "1st", "x" * 300])
def test_a_name_that_no_topic_can_have_is_a_sentence(name):
    with pytest.raises(InputError, match=r"^The topic of images cannot be '/"):
        TopicCamera(name, patience=0.1)
    if name:
        with pytest.raises(InputError, match=r"^The namespace cannot be '/"):
            TopicView([topics.DEPTH], name, print)
