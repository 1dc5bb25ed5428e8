"""A lens with secrets, driven over real serial bytes: the calibration finds them, in whatever form it is given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from fossa_ros.calibration.calibrate import calibrate
from fossa_ros.calibration.calibration_file import read_calibration, write_calibration
from fossa_ros.calibration.plot import plot_calibration
from fossa_ros.calibration.recording import DESCRIPTION, read_recording
from fossa_ros.commands.calibrate_demo import errors, record_demo
from fossa_ros.commands.cli import main
from fossa_ros.core.errors import InputError
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.target_rig import TargetRigConfig

CONFIG = replace(
    TargetRigConfig(),
    camera=SimulatedCamera(width=320, height=240, fx=300.0, breathing_length=0.004, breathing_shift=(0.2, -0.1)),
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A recording of the rig, read back from its folder."""
    folder = tmp_path_factory.mktemp("recording") / "rig"
    record_demo(folder, CONFIG, steps=25)
    return read_recording(folder)


@pytest.fixture(scope="module")
def result(recorded):
    return calibrate(recorded.series, recorded.device, reference_distance=0.5, K=CONFIG.camera.K)


def test_dioptres_scale_hysteresis_and_drift_are_recovered(result):
    for temperature in (24.0, 30.0, 36.0):
        focus, scale = errors(CONFIG, result, temperature)
        assert focus < 0.02
        assert scale < 5e-4
    calibration = result.calibration
    assert calibration.hysteresis == pytest.approx(CONFIG.lens.hysteresis, abs=0.01)
    assert calibration.temperature.coefficient == pytest.approx(CONFIG.lens.drift, abs=0.003)
    assert calibration.uncertainty < 0.03
    matrix = calibration.breathing.matrix(3.9, (240, 320))
    truth = CONFIG.camera.K_at(1 / 3.9, 0.5) @ np.linalg.inv(CONFIG.camera.K)
    assert matrix == pytest.approx(truth, abs=0.1)  # px, at the corner


def test_one_curve_for_both_ways_would_miss_by_half_the_hysteresis(result):
    """The rig is honest: what the calibration takes out is there."""
    rising = replace(result.calibration, falling=result.calibration.rising, temperature=None)
    assert errors(CONFIG, replace(result, calibration=rising), 25.0)[0] > 0.05
    assert errors(CONFIG, replace(result, calibration=replace(result.calibration, temperature=None)), 36.0)[0] > 0.3
    assert errors(CONFIG, replace(result, calibration=replace(result.calibration, breathing=None)), 25.0)[1] > 0.005


def test_file_and_plot(result, recorded, tmp_path):
    write_calibration(tmp_path / "lens.yaml", result.calibration, result.passes)
    again = replace(result, calibration=read_calibration(tmp_path / "lens.yaml"))
    assert errors(CONFIG, again, 30.0) == pytest.approx(errors(CONFIG, result, 30.0), abs=1e-6)
    intrinsics = yaml.safe_load((tmp_path / "lens.yaml").read_text())["intrinsics"]["at_focus"]
    for each in intrinsics:
        truth = CONFIG.camera.K_at(1 / each["dioptres"], 0.5)
        assert each["fx"] == pytest.approx(truth[0, 0], rel=5e-4) and each["cx"] == pytest.approx(truth[0, 2], abs=0.1)
    assert len({each["fx"] for each in intrinsics}) == len(intrinsics) > 3
    plot_calibration(tmp_path / "lens.png", result, recorded.device)
    with Image.open(tmp_path / "lens.png") as image:
        assert image.size > (900, 600) and len(image.convert("L").getcolors()) > 50


def test_without_distances_there_are_curves_but_no_metres(recorded, tmp_path):
    series = [replace(each, distance=None, name=f"target {n}") for n, each in enumerate(recorded.series[:1])]
    looked = calibrate(series, recorded.device)
    assert looked.calibration is None and len(looked.passes) == 2
    growth = np.ptp(np.exp(looked.breathing.log_scale))
    assert growth == pytest.approx(0.02, abs=0.002)
    plot_calibration(tmp_path / "look.png", looked, recorded.device)
    with pytest.raises(InputError, match="target 0 has no distance, but others have one"):
        calibrate([series[0], recorded.series[1]], recorded.device)


def test_recordings_that_cannot_be_used_are_refused_by_entry(recorded, tmp_path):
    with pytest.raises(InputError, match=r"calibration\.json does not exist"):
        read_recording(tmp_path)
    Image.new("L", (64, 48)).save(tmp_path / "a.png")
    Image.new("L", (48, 48)).save(tmp_path / "b.png")

    def refused(text, match):
        (tmp_path / DESCRIPTION).write_text(text)
        with pytest.raises(InputError, match=match):
            read_recording(tmp_path)

    refused("{", "not valid JSON")
    refused('{"series": []}', "series must be a list of length >= 1")
    refused('{"series": [{"frames": []}]}', r"series\[0\].frames must be a list of length >= 1")
    refused('{"series": [{"frames": [{"file": "a.png"}]}]}', r"series\[0\].frames\[0\].command is missing")
    refused('{"series": [{"frames": [{"file": "../x.png", "command": 1}]}]}', "outside its folder")
    refused('{"series": [{"distance_m": -1, "frames": [{"file": "a.png", "command": 1}]}]}', "positive number of met")
    frames = '{"file": "a.png", "command": 1}, {"file": "b.png", "command": 2}'
    refused(f'{{"series": [{{"frames": [{frames}]}}]}}', "mixes images of 48x48, 64x48")


def test_an_interrupted_demo_leaves_no_recording_and_an_existing_one_is_kept(tmp_path, monkeypatch):
    def interrupted(folder, **_):
        folder.mkdir()
        (folder / DESCRIPTION).write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr("fossa_ros.commands.calibrate_demo.record_demo", interrupted)
    arguments = ["calibrate", "demo", "--out", str(tmp_path / "cal.yaml")]
    for _ in range(2):
        assert CliRunner().invoke(main, arguments).exit_code == 130
        assert not list(tmp_path.iterdir())
    (tmp_path / "cal-recording").mkdir()
    (tmp_path / "cal-recording" / DESCRIPTION).write_text("{}")
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1 and "give another --out or --record, or remove it" in result.output
    assert (tmp_path / "cal-recording" / DESCRIPTION).exists()
