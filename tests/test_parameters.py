"""Parameters: described, judged without side effects, and the same in code, YAML and documentation."""

from __future__ import annotations

import array
import math
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pytest
import torch
import yaml
from rclpy.parameter import Parameter as RosParameter

from fossa_ros.calibration.configured_lens import configured_lens
from fossa_ros.core.errors import InputError
from fossa_ros.core.parameter import check_ranges, parameter, seconds, within
from fossa_ros.estimators.factory import gpu_available
from fossa_ros.estimators.fossa.devices import resolve_precision
from fossa_ros.estimators.fossa.factory import MODELS
from fossa_ros.lens.config import LensConfig
from fossa_ros.motion import MotionConfig
from fossa_ros.parameters.capture_config import CameraConfig
from fossa_ros.parameters.config import build, parameters_of
from fossa_ros.parameters.depth_config import EstimatorConfig
from fossa_ros.parameters.node_config import FossaNodeConfig
from fossa_ros.parameters.parameter_file import read_config
from fossa_ros.ros import parameters
from fossa_ros.ros.parameter_tables import TABLES, document, table
from fossa_ros.sweep import SweepTiming

ROOT = Path(__file__).parent.parent
DEFAULTS = {parameter.name: parameter.default for parameter in parameters_of(FossaNodeConfig)}


@pytest.mark.parametrize("node", TABLES)
def test_every_parameter_is_described_and_its_default_is_allowed(node):
    names = [parameter.name for parameter in TABLES[node]]
    assert len(names) == len(set(names))
    for each in TABLES[node]:
        assert len(each.description) > 10 and not each.description.endswith(".")
        assert each.problem(each.default) == ""
        if isinstance(each.default, int | float):
            assert each.minimum is None or each.default >= each.minimum
            assert each.maximum is None or each.default <= each.maximum


def test_the_defaults_are_the_librarys():
    config = build(FossaNodeConfig, DEFAULTS)
    assert config == FossaNodeConfig() and config.camera == CameraConfig(focal_length=None, f_number=None)
    assert config.sweep.timing == SweepTiming() and config.motion == MotionConfig()
    assert config.estimator.create().name == ("lens_aware" if gpu_available() else "classical")


def test_auto_is_the_network_where_there_is_a_gpu_that_it_may_use(monkeypatch, tmp_path, caplog):
    assert gpu_available() == torch.cuda.is_available()
    monkeypatch.setattr("fossa_ros.estimators.factory.gpu_available", lambda: True)
    assert EstimatorConfig().create().name == "lens_aware"
    assert EstimatorConfig(device="cpu").create().name == "classical"
    with caplog.at_level("INFO"), suppress(InputError):
        EstimatorConfig(checkpoint=str(tmp_path / "missing")).create()  # of FOSSA
    assert "estimator auto: fossa" in caplog.messages


def test_focus_distances_given_one_by_one_replace_near_and_far():
    config = build(FossaNodeConfig, {"sweep.focus_distances": array.array("d", [2.0, 0.5, math.inf])})
    assert config.sweep.plan.focus_distances == (0.5, 2.0, math.inf)
    assert len(FossaNodeConfig().sweep.plan.focus_distances) == DEFAULTS["sweep.planes"]


def test_an_empty_port_is_refused_by_name():
    with pytest.raises(InputError, match=r"lens\.port"):
        configured_lens(LensConfig(port=""), lambda: 0)


