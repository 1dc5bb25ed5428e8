"""``fossa live``: the whole chain without ROS, before a rendered scene in real time."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from fossa_ros.calibration.calibrated_lens import CalibratedLens
from fossa_ros.calibration.focus_curve import FocusCurve
from fossa_ros.calibration.lens_calibration import CalibratedDevice, LensCalibration
from fossa_ros.commands.cli import main
from fossa_ros.commands.live import line
from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.live import WEBCAM, LiveRig, pinhole
from fossa_ros.evaluation.live_view import TEXT, view_picture
from fossa_ros.evaluation.metrics import depth_metrics
from fossa_ros.lens import open_lens
from fossa_ros.parameters.node_config import FossaNodeConfig
from fossa_ros.parameters.parameter_file import read_config
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.simulation.ld4_device import SimulatedLd4
from fossa_ros.simulation.lens_dynamics import LensDynamics, LensModel
from fossa_ros.simulation.pseudo_terminal import PseudoTerminal
from fossa_ros.simulation.v4l2_driver import SimulatedV4l2Focus
from live_camera import CAMERA, RenderedCapture, RenderedScene, Stream

pytestmark = pytest.mark.real_time

WEBCAM_LENS = LensModel(min_power=0.0, max_power=10.0, time_constant=0.02, slew_limit=60.0, ringing=0.0)
# Small images of a deep scene: most of their depth is doubtful.
SETTINGS = ["sweep.near=0.35", "sweep.far=6.0", "sweep.planes=4", "depth.min_confidence=0", "estimator=classical"]
SETTINGS += ["sweep.exposure=0.01", "sweep.readout=0.0", "camera.focal_length=0.012", "camera.f_number=1.4"]
COMMAND = [sys.executable, "-u", "-m", "fossa_ros.commands.cli", "live"]


@pytest.fixture(scope="module")
def scene():
    return RenderedScene()


class Webcam:
    """A webcam whose focus can be set: the V4L2 driver's stand-in, and the images at its focus."""

    def __init__(self, scene, path):
        path.touch()
        self.path = str(path)
        self.dynamics = LensDynamics(WEBCAM_LENS)
        self.focus = SimulatedV4l2Focus(self.dynamics, self.path, steps=(0, 250, 1))
        self.images = RenderedCapture(scene, self.dynamics.power_at)

    def open_lens(self):
        steps = np.linspace(0, 250, 60)
        curve = FocusCurve(steps, steps / 25)
        device = CalibratedDevice("v4l2", "", "focus_absolute", "steps", 0, 250)
        lens = open_lens("v4l2", self.path, ioctl=self.focus.ioctl, settling=0.2)
        return CalibratedLens(lens, LensCalibration(device, curve, curve, 0.01))

    def rig(self, *settings):
        config = read_config(FossaNodeConfig, "fossa_node", None, [*SETTINGS, *settings], defaults=WEBCAM)
        return LiveRig(config, self.images, "0", lambda size: pinhole(size, CAMERA.fx, None), open_lens=self.open_lens)


@pytest.fixture
def webcam(scene, tmp_path):
    return Webcam(scene, tmp_path / "video0")


def events_until(rig, done, seconds=30.0):
    """Return the results and the sentences of a rig until ``done`` of both is true."""
    results, said, ended = [], [], threading.Event()
    deadline = time.monotonic() + seconds
    for event in rig.events(ended):
        if event is not None:
            (said if isinstance(event, str) else results).append(event)
        if done(results, said):
            return results, said
        assert time.monotonic() < deadline, ([line(one, np.nan) for one in results], said)


def with_depth(results):
    return [one for one in results if one.depth is not None]


def test_a_webcam_becomes_a_depth_camera(webcam, scene):
    with webcam.rig() as rig:
        results, said = events_until(rig, lambda results, said: len(with_depth(results)) >= 3)
    assert said[0] == f"Simulated Camera (uvcvideo, usb-0000:00:14.0-1) at {webcam.path}."
    assert re.match(r"Expect up to \d\.\d depth maps a second", said[1]), said
    for result in with_depth(results):
        metrics = depth_metrics(result.depth.depth, scene.truth())
        assert metrics["abs_rel"] < 0.12 and metrics["coverage"] > 0.95, line(result, 1.0)
    assert webcam.images.released.is_set()
    assert webcam.focus.automatic is True and webcam.dynamics.set_point == 0.0  # parked, and automatic focus is back


