"""Parameters: described, judged without side effects, and the same in code, YAML and documentation."""

from __future__ import annotations

import array
import math
from pathlib import Path

import pytest
import torch
import yaml
from rclpy.parameter import Parameter as RosParameter

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.estimator import create_estimator, gpu_available
from fossa_ros.motion import MotionConfig
from fossa_ros.parameters import settings
from fossa_ros.ros import parameters
from fossa_ros.ros.parameter_tables import TABLES, document
from fossa_ros.sweep import SweepTiming

ROOT = Path(__file__).parent.parent
DEFAULTS = {parameter.name: parameter.default for parameter in settings.FOSSA_NODE}


@pytest.mark.parametrize("node", TABLES)
def test_every_parameter_is_described_and_its_default_is_allowed(node):
    names = [parameter.name for parameter in TABLES[node]]
    assert len(names) == len(set(names))
    for parameter in TABLES[node]:
        assert len(parameter.description) > 10 and not parameter.description.endswith(".")
        assert parameter.complaint(parameter.default) == ""
        if isinstance(parameter.default, int | float):
            assert parameter.minimum is None or parameter.default >= parameter.minimum
            assert parameter.maximum is None or parameter.default <= parameter.maximum


def test_the_defaults_are_the_librarys():
    assert settings.sweep_timing(DEFAULTS) == SweepTiming()
    assert settings.motion_config(DEFAULTS) == MotionConfig()
    assert settings.camera_optics(DEFAULTS) == {"focal_length": None, "f_number": None}
    assert settings.estimator(DEFAULTS).name == ("fossa-nano" if gpu_available() else "classical")


def test_auto_is_the_network_where_there_is_a_gpu_that_it_may_use(monkeypatch):
    assert gpu_available() == torch.cuda.is_available()
    monkeypatch.setattr("fossa_ros.estimators.estimator.gpu_available", lambda: True)
    assert create_estimator("auto", device="auto").name == "fossa-nano"
    assert create_estimator("auto", device="cpu", model="nano").name == "classical"


def test_focus_distances_given_one_by_one_replace_near_and_far():
    plan = settings.sweep_plan({**DEFAULTS, "sweep.focus_distances": array.array("d", [2.0, 0.5, math.inf])})
    assert plan.focus_distances == (0.5, 2.0, math.inf)
    assert len(settings.sweep_plan(DEFAULTS).focus_distances) == DEFAULTS["sweep.planes"]


def test_an_empty_port_is_refused_by_name():
    with pytest.raises(InputError, match=r"lens\.port"):
        settings.lens_opener({**DEFAULTS, "lens.port": ""}, lambda: 0)()


@pytest.mark.parametrize(
    ("name", "value", "configured", "words"),
    [
        ("estimator", "magic", False, "one of auto, classical, fossa"),
        ("sweep.settling", math.nan, False, "NaN"),
        ("sweep.settling", 0.02, True, "applied at configure"),
        ("sweep.settling", 0.02, False, ""),
        ("use_sim_time", True, True, ""),
    ],
)
def test_changes_are_judged_with_a_reason_that_names_the_parameter(name, value, configured, words):
    result = parameters.judge([RosParameter(name, value=value)], settings.FOSSA_NODE, configured)
    assert result.successful == (words == "")
    assert words in result.reason and (not words or name in result.reason)


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda file: file.name)
def test_parameter_files_set_only_known_parameters_to_values_of_their_type(file):
    for node, sections in yaml.safe_load(file.read_text()).items():
        table = {parameter.name: parameter for parameter in TABLES[node.split("/")[-1]]}
        for name, value in sections["ros__parameters"].items():
            assert type(value) is type(table[name].default), name
            assert table[name].complaint(value) == ""


def test_the_documented_tables_are_the_codes():
    documented = (ROOT / "docs" / "parameters.md").read_text()
    assert documented == document(), "run python -m fossa_ros.ros.parameter_tables > docs/parameters.md"