@pytest.mark.parametrize(
    ("name", "value", "configured", "words"),
    [
        ("estimator", "magic", False, "one of auto, classical, lens_aware, fossa"),
        ("sweep.settling", math.nan, False, "NaN"),
        ("sweep.settling", 0.02, True, "applied at configure"),
        ("sweep.settling", 0.02, False, ""),
        ("use_sim_time", True, True, ""),
    ],
)
def test_changes_are_judged_with_a_reason_that_names_the_parameter(name, value, configured, words):
    result = parameters.check([RosParameter(name, value=value)], parameters_of(FossaNodeConfig), configured)
    assert result.successful == (words == "")
    assert words in result.reason and (not words or name in result.reason)


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda file: file.name)
def test_parameter_files_set_only_known_parameters_to_values_of_their_type(file):
    for node, sections in yaml.safe_load(file.read_text()).items():
        table = {parameter.name: parameter for parameter in TABLES[node.split("/")[-1]]}
        for name, value in sections["ros__parameters"].items():
            assert type(value) is type(table[name].default), name
            assert table[name].problem(value) == ""


def test_the_choices_of_the_network_are_those_that_can_be_made():
    choices = {each.name: each.choices for each in parameters_of(FossaNodeConfig)}
    assert set(choices["model"]) == set(MODELS) and EstimatorConfig.model in MODELS
    assert all(resolve_precision(precision) for precision in choices["precision"])


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


@dataclass(frozen=True)
class Lamp:
    warm_up_ns: int = seconds(1_500_000_000, "How long the lamp takes to be bright", minimum=0.0, maximum=9.0)
    colour: Colour = parameter(Colour.RED, "Colour of the lamp")
    wavelength: float | None = parameter(None, "Wavelength, 0 if unknown", unit="nm", minimum=0.0, live=True)

    def __post_init__(self):
        check_ranges(self)


@dataclass(frozen=True)
class LampConfig:
    lamp: Lamp = field(default_factory=Lamp, metadata=within("lamp."))


def test_a_parameter_is_added_by_one_field(tmp_path):
    warm_up, colour, wavelength = parameters_of(LampConfig)
    assert (warm_up.name, warm_up.default, warm_up.unit) == ("lamp.warm_up", 1.5, "s")
    assert (colour.default, colour.choices) == ("red", ("red", "green"))
    assert (wavelength.default, wavelength.live) == (0.0, True)
    (limits,) = parameters.descriptor(warm_up).floating_point_range
    assert (limits.from_value, limits.to_value) == (0.0, 9.0)
    assert "| `lamp.warm_up` | 1.5 | s | 0 .. 9 | configure | How long the lamp" in table((warm_up,))
    file = tmp_path / "lamp.yaml"
    file.write_text("/**/lamp_node:\n  ros__parameters: {lamp: {warm_up: 2.0, colour: green}}\n")
    config = read_config(LampConfig, "lamp_node", file, ["lamp.wavelength=550"])
    assert config == LampConfig(Lamp(2_000_000_000, Colour.GREEN, 550.0))
    assert build(LampConfig, {"lamp.wavelength": 0.0}) == LampConfig()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Lamp(warm_up_ns=-1_000_000_000), "warm_up must be within 0 .. 9 s, not -1"),
        (lambda: build(LampConfig, {"lamp.warm_up": 10.0}), "lamp.warm_up must be within 0 .. 9 s, not 10"),
        (lambda: build(LampConfig, {"lamp.wavelength": math.nan}), "lamp.wavelength must be a number, not NaN"),
        (lambda: build(LampConfig, {"lamp.colour": "blue"}), "lamp.colour must be one of red, green, not 'blue'"),
        (
            lambda: build(FossaNodeConfig, {"sweep.bookend": True, "sweep.mode": "ramp"}),
            "sweep.bookend needs sweep.mode step and sweep.output sweep",
        ),
    ],
)
def test_what_is_not_allowed_is_refused_by_its_name(make, words):
    with pytest.raises(InputError, match=re.escape(words)):
        make()


def test_the_documented_tables_are_the_codes():
    documented = (ROOT / "docs" / "parameters.md").read_text()
    assert documented == document(), "run python -m fossa_ros.ros.parameter_tables > docs/parameters.md"


def test_configurations_need_neither_ros_nor_torch_nor_splines():
    code = "import sys, fossa_ros.parameters.node_config, fossa_ros.parameters.parameter_file; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"rclpy", "torch", "scipy.interpolate"} & set(loaded)