@pytest.mark.parametrize(
    ("fx", "given", "words"),
    [
        (5.0, None, r"--fx has the focal length 5 px for images 320 px wide, where 80 to 16000 px make sense"),
        (None, (300.0, 300.0, 3.0, 120.0), r"--intrinsics has its principal point at \(3, 120\)"),
    ],
)
def test_intrinsics_that_no_camera_has_end_the_run_in_a_sentence(webcam, fx, given, words):
    config = read_config(FossaNodeConfig, "fossa_node", None, SETTINGS, defaults=WEBCAM)
    rig = LiveRig(config, webcam.images, "0", lambda size: pinhole(size, fx, given), open_lens=webcam.open_lens)
    with pytest.raises(InputError, match=words), rig:
        events_until(rig, lambda results, said: results)
    assert webcam.images.released.is_set()


def test_pixels_of_16_bits_end_the_run_in_a_sentence(webcam):
    read = webcam.images.read
    webcam.images.read = lambda: (True, read()[1].astype(np.uint16))
    with (
        pytest.raises(InputError, match=r"The camera delivers uint16 in \(3,\) channels; set it to 8 bits"),
        webcam.rig() as rig,
    ):
        events_until(rig, lambda results, said: results)


def test_a_lens_that_is_lost_is_a_sentence_and_comes_back(webcam):
    with webcam.rig() as rig:
        events_until(rig, lambda results, said: results)
        webcam.focus.gone = True
        _, said = events_until(rig, lambda results, said: any("lost" in one for one in said))
        lost = [one for one in said if "lost" in one]
        assert len(lost) == 1 and re.fullmatch(
            r"The lens is lost: The camera at '.*' failed \(.*\); check its cable and open the lens again\. "
            r"Trying again until it returns\.",
            lost[0],
        )
        webcam.focus.gone = False
        _, said = events_until(rig, lambda results, said: "The lens is back." in said and with_depth(results))


@pytest.mark.parametrize(
    "fault,sentence",
    [
        ({"plugged": False}, "Camera '0' delivers no more images; check it."),
        ({"hangs": True}, "Camera '0' has delivered no image for 5 s; check its cable, and that no other program uses"),
    ],
)
def test_a_camera_that_is_lost_ends_the_run_and_the_lens_is_parked(webcam, fault, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)), webcam.rig() as rig:
        events_until(rig, lambda results, said: results)
        vars(webcam.images).update(fault)
        events_until(rig, lambda results, said: False)
    assert webcam.focus.automatic is True and webcam.dynamics.set_point == 0.0


def test_a_lens_that_does_not_move_is_no_depth(webcam):
    webcam.images._power_at = lambda t_ns: 1.0
    with webcam.rig() as rig:
        results, _ = events_until(rig, lambda results, said: len(results) >= 2)
    assert with_depth(results) == []
    assert line(results[0], np.nan).startswith("sweep 0: inconsistent: The lens does not move:"), results[0].reason


@pytest.fixture
def bench(scene):
    """A stream of what a lens behind a serial port looks at, and the lens's terminal."""
    dynamics = LensDynamics()
    capture = RenderedCapture(scene, lambda t_ns: dynamics.power_at(t_ns) + 2.0)
    with Stream(capture) as stream, PseudoTerminal(SimulatedLd4(dynamics)) as terminal:
        yield stream, terminal, dynamics, capture


def arguments(stream, terminal, *more):
    settings = [part for pair in (*SETTINGS, "lens.power_offset=2") for part in ("--set", pair)]
    lens = ["--backend", "optotune_ld4", "--port", terminal.port]
    return [*COMMAND, "--camera", stream.url, "--fx", "300", *lens, *settings, *more]


