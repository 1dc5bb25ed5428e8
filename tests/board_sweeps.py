"""A small rig with a printed board, for tests of its calibration: places, commands and truth."""

from __future__ import annotations

from fossa_ros.calibration.board.board import BOARDS
from fossa_ros.calibration.lens_calibration import CalibratedDevice
from fossa_ros.calibration.live import both_ways
from fossa_ros.simulation.board_rig import BoardLens
from fossa_ros.simulation.camera import SimulatedCamera

STEP = 0.25  # D between commands, and the hysteresis, so that both ways show the same planes
COMMANDS = both_ways(0.0, 14.0, 15)
CAMERA = SimulatedCamera(
    width=320,
    height=240,
    fx=300.0,
    focal_length=0.012,
    f_number=2.0,
    breathing_length=0.0055,
    distortion=(-0.1, 0.02, 0.0, 0.0),
)
LENS = BoardLens(CAMERA, lambda command: 1.0 + STEP * command, STEP, 0.0, 14.0, 2.5)
BOARD = BOARDS["a3"].as_measured(280.0)
DEVICE = CalibratedDevice("simulated", "the rig", "command", "steps", 0.0, 14.0)
PLACES = (
    (0.27, (-0.05, 0.03), (0.2, -0.3), 0.1),
    (0.31, (0.1, 0.05), (-0.3, 0.3), 0.0),
    (0.4, (-0.15, -0.1), (0.4, 0.2), 0.2),
    (0.5, (0.2, -0.15), (-0.35, -0.3), -0.2),
    (0.62, (-0.2, 0.15), (0.3, 0.35), 0.0),
    (0.75, (0.1, 0.1), (-0.3, 0.2), 0.1),
)
