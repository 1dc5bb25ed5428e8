"""Calibration with a printed board, on a small rendered rig whose truth is known, and what can be wrong with it."""

from __future__ import annotations

import re
import resource
from dataclasses import replace

import cv2
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from board_sweeps import BOARD, CAMERA, COMMANDS, DEVICE, LENS, PLACES, STEP
from fossa_ros.calibration.board.adjustment import adjust
from fossa_ros.calibration.board.blur import _disc
from fossa_ros.calibration.board.board import BOARDS
from fossa_ros.calibration.board.board_calibration import BoardCalibration
from fossa_ros.calibration.board.calibrate_board import calibrate_board
from fossa_ros.calibration.board.calibration_check import check_calibration, verdict
from fossa_ros.calibration.board.checks import refuse_bent
from fossa_ros.calibration.board.detection import BoardFinder
from fossa_ros.calibration.board.guidance import still_missing
from fossa_ros.calibration.board.observation import observe
from fossa_ros.calibration.board.projection import Camera, Corners, bent_corners, project
from fossa_ros.calibration.calibration_file import read_calibration, write_calibration
from fossa_ros.calibration.focus_curve import FocusCurve
from fossa_ros.calibration.recording import RecordingWriter
from fossa_ros.calibration.series import CalibrationFrame, CalibrationSeries, Direction
from fossa_ros.commands.calibrate_board import write_results
from fossa_ros.commands.cli import main
from fossa_ros.core.errors import InputError
from fossa_ros.simulation.board_rig import BoardRig, facing


@pytest.fixture(scope="module")
def rig() -> BoardRig:
    return BoardRig(LENS, BOARD, seed=3)


@pytest.fixture(scope="module")
def series(rig) -> list[CalibrationSeries]:
    return [rig.sweep(facing(rig, *place), COMMANDS) for place in PLACES]


@pytest.fixture(scope="module")
def recording(series, tmp_path_factory):
    folder = tmp_path_factory.mktemp("board") / "sweeps"
    writer = RecordingWriter(folder, DEVICE)
    for number, each in enumerate(series):
        entries = []
        for index, frame in enumerate(each.frames):
            file = f"{number}_{index:03}.png"
            writer.image(file, frame.load())
            entries.append((file, frame.command, None))
        writer.series(None, entries)
    return folder


@pytest.fixture(scope="module")
def done(recording, tmp_path_factory):
    """Run the command once; return its outcome and the file that it wrote."""
    out = tmp_path_factory.mktemp("out") / "lens.yaml"
    arguments = ["calibrate", "board", "folder", str(recording), "--measured", "280", "--out", str(out)]
    return CliRunner().invoke(main, arguments), out


def test_corners_are_found_where_they_are(rig):
    pose = facing(rig, 0.4, (0.05, 0.0), (0.3, 0.3), 0.1)
    view = BoardFinder(BOARD).find(rig.image(pose, 1 / 0.4))
    points = BOARD.corners[view.numbers] @ pose.rotation.T + pose.translation
    K = LENS.K(1 / 0.4)
    expected = CAMERA.rectification.raw_pixels(CAMERA.K, points[:, :2] / points[:, 2:] * CAMERA.fx + CAMERA.K[:2, 2])
    expected = K[:2, 2] + (expected - CAMERA.K[:2, 2]) * K[0, 0] / CAMERA.fx
    assert len(view.numbers) > 12
    assert np.sqrt(np.mean(np.square(view.pixels - expected))) < 0.1


