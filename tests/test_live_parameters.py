"""Parameters of a running node: what changes while it sweeps, what is refused, and dumps that load again."""

from __future__ import annotations

import array
import math

import pytest
import yaml
from lifecycle_msgs.msg import State
from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters
from rclpy.parameter import parameter_dict_from_yaml_file, parameter_value_to_python
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from fossa_ros.msg import SweepReport
from fossa_ros.parameters.config import parameters_of
from fossa_ros.parameters.node_config import FossaNodeConfig
from fossa_ros.parameters.parameter_file import read_config, values_of
from fossa_ros.parameters.parameter_sections import read_sections
from fossa_ros.ros import qos
from node_processes import process, simulated_rig

pytestmark = pytest.mark.real_time


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    with simulated_rig(tmp_path_factory.mktemp("rig"), 160, 120, 150.0) as link:
        yield link


def dump(listener, node):
    """Return what ``ros2 param dump`` writes: it lists all parameters, then asks for all values at once, and nests."""
    listed = listener.call(ListParameters, f"{node}/list_parameters", ListParameters.Request()).result.names
    answer = listener.call(GetParameters, f"{node}/get_parameters", GetParameters.Request(names=listed))
    values = map(parameter_value_to_python, answer.values)
    plain = [list(value) if isinstance(value, array.array | list) else value for value in values]
    assert len(plain) == len(listed)
    nested = {}
    for name, value in zip(listed, plain, strict=True):
        *groups, last = name.split(".")
        inner = nested
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[last] = value
    return yaml.dump({f"/{node}": {"ros__parameters": nested}}, default_flow_style=False)


def load(listener, node, file):
    """Do what ``ros2 param load`` does; return the reasons of what is refused, by name."""
    changes = list(parameter_dict_from_yaml_file(str(file), True, [f"/{node}"]).values())
    request = SetParameters.Request(parameters=changes)
    results = listener.call(SetParameters, f"{node}/set_parameters", request).results
    return {each.name: result.reason for each, result in zip(changes, results, strict=True) if not result.successful}


def test_a_dump_has_every_parameter_and_makes_the_same_node(rig, listener, tmp_path):
    with process("fossa_node", tmp_path / "a.log", autostart=False, lens__port=rig, sweep__planes=3):
        dumped = dump(listener, "fossa_node")
    file = tmp_path / "dump.yaml"
    file.write_text(dumped)
    values = values_of(read_sections(file), "/fossa_node")
    assert {parameter.name for parameter in parameters_of(FossaNodeConfig)} <= set(values)
    assert yaml.safe_load(dumped)["/fossa_node"]["ros__parameters"]["sweep"]["focus_distances"] == []
    replayed = read_config(FossaNodeConfig, "fossa_node", file, warn=pytest.fail)
    assert replayed.sweep.planes == 3 and replayed.lens.port == str(rig)
    with process("fossa_node", tmp_path / "b.log", autostart=False, file=file):
        assert dump(listener, "fossa_node") == dumped
    assert "WARN" not in (tmp_path / "b.log").read_text()


def test_an_active_node_loads_its_dump_and_refuses_only_what_differs(rig, listener, tmp_path):
    listener.subscribe(SweepReport, "sweep", qos.REPORTS)
    with process("fossa_node", tmp_path / "node.log", lens__port=rig, sweep__planes=3):
        listener.wait_for("sweep", 1)
        file = tmp_path / "dump.yaml"
        file.write_text(dump(listener, "fossa_node"))
        assert load(listener, "fossa_node", file) == {}
        text = file.read_text()
        file.write_text(text.replace("planes: 3", "planes: 4").replace("mode: step", "mode: ramp"))
        refused = load(listener, "fossa_node", file)
        assert list(refused) == ["sweep.mode"] and "applied at configure" in refused["sweep.mode"]
        assert listener.get("fossa_node", "sweep.planes") == 4
        assert listener.state("fossa_node") == State.PRIMARY_STATE_ACTIVE


