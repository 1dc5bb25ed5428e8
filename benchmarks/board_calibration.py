"""How right a calibration with a printed board is: three simulated lenses whose truth is known.

For each lens, boards are rendered at random poses, with sensor noise and 8 bits, into a recording such as 'fossa
calibrate board live' writes. The calibration sees that recording only.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from fossa_ros.calibration.board.board import BOARDS
from fossa_ros.calibration.board.board_calibration import BoardCalibration
from fossa_ros.calibration.board.calibrate_board import calibrate_board
from fossa_ros.calibration.board.detection import BoardFinder
from fossa_ros.calibration.board.report import overview, picture_of
from fossa_ros.calibration.board.session_view import session_picture
from fossa_ros.calibration.lens_calibration import CalibratedDevice
from fossa_ros.calibration.live import both_ways
from fossa_ros.calibration.recording import DESCRIPTION, RecordingWriter, read_recording
from fossa_ros.calibration.series import Direction
from fossa_ros.core.camera_model import Rectification
from fossa_ros.core.errors import FossaError
from fossa_ros.core.rectified import rectified
from fossa_ros.estimators.classical import ClassicalEstimator
from fossa_ros.evaluation.metrics import depth_metrics
from fossa_ros.io.pictures import write_figure
from fossa_ros.simulation.board_rig import BoardLens, BoardRig, facing
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack

STEPS = 25
DEPTH_SCENES, DEPTH_NEAREST = range(4), 2.5  # seeds; dioptres
PAPERS = {"liquid": "a3", "voice-coil": "a4", "wide": "a3"}


def lens(name: str) -> BoardLens:
    """Return one of the lenses."""
    if name == "liquid":  # machine vision: 12 mm F/2, 2 % of breathing, hysteresis
        camera = SimulatedCamera(
            width=640,
            height=480,
            fx=600.0,
            focal_length=0.012,
            f_number=2.0,
            breathing_length=0.0055,
            breathing_shift=(0.5, -0.3),
        )
        return BoardLens(camera, lambda c: 0.6 + 4.0 * (0.85 * c / 200 + 0.15 * (c / 200) ** 2), 0.06, 0.0, 200.0, 2.4)
    if name == "voice-coil":  # of a phone: 4 mm F/1.8, barrel distortion
        camera = SimulatedCamera(
            width=800,
            height=600,
            fx=670.0,
            focal_length=0.004,
            f_number=1.8,
            breathing_length=0.004,
            distortion=(-0.12, 0.03, 0.0005, -0.0003, 0.0),
        )
        return BoardLens(camera, lambda c: 0.3 + 7.7 * c / 255, 0.04, 0.0, 255.0, 3.0)
    camera = SimulatedCamera(
        width=800,
        height=600,
        fx=400.0,
        focal_length=0.006,
        f_number=1.4,
        breathing_length=0.003,
        distortion_model="equidistant",
        distortion=(0.01, -0.004, 0.001, 0.0),
    )
    return BoardLens(camera, lambda c: 0.4 + 6.0 * c / 100, 0.0, 0.0, 100.0, 3.0)


def poses(rig: BoardRig, count: int, rng: np.random.Generator) -> list:
    """Return poses as the guidance asks for: near to far, tilted to all sides, and into the corners of the image."""
    camera = rig.lens.camera
    powers = np.linspace(0.85, 0.2, count) * rig.lens.focus(rig.lens.greatest, True)
    middle = np.array([camera.width - 1, camera.height - 1]) / 2
    found = []
    for number, power in enumerate(powers):
        sign = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)][number % 4])
        # The outermost corner of the board is to lie close to that of the image.
        pixel = (middle + sign * rng.uniform(0.8, 0.95) * middle)[None]
        if camera.rectification is not None:
            pixel = camera.rectification.view_pixels(camera.K, pixel)
        ray = (pixel[0] - middle) / camera.fx
        ray *= min(1.0, 1.3 / np.hypot(*ray))  # a flat board cannot be held farther out before a wide lens
        half = (np.array(rig.board.size) / 2 - rig.board.square) * power
        centre = ray - sign * np.minimum(half, np.abs(ray) * 1.5)
        # Far from the axis, a person turns the board towards the camera.
        towards = 0.8 * np.arctan([-centre[1], centre[0]])
        tilt = towards + rng.choice([-1, 1], 2) * rng.uniform(0.15, 0.45, 2)
        found.append(facing(rig, 1 / power, tuple(centre), tuple(tilt), float(rng.uniform(-0.2, 0.2))))
    return found


def record(folder: Path, name: str, count: int, seed: int) -> None:
    """Render sweeps of one lens into a folder."""
    optics = lens(name)
    rig = BoardRig(optics, BOARDS[PAPERS[name]], seed=seed)
    device = CalibratedDevice("simulated", name, "command", "steps", optics.least, optics.greatest)
    writer = RecordingWriter(folder, device)
    commands = both_ways(optics.least, optics.greatest, STEPS)
    for number, pose in enumerate(poses(rig, count, np.random.default_rng(seed))):
        entries = []
        for index, frame in enumerate(rig.sweep(pose, commands).frames):
            file = f"{number}_{index:03}.png"
            writer.image(file, frame.load())
            entries.append((file, frame.command, None))
        writer.series(None, entries)
        print(f"{name}: sweep {number + 1} of {count} is rendered", flush=True)


def judged(optics: BoardLens, result: BoardCalibration) -> dict[str, float]:
    """Return the errors of a calibration."""
    made, camera = result.calibration, result.adjustment.camera
    errors: dict[str, float] = {}
    for way in Direction:
        curve = made.curve(way)
        at = np.linspace(curve.commands[0], curve.commands[-1], 100)
        truth = np.array([optics.focus(each, way is Direction.RISING) for each in at])
        errors[f"focus {way}, D"] = float(np.abs(curve.focus(at) - truth).max())
    K = optics.K(made.breathing.reference)
    errors["fx, %"] = 100 * float(made.K[0, 0] / K[0, 0] - 1)
    # Where the rays of the image's corners come to lie: camera and distortion together, and each for itself.
    true_camera = optics.camera
    height, width = true_camera.height, true_camera.width
    corners = np.array([(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)], float)
    flat = tuple(K.ravel().tolist())
    known = Rectification(flat, true_camera.distortion_model, true_camera.distortion or (0.0,) * 5)
    rays = (known.view_pixels(K, corners) - K[:2, 2]) / np.diag(K)[:2]
    alone = Rectification(flat, camera.model, tuple(camera.D.tolist()))
    errors["distortion at the corners, px"] = float(
        np.abs(alone.raw_pixels(K, rays * np.diag(K)[:2] + K[:2, 2]) - corners).max()
    )
    # Told by how images grow and bend; a camera that is turned by as much sees nearly the same.
    errors["principal point, px"] = float(np.abs(made.K[:2, 2] - K[:2, 2]).max())
    low, high = made.rising.dioptres.min(), made.rising.dioptres.max()
    at = np.linspace(low, high, 50)
    truth = np.array([optics.K(each)[0, 0] / K[0, 0] for each in at])
    errors["breathing, %"] = 100 * float(np.abs(made.breathing.at(at)[:, 0] - truth).max())
    gain = K[0, 0] * true_camera.aperture
    errors["blur gain, %"] = float("nan") if result.blur is None else 100 * (result.blur.pixels_per_dioptre / gain - 1)
    return errors


def depth_errors(optics: BoardLens, result: BoardCalibration) -> dict[str, float]:
    """Return the mean AbsRel of depth with the calibration and with the truth: focus, K, distortion and blur gain.

    The scenes are rendered without breathing: five planes, evenly spaced in dioptres over the calibrated range up to
    ``DEPTH_NEAREST``. Depth counts where it lies between the planes.
    """
    made, camera = result.calibration, replace(optics.camera, breathing_length=0.0, breathing_shift=(0.0, 0.0))
    far, near = made.range[0], min(made.range[1], DEPTH_NEAREST)
    commands = [made.command(float(each), Direction.RISING) for each in np.linspace(far, near, 5)]
    distances = [1 / optics.focus(command, True) for command in commands]
    adjusted = result.adjustment.camera
    bent = Rectification(tuple(made.K.ravel().tolist()), adjusted.model, tuple(adjusted.D.tolist()))
    estimator, errors = ClassicalEstimator(), []
    for scene in DEPTH_SCENES:
        known, truth = render_stack(scene, camera, distances, rng=scene)
        told = zip(known.planes, made.dioptres(commands, Direction.RISING), strict=True)
        calibrated = replace(
            known,
            planes=tuple(replace(plane, focus_distance=1 / float(power)) for plane, power in told),
            K=made.K,
            rectification=bent,
            f_number=camera.f_number if result.blur is None else camera.focal_length / made.optics.pupil,
        )
        maps = (rectified(estimator.estimate(stack), stack).depth for stack in (calibrated, known))
        truth = np.where((truth > 1 / near) & (truth < 1 / far), truth, np.nan)
        errors.append([depth_metrics(depth, truth)["abs_rel"] for depth in maps])
    with_calibration, with_truth = np.mean(errors, axis=0)
    ratio = with_calibration / with_truth
    return {"AbsRel": float(with_calibration), "AbsRel with the truth": float(with_truth), "their ratio": float(ratio)}


def write_pictures(folder: Path, name: str, result: BoardCalibration) -> None:
    """Write the board of the first eight sweeps where it is sharpest, the plots of the report, and the live view."""
    white = (255, 255, 255)
    shown = [cv2.copyMakeBorder(picture_of(result, k), 3, 3, 3, 3, cv2.BORDER_CONSTANT, value=white) for k in range(8)]
    rows = [np.hstack(shown[:4]), np.hstack(shown[4:])]
    cv2.imwrite(str(folder / f"board-places-{name}.jpg"), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 80])
    write_figure(folder / f"board-plots-{name}.png", overview(result))
    # The page beside the board while it is held at the fifth place.
    frame = int(np.bincount(result.sweeps[4].frames).argmax())
    page = session_picture(result.series[4].frames[frame].load(), result.sweeps[:4], BoardFinder(result.board))
    cv2.imwrite(str(folder / f"board-view-{name}.jpg"), page, [cv2.IMWRITE_JPEG_QUALITY, 80])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lenses", nargs="+", choices=PAPERS, default=list(PAPERS))
    parser.add_argument("--sweeps", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recordings", type=Path, help="folder in which rendered sweeps are kept and found again")
    parser.add_argument("--out", type=Path, help="JSON of all figures")
    parser.add_argument("--pictures", type=Path, help="folder of the pictures of docs/calibration-board.md")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.lenses:
            folder = (options.recordings or Path(scratch)) / f"{name}-{options.sweeps}-{options.seed}"
            if not (folder / DESCRIPTION).exists():
                record(folder, name, options.sweeps, options.seed)
            read = read_recording(folder)
            board = BOARDS[PAPERS[name]]
            start = time.monotonic()
            try:
                result = calibrate_board(read.series, read.device, board.as_measured(board.bar_mm))
            except FossaError as error:
                print(f"{name}: {error}")
                continue
            rows[name] = (
                judged(lens(name), result) | depth_errors(lens(name), result) | {"seconds": time.monotonic() - start}
            )
            if options.pictures is not None:
                write_pictures(options.pictures, name, result)
            made = result.calibration
            print(
                f"{name}: {result.adjustment.camera.model} {made.range[0]:.2f} to {made.range[1]:.2f} D; says focus +- "
                f"{made.uncertainty:.3f} D, fx +- {100 * made.optics.fx_uncertainty:.3f} %, "
                f"corners {result.adjustment.deviations[0]:.3f} px, models {result.models}"
            )
            for key, value in rows[name].items():
                print(f"  {key:32} {value:8.4f}")
            print(f"  entrance pupil: {result.pupil}")
            for warning in result.warnings:
                print(f"  {warning}")
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
