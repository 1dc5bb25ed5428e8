"""The RViz configurations hold what rviz_common and rviz_default_plugins of Jazzy read, and nothing else.

RViz ignores a key that it does not know, without a word: a misspelt one would have no effect. The names below are those
of the properties in its sources.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from fossa_ros.messages import topics
from fossa_ros.messages.topics import Profile
from fossa_ros.ros.qos import PROFILES

FILES = sorted((Path(__file__).parents[1] / "launch").glob("*.rviz"))
DISPLAY = {"Class", "Name", "Enabled", "Value"}  # rviz_common/src/rviz_common/display.cpp
QOS = {"Value", "Depth", "History Policy", "Reliability Policy", "Durability Policy", "Filter size"}
PROPERTIES = {
    "rviz_default_plugins/Axes": {"Length", "Radius", "Reference Frame", "Show Trail", "Alpha"},
    "rviz_default_plugins/Image": {"Topic", "Normalize Range", "Min Value", "Max Value", "Median window"},
    "rviz_default_plugins/PointCloud2": {
        *("Topic", "Selectable", "Style", "Size (m)", "Size (Pixels)", "Alpha", "Decay Time"),
        *("Position Transformer", "Color Transformer"),
    },
}
TOOLS = {
    "rviz_default_plugins/FocusCamera": set(),
    "rviz_default_plugins/Interact": {"Hide Inactive Objects"},
    "rviz_default_plugins/Measure": set(),
    "rviz_default_plugins/MoveCamera": set(),
    "rviz_default_plugins/PublishPoint": {"Single click", "Topic"},
    "rviz_default_plugins/Select": set(),
}
ORBIT = {
    *(
        "Class",
        "Name",
        "Value",
        "Distance",
        "Focal Point",
        "Focal Shape Size",
        "Focal Shape Fixed Size",
        "Pitch",
        "Yaw",
    ),
    *("Near Clip Distance", "Target Frame", "Invert Z Axis"),
}
PANELS = {"Displays", "Selection", "Time", "Tool Properties", "Views"}
TOPICS = {topic.name: topic for topic in (*topics.INPUTS, *topics.OUTPUTS, *topics.RIG)}


@pytest.fixture(params=FILES, ids=lambda file: file.name)
def config(request):
    return yaml.safe_load(request.param.read_text())


def manager(config):
    return config["Visualization Manager"]


def test_there_are_three():
    assert [file.name for file in FILES] == ["fossa.rviz", "replay.rviz", "sim.rviz"]


def test_the_sections_are_those_that_rviz_reads(config):
    assert {"Panels", "Visualization Manager", "Window Geometry"} == config.keys()
    assert {panel["Class"] for panel in config["Panels"]} == {f"rviz_common/{name}" for name in PANELS}
    assert {panel["Name"] for panel in config["Panels"]} == PANELS
    known = {"Class", "Displays", "Enabled", "Global Options", "Name", "Tools", "Transformation", "Value", "Views"}
    assert manager(config).keys() <= known
    assert manager(config)["Global Options"].keys() == {"Background Color", "Fixed Frame", "Frame Rate"}
    assert manager(config)["Global Options"]["Fixed Frame"] == "camera_optical_frame"


def test_the_mouse_has_tools(config):
    tools = {tool["Class"]: tool.keys() - {"Class"} for tool in manager(config)["Tools"]}
    assert tools.keys() == TOOLS.keys()
    assert all(properties <= TOOLS[name] for name, properties in tools.items())
    assert manager(config)["Tools"][1]["Class"].endswith("/MoveCamera")


def test_the_view_follows_the_fixed_frame(config):
    assert manager(config)["Views"].keys() == {"Current", "Saved"}
    view = manager(config)["Views"]["Current"]
    assert view["Class"] == "rviz_default_plugins/Orbit" and view.keys() <= ORBIT
    assert view["Target Frame"] == "<Fixed Frame>"


def test_displays_have_known_properties_and_their_topics_quality_of_service(config):
    displays = manager(config)["Displays"]
    assert len({display["Name"] for display in displays}) == len(displays)
    for display in displays:
        assert display.keys() - DISPLAY <= PROPERTIES[display["Class"]], display["Name"]
        if "Topic" not in display:
            continue
        assert display["Topic"].keys() <= QOS
        topic = TOPICS[display["Topic"]["Value"]]  # relative: RViz is started in the namespace of the nodes
        latched = topic.profile is Profile.LATCHED
        assert display["Topic"]["Durability Policy"] == ("Transient Local" if latched else "Volatile")
        assert display["Topic"]["Reliability Policy"] == "Reliable"
        if topic.profile in (Profile.RESULTS, Profile.LATCHED):
            assert display["Topic"]["Depth"] == PROFILES[topic.profile].depth


def test_a_range_is_in_the_title_of_its_image(config):
    ranges = {}
    for display in manager(config)["Displays"]:
        if display.get("Normalize Range") is False:
            ranges[display["Name"]] = (display["Min Value"], display["Max Value"])
        else:
            assert not re.search(r"\d", display["Name"])
    assert any(name.startswith("Depth") for name in ranges)
    for name, (low, high) in ranges.items():
        assert re.search(rf", {low:g} to {high:g}( m)?$", name), name