def test_an_active_node_is_tuned_from_the_next_sweep_on(rig, listener, tmp_path):
    listener.subscribe(SweepReport, "sweep", qos.REPORTS)
    reports = listener.heard["sweep"]

    def eventually(condition, what):
        before = len(reports)
        listener.wait_until(lambda: any(condition(report) for report in reports[before:]), what)

    with process("fossa_node", tmp_path / "node.log", lens__port=rig):
        eventually(lambda report: report.accepted and len(report.focus_distances) == 5, "five planes")
        assert listener.set("fossa_node", "sweep.planes", 3).successful
        eventually(lambda report: report.accepted and len(report.focus_distances) == 3, "three planes")
        assert listener.set("fossa_node", "sweep.far", 2.0).successful
        eventually(lambda report: max(report.focus_distances, default=9) == pytest.approx(2.0, rel=0.02), "up to 2 m")
        assert listener.set("fossa_node", "sweep.focus_distances", [0.4, 1.0, 1.5, 3.0]).successful
        eventually(lambda report: report.accepted and len(report.focus_distances) == 4, "four planes")
        assert listener.set("fossa_node", "depth.max_age", 0.001).successful
        eventually(lambda report: report.verdict == "stale", "stale depth")
        assert listener.set("fossa_node", "depth.max_age", 0.0).successful
        eventually(lambda report: report.accepted, "depth again")
        assert listener.set("fossa_node", "motion.repair_px", 0.0).successful
        assert listener.set("fossa_node", "motion.direction_loss", 1.0).successful
        assert listener.set("fossa_node", "motion.still_px", 0.1).successful
        eventually(lambda report: report.verdict == "rejected", "no sweep is so still")
        for name, value, words in (
            ("sweep.bookend", True, ""),
            ("sweep.near", 1, "write 1.0, not 1"),
            ("sweep.near", math.nan, "must be a number"),
            ("sweep.planes", 3.0, "write 3, not 3.0"),
            ("sweep.exposre", 0.01, "did you mean sweep.exposure?"),
            ("sweep.focus_distances", [0.02, 1.0], "reaches beyond the lens"),
            ("lens.port", "/dev/ttyUSB9", "applied at configure"),
        ):
            result = listener.set("fossa_node", name, value)
            assert words in result.reason and result.successful == (not words), (name, value, result.reason)


def test_a_region_of_interest_changes_while_sweeps_go_on(rig, listener, tmp_path):
    listener.subscribe(SweepReport, "sweep", qos.REPORTS)
    for topic, kind in {"depth/image": Image, "depth/camera_info": CameraInfo, "points": PointCloud2}.items():
        listener.subscribe(kind, topic)
    heard = listener.heard

    def arrives(width, height):
        topics = ("depth/image", "depth/camera_info", "points")
        listener.wait_until(
            lambda: all(
                heard[one] and (heard[one][-1].width, heard[one][-1].height) == (width, height) for one in topics
            ),
            f"{width} x {height}",
        )

    with process("fossa_node", tmp_path / "node.log", lens__port=rig):
        listener.wait_for("depth/camera_info")
        whole = heard["depth/camera_info"][-1]
        for name, value in (("x", 60), ("y", 40), ("width", 100), ("height", 80)):
            assert listener.set("fossa_node", f"roi.{name}", value).successful
        arrives(100, 80)
        part = heard["depth/camera_info"][-1]
        assert (part.k[0], part.k[2], part.k[5]) == (whole.k[0], whole.k[2] - 60, whole.k[5] - 40)
        assert part.p[2] == part.k[2] and part.roi.width == 0
        before = len(heard["sweep"])
        assert listener.set("fossa_node", "roi.width", 5000).successful  # the images decide
        listener.wait_until(
            lambda: any("roi.width 5000" in one.reason for one in heard["sweep"][before:]), "the reason"
        )
        assert listener.set("fossa_node", "roi.width", 0).successful
        arrives(whole.width - 60, 80)
