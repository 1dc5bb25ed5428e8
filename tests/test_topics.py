"""The table of topics is the one that the documentation shows, and that everything else uses."""

from __future__ import annotations

import re
from pathlib import Path

from fossa_ros.messages import topics
from fossa_ros.messages.definitions import typestore
from fossa_ros.messages.topics import Profile, Topic
from fossa_ros.ros.conversions import message_class
from fossa_ros.ros.qos import PROFILES

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