@pytest.mark.timeout(180)
def test_the_command_prints_a_line_for_each_sweep_and_writes_what_a_replay_writes(bench, tmp_path):
    stream, terminal, dynamics, _ = bench
    out = tmp_path / "out"
    done = subprocess.run(
        arguments(stream, terminal, "--sweeps", "8", "--pictures", "1", "--view", "--out", str(out)),
        capture_output=True,
        text=True,
        timeout=150,
        env={"PATH": "/usr/bin:/bin"},  # no display
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stderr.strip() == (
        "Warning: --view needs a display, and there is none here; use --out, or run it on a desktop."
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Optotune Lens Driver 4") and any(one.startswith("Expect ") for one in lines[:3])
    sweeps = [one for one in lines if one.startswith("sweep ")]
    assert len(sweeps) == 8
    pattern = r"sweep \d+: still, depth \S+ to \S+ m, median (\S+) m, \d+% known, motion 0\.\d px, [\d.]+ Hz"
    medians = [float(found[1]) for one in sweeps if (found := re.fullmatch(pattern, one))]
    assert len(medians) >= 2 and medians == pytest.approx([2.1] * len(medians), abs=0.4), sweeps
    replay = json.loads((out / "replay.json").read_text())
    assert [one["verdict"] for one in replay["sweeps"]] == [one.split(": ")[1].split(",")[0] for one in sweeps]
    accepted = sum(one["accepted"] for one in replay["sweeps"])
    assert len(list((out / "pictures").glob("*-depth.png"))) == accepted
    assert lines[-1] == f"The report is {out / 'report.html'}." and (out / "report.html").stat().st_size > 10_000
    assert dynamics.set_point == pytest.approx(0.0, abs=0.01)  # parked: without current


@pytest.mark.timeout(180)
def test_ctrl_c_ends_in_order_and_a_lost_camera_is_one_sentence(bench, tmp_path):
    stream, terminal, dynamics, capture = bench
    out = tmp_path / "out"

    def run(end):
        process = subprocess.Popen(
            arguments(stream, terminal, "--out", str(out)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        watchdog = threading.Timer(80, process.kill)
        watchdog.start()
        for text in process.stdout:
            if text.startswith("sweep "):
                break
        end(process)
        _, said = process.communicate()
        watchdog.cancel()
        return process.returncode, said

    assert run(lambda process: process.send_signal(signal.SIGINT)) == (0, "")
    assert (out / "report.html").exists() and dynamics.set_point == pytest.approx(0.0, abs=0.01)
    status, said = run(lambda process: vars(capture).update(plugged=False))
    assert status == 1 and said.splitlines()[-1] == f"fossa: Camera {stream.url!r} delivers no more images; check it."
    assert json.loads((out / "replay.json").read_text())["sweeps"]


def test_what_the_window_shows(webcam):
    with webcam.rig() as rig:
        results, _ = events_until(rig, lambda results, said: with_depth(results))
    result = with_depth(results)[0]
    picture = view_picture(result, 800)
    assert picture.shape == (150 + 300 + TEXT, 800, 3)
    planes = [cv2.resize(plane.image, (200, 150), interpolation=cv2.INTER_AREA) for plane in result.sweep.stack.planes]
    np.testing.assert_array_equal(picture[:150], np.hstack(planes))
    np.testing.assert_array_equal(
        picture[150:450, :400], cv2.resize(result.depth.all_in_focus, (400, 300), interpolation=cv2.INTER_AREA)
    )
    assert picture[150:450, 400:].std() > 20 and picture[-TEXT:].max() == 255
    refused = view_picture(SweepResult(result.sweep, "rejected", "The camera moved by 9 px."), 800)
    assert refused.shape == picture.shape and refused[150:450].std() == 0


@pytest.mark.parametrize(
    "given,words",
    [
        ([], "give --fx, the focal length in pixels, or --intrinsics"),
        (["--fx", "600", "--intrinsics", "600,600,320,240"], "give --fx, the focal length in pixels, or --intrinsics"),
        (["--fx", "600", "--set", "sweep.mode=external"], "set sweep.mode to step"),
        (["--fx", "600", "--camera", "nothing.avi"], "Camera 'nothing.avi' cannot be opened"),
        (["--fx", "600", "--set", "sweep.plane=4"], "sweep.planes"),
        (["--fx", "600"], "video.avi is a recording, whose images do not follow the lens; give a camera, or replay a"),
    ],
)
def test_what_cannot_run_is_a_sentence(given, words, tmp_path):
    video = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 30, (64, 48))
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    done = CliRunner().invoke(main, ["live", "--camera", str(video), "--port", str(tmp_path / "none"), *given])
    assert done.exit_code in (1, 2) and words in " ".join(done.output.split()), done.output
