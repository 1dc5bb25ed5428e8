"""Presets in config/: each loads into the real node, and means a sweep, a lens and a camera that can be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import rclpy
import yaml
from click.testing import CliRunner

from fossa_ros.commands.cli import main
from fossa_ros.core.errors import FossaError
from fossa_ros.lens import lens_backends
from fossa_ros.parameters.node_config import FossaNodeConfig
from fossa_ros.ros import parameters
from fossa_ros.ros.fossa_node import FossaNode
from fossa_ros.sweep import SweepPlan
from fossa_ros.sweep.working_range import WorkingRange

CONFIG = Path(__file__).parents[1] / "config"
PRESETS = [file for file in sorted(CONFIG.glob("*.yaml")) if "/**/fossa_node:" in file.read_text()]
WITHOUT = {  # what each says on a machine that lacks its hardware
    "fossa.yaml": "Port '/dev/ttyACM0'",
    "optotune_machine_vision.yaml": "No serial port is at 'usb:03eb:2018'",
    "raspberry_pi_camera_module_3.yaml": "There is no camera node '/camera'",
    "rig.yaml": "Port '/dev/ttyACM0'",
    "usb_webcam.yaml": "'/dev/video0'",
}


@pytest.fixture
def node(request):
    context = rclpy.Context()
    rclpy.init(args=["--ros-args", "--params-file", str(request.param)], context=context)
    made = FossaNode(context=context)
    yield made
    made.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.parametrize("node", PRESETS, indirect=True, ids=lambda file: file.name)
def test_a_preset_is_what_the_node_runs_with(node, request):
    file = next(file for file in PRESETS if file.name in request.node.name)
    said = yaml.safe_load(file.read_text())["/**/fossa_node"]["ros__parameters"]
    assert said.items() <= {name: node.get_parameter(name).value for name in said}.items()
    config = parameters.read(node, FossaNodeConfig)
    assert config.lens.backend in lens_backends()
    plan, timing = config.sweep.plan, config.sweep.timing
    assert len(plan.focus_distances) == config.sweep.planes and timing.window_ns < 0.2e9
    optics = config.camera
    pixel = optics.focal_length / 600
    assert WorkingRange(optics.focal_length, optics.f_number, pixel, plan).reach(0.2) > plan.focus_distances[0]
    # Nothing is wrong with it but that the hardware is not here: that, and nothing else, the node says.
    with pytest.raises(FossaError, match=WITHOUT[file.name]):
        node.prepare(config)
    node.cleanup()


def test_every_preset_says_what_to_expect_and_that_command_runs():
    ranges = 0
    for file in PRESETS:
        text = re.sub(r"\n# ", " ", file.read_text())
        for command in re.findall(r"`fossa (range [^`]+)`", text):
            result = CliRunner().invoke(main, command.split())
            assert result.exit_code == 0, result.output
            assert "Depth is accurate to 5%" in result.output
            options = dict(zip(*[iter(command.split()[1:])] * 2, strict=True))
            assert f"camera.f_number: {options['--f-number']}" in text
            assert float(options["--focal-length"]) / 1e3 == pytest.approx(
                float(re.search(r"camera.focal_length: (\S+)", text)[1])
            )
            near, far = (float(re.search(rf"sweep.{end}: (\S+)", text)[1]) for end in ("near", "far"))
            SweepPlan.evenly(near, far, 2)
            assert (float(options["--near"]), float(options["--far"])) == (near, far)
            ranges += 1
    assert ranges == 3