def test_sweeps_of_a_board_become_a_calibration(done):
    result, out = done
    assert result.exit_code == 0, result.output
    made = read_calibration(out)
    for way in Direction:
        curve = made.curve(way)
        at = np.linspace(curve.commands[0], curve.commands[-1], 50)
        truth = [LENS.focus(each, way is Direction.RISING) for each in at]
        assert curve.focus(at) == pytest.approx(truth, abs=0.03)
        assert np.ptp(curve.dioptres) > 1.5
    assert made.hysteresis == pytest.approx(STEP, abs=0.03)
    K = LENS.K(made.breathing.reference)
    assert made.K[0, 0] == pytest.approx(K[0, 0], rel=0.005)
    at = np.linspace(made.rising.dioptres[0], made.rising.dioptres[-1], 20)
    assert made.breathing.at(at)[:, 0] == pytest.approx([LENS.K(each)[0, 0] / K[0, 0] for each in at], abs=1e-3)
    assert made.optics.pupil == pytest.approx(CAMERA.aperture, rel=0.04)
    assert made.optics.distortion[0] == pytest.approx(-0.1, abs=0.04)
    assert made.intrinsics(4.0, (240, 320))[0, 0] == pytest.approx(LENS.K(4.0)[0, 0], rel=0.005)


def test_the_file_for_the_camera_driver_holds_the_same_camera(done):
    out = done[1]
    made = read_calibration(out)
    info = yaml.safe_load(out.with_name("lens-camera_info.yaml").read_text())
    assert (info["image_width"], info["image_height"]) == (320, 240)
    assert info["camera_matrix"]["data"] == pytest.approx(made.K.ravel().tolist())
    assert info["distortion_model"] == made.optics.distortion_model
    assert info["distortion_coefficients"]["data"] == pytest.approx(list(made.optics.distortion))
    assert yaml.safe_load(out.read_text())["camera_info"] == info


def test_the_report_is_one_page_that_says_how_good_it_is(done):
    result, out = done
    page = out.with_name("lens-report.html").read_text()
    assert result.output.count("\nGood: ") + result.output.count("\nUsable, with ") == 1
    line = re.search(r'class="verdict (good|weak)">([^<]+)</p>', page)
    assert line[2].startswith({"good": "Good: metric from", "weak": "Usable, with"}[line[1]])
    assert "focus within" in line[2]
    assert page.count('src="data:image/png;base64,') == 6 + len(PLACES)
    assert "http" not in page


def test_a_calibration_holds_until_the_lens_is_another(done, recording, tmp_path):
    out = done[1]
    arguments = ["calibrate", "check", str(recording), "--measured", "280", "--calibration"]
    held = CliRunner().invoke(main, [*arguments, str(out)])
    assert held.exit_code == 0, held.output
    assert "The calibration holds: the focus is off by" in held.output
    made = read_calibration(out)
    moved = {
        name: FocusCurve(curve.commands, curve.dioptres + 0.15)
        for name, curve in (("rising", made.rising), ("falling", made.falling))
    }
    write_calibration(tmp_path / "moved.yaml", replace(made, **moved))
    failed = CliRunner().invoke(main, [*arguments, str(tmp_path / "moved.yaml")])
    assert failed.exit_code == 1
    assert re.search(r"The calibration is wrong: the focus is off by \+0\.1\d+ D", failed.output)


def test_another_camera_shows_in_a_check(done, series):
    made = read_calibration(done[1])
    K = made.K.copy()
    K[0, 2] += 40
    optics = replace(made.optics, distortion=(0.2, 0.0, 0.0, 0.0, 0.0))
    checks = check_calibration(series[:1], replace(made, K=K, optics=optics), BOARD)
    holds, sentence = verdict(checks, made)
    assert not holds
    assert "The camera has changed: corners lie" in sentence


@pytest.mark.parametrize("diameter", [1.0, 2.3, 4.0, 7.7, 11.0])
def test_a_disc_blurs_images_of_pixels_by_itself_alone(diameter):
    """The second moment of a disc is d^2 / 16 along an axis; averaged over pixels it would be 1/12 px^2 more."""
    kernel = _disc(diameter)
    half = kernel.shape[0] // 2
    along = np.arange(-half, half + 1) ** 2
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    assert (kernel.sum(axis=0) * along).sum() == pytest.approx(diameter**2 / 16, rel=1e-4)
    assert (kernel.sum(axis=1) * along).sum() == pytest.approx(diameter**2 / 16, rel=1e-4)


def test_another_paper_is_named(series):
    with pytest.raises(InputError, match=r"show the a3 board, not the a4 board.*give --paper a3"):
        calibrate_board(series, DEVICE, BOARDS["a4"])


