"""The layout for Foxglove shows topics and fields that the nodes publish, in panels that can show them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fossa_ros.messages import topics
from fossa_ros.messages.definitions import typestore

FILE = Path(__file__).parents[1] / "foxglove" / "fossa.json"
NAMESPACE = "/fossa"  # of the launch files
PUBLISHED = {
    topic.name if topic.name.startswith("/") else f"{NAMESPACE}/{topic.name}": topic.type for topic in topics.OUTPUTS
}
CONTENT = json.loads(FILE.read_text())
PANELS = CONTENT["configById"]


def panels(kind):
    """Return the panels of a kind by name."""
    return {name: panel for name, panel in PANELS.items() if name.partition("!")[0] == kind}


def leaves(layout):
    if isinstance(layout, str):
        return [layout]
    assert layout["direction"] in ("row", "column") and 0 < layout["splitPercentage"] < 100
    return [*leaves(layout["first"]), *leaves(layout["second"])]


def topics_named(value):
    """Return all that is a topic or a path of one: each string or key that begins with a slash."""
    if isinstance(value, str):
        return {value} if value.startswith("/") else set()
    parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return set().union(*map(topics_named, parts))


def test_every_topic_is_one_of_the_table_and_every_field_one_of_its_message():
    named = topics_named(PANELS)
    assert len(named) >= 12
    types = typestore()
    for path in named:
        topic, _, field = path.partition(".")
        assert topic in PUBLISHED, path
        assert not field or field in dict(types.fielddefs[PUBLISHED[topic]][1]), path


def test_panels_show_what_they_can():
    for name, panel in panels("3D").items():
        assert {PUBLISHED[topic] for topic in panel["topics"]} == {topics.POINTS.type}, name
    for name, panel in panels("Image").items():
        assert PUBLISHED[panel["imageMode"]["imageTopic"]] == topics.DEPTH.type, name
        assert PUBLISHED[panel["imageMode"]["calibrationTopic"]] == topics.CAMERA_INFO.type, name
    for name, panel in (panels("Plot") | panels("StateTransitions")).items():
        for path in panel["paths"]:  # a path without these is not drawn
            assert path["enabled"] is True and path["timestampMethod"] == "headerStamp", name
    assert PUBLISHED[PANELS["DiagnosticSummary!health"]["topicToRender"]] == topics.DIAGNOSTICS.type


def test_each_panel_is_laid_out_once():
    assert sorted(leaves(CONTENT["layout"])) == sorted(PANELS)
    assert set(CONTENT) == {"configById", "globalVariables", "userNodes", "playbackConfig", "layout"}


def test_the_check_sees_a_topic_that_nobody_publishes():
    assert topics_named({"topics": {"/fossa/cloud": {"visible": True}}, "paths": [{"value": "/a.b"}]}) == {
        *("/fossa/cloud", "/a.b")
    }
    with pytest.raises(AssertionError):
        leaves({"direction": "row", "first": "a", "second": "b", "splitPercentage": 100})
