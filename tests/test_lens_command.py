"""``fossa lens`` as people run it: a process of its own, the lens behind a pseudo-terminal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from fossa_ros.calibration.calibration_file import write_calibration
from fossa_ros.calibration.focus_curve import FocusCurve
from fossa_ros.calibration.lens_calibration import CalibratedDevice, LensCalibration
from fossa_ros.core.errors import InputError
from fossa_ros.lens.options import parse_options
from fossa_ros.simulation.ld4_device import SimulatedLd4
from fossa_ros.simulation.lens_dynamics import LensDynamics, LensModel
from fossa_ros.simulation.pseudo_terminal import PseudoTerminal
from fossa_ros.simulation.usbm_device import SimulatedUsbM

pytestmark = pytest.mark.real_time

ENVIRONMENT = {**os.environ, "COLUMNS": "120", "PYTHONUNBUFFERED": "1"}


def fossa_lens(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "fossa_ros.commands.cli", "lens", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=ENVIRONMENT)


@pytest.fixture
def device():
    return SimulatedLd4(LensDynamics(), fault_bits=1 << 4)


@pytest.fixture
def port(device):
    with PseudoTerminal(device) as terminal:
        yield terminal.port


@pytest.fixture
def usbm_port():
    model = LensModel(min_power=-5.0, max_power=13.0, neutral_power=-5.0)
    with PseudoTerminal(SimulatedUsbM(LensDynamics(model))) as terminal:
        yield terminal.port


def test_list_names_every_backend_and_its_usual_usb_id():
    result = fossa_lens("list")
    assert result.returncode == 0, result.stderr
    for name in ("camera_ros", "optotune_icc", "optotune_ld4", "v4l2", "varioptic_usbm"):
        assert name in result.stdout
    assert re.search(r"optotune_ld4 +│ usb:03eb:2018", result.stdout)


def test_info_in_dioptres_metres_and_words(port):
    result = fossa_lens("info", "--port", port, "--power-offset", "2")
    assert result.returncode == 0, result.stderr
    for words in (
        "Optotune Lens Driver 4, firmware F 1.8.4711.2, 293 mA",
        "focal power, -2 to 3 D in steps of 0.005",
        "0.00 to 5.00 D",
        "0.2 to inf m",
        "18 ms",
        "25.0 °C",
        "focal power is inverted",
    ):
        assert words in result.stdout, result.stdout


def test_info_of_a_lens_without_metres(usbm_port):
    result = fossa_lens("info", "--backend", "varioptic_usbm", "--port", usbm_port)
    assert result.returncode == 0, result.stderr
    assert "voltage, 24 to 70 V" in result.stdout and "not calibrated" in result.stdout
    assert "no thermometer" in result.stdout and "no faults" in result.stdout


@pytest.mark.parametrize(("text", "power"), [("0.25", 2.0), ("4D", 2.0), ("inf", -2.0), ("0D", -2.0)])
def test_set_holds_and_parks(device, port, text, power):
    commanded = []
    command, dynamics = device.dynamics.command, device.dynamics
    dynamics.command = lambda power, now: (commanded.append(power), command(power, now))
    result = fossa_lens("set", text, "--hold", "0.05", "--port", port, "--power-offset", "2")
    assert result.returncode == 0, result.stderr
    assert power in commanded and device.dynamics.set_point == 0.0
    assert re.search(r"acknowledged after \d+\.\d\d ms, settles in 18 ms\.", result.stdout)


def test_set_until_interrupted(device, port):
    command = [sys.executable, "-m", "fossa_ros.commands.cli", "lens", "set", "--command", "1.5", "--port", port]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        for line in process.stdout:
            if "Holding" in line:
                break
        assert device.dynamics.set_point == 1.5
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert "Parked." in process.stdout.read()
    assert process.returncode == 0 and device.dynamics.set_point == 0.0


def test_sweep_there_and_back(port):
    result = fossa_lens("sweep", "--port", port, "--power-offset", "2", "--near", "0.25", "--planes", "3")
    assert result.returncode == 0, result.stderr
    commanded = [float(number) for number in re.findall(r"│ [0-9.inf]+ +│ (\d\.\d{3}) +│", result.stdout)]
    assert commanded == [4.0, 2.0, 0.0, 0.0, 2.0, 4.0]
    assert "focus (m)" in result.stdout and "acknowledged after (ms)" in result.stdout
    assert "6 moves acknowledged and verified" in result.stdout


def test_a_calibration_makes_metres_of_a_current(device, port, tmp_path):
    curve = FocusCurve([-200.0, 0.0, 200.0], [1.0, 2.5, 4.0])
    lens = CalibratedDevice("optotune_ld4", "", "current", "mA", -292.84, 292.84)
    write_calibration(tmp_path / "lens.yaml", LensCalibration(lens, curve, curve, 0.01, created="one day"))
    calibrated = ("--port", port, "--option", "control=current", "--calibration", str(tmp_path / "lens.yaml"))
    result = fossa_lens("info", *calibrated)
    assert result.returncode == 0, result.stderr
    assert "0.70 to 4.30 D" in result.stdout and "+- 0.010 D, hysteresis 0.000 D, one day" in result.stdout
    commanded = []
    command = device.dynamics.command
    device.dynamics.command = lambda power, now: (commanded.append(power), command(power, now))
    result = fossa_lens("set", "0.4", "--hold", "0", *calibrated)
    assert result.returncode == 0, result.stderr
    assert "0.4 m (2.500 D), current 0 mA" in result.stdout
    result = fossa_lens("set", "4D", "--hold", "0", *calibrated)
    assert max(commanded) == pytest.approx(3 * 200 / 292.84, abs=0.001), result.stderr
    result = fossa_lens("set", "5D", *calibrated)
    assert result.returncode == 1 and "outside the calibrated range, 0.2326 to 1.429 m" in result.stderr
    result = fossa_lens("info", *calibrated[:2], *calibrated[4:])
    assert result.returncode == 1 and "but this is optotune_ld4 commanded by a focal power in D" in result.stderr


def test_sweep_in_the_lenses_own_unit(usbm_port):
    arguments = ("--backend", "varioptic_usbm", "--port", usbm_port)
    result = fossa_lens("sweep", *arguments)
    assert result.returncode == 1 and "run 'fossa calibrate'" in result.stderr
    result = fossa_lens("sweep", *arguments, "--command", "--planes", "2", "--sweeps", "1")
    assert result.returncode == 0, result.stderr
    assert "voltage (V)" in result.stdout and "2 moves" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("info",), 2, "--port"),
        (("info", "--port", "/dev/no_such_port"), 1, "fossa: Port '/dev/no_such_port' does not exist"),
        (("info", "--port", "usb:1209:0001"), 1, "fossa: No serial port is at 'usb:1209:0001'"),
        (("info", "--port", "x", "--backend", "magic"), 1, "no lens backend 'magic'; choose one of: camera_ros, opt"),
        (("info", "--port", "x", "--option", "timeout"), 1, "write NAME=VALUE"),
        (("set", "--port", "PORT"), 1, "either a distance or --command"),
        (("set", "soon", "--port", "PORT"), 2, "not a focus distance; write metres"),
        (("set", "0.05", "--port", "PORT"), 1, "outside the lens's range"),
        (("set", "0.4", "--port", "PORT", "--option", "control=current"), 1, "run 'fossa calibrate'"),
    ],
)
def test_failures_are_one_sentence(port, arguments, status, says):
    result = fossa_lens(*(port if argument == "PORT" else argument for argument in arguments))
    assert result.returncode == status
    assert says in result.stderr and "Traceback" not in result.stderr


def test_options_as_people_write_them():
    options = parse_options(["control=current", "timeout=1.0", "temperature_limits=[10,40]", "name=a=b"])
    assert options == {"control": "current", "timeout": 1.0, "temperature_limits": [10, 40], "name": "a=b"}
    for wrong in (["timeout"], ["=1"], ["timeout="], ["a b=1"]):
        with pytest.raises(InputError, match="write NAME=VALUE"):
            parse_options(wrong)
    with pytest.raises(InputError, match="given twice"):
        parse_options(["timeout=1", "timeout=2"])


def test_an_absent_port_names_the_option_of_the_command_line():
    result = fossa_lens("info", "--port", "/dev/ttyNONE")
    assert result.returncode == 1 and "set --port to one that does" in result.stderr