def test_images_without_a_board_are_refused():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (60, 80), dtype=np.uint8)
    grey = CalibrationSeries(tuple(CalibrationFrame(command, lambda: image) for command in COMMANDS), None)
    with pytest.raises(InputError, match="No image shows the board; print one with 'fossa calibrate print'"):
        calibrate_board([grey], DEVICE, BOARD)


def test_a_lens_that_does_not_move_is_named(rig):
    still = [rig.sweep(facing(rig, *place), COMMANDS, lambda number, d=place[0]: 1 / d) for place in PLACES[:4]]
    with pytest.raises(InputError, match=r"no command changes the image: the lens does not move; check its cable"):
        calibrate_board(still, DEVICE, BOARD)


def test_an_autofocus_that_was_left_on_is_named(rig):
    hunting = [
        rig.sweep(facing(rig, *place), COMMANDS, lambda number, d=place[0]: 1 / d + 0.12 * (number % 3 - 1))
        for place in PLACES[:4]
    ]
    with pytest.raises(InputError, match=r"something else focuses the camera; switch its autofocus off"):
        calibrate_board(hunting, DEVICE, BOARD)


def test_a_camera_that_repeats_frames_is_named(series):
    frames = list(series[1].frames)
    frames[7] = replace(frames[7], load=frames[6].load)
    with pytest.raises(InputError, match=r"1 frames, first frame 8 of sweep 2, are copies of the frame before"):
        calibrate_board([series[0], CalibrationSeries(tuple(frames), None), *series[2:]], DEVICE, BOARD)


@pytest.fixture(scope="module")
def never_near(series) -> BoardCalibration:
    return calibrate_board(series[2:], DEVICE, BOARD)


def test_a_board_that_was_never_near_is_said(never_near):
    made = never_near
    assert not made.good
    near = [each for each in made.warnings if each.startswith("The board was never nearer than 0.")]
    assert len(near) == 1 and "put it there in one more sweep" in near[0]
    assert made.verdict.startswith(f"Usable, with {len(made.warnings)} weakness")


def test_sweeps_of_several_cameras_are_not_one_calibration(series):
    def larger(frame):
        return replace(frame, load=lambda: cv2.resize(frame.load(), (400, 300)))

    other = [replace(each, frames=tuple(map(larger, each.frames))) for each in series[3:]]
    with pytest.raises(InputError, match=r"images of sweep 1 have 320x240 px and those of sweep 4 400x300 px; calib"):
        calibrate_board([*series[:3], *other], DEVICE, BOARD)
    mixed = replace(series[0], frames=(*series[0].frames[:5], *other[0].frames[5:]))
    with pytest.raises(InputError, match=r"images of sweep 1 have 320x240, 400x300 px; record each sweep at one reso"):
        calibrate_board([mixed, *series[1:]], DEVICE, BOARD)


