"""Where to put the board next: what the sweeps so far leave unknown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fossa_ros.calibration.board.board import Board
from fossa_ros.calibration.board.observation import SweepObservation
from fossa_ros.calibration.board.projection import Camera, Corners, board_pose
from fossa_ros.core.camera_model import PLUMB_BOB

_ENDS = 0.25  # of the range of commands: a board that is sharpest there counts as near, or as far
_TILTED = np.radians(12)
_TILTS = 4  # sweeps with a tilted board
_FOCAL_LENGTH = 0.9  # of the image width: to tell tilts roughly
QUARTERS = {(0, 0): "top left", (0, 1): "top right", (1, 1): "bottom right", (1, 0): "bottom left"}
"""Names of the corners of the image, by whether they are low and right."""
OUTER = 0.15
"""Of the image size: a corner of the image counts as seen when corners of the board lie this close to it."""


def still_missing(sweeps: Sequence[SweepObservation], board: Board) -> Iterator[str]:
    """Yield what sweeps do not show yet, as places for the board."""
    if not sweeps:
        yield "the board anywhere in focus"
        return
    least = min(float(sweep.commands.min()) for sweep in sweeps)
    greatest = max(float(sweep.commands.max()) for sweep in sweeps)
    peaks = [sharpest_commands(sweep) for sweep in sweeps]
    lowest, highest = (float(pick([pick(each) for each in peaks])) for pick in (np.min, np.max))
    margin = _ENDS * (greatest - least)
    nearer = _higher_is_nearer(sweeps)
    if lowest > least + margin:
        yield _place(nearer is not None and not nearer, nearer, f"{least:g} to {least + margin:g}")
    if highest < greatest - margin:
        yield _place(bool(nearer), nearer, f"{greatest - margin:g} to {greatest:g}")
    tilted = sum(tilt is not None and tilt > _TILTED for tilt in (rough_tilt(sweep, board) for sweep in sweeps))
    if tilted < _TILTS:
        yield f"a board tilted by 20 to 40 degrees, to another side each time ({tilted} of {_TILTS})"
    missing = uncovered_corners(sweeps)
    if missing:
        yield f"the board in the {' and '.join(missing)} of the image"


def uncovered_corners(sweeps: Sequence[SweepObservation]) -> list[str]:
    """Return the names of the corners of the image close to which no corner of the board was seen."""
    seen = covered_quarters(sweeps)
    return [name for quarter, name in QUARTERS.items() if quarter not in seen]


def covered_quarters(sweeps: Sequence[SweepObservation]) -> set[tuple[int, int]]:
    """Return which corners of the image, of ``QUARTERS``, corners of the board were seen close to."""
    seen = set()
    for sweep in sweeps:
        height, width = sweep.size
        shares = sweep.places / (width, height)
        near = (np.minimum(shares, 1 - shares) < OUTER).all(axis=1)
        seen |= {(int(y > 0.5), int(x > 0.5)) for x, y in shares[near]}
    return seen


def sharpest_commands(sweep: SweepObservation) -> np.ndarray:
    """Return the commands at which the corners of a sweep are sharpest, to a step of the lens."""
    told = np.isfinite(sweep.sharpness).all(axis=0)
    if not told.any():
        return sweep.commands[[len(sweep.commands) // 2]]
    frames = sweep.sharpness[:, told].argmax(axis=0)
    return np.asarray(sweep.commands[frames])


def rough_tilt(sweep: SweepObservation, board: Board) -> float | None:
    """Return the angle between board and image, radians, for a lens of usual width; None if it cannot be told."""
    height, width = sweep.size
    focal = _FOCAL_LENGTH * width
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    camera = Camera(sweep.size, K, PLUMB_BOB, np.zeros(5), 0.0, np.zeros(0), np.zeros((0, 3)), np.zeros(3))
    none = np.zeros(len(sweep.corners))
    pose = board_pose(camera, board, Corners(none.astype(int), sweep.corners, none, sweep.places))
    return None if pose is None else tilt_of(pose[0])


def tilt_of(rotation: np.ndarray) -> float:
    """Return the angle (radians) by which a rotation (axis times angle) turns the board's normal."""
    angle = float(np.linalg.norm(rotation))
    along = rotation[2] / angle if angle else 1.0
    return float(np.arccos(np.clip(np.cos(angle) + (1 - np.cos(angle)) * along**2, -1, 1)))


def _place(near: bool, known: bool | None, commands: str) -> str:
    words = "the board elsewhere" if known is None else "a nearer board" if near else "a farther board"
    return f"{words}, which is sharpest at commands of {commands}"


def _higher_is_nearer(sweeps: Sequence[SweepObservation]) -> bool | None:
    """Return whether higher commands focus nearer, from how large the board is where; None if all look alike."""
    sides = np.array([sweep.side for sweep in sweeps])
    if sides.max() < 1.2 * sides.min():
        return None
    middles = np.array([float(np.median(sharpest_commands(sweep))) for sweep in sweeps])
    return bool(np.polyfit(sides, middles, 1)[0] > 0)