def test_a_recording_counts_once(recording, tmp_path):
    again = recording / ".." / recording.name
    arguments = ["calibrate", "board", "folder", str(recording), str(again), "--out", str(tmp_path / "lens.yaml")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "is given twice; give each recording once." in " ".join(result.output.split())


def test_a_single_image_is_no_sweep(series):
    with pytest.raises(InputError, match=r"Sweep 2 has 1 image at 1 command, which is no sweep; step the lens"):
        calibrate_board([series[0], replace(series[1], frames=series[1].frames[11:12])], DEVICE, BOARD)


def test_commands_of_another_lens_or_unit_are_refused_by_a_check(done, series, recording, tmp_path):
    made = read_calibration(done[1])
    write_calibration(tmp_path / "v4l2.yaml", replace(made, device=replace(made.device, backend="v4l2")))
    result = CliRunner().invoke(main, ["calibrate", "check", str(recording), "--calibration", f"{tmp_path}/v4l2.yaml"])
    assert result.exit_code == 1
    assert "is of a lens of the backend simulated, and" in " ".join(result.output.split())
    other = replace(series[0], frames=tuple(replace(frame, command=-1000.0) for frame in series[0].frames))
    with pytest.raises(InputError, match=r"Sweep 2 has the command -1000, but the calibration is of commands from 0 t"):
        check_calibration([series[0], other], made, BOARD)


def test_files_that_cannot_be_written_are_named_before_the_work(recording, tmp_path):
    out = tmp_path / "new" / "lens.yaml"
    (tmp_path / "new" / "lens-report.html").mkdir(parents=True)
    arguments = ["calibrate", "board", "folder", str(recording), "--out", str(out)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert re.search(r"lens-report\.html cannot be written: it is a folder; give another path", result.output)
    assert not out.exists() and not out.with_name("lens-camera_info.yaml").exists()
    sheet = tmp_path / "to print" / "board.pdf"
    assert CliRunner().invoke(main, ["calibrate", "print", "--out", str(sheet)]).exit_code == 0
    assert sheet.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("before", [False, True])
def test_a_full_disk_leaves_no_calibration_without_its_report(never_near, tmp_path, before):
    """The files may be 100 kB at most: room for the calibration, none for the report with its pictures."""
    out = tmp_path / "new" / "lens.yaml"
    if before:
        write_results(out, never_near)
    known = {path.name: path.read_bytes() for path in out.parent.glob("*")}
    assert len(known) == 3 * before
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"/lens-report\.html cannot be written \(file too large\); give another"):
            write_results(out, never_near)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in out.parent.glob("*")} == known
    assert out.parent.exists() == before


def test_too_few_sweeps_are_refused(series):
    with pytest.raises(InputError, match=r"3 of 3 sweeps show the board, where 4 are needed"):
        calibrate_board(series[:3], DEVICE, BOARD)


def synthetic(bend: float) -> tuple[Corners, Camera]:
    """Return exact corners of a bent board at eight places, with noise, and the camera."""
    K = np.array([[300.0, 0, 159.5], [0, 300.0, 119.5], [0, 0, 1]])
    camera = Camera((240, 320), K, "plumb_bob", np.zeros(5), 0.0, np.zeros(0), np.zeros((0, 3)), np.array([bend, 0, 0]))
    rng = np.random.default_rng(4)
    count = len(BOARD.corners)
    sweep, corner = np.repeat(np.arange(8), count), np.tile(np.arange(count), 8)
    turns = rng.uniform(-0.5, 0.5, (8, 3))
    middle = np.array([*np.array(BOARD.size) / 2, 0])
    places = np.column_stack([rng.uniform(-0.05, 0.05, (8, 2)), rng.uniform(0.5, 0.8, 8)])
    shifts = np.array([at - cv2.Rodrigues(turn)[0] @ middle for at, turn in zip(places, turns, strict=True)])
    corners = Corners(sweep, corner, np.zeros(len(sweep)), np.zeros((len(sweep), 2)))
    pixels = project(camera, BOARD, corners, turns, shifts) + rng.normal(0, 0.03, (len(sweep), 2))
    return replace(corners, pixels=pixels), replace(camera, bend=np.zeros(3))


def test_a_bent_board_is_refused_and_a_flat_one_is_not():
    corners, camera = synthetic(0.004)
    assert bent_corners(BOARD, np.array([0.004, 0, 0]))[0, 2] == pytest.approx(0.004 * (5 / 7) ** 2)
    with pytest.raises(InputError, match=r"The board is bent by [34]\.\d mm: .* glue it onto something flat"):
        refuse_bent(adjust(corners, BOARD, camera, bend=True), BOARD)
    corners, camera = synthetic(0.0)
    refuse_bent(adjust(corners, BOARD, camera, bend=True), BOARD)


def test_guidance_names_what_is_missing(series):
    far = observe(series[5], BOARD, "far")
    words = list(still_missing([far], BOARD))
    assert any(re.match(r"a board tilted by 20 to 40 degrees.* \(\d of 4\)", each) for each in words)
    assert any("of the image" in each for each in words)
    everything = list(still_missing([observe(each, BOARD, "sweep") for each in series], BOARD))
    assert not any("nearer" in each or "tilted" in each for each in everything)
